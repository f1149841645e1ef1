//! Modules in other languages than Rust, built with their own SDKs, in Envoy and here. What cannot be built on this machine is SKIPPED, and said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "../vm/tests/support/envoy.rs"]
mod envoy;
#[path = "support/gateways.rs"]
mod gateways;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use envoy::Filter;
use gateways::{Both, equal, exchange};
use serde_json::json;

/// How a runtime for AssemblyScript is installed and imported: its name, packages, import of the exports and of the interface, flags of the compiler.
struct Runtime {
    name: &'static str,
    packages: &'static [&'static str],
    imports: [&'static str; 2],
    flags: &'static [&'static str],
}

const RUNTIMES: [Runtime; 2] = [
    Runtime {
        name: "gcoredev",
        packages: &["assemblyscript@0.28.20", "@assemblyscript/wasi-shim@0.1", "@gcoredev/proxy-wasm-sdk-as@1.2.3"],
        imports: ["@gcoredev/proxy-wasm-sdk-as/assembly/proxy", "@gcoredev/proxy-wasm-sdk-as/assembly"],
        flags: &["-o", "filter.wasm", "--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json"],
    },
    Runtime {
        name: "solo-io",
        packages: &["assemblyscript@0.14.9", "@solo-io/proxy-runtime@0.1.8"],
        imports: ["@solo-io/proxy-runtime/proxy", "@solo-io/proxy-runtime"],
        flags: &["-b", "filter.wasm"],
    },
];

fn sources(language: &str) -> PathBuf {
    envoy::root().join("host-sim/vm/tests/modules").join(language)
}

/// Where a module is built: kept between runs, so that packages are fetched once.
fn workshop(name: &str) -> PathBuf {
    let folder = envoy::root().join("target/languages").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a step of a build; the error says which, and why it is skipped.
fn step(folder: &Path, program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.lines().last().unwrap_or("failed")))
}

fn assemblyscript(runtime: &Runtime) -> Result<PathBuf, String> {
    let folder = workshop(runtime.name);
    let [exports, interface] = runtime.imports;
    let [first, second] = RUNTIMES[0].imports;
    let text = std::fs::read_to_string(sources("assemblyscript").join("filter.ts")).unwrap();
    let text = text.replace(&format!("\"{first}\""), &format!("\"{exports}\""));
    let text = text.replace(&format!("\"{second}\""), &format!("\"{interface}\""));
    std::fs::write(folder.join("filter.ts"), text).unwrap();
    if !folder.join("node_modules").is_dir() {
        std::fs::write(folder.join("package.json"), r#"{"name": "filter", "private": true}"#).unwrap();
        step(&folder, "npm", &[&["install", "--no-audit", "--no-fund"], runtime.packages].concat(), &[])?;
    }
    let flags = [&["asc", "filter.ts", "--optimize", "--use", "abort=abort_proc_exit"], runtime.flags].concat();
    step(&folder, "npx", &flags, &[])?;
    Ok(folder.join("filter.wasm"))
}

/// `PROXY_WASM_GO_SDK` names a copy of the SDK for machines whose module proxy does not have it.
fn go() -> Result<PathBuf, String> {
    let folder = workshop("go");
    for file in ["go.mod", "main.go"] {
        std::fs::copy(sources("go").join(file), folder.join(file)).unwrap();
    }
    if let Ok(copy) = std::env::var("PROXY_WASM_GO_SDK") {
        let replace = format!("github.com/proxy-wasm/proxy-wasm-go-sdk={copy}");
        step(&folder, "go", &["mod", "edit", "-replace", &replace], &[])?;
    }
    let environment = [("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOFLAGS", "-mod=mod")];
    step(&folder, "go", &["build", "-buildmode=c-shared", "-o", "filter.wasm", "."], &environment)?;
    Ok(folder.join("filter.wasm"))
}

fn filter(name: &str, module: &Path) -> Filter {
    let mut config = envoy::plugin(module, name);
    config["root_id"] = json!("filter");
    config["vm_config"].as_object_mut().unwrap().remove("environment_variables");
    Filter { listener: name.to_owned(), config }
}

#[test]
fn filters_in_other_languages_do_here_what_they_do_in_envoy() {
    let test = "filters_in_other_languages_do_here_what_they_do_in_envoy";
    let built = RUNTIMES.iter().map(|runtime| (runtime.name, assemblyscript(runtime))).chain([("go", go())]);
    let mut filters = Vec::new();
    for (name, module) in built {
        match module {
            Ok(module) => filters.push(filter(name, &module)),
            Err(why) => eprintln!("SKIPPED: {test}: {name}: {why}"),
        }
    }
    if filters.is_empty() {
        return;
    }
    let both = Both::start(test, &filters, &[("origin", envoy::origin())]);
    let mut rows = Vec::new();
    for (name, (theirs, ours)) in &both.addresses {
        for (path, status, header) in [("/plain", "200", "x-sdk-response: plugin configuration"), ("/reply", "403", "")]
        {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
            let answer = exchange(*ours, &request);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(header),
                "{name}{path}: {answer}"
            );
            rows.push((format!("{name}{path}"), theirs.map(|theirs| exchange(theirs, &request)), answer));
        }
    }
    equal(&rows);
}
