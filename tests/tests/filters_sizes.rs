//! What a module weighs, with the regex engine and without; and that the README says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;

use tests::{host_sim, repository};

const MODULES: [&str; 6] = ["header-match", "uri-rewrite", "traffic-shift", "fault-inject", "rate-limit", "suite"];

/// Bytes of a module as `make filters` leaves it.
fn size(folder: &str, module: &str) -> u64 {
    let file = repository().join(folder).join(format!("{module}.wasm"));
    std::fs::metadata(&file).unwrap_or_else(|_| panic!("{} is missing: run `make filters` first", file.display())).len()
}

#[test]
fn no_module_is_larger_than_480_kb_and_the_readme_says_how_large() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for module in MODULES {
        let bytes = size("target/filters", module);
        assert!(bytes <= 480_000, "{module}: {bytes} bytes");
        let row = readme.lines().find(|line| line.starts_with(&format!("| [`filters/{module}`]"))).unwrap();
        let said: u64 = row.rsplit_once('(').unwrap().1.split_once(" kB)").unwrap().0.parse().unwrap();
        // A compiler of another patch level may move it a little.
        assert!(bytes.abs_diff(said * 1000) <= 5000, "{module}: {bytes} bytes, README: {said} kB");
    }
}

#[test]
fn a_module_without_the_engine_is_two_thirds_as_large_and_refuses_patterns_by_name() {
    let make = ["--no-print-directory", "filters", "REGEX=no", "FILTERS=header-match"];
    let made = Command::new("make").args(make).current_dir(repository()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (with, without) =
        (size("target/filters", "header-match"), size("target/filters-without-regex", "header-match"));
    assert!(without * 3 <= with * 2, "{without} bytes without the engine, {with} with it");

    let folder = tempfile::tempdir().unwrap();
    let check = |module: &str, uri: &str| {
        let file = folder.path().join("config.json");
        std::fs::write(
            &file,
            format!(
                r#"{{"rules": [{{"name": "a", "match": [{{"uri": {uri}}}], "directResponse": {{"status": 204}}}}]}}"#
            ),
        )
        .unwrap();
        let module = repository().join(module);
        let output = Command::new(host_sim::binary().unwrap())
            .arg("check")
            .arg(module)
            .arg("--config")
            .arg(file)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let pattern = r#"{"regex": "/a+"}"#;
    assert_eq!(check("target/filters/header-match.wasm", pattern).0, Some(0));
    assert_eq!(check("target/filters-without-regex/header-match.wasm", r#"{"prefix": "/a"}"#).0, Some(0));
    let (code, said) = check("target/filters-without-regex/header-match.wasm", pattern);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("rules[0].match[0].uri") && said.contains("the module built with regex"), "{said}");
}
