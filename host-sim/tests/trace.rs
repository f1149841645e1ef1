//! A run on record, from outside: `run --trace`, `replay`, and that a seed makes the run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop");

/// Adds a header with eight dice to every request: `x-dice`, or whatever is four letters behind `x-`.
fn module(name: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 256) "x-{name}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (local $at i32)
                (drop (call $random (i32.const 16) (i32.const 8)))
                (loop $letters
                    (i32.store8 (i32.add (i32.const 16) (local.get $at))
                        (i32.add (i32.const 97) (i32.rem_u (i32.load8_u (i32.add (i32.const 16) (local.get $at))) (i32.const 26))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $letters (i32.lt_u (local.get $at) (i32.const 8))))
                (drop (call $add (i32.const 0) (i32.const 256) (i32.const 6) (i32.const 16) (i32.const 8)))
                (i32.const 0)))"#
    ))
    .unwrap()
}

/// The bundled example with that module as its only plugin.
fn example() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(EXAMPLE).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let plugin = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: dice, namespace: istio-system}\nspec:\n  url: file://dice.wasm\n";
    std::fs::write(folder.path().join("wasmplugin.yaml"), plugin).unwrap();
    std::fs::write(folder.path().join("dice.wasm"), module("dice")).unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}

/// A running gateway; stopped and reaped however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the example with a seed, asks a few times over one connection, stops; the answers, and the lines of the trace.
fn recorded(folder: &Path, seed: &str) -> (Vec<String>, PathBuf) {
    let trace = folder.join(format!("trace-{seed}.jsonl"));
    let module = format!("dice={}", folder.join("dice.wasm").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
    command.args(["run", "-f"]).arg(folder).args(["--wasm", &module, "--seed", seed, "--workers", "1", "--trace"]);
    command.arg(&trace).args(["--port-map", "80=0", "--admin", "127.0.0.1:0"]).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let (mut said, mut byte) = (String::new(), [0]);
    let mut pipe = running.0.stderr.take().unwrap();
    while !said.contains("port 80 on 127.0.0.1:") || !said.ends_with('\n') {
        assert_eq!(pipe.read(&mut byte).unwrap(), 1, "ended early: {said}");
        said.push(byte[0].into());
    }
    let address = said.split_once("port 80 on ").unwrap().1.lines().next().unwrap();
    let answers = (0..3).map(|_| ask(address)).collect();
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    (answers, trace)
}

/// What the origin saw of a request, as the echo backend tells it.
fn ask(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    body.to_owned()
}

fn host_sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-sim")).args(args).output().unwrap()
}

/// The lines of a trace, without the readings of the clock: time is what passes, also under a seed.
fn timeless(trace: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(trace).unwrap();
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| line["asked"] != "now" && line["asked"] != "monotonic");
    lines.iter_mut().for_each(stop_the_clock);
    lines
}

fn stop_the_clock(value: &mut Value) {
    match value {
        Value::Array(items) => {
            if let [name, reading] = items.as_mut_slice()
                && ["date", "x-envoy-upstream-service-time"].map(Value::from).contains(name)
            {
                *reading = Value::Null;
            }
            items.iter_mut().for_each(stop_the_clock);
        }
        Value::Object(fields) => fields.values_mut().for_each(stop_the_clock),
        _ => {}
    }
}

fn header<'v>(body: &'v str, name: &str) -> Option<&'v str> {
    body.split_once(&format!("\"{name}\""))?.1.split('"').nth(1)
}

#[test]
fn a_seed_makes_the_run_and_another_seed_another() {
    let (_keep, folder) = example();
    let (one, first) = recorded(&folder, "7");
    let lines = timeless(&first);
    let (again, second) = recorded(&folder, "7");
    for (one, again) in lines.iter().zip(timeless(&second)) {
        let start = one["record"] == "start";
        assert!(start || *one == again, "{one}\n{again}");
    }
    assert_eq!(lines.len(), timeless(&second).len());
    let (other, _) = recorded(&folder, "8");
    for (one, again) in one.iter().zip(&again) {
        for name in ["x-dice", "x-request-id"] {
            assert!(header(one, name).is_some(), "no {name}: {one}");
            assert_eq!(header(one, name), header(again, name));
        }
    }
    assert_ne!(header(&one[0], "x-dice"), header(&one[1], "x-dice"));
    assert_ne!(header(&one[0], "x-dice"), header(&other[0], "x-dice"));
}

#[test]
fn a_trace_runs_again_and_is_equal_and_another_build_differs_where_it_first_does() {
    let (_keep, folder) = example();
    let (_, trace) = recorded(&folder, "1");
    let trace = trace.to_str().unwrap();
    let equal = host_sim(&["replay", trace]);
    let said = String::from_utf8_lossy(&equal.stdout).into_owned();
    assert_eq!(equal.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&equal.stderr));
    assert!(said.contains("plugin istio-system.dice on worker 0") && said.contains("equal"), "{said}");

    let other = folder.join("other.wasm");
    std::fs::write(&other, module("lots")).unwrap();
    for name in ["dice", "istio-system/dice", "istio-system.dice"] {
        let named = format!("{name}={}", other.display());
        let differs = host_sim(&["replay", trace, "--wasm", &named, "-o", "json"]);
        assert_eq!(differs.status.code(), Some(1), "{name}: {differs:?}");
        let answer: Value = serde_json::from_slice(&differs.stdout).unwrap();
        let first = &answer["runs"][0]["differences"][0];
        assert_eq!(first["recorded"]["arguments"]["key"], "x-dice", "{answer}");
        assert_eq!(first["now"]["arguments"]["key"], "x-lots", "{answer}");
        let line = usize::try_from(first["line"].as_u64().unwrap()).unwrap();
        let text = std::fs::read_to_string(trace).unwrap();
        assert!(text.lines().nth(line - 1).unwrap().contains("x-dice"));
        assert_eq!(answer["runs"][0]["same_module"], false);
    }

    std::fs::remove_file(folder.join("dice.wasm")).unwrap();
    let lost = host_sim(&["replay", trace]);
    assert_eq!(lost.status.code(), Some(5), "{lost:?}");
    assert!(String::from_utf8_lossy(&lost.stderr).contains("--wasm istio-system.dice=FILE"), "{lost:?}");
}

#[test]
fn what_is_no_trace_is_refused_and_a_file_that_cannot_be_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    for text in
        ["", "kind: Gateway\n", "{\"plugin\":\"a\",\"worker\":0,\"vm\":0,\"record\":\"entry\",\"entry\":\"tick\"}\n"]
    {
        std::fs::write(&file, text).unwrap();
        assert_eq!(host_sim(&["replay", file.to_str().unwrap()]).status.code(), Some(2), "{text}");
    }
    assert_eq!(host_sim(&["replay", "no-such-trace"]).status.code(), Some(5));
    let nowhere = folder.path().join("no/such/folder");
    let ports = ["--port-map", "80=0", "--admin", "127.0.0.1:0", "--trace", nowhere.to_str().unwrap()];
    let (_keep, example) = example();
    let module = format!("dice={}", example.join("dice.wasm").display());
    let run = host_sim(&[&["run", "-f", example.to_str().unwrap(), "--wasm", &module][..], &ports].concat());
    assert_eq!(run.status.code(), Some(5), "{run:?}");
}
