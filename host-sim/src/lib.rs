//! `host-sim`: a gateway for a laptop that reads Istio's manifests and runs the same `.wasm` filters as production.
//!
//! This crate is the command line and what surrounds the gateway: one file per command, the admin server, the embedded
//! echo backends, and the placing of an `xds` value on this machine (ports, module files, backends). Absent from it: every
//! rule of the gateway. What manifests mean is `istio`, what a request meets is `proxy`, what a module may do is `vm`.

mod admin;
mod bootstrap_file;
mod chain;
mod check;
mod command_line;
mod completions;
mod dashboard;
mod echo;
mod envoy;
mod explain;
mod failure;
mod inputs;
mod inspect;
mod lint;
mod man;
mod otlp;
mod pack;
mod placement;
mod plan;
mod progress;
mod pull;
mod ready;
mod replay;
mod routes;
mod run;
mod say;
mod stage;
mod stderr_log;
mod test;
mod watch;

pub use command_line::{BackendArg, Cli, Command, Fidelity, GatewayArgs, PortMap, RunArgs};
pub use echo::EchoServer;
pub use failure::Failure;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// Runs the program with these arguments (the program's name first) and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => {
            // A closed pipe behind `--help | head` is no error of ours.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    stderr_log::install(cli.log_level);
    let outcome = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Ready(args) => ready::ready(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Envoy(args) => envoy::envoy(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Test(args) => test::test(&args),
        Command::Routes(args) => routes::routes(&args),
        Command::Chain(args) => chain::chain(&args),
        Command::Pack(args) => pack::pack(&args),
        Command::Lint(args) => lint::lint(&args),
        Command::Check(args) => check::check(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::note(&failure);
            failure.exit_code()
        }
    }
}
