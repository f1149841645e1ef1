//! The house rules that can be tested: which room may know which, and how the sources look.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::repository;

/// Who may import whom, our own packages only. A package that is missing here may import nobody of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("policy", &[]),
    ("guest", &["policy"]),
    ("header-match", ADAPTER),
    ("uri-rewrite", ADAPTER),
    ("traffic-shift", ADAPTER),
    ("fault-inject", ADAPTER),
    ("rate-limit", ADAPTER),
    ("suite", ADAPTER),
    ("xds", &[]),
    ("vm", &[]),
    ("istio", &["policy", "xds"]),
    ("proxy", &["policy", "xds", "vm"]),
    ("host-sim", &["policy", "xds", "vm", "istio", "proxy"]),
    // Modules for tests.
    ("probe", &[]),
    ("sdk-filter", &[]),
    ("gateway-filter", &[]),
    // The harness drives programs over sockets; only test targets may look inside (dev-dependencies are not arrows).
    ("tests", &[]),
];
const ADAPTER: &[&str] = &["guest", "policy"];

/// What a room may import from elsewhere, where that is narrow by design.
const OUTSIDE: &[(&str, &[&str])] = &[
    (
        "policy",
        &["serde", "serde_json", "regex", "regex-automata", "regex-syntax", "thiserror", "xxhash-rust", "schemars"],
    ),
    ("guest", &["proxy-wasm", "log", "serde", "serde_json"]),
    ("header-match", MODULE),
    ("uri-rewrite", MODULE),
    ("traffic-shift", MODULE),
    ("fault-inject", MODULE),
    ("rate-limit", MODULE),
    ("suite", MODULE),
    ("xds", &["serde", "serde_json", "thiserror"]),
];
const MODULE: &[&str] = &["proxy-wasm", "log"];

/// Rooms that nothing may carry these into, not even a dependency of a dependency.
const NEVER: &[(&str, &[&str])] = &[
    ("policy", &["tokio", "hyper", "wasmtime", "getrandom", "proxy-wasm"]),
    ("xds", &["tokio", "hyper", "wasmtime"]),
    ("istio", &["tokio", "hyper", "wasmtime", "mio", "socket2"]),
    ("vm", &["tokio", "hyper", "mio", "socket2", "rustls"]),
    ("proxy", &["serde-saphyr", "clap"]),
];

struct Workspace {
    packages: BTreeMap<String, Value>,
    /// Package id to the ids it needs to build for real (not for its tests).
    needs: BTreeMap<String, Vec<String>>,
    names: BTreeMap<String, String>,
}

