//! `host-sim completions SHELL`.

use clap::CommandFactory;

use crate::command_line::{Cli, CompletionsArgs};
use crate::failure::Failure;
use crate::say;

/// Prints the completion script.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "host-sim", &mut script);
    say::answer(String::from_utf8_lossy(&script))
}
