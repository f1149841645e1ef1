//! `host-sim envoy`: the gateway as an Envoy bootstrap.

use crate::command_line::EnvoyArgs;
use crate::failure::Failure;
use crate::otlp;
use crate::plan::Plan;
use crate::say;

/// Prints the very value that `run` serves.
pub(crate) fn envoy(args: &EnvoyArgs) -> Result<(), Failure> {
    let mut plan = Plan::make(&args.gateway, false)?;
    if let Some(url) = &args.otlp {
        otlp::trace(&mut plan.bootstrap, url)?;
    }
    plan.say_unused();
    plan.say_warnings();
    say::json(&plan.bootstrap)
}