impl Workspace {
    fn read() -> Self {
        let machine = text_of(Command::new("rustc").arg("-vV"));
        let machine = machine.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        // Only what this machine builds: the rest may never have been downloaded.
        let metadata = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", machine];
        let metadata: Value = serde_json::from_str(&text_of(Command::new(env!("CARGO")).args(metadata))).unwrap();
        let members: BTreeSet<&str> = list(&metadata["workspace_members"]).map(|id| id.as_str().unwrap()).collect();
        let all = || list(&metadata["packages"]);
        let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
        let packages =
            all().filter(|p| members.contains(p["id"].as_str().unwrap())).map(|p| (name(p), p.clone())).collect();
        let names = all().map(|p| (p["id"].as_str().unwrap().to_owned(), name(p))).collect();
        let needs = list(&metadata["resolve"]["nodes"])
            .map(|node| {
                let real = |dep: &&Value| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null());
                let ids = list(&node["deps"]).filter(real).map(|dep| dep["pkg"].as_str().unwrap().to_owned());
                (node["id"].as_str().unwrap().to_owned(), ids.collect())
            })
            .collect();
        Self { packages, needs, names }
    }

    /// The names a package's own manifest imports, its tests' apart.
    fn imports(&self, package: &str) -> Vec<String> {
        let real = |dep: &&Value| dep["kind"].is_null();
        list(&self.packages[package]["dependencies"])
            .filter(real)
            .map(|d| d["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Everything a package is built with.
    fn reaches(&self, package: &str) -> BTreeSet<&str> {
        let mut open = vec![self.packages[package]["id"].as_str().unwrap()];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            for need in &self.needs[id] {
                if seen.insert(need.as_str()) {
                    open.push(need);
                }
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

fn text_of(command: &mut Command) -> String {
    let output = command.current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(package, _)| *package == name).map(|(_, names)| *names)
}

#[test]
fn every_room_imports_only_the_rooms_below_it() {
    let workspace = Workspace::read();
    for package in workspace.packages.keys() {
        let allowed =
            row(ARROWS, package).unwrap_or_else(|| panic!("{package} has no row in ARROWS: which rooms may it know?"));
        for import in workspace.imports(package).iter().filter(|name| workspace.packages.contains_key(*name)) {
            assert!(allowed.contains(&import.as_str()), "{package} imports {import}");
        }
    }
}

#[test]
fn nobody_imports_a_filter_module_and_all_are_cdylib_alone() {
    let workspace = Workspace::read();
    let modules: Vec<&String> = workspace.packages.keys().filter(|p| row(ARROWS, p) == Some(ADAPTER)).collect();
    assert!(!modules.is_empty());
    for module in modules {
        let lib = list(&workspace.packages[module]["targets"])
            .find(|t| t["name"].as_str() == Some(&module.replace('-', "_")))
            .unwrap();
        // ["cdylib", "rlib"] makes the module a sixth larger.
        assert_eq!(lib["crate_types"], serde_json::json!(["cdylib"]), "{module}");
        for other in workspace.packages.keys() {
            assert!(!workspace.imports(other).contains(module), "{other} imports {module}");
        }
    }
}

#[test]
fn narrow_rooms_import_only_what_they_are_meant_to() {
    let workspace = Workspace::read();
    for package in workspace.packages.keys() {
        let Some(allowed) = row(OUTSIDE, package) else { continue };
        for import in workspace.imports(package).iter().filter(|name| !workspace.packages.contains_key(*name)) {
            assert!(allowed.contains(&import.as_str()), "{package} imports {import}");
        }
    }
}

#[test]
fn nothing_carries_sockets_or_a_runtime_into_a_pure_room() {
    let workspace = Workspace::read();
    for (package, banned) in NEVER {
        let reached = workspace.reaches(package);
        for name in *banned {
            assert!(!reached.contains(name), "{package} is built with {name}");
        }
    }
}

#[test]
fn schemas_are_made_outside_the_modules() {
    let workspace = Workspace::read();
    for package in ["policy", "guest"] {
        for dep in list(&workspace.packages[package]["dependencies"])
            .filter(|d| d["name"] == "schemars" && d["kind"].is_null())
        {
            assert_eq!(dep["optional"], true, "{package} carries schemars into every module");
        }
    }
}

#[test]
fn versions_and_lints_are_said_once() {
    for (name, package) in Workspace::read().packages {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        // A module for tests may do by hand, unsafely, what a filter must not.
        let a_probe = manifest.contains("crate-type = [\"cdylib\"]")
            && package["manifest_path"].as_str().unwrap().contains("/tests/");
        assert!(a_probe || manifest.contains("[lints]\nworkspace = true"), "{name} has lints of its own");
        for line in manifest.lines().filter(|line| !line.trim_start().starts_with('#')) {
            // Leaving default features out cannot be inherited, so such a line names its path.
            let path = line.contains("path = \"../") && !line.contains("default-features = false");
            let own = line.contains("version = \"") || path || line.contains("git = \"");
            assert!(!own, "{name}: say it in the workspace's Cargo.toml: {line}");
        }
    }
}

/// Our own sources, relative to the repository; what is built or downloaded apart.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for room in ["filters", "host-sim", "tests"] {
        walk(&repository().join(room), &mut found);
    }
    found.sort();
    assert!(found.len() > 30);
    let relative = |path: &Path| path.strip_prefix(repository()).unwrap().to_owned();
    found.iter().map(|path| (relative(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The lines of a source that are no comments, numbered.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Fails with every place at once.
fn none(what: &str, places: impl IntoIterator<Item = String>) {
    let places: Vec<String> = places.into_iter().collect();
    assert!(places.is_empty(), "{what}:\n{}", places.join("\n"));
}

/// The places in these sources where a line of code has one of the words.
fn with_word(sources: &[(PathBuf, String)], words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for (path, text) in sources {
        for (at, line) in code(text).filter(|(_, line)| words.iter().any(|word| line.contains(word))) {
            places.push(format!("{}:{at}: {}", path.display(), line.trim()));
        }
    }
    places
}

/// What stands at the top; what begins with a dot, and `target`, is not looked at.
const TOP: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "Makefile",
    "README.md",
    "clippy.toml",
    "filters",
    "host-sim",
    "manifests",
    "rustfmt.toml",
];

#[test]
fn nothing_lies_about_at_the_top() {
    let names = std::fs::read_dir(repository()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known =
        |name: &String| name.starts_with('.') || ["target", "tests"].contains(&&**name) || TOP.contains(&&**name);
    none("not at the top", names.filter(|name| !known(name)));
}

#[test]
fn every_file_says_in_its_first_line_what_it_is_for() {
    let silent = sources().into_iter().filter_map(|(path, text)| {
        // An attribute may come before.
        let first = text.lines().find(|line| !line.starts_with("#![") && !line.is_empty()).unwrap_or_default();
        let says = first.strip_prefix("//!").is_some_and(|rest| rest.trim().len() > 10);
        (!says).then(|| format!("{}: {first:?}", path.display()))
    });
    none("the first line says what the file is for", silent);
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let found = sources()
        .into_iter()
        .filter(|(path, _)| path.file_stem().is_some_and(|name| drawers.iter().any(|drawer| name == *drawer)));
    none("a file is named for what an operator would ask for", found.map(|(path, _)| path.display().to_string()));
}

#[test]
fn no_test_is_switched_off() {
    none("a test that does not run proves nothing", with_word(&sources(), &[concat!("#[", "ignore")]));
}

#[test]
fn an_exception_from_a_lint_has_a_reason() {
    let mut silent = Vec::new();
    for (path, text) in sources() {
        for word in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for (at, _) in text
                .match_indices(word)
                .filter(|(at, _)| text[..*at].lines().last().is_none_or(|before| !before.contains('"')))
            {
                let attribute = text[at..].split(")]").next().unwrap();
                if !attribute.contains("reason = ") {
                    silent.push(format!("{}:{}: {attribute}", path.display(), text[..at].lines().count()));
                }
            }
        }
    }
    none("`reason = \"…\"` is missing", silent);
}

#[test]
fn a_test_that_waits_says_why() {
    let tests: Vec<_> = sources().into_iter().filter(|(path, _)| path.starts_with("tests")).collect();
    let waits = with_word(&tests, &[concat!("sleep", "(")]);
    none("no sleep without a reason beside it", waits.into_iter().filter(|line| !line.contains(" // ")));
}

#[test]
fn a_pure_room_has_no_clock_no_dice_and_no_files() {
    let banned = [
        "SystemTime::now",
        "Instant::now",
        "std::fs::",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "thread::spawn",
        "rand::",
    ];
    let pure = |path: &Path| {
        ["filters/policy/src", "host-sim/xds/src", "host-sim/istio/src"].iter().any(|room| path.starts_with(room))
    };
    let product = |text: String| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let rooms: Vec<_> =
        sources().into_iter().filter(|(path, _)| pure(path)).map(|(path, text)| (path, product(text))).collect();
    none("it is handed in", with_word(&rooms, &banned));
}

#[test]
fn headers_reach_a_filter_as_bytes() {
    // One 0xFF in a header traps the VM through the getters that make a String.
    let getters = [
        "get_http_request_header",
        "get_http_request_headers",
        "get_http_response_header",
        "get_http_response_headers",
    ];
    let banned: Vec<String> = getters.iter().map(|getter| format!("{getter}(")).collect();
    let filters: Vec<_> = sources().into_iter().filter(|(path, _)| path.starts_with("filters")).collect();
    none(
        "the `_bytes` form does not trap",
        with_word(&filters, &banned.iter().map(String::as_str).collect::<Vec<_>>()),
    );
}
