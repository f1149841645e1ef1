//! Every command's `--help` shows an example that runs as printed, and the manual pages have every command.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use std::process::Command;

use clap::CommandFactory;

/// A folder that looks like the repository to a command that only reads it.
fn beside_the_repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::os::unix::fs::symlink(repository.join("manifests"), folder.path().join("manifests")).unwrap();
    std::fs::create_dir(folder.path().join("target")).unwrap();
    std::os::unix::fs::symlink(repository.join("target/filters"), folder.path().join("target/filters")).unwrap();
    folder
}

#[test]
fn every_example_of_a_help_text_runs_as_printed() {
    command::module("header-match");
    let folder = beside_the_repository();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_host-sim"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut run = 0;
    for known in host_sim::Cli::command().get_subcommands().filter(|known| known.get_name() != "help") {
        let help = known.get_after_help().unwrap_or_else(|| panic!("{} has no example", known.get_name())).to_string();
        let lines: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  host-sim ")).collect();
        assert!(!lines.is_empty(), "{} has no example: {help}", known.get_name());
        for line in lines {
            // What serves until it is stopped, what asks it, and what needs a recording have tests of their own.
            if ["run ", "ready ", "replay "].iter().any(|name| line.starts_with(name)) {
                continue;
            }
            let output = Command::new("sh")
                .args(["-c", &format!("host-sim {line}")])
                .env("PATH", &path)
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "host-sim {line}: {}", String::from_utf8_lossy(&output.stderr));
            run += 1;
        }
    }
    assert!(run >= 8, "only {run} examples ran");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = command::host_sim(&["man", folder.path().to_str().unwrap()]);
    assert_eq!(command::code(&output), 0, "{}", command::stderr(&output));
    for known in host_sim::Cli::command().get_subcommands() {
        let page = folder.path().join(format!("host-sim-{}.1", known.get_name()));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".TH"), "{text}");
    }
}
