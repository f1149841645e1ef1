//! What the documents say is so: paths, make targets, commands and flags exist, and console sessions come out as shown.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use tests::certs::Certificates;
use tests::documents::{self, Document};
use tests::pair::Setup;
use tests::{host_sim, repository};

fn all() -> Vec<Document> {
    let documents = documents::all().unwrap();
    assert!(documents.iter().any(|d| d.path == Path::new("README.md")));
    documents
}

fn none(places: Vec<String>) {
    assert!(places.is_empty(), "{}", places.join("\n"));
}

#[test]
fn every_path_a_document_names_exists() {
    let top: BTreeSet<String> = std::fs::read_dir(repository())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let mut missing = Vec::new();
    for document in all() {
        let beside = repository().join(document.path.parent().unwrap());
        for (line, word) in document.named() {
            let first = word.split('/').next().unwrap();
            let built = ["target", ".venv"].contains(&first);
            let pattern = word.contains(['<', '*', '{', ' ', '…']);
            let a_path = word.contains('/') && top.contains(first);
            if a_path && !built && !pattern && !repository().join(word).exists() && !beside.join(word).exists() {
                missing.push(format!("{}:{line}: `{word}` does not exist", document.path.display()));
            }
        }
    }
    none(missing);
}

#[test]
fn every_make_target_a_document_names_exists() {
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    let target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    let mut missing = Vec::new();
    for document in all() {
        let shown = document.shown();
        let commands = document.named().into_iter().chain(shown.iter().map(|s| (s.line, s.command.as_str())));
        for (line, command) in commands.filter(|(_, command)| command.starts_with("make ")) {
            let words = command.split_whitespace().skip(1).filter(|word| !word.contains(['=', '.', '-']));
            missing.extend(
                words
                    .filter(|word| !target(word))
                    .map(|word| format!("{}:{line}: make {word}", document.path.display())),
            );
        }
    }
    none(missing);
}

#[test]
fn every_command_and_flag_a_document_names_exists() {
    let binary = host_sim::binary().unwrap();
    let mut helps: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut missing = Vec::new();
    for document in all() {
        let shown = document.shown();
        let commands = document.named().into_iter().chain(shown.iter().map(|s| (s.line, s.command.as_str())));
        for (line, command) in commands {
            let command = command.strip_prefix("target/release/").unwrap_or(command);
            let Some(rest) = command.strip_prefix("host-sim ") else { continue };
            let name = rest.split_whitespace().next().unwrap_or_default();
            let name = if name.starts_with('-') { "" } else { name };
            let help = helps.entry(name.to_owned()).or_insert_with(|| {
                let output = Command::new(&binary).args(name.split_whitespace()).arg("--help").output().unwrap();
                output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
            });
            let place = format!("{}:{line}: `{command}`", document.path.display());
            let Some(help) = help else {
                missing.push(format!("{place}: no such command"));
                continue;
            };
            let flags = rest
                .split(|c: char| c.is_whitespace() || c == '=' || c == '[')
                .filter(|word| word.starts_with("--") && word.len() > 2);
            missing.extend(flags.filter(|flag| !help.contains(*flag)).map(|flag| format!("{place}: no {flag}")));
        }
    }
    none(missing);
}

/// The Secret and the client that `make certificates` makes, for the sessions that serve TLS; what is there already stays.
fn certificates() {
    let folder = repository().join("target/try");
    let (secret, client) = (folder.join("shop-tls.yaml"), folder.join("client.crt"));
    if !secret.is_file() || !client.is_file() {
        let fresh = Certificates::fresh().unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let text = fresh.secret("cert-m").unwrap().replace("\n  name: cert-m\n", "\n  name: shop-tls\n");
        std::fs::write(secret, text).unwrap();
        std::fs::write(client, &fresh.leaf("client").unwrap().certificate).unwrap();
    }
}

/// Commands that end by themselves are run as they stand; servers and set-up have tests of their own.
#[test]
fn every_session_a_document_shows_comes_out_as_shown() {
    let binary = host_sim::binary().unwrap();
    let bin = binary.parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    certificates();
    let mut wrong = Vec::new();
    for document in all() {
        for shown in document.shown() {
            let command = shown.command.strip_prefix("target/release/").unwrap_or(&shown.command);
            if !command.starts_with("host-sim ") || command.starts_with("host-sim run") {
                continue;
            }
            let script = format!("{command} 2>&1");
            let output = Command::new("sh")
                .arg("-c")
                .arg(script)
                .env("PATH", &path)
                .env("NO_COLOR", "1")
                .current_dir(repository())
                .output()
                .unwrap();
            let got = String::from_utf8_lossy(&output.stdout);
            if !documents::is_as_shown(&shown.output, &got) {
                wrong.push(format!(
                    "{}:{}: $ {command}\n--- shown\n{}--- came out\n{got}",
                    document.path.display(),
                    shown.line,
                    shown.output
                ));
            }
        }
    }
    none(wrong);
}

/// The example's own README names curl lines for a gateway on port 8080.
#[test]
fn every_line_worth_trying_gets_an_answer() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no curl on this machine");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tried = 0;
    for document in all() {
        let commands = document.worth_trying();
        if commands.is_empty() {
            continue;
        }
        let setup = Setup {
            manifests: vec![repository().join(document.path.parent().unwrap())],
            flags: vec!["--wasm-dir".into(), "target/filters".into()],
            ports: [80].into(),
            workers: 1,
            ..Setup::default()
        };
        let gateway = runtime.block_on(setup.host_sim(&setup.flags)).unwrap();
        for command in commands {
            let here = command.replace("localhost:8080", &gateway.ports[&80].to_string());
            let output = Command::new("sh").arg("-c").arg(format!("{here} --silent --max-time 20")).output().unwrap();
            let answer = String::from_utf8_lossy(&output.stdout);
            let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            assert!(
                output.status.success() && (status.starts_with('2') || status.starts_with('3')),
                "{command}\n{answer}"
            );
            tried += 1;
        }
    }
    assert!(tried > 0);
}
