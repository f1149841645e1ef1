//! The tutorial, line by line, in one shell as a newcomer would have it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;
mod gateway;

use std::path::Path;
use std::process::Command;

use gateway::Running;

/// One command and what is shown below it.
struct Step {
    line: usize,
    command: String,
    shown: String,
}

fn steps(text: &str) -> Vec<Step> {
    let (mut steps, mut inside): (Vec<Step>, bool) = (Vec::new(), false);
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```shell-session";
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            steps.push(Step { line: at + 1, command: command.to_owned(), shown: String::new() });
        } else if let (true, Some(more)) = (inside, line.strip_prefix("> ")) {
            let step = steps.last_mut().unwrap();
            step.command = format!("{}\n{more}", step.command);
        } else if inside {
            let step = steps.last_mut().unwrap();
            step.shown = format!("{}{line}\n", step.shown);
        }
    }
    steps
}

/// A line `...` stands for any lines, `[..]` within a line for anything.
fn is_as_shown(shown: &[&str], got: &[&str]) -> bool {
    match (shown.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=got.len()).any(|skipped| is_as_shown(rest, &got[skipped..])),
        (Some((first, rest)), Some((line, left))) => {
            let same = match first.split_once("[..]") {
                Some((before, after)) => line.starts_with(before) && line.ends_with(after),
                None => first.trim_end() == line.trim_end(),
            };
            same && is_as_shown(rest, left)
        }
        _ => false,
    }
}

#[test]
fn every_line_of_the_tutorial_does_what_is_shown() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no curl on this machine; the tutorial was not walked through");
        return;
    }
    command::module("header-match");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository.join("manifests"), folder.path().join("manifests")).unwrap();
    std::os::unix::fs::symlink(repository.join("target"), folder.path().join("target")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_host-sim")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let text = std::fs::read_to_string(repository.join("host-sim/docs/tutorial.md")).unwrap();
    let mut running: Option<Running> = None;
    let steps = steps(&text);
    assert!(steps.len() > 12, "only {} steps", steps.len());
    for step in steps {
        if let Some(arguments) = step.command.strip_prefix("host-sim run ").and_then(|rest| rest.strip_suffix(" &")) {
            let arguments: Vec<_> = arguments
                .split_whitespace()
                .filter(|word| !["--port-map", "80=0", "--admin", "127.0.0.1:0"].contains(word))
                .collect();
            running = Some(Running::start_in(folder.path(), &arguments));
            continue;
        }
        if step.command == "kill %1" {
            assert!(running.take().is_some(), "nothing runs");
            continue;
        }
        let (gateway, admin) = running.as_ref().map(|one| (one.address.clone(), one.admin.clone())).unwrap_or_default();
        let output = Command::new("bash")
            .args(["-c", &format!("{{ {}\n}} 2>&1", step.command)])
            .env("PATH", &path)
            .env("NO_COLOR", "1")
            .env("GATEWAY", gateway)
            .env("ADMIN", admin)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let got = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let shown: Vec<&str> = step.shown.trim_end().lines().collect();
        let came: Vec<&str> = got.trim_end().lines().collect();
        assert!(
            is_as_shown(&shown, &came),
            "tutorial.md:{}: $ {}\n--- shown\n{}--- came out\n{got}",
            step.line,
            step.command,
            step.shown
        );
    }
}
