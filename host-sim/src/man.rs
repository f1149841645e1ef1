//! `host-sim man DIR`: a manual page for the program and one for each command.

use clap::CommandFactory;

use crate::command_line::{Cli, ManArgs};
use crate::failure::Failure;

/// Writes the pages: `host-sim.1`, `host-sim-run.1`, …
///
/// # Errors
/// The folder or a file in it cannot be written.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::World(format!("{}: {error}", args.folder.display()));
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.folder).map_err(failed)
}
