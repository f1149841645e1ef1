//! The command line from outside: what it prints, where, and the exit codes that scripts depend on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use command::{code, host_sim, module, stderr};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop");

/// The bundled example in a folder of its own, without its plugin, one file changed.
fn example_with(file: &str, from: &str, to: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(EXAMPLE).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "wasmplugin.yaml" {
            continue;
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        if name == file {
            assert!(text.contains(from), "{file} has no {from:?}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().to_path_buf();
    (folder, path)
}

fn plain_example() -> (tempfile::TempDir, PathBuf) {
    example_with("", "", "")
}

#[test]
fn wrong_usage_exits_2_and_names_the_flag() {
    for args in [&["run"][..], &["run", "--no-such-flag"], &["run", "-f", "x", "--port-map", "80"], &["fly"]] {
        let output = host_sim(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_typo_is_refused_with_its_place_the_field_and_what_was_meant() {
    let (_keep, folder) = example_with("virtualservice.yaml", "weight: 90", "weigth: 90");
    let output = host_sim(&["run", "-f", folder.to_str().unwrap()]);
    let said = stderr(&output);
    assert_eq!(code(&output), 3, "{said}");
    let line = 1 + std::fs::read_to_string(folder.join("virtualservice.yaml"))
        .unwrap()
        .lines()
        .position(|line| line.contains("weigth"))
        .unwrap();
    assert!(said.contains(&format!("virtualservice.yaml:{line}:")), "no place in: {said}");
    for word in ["VirtualService shop/shop", "weigth", "weight"] {
        assert!(said.contains(word), "no {word} in: {said}");
    }
}

#[test]
fn every_problem_is_reported_not_the_first_alone() {
    let (_keep, folder) = example_with("virtualservice.yaml", "weight: 90", "weigth: 90");
    let rule = folder.join("destinationrule.yaml");
    let text = std::fs::read_to_string(&rule).unwrap();
    std::fs::write(&rule, text.replacen("  host: catalog\n", "  hots: catalog\n", 1)).unwrap();
    let output = host_sim(&["run", "-f", folder.to_str().unwrap()]);
    let said = stderr(&output);
    assert_eq!(code(&output), 3, "{said}");
    for word in ["weigth", "hots"] {
        assert!(said.contains(word), "no {word} in: {said}");
    }
}

#[test]
fn a_file_that_is_not_there_exits_5_by_name() {
    let output = host_sim(&["run", "-f", "no-such-file.yaml"]);
    assert_eq!(code(&output), 5);
    assert!(stderr(&output).contains("no-such-file.yaml"));
}

#[test]
fn a_taken_port_exits_5_and_names_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (_keep, folder) = plain_example();
    let map = format!("80={port}");
    let output = host_sim(&["run", "-f", folder.to_str().unwrap(), "--port-map", &map, "--admin", "127.0.0.1:0"]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).contains(&port.to_string()), "{}", stderr(&output));
    let admin = format!("127.0.0.1:{port}");
    let output = host_sim(&["run", "-f", folder.to_str().unwrap(), "--port-map", "80=0", "--admin", &admin]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).contains(&port.to_string()), "{}", stderr(&output));
}

#[test]
fn a_module_that_does_not_load_exits_4_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("bad.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let named = format!("header-match={}", module.display());
    let ports = ["--port-map", "80=0", "--admin", "127.0.0.1:0"];
    let output = host_sim(&[&["run", "-f", EXAMPLE, "--wasm", &named][..], &ports].concat());
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    assert!(stderr(&output).contains("header-match") && stderr(&output).contains("ABI version"), "{}", stderr(&output));
}

#[test]
fn a_plugin_without_a_module_is_named_with_the_flags_that_help() {
    let output = host_sim(&["run", "-f", EXAMPLE, "--port-map", "80=0", "--admin", "127.0.0.1:0"]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    for word in ["header-match", "--wasm-dir", "--wasm"] {
        assert!(stderr(&output).contains(word), "no {word} in: {}", stderr(&output));
    }
}

#[test]
fn the_envoy_bootstrap_goes_to_stdout_and_nothing_else_does() {
    let (_keep, folder) = plain_example();
    let output = host_sim(&["envoy", "-f", folder.to_str().unwrap(), "--port-map", "80=0"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let bootstrap: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let address = bootstrap.pointer("/static_resources/listeners/0/address/socket_address").unwrap();
    assert_eq!(address.get("address"), Some(&"127.0.0.1".into()));
    assert_eq!(address.get("port_value"), Some(&0.into()));
}

#[test]
fn labels_that_no_gateway_selects_are_warned_about() {
    let (_keep, folder) = plain_example();
    let folder = folder.display().to_string();
    for (labels, warned) in [("istio=ingressgateway", false), ("istio=egressgateway", true)] {
        let output = host_sim(&["routes", "-f", &folder, "--labels", labels]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(stderr(&output).contains("nobody listens"), warned, "{labels}: {}", stderr(&output));
    }
}

#[test]
fn who_stops_reading_an_answer_is_no_error_and_a_full_disk_is_one() {
    let (_keep, folder) = plain_example();
    let folder = folder.display().to_string();
    let module = module("header-match");
    let cases = format!("{EXAMPLE}/../shop-tests/cases.yaml");
    let to_images = tempfile::tempdir().unwrap();
    let image = to_images.path().join("image").display().to_string();
    let commands: [(&[&str], i32); 10] = [
        (&["envoy", "-f", &folder], 0),
        (&["routes", "-f", &folder], 0),
        (&["chain", "-f", &folder, "-o", "json"], 0),
        (&["explain", "-f", &folder, "http://shop.example.com/"], 0),
        (&["explain", "-f", &folder, "-o", "json", "http://shop.example.com/"], 0),
        (&["test", "-f", &folder, &cases], 1),
        (&["lint", "-f", &folder, "-o", "sarif"], 0),
        (&["inspect", &module], 0),
        (&["completions", "bash"], 0),
        (&["pack", &module, "-o", &image], 0),
    ];
    for (args, expected) in commands {
        let to = |file: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
            command.args(args).stdout(file).stderr(Stdio::piped()).output().unwrap()
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = to(writer.into());
        assert_eq!(code(&closed), expected, "{args:?}: {}", stderr(&closed));
        assert!(!stderr(&closed).contains("panicked"), "{args:?}: {}", stderr(&closed));
        std::fs::remove_dir_all(&image).ok();
        let full = to(std::fs::File::options().write(true).open("/dev/full").unwrap().into());
        assert_eq!(code(&full), 5, "{args:?}: {}", stderr(&full));
        assert!(stderr(&full).contains("standard output"), "{args:?}: {}", stderr(&full));
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = host_sim(&["completions", shell]);
        assert!(code(&output) == 0 && String::from_utf8_lossy(&output.stdout).contains("host-sim"), "{shell}");
    }
}

/// A running gateway; stopped and reaped however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sigterm_drains_and_exits_0() {
    let (_keep, folder) = plain_example();
    let mut running = Running(
        Command::new(env!("CARGO_BIN_EXE_host-sim"))
            .args(["run", "-f", folder.to_str().unwrap(), "--port-map", "80=0", "--admin", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = String::new();
    let mut pipe = running.0.stderr.take().unwrap();
    let mut byte = [0];
    while !said.contains("port 80 on 127.0.0.1:") || !said.ends_with('\n') {
        assert_eq!(pipe.read(&mut byte).unwrap(), 1, "ended early: {said}");
        said.push(byte[0].into());
    }
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn check_takes_a_good_configuration_and_refuses_a_bad_one_with_the_modules_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"rules": [{"name": "a", "headers": {"request": {"set": {"x-a": "b"}}}}]}"#).unwrap();
    let good = host_sim(&["check", &module("header-match"), "--config", config.to_str().unwrap()]);
    assert_eq!(code(&good), 0, "{}", stderr(&good));
    std::fs::write(&config, r#"{"rulse": []}"#).unwrap();
    let bad = host_sim(&["check", &module("header-match"), "--config", config.to_str().unwrap()]);
    assert_eq!(code(&bad), 4, "{}", stderr(&bad));
    assert!(stderr(&bad).contains("rulse"), "{}", stderr(&bad));
}

#[test]
fn inspect_says_what_a_module_is_and_what_envoy_would_refuse() {
    let good = host_sim(&["inspect", &module("header-match"), "-o", "json"]);
    assert_eq!(code(&good), 0, "{}", stderr(&good));
    let seen: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(seen["abi_version"], "0.2.1");
    assert_eq!(seen["refused"], serde_json::json!([]));
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.wasm");
    std::fs::write(&empty, b"\0asm\x01\0\0\0").unwrap();
    let bad = host_sim(&["inspect", empty.to_str().unwrap()]);
    assert_eq!(code(&bad), 4);
    assert!(stderr(&bad).contains("ABI version"), "{}", stderr(&bad));
}
