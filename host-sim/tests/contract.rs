//! What people script against: commands, flags and the fields of answers. Taking one away, or calling it otherwise, breaks their scripts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use command::{code, host_sim, stdout};
use serde_json::Value;

const GATEWAY: &[&str] = &[
    "--filename",
    "--bootstrap",
    "--listen",
    "--port-map",
    "--labels",
    "--backend",
    "--wasm",
    "--wasm-dir",
    "--admin",
    "--fidelity",
    "--seed",
    "--allow-unsupported",
];

const FLAGS: &[(&str, &[&str])] = &[
    ("run", GATEWAY),
    (
        "run",
        &["--echo", "--no-echo", "--workers", "--watch", "--access-log", "--access-log-format", "--trace", "--pull"],
    ),
    ("explain", &["--filename", "--bootstrap", "-X", "-H", "--client-ip", "-d", "-o"]),
    ("test", &["--filename", "--junit", "--coverage", "--update"]),
    ("lint", &["--filename", "-o"]),
    ("routes", &["--filename", "-o"]),
    ("chain", &["--filename", "-o"]),
    ("envoy", &["--filename", "--port-map", "--admin"]),
    ("inspect", &["-o"]),
    ("check", &["--config"]),
    ("pack", &["-o"]),
    ("completions", &[]),
    ("replay", &[]),
];

#[test]
fn every_command_has_its_flags_and_shows_an_example() {
    for (command, flags) in FLAGS {
        let output = host_sim(&[command, "--help"]);
        assert_eq!(code(&output), 0, "{command}");
        let help = stdout(&output);
        assert!(help.contains("host-sim ") && help.to_lowercase().contains("example"), "{command}: no example");
        let words: Vec<&str> = help.split(|c: char| c.is_whitespace() || ",[]=<>".contains(c)).collect();
        for flag in *flags {
            assert!(words.contains(flag), "{command} --help does not have {flag}:\n{help}");
        }
    }
}

/// Of an answer, or of each of the things in a list of it.
const EXPLAINED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "listener",
            "server",
            "virtual_host",
            "filters",
            "rules",
            "route",
            "rewrite",
            "header_changes",
            "split",
            "fault",
            "retry",
            "timeout",
            "mirror",
            "cluster",
            "endpoint",
            "status",
            "upstream_request",
            "why_not",
        ],
    ),
    ("filters", &["name", "order", "changed", "reply"]),
    ("rules", &["name", "file", "line", "matched", "first_failed"]),
    ("route", &["name", "file", "line"]),
    ("upstream_request", &["method", "path", "headers"]),
];

#[test]
fn an_explanation_has_its_fields() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop");
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/filters");
    let output =
        host_sim(&["explain", "-o", "json", "-f", example, "--wasm-dir", modules, "http://shop.example.com/catalog/1"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (what, fields) in EXPLAINED {
        let part = if what.is_empty() { &answer } else { &answer[what] };
        let things = part.as_array().map_or_else(|| vec![part], |list| list.iter().collect());
        assert!(!things.is_empty(), "{what}: {answer:#}");
        for (thing, field) in things.iter().flat_map(|thing| fields.iter().map(move |field| (thing, field))) {
            assert!(thing.as_object().is_some_and(|thing| thing.contains_key(*field)), "{what}: no {field}: {thing:#}");
        }
    }
}

#[test]
fn an_inspection_has_its_fields() {
    let output = host_sim(&["inspect", "-o", "json", &command::module("header-match")]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    for field in ["abi_version", "exports", "imports", "size", "sections", "root_ids", "languages", "refused"] {
        assert!(answer.get(field).is_some(), "no {field}: {answer:#}");
    }
}
