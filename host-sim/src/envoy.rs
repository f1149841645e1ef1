//! `host-sim envoy`: the gateway as an Envoy bootstrap.

use std::io::Write;

use crate::command_line::EnvoyArgs;
use crate::failure::Failure;
use crate::otlp;
use crate::plan::Plan;

/// Prints the very value that `run` serves.
pub(crate) fn envoy(args: &EnvoyArgs) -> Result<(), Failure> {
    let mut plan = Plan::make(&args.gateway, false)?;
    if let Some(url) = &args.otlp {
        otlp::trace(&mut plan.bootstrap, url)?;
    }
    plan.say_unused();
    plan.say_warnings();
    let text = serde_json::to_string_pretty(&plan.bootstrap).map_err(|error| Failure::World(error.to_string()))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").map_err(|error| Failure::World(format!("standard output: {error}")))
}
