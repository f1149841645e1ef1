//! `host-sim completions SHELL`.

use clap::CommandFactory;

use crate::command_line::{Cli, CompletionsArgs};
use crate::failure::Failure;

/// Prints the completion script.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    clap_complete::generate(args.shell, &mut Cli::command(), "host-sim", &mut std::io::stdout());
    Ok(())
}
