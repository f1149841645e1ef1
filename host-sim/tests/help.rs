//! Every command's `--help` shows an example that runs as printed, and the manual pages have every command.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use std::path::Path;
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

/// A command line in that folder, `host-sim` being the program under test.
fn shell(folder: &Path, words: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_host-sim")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("PATH", path).current_dir(folder);
    command
}

/// The lines of a command's examples.
fn examples(known: &clap::Command) -> Vec<String> {
    let help = known.get_after_help().unwrap_or_else(|| panic!("{} has no example", known.get_name())).to_string();
    let lines: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  host-sim ")).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{} has no example: {help}", known.get_name());
    lines
}

/// What serves until it is stopped, what asks it, and what needs a recording: tried together.
const TOGETHER: [&str; 3] = ["run", "ready", "replay"];

#[test]
fn every_example_of_a_help_text_runs_as_printed() {
    command::module("header-match");
    let folder = beside_the_repository();
    let mut run = 0;
    for known in host_sim::Cli::command().get_subcommands().filter(|known| known.get_name() != "help") {
        for line in examples(known) {
            if TOGETHER.contains(&known.get_name()) {
                continue;
            }
            let output = shell(folder.path(), &["sh", "-c", &format!("host-sim {line}")]).output().unwrap();
            assert!(output.status.success(), "host-sim {line}: {}", String::from_utf8_lossy(&output.stderr));
            run += 1;
        }
    }
    assert!(run >= 8, "only {run} examples ran");
}

/// On a network of its own, where nobody else has the default ports.
#[test]
fn the_examples_of_run_ready_and_replay_run_as_printed() {
    command::module("header-match");
    let folder = beside_the_repository();
    let alone = ["unshare", "--net", "--map-root-user"];
    let up = "ip link set lo up";
    if !shell(folder.path(), &[&alone[..], &["sh", "-c", up]].concat()).status().is_ok_and(|done| done.success()) {
        eprintln!("SKIPPED: no network namespace to be had; the examples of run, ready and replay did not run");
        return;
    }
    let commands = host_sim::Cli::command();
    let [run, ready, replay] = TOGETHER.map(|name| examples(commands.find_subcommand(name).unwrap()).remove(0));
    let script = format!(
        r#"{up}
        serve() {{
            host-sim "$@" & gateway=$!
            until host-sim {ready} 2>/dev/null; do kill -0 $gateway; done
            exec 3<>/dev/tcp/127.0.0.1/8080
            printf 'GET /products HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n' >&3
            read -r answer <&3; [[ "$answer" == "HTTP/1.1 200"* ]]
            cat <&3 > answer; exec 3>&-
            kill -TERM $gateway; wait $gateway
        }}
        serve {run}
        serve {run} --trace trace.jsonl
        host-sim {replay}"#
    );
    let output = shell(folder.path(), &[&alone[..], &["bash", "-euc", &script]].concat()).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
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
