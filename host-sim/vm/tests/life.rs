//! A plugin from load to death: what is refused, what a trap costs, what is bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{rc::Rc, time::Instant};

use bytes::Bytes;
use support::*;
use vm::{
    Admission, CheckError, Engine, EngineConfig, Event, FailurePolicy, Fidelity, Limits, LoadError, NoInfo,
    PluginConfig, Shared, StartError, StreamId, TrapReason, Verdict, Vm,
};

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = load_text(text).expect_err("a refusal").to_string();
    assert!(error.starts_with(expected), "{error}");
}

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const MALLOC: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 1024))"#;
const MARKER: &str = r#"(func (export "proxy_abi_version_0_2_1"))"#;

#[test]
fn a_module_that_envoy_refuses_is_refused_in_envoys_words() {
    refused(&format!("(module {MEMORY} {MALLOC})"), "Missing or unknown Proxy-Wasm ABI version");
    refused(
        &format!(r#"(module {MEMORY} {MALLOC} (func (export "proxy_abi_version_0_3_0")))"#),
        "Missing or unknown Proxy-Wasm ABI version: the module exports proxy_abi_version_0_3_0",
    );
    refused(&format!("(module {MEMORY} {MARKER})"), "Wasm module is missing malloc function.");
    refused(&format!("(module {MALLOC} {MARKER})"), "the module does not export a memory");
    refused(
        &format!(r#"(module (import "env" "proxy_fly" (func)) {MEMORY} {MALLOC} {MARKER})"#),
        "Failed to load Wasm module due to a missing import: env.proxy_fly",
    );
    refused(
        &format!(r#"(module (import "env" "x" (global i32)) {MEMORY} {MALLOC} {MARKER})"#),
        "Failed to load Wasm module due to a missing import: env.x",
    );
    refused(
        &format!(r#"(module (import "env" "memory" (memory 1)) {MALLOC} {MARKER})"#),
        "the module imports its memory",
    );
    refused(
        &format!(
            r#"(module {MEMORY} {MALLOC} {MARKER} (func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0)))"#
        ),
        "Bad function signature for: proxy_on_request_headers, want: i32 i32 i32 -> i32, but the module exports: i32 i32 -> i32",
    );
}

#[test]
fn features_that_widen_the_attack_surface_are_refused() {
    for (what, text) in [
        ("threads", "(memory (export \"memory\") 1 1 shared)"),
        ("memory64", "(memory (export \"memory\") i64 1)"),
        ("two memories", "(memory (export \"memory\") 1) (memory 1)"),
    ] {
        refused(&format!("(module {text} {MALLOC} {MARKER})"), "Failed to load Wasm bytecode");
        let _ = what;
    }
    assert!(ENGINE.load(b"not wasm").is_err());
}

#[test]
fn compiled_code_is_found_again_and_broken_files_are_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(module_text("", "")).unwrap();
    let load =
        || Engine::new(EngineConfig { cache_dir: Some(folder.path().join("cache")) }).unwrap().load(&wasm).unwrap();
    load();
    let files = || {
        std::fs::read_dir(folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let [file] = &files()[..] else { panic!("{:?}", files()) };
    let good = std::fs::read(file).unwrap();
    let mut broken = good.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    std::fs::write(file, &broken).unwrap();
    start(&load());
    assert_eq!(std::fs::read(file).unwrap(), good, "the broken file was replaced");
    start(&load());
}

#[test]
fn a_refused_start_carries_the_modules_log() {
    let log = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let refuses = |callback: &str| {
        format!(
            r#"(data (i32.const 0) "rules[0]: no\nforged") (func (export "{callback}") (param i32 i32) (result i32) (drop (call $log (i32.const 4) (i32.const 0) (i32.const 19))) (i32.const 0))"#
        )
    };
    let (result, _) = start_with(&load(log, &refuses("proxy_on_configure")), config());
    let Err(StartError::ConfigureRefused { log: lines }) = &result else { panic!("{:?}", result.err()) };
    assert_eq!(lines[0].text, "rules[0]: no\\nforged");
    let (result, _) = start_with(&load(log, &refuses("proxy_on_vm_start")), config());
    assert!(matches!(result, Err(StartError::StartRefused { .. })));
    let wasm = wat::parse_str(module_text(log, &refuses("proxy_on_configure"))).unwrap();
    let error = vm::check(&ENGINE, &wasm, config(), Box::new(Still::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the module refused its configuration: proxy_on_configure returned false\n  module: [error] rules[0]: no\\nforged"
    );
    assert!(matches!(
        vm::check(&ENGINE, b"", config(), Box::new(Still::default())),
        Err(CheckError::Load(LoadError::Invalid(_) | LoadError::UnknownAbi { .. }))
    ));
}

#[test]
fn a_start_that_traps_loops_or_needs_too_much_is_refused() {
    let limits = Limits { start_deadline: std::time::Duration::from_millis(20), ..Limits::default() };
    let reason = |body: &str| {
        let (result, _) = start_with(&load("", body), PluginConfig { limits, ..config() });
        result.err().expect("a refusal").to_string()
    };
    assert!(
        reason(r#"(func (export "_start") unreachable)"#)
            .starts_with("Function: _start failed: Uncaught RuntimeError: unreachable")
    );
    assert!(
        reason(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (loop (br 0)) (i32.const 1))"#)
            .contains("its CPU time is used up")
    );
    assert!(reason(r#"(func $s (loop (br 0))) (start $s)"#).starts_with("Failed to create new Wasm instance"));
    let huge = format!("(module (memory (export \"memory\") 4096) {MALLOC} {MARKER})");
    let (result, _) = start_with(&load_text(&huge).unwrap(), config());
    assert!(result.err().unwrap().to_string().contains("it needs more than the 67108864 bytes of memory"));
}

#[test]
fn the_host_cannot_be_called_while_code_initialises_or_memory_is_allocated() {
    let text = |body: &str| {
        format!(
            r#"(module (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32))) {MEMORY} {MARKER} {body})"#
        )
    };
    let start_of =
        |body: &str| start_with(&load_text(&text(body)).unwrap(), config()).0.err().map(|error| error.to_string());
    let error =
        start_of(&format!(r#"{MALLOC} (func (export "_initialize") (drop (call $now (i32.const 0))))"#)).unwrap();
    assert!(error.contains("restricted_callback (env.proxy_get_current_time_nanoseconds)"), "{error}");
    // An allocator that calls the host is met when the host needs memory.
    let allocator = r#"(data (i32.const 0) "plugin_name")
        (func (export "malloc") (param i32) (result i32) (drop (call $now (i32.const 64))) (i32.const 1024))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $property (i32.const 0) (i32.const 11) (i32.const 32) (i32.const 36)))"#;
    let imports = r#"(import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32))) (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))"#;
    let error = start_with(&load_text(&format!("(module {imports} {MEMORY} {MARKER} {allocator})")).unwrap(), config())
        .0
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("proxy_on_configure failed: Uncaught Error: restricted_callback"), "{error}");
}

/// Traps on `POST`, loops on `PUT`, grows without end on `DELETE`; reads the first two bytes of `:method` to know.
fn fragile() -> vm::Module {
    load(
        r#"(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 0) ":method")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (local $second i32)
                (drop (call $get (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 16) (i32.const 20)))
                (local.set $second (i32.load8_u offset=1 (i32.load (i32.const 16))))
                (if (i32.eq (local.get $second) (i32.const 79)) (then unreachable))
                (if (i32.eq (local.get $second) (i32.const 85)) (then (loop (br 0))))
                (if (i32.eq (i32.load8_u (i32.load (i32.const 16))) (i32.const 68)) (then (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
                (i32.const 0))"#,
    )
}

fn vm_with(failure: FailurePolicy, fidelity: Fidelity) -> (Vm, Still) {
    let (vm, world) = start_with(&fragile(), PluginConfig { failure, fidelity, ..config() });
    (vm.unwrap(), world)
}

fn ask(vm: &mut Vm, method: &str) -> &'static str {
    let id = match vm.create_stream(Rc::new(NoInfo)) {
        Admission::Stream(id) => id,
        Admission::Bypass => return "bypassed",
        Admission::Fail => return "503",
    };
    let mut head = request(&[]);
    head[2].1 = Bytes::copy_from_slice(method.as_bytes());
    let outcome = vm.on_request_headers(id, head, true);
    assert!(outcome.released.headers.is_some(), "the head comes back");
    vm.on_done(id);
    match outcome.verdict {
        Verdict::Continue => "200",
        Verdict::Fail => "503",
        other => panic!("{other:?}"),
    }
}

#[test]
fn policies_answer_as_envoy_does() {
    let reload = FailurePolicy::Reload { backoff: std::time::Duration::from_secs(1) };
    for (policy, trapping, after, later) in [
        (FailurePolicy::Closed, "503", "503", "503"),
        (FailurePolicy::Open, "503", "bypassed", "bypassed"),
        (FailurePolicy::LegacyOpen, "200", "bypassed", "bypassed"),
        (reload, "503", "503", "200"),
    ] {
        let (mut vm, world) = vm_with(policy, Fidelity::Envoy);
        assert_eq!(ask(&mut vm, "GET"), "200", "{policy:?}");
        assert_eq!(ask(&mut vm, "POST"), trapping, "{policy:?}: the request that traps");
        assert_eq!(ask(&mut vm, "GET"), after, "{policy:?}: the next");
        world.advance(1500);
        assert_eq!(ask(&mut vm, "GET"), later, "{policy:?}: after the back-off");
    }
}

#[test]
fn hardened_a_trap_costs_exactly_the_request_that_caused_it() {
    for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::LegacyOpen] {
        let (mut vm, _) = vm_with(policy, Fidelity::Hardened);
        for _ in 0..3 {
            assert_eq!(
                (ask(&mut vm, "GET"), ask(&mut vm, "POST"), ask(&mut vm, "GET")),
                ("200", "503", "200"),
                "{policy:?}"
            );
        }
        assert_eq!(vm.reload_stats().success, 3);
    }
}

#[test]
fn a_loop_ends_at_its_deadline_and_memory_at_its_limit() {
    let (mut vm, world) = vm_with(FailurePolicy::Closed, Fidelity::Hardened);
    let begun = Instant::now();
    assert_eq!(ask(&mut vm, "PUT"), "503");
    assert!(begun.elapsed().as_millis() >= 30, "not before most of the 50 ms are used");
    assert_eq!(vm.last_trap().map(|trap| &trap.reason), Some(&TrapReason::Deadline));
    assert_eq!(ask(&mut vm, "DELETE"), "503");
    assert!(
        matches!(vm.last_trap().map(|trap| &trap.reason), Some(TrapReason::OutOfMemory(_))),
        "{:?}",
        vm.last_trap()
    );
    assert_eq!(ask(&mut vm, "GET"), "200");
    assert!(vm.memory_bytes() <= Limits::default().memory);
    assert!(world.log()[0].contains("wasm plugin test.plugin: Function: proxy_on_request_headers failed: its CPU time is used up (Envoy would hang)"), "{:?}", world.log());
}

/// Pauses every `GET`, traps on `POST`.
fn pauser() -> vm::Module {
    load(
        r#"(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
           (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 0) ":method") (data (i32.const 32) "x-seen")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $get (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 16) (i32.const 20)))
                (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 16))) (i32.const 79)) (then unreachable))
                (drop (call $add (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 32) (i32.const 1)))
                (i32.const 1))"#,
    )
}

fn paused(vm: &mut Vm) -> StreamId {
    let id = stream(vm);
    assert!(matches!(vm.on_request_headers(id, request(&[]), true).verdict, Verdict::Pause(_)));
    id
}

#[test]
fn hardened_a_waiting_request_starts_again_in_the_fresh_vm_and_twice_is_too_often() {
    let (vm, _) = start_with(&pauser(), PluginConfig { fidelity: Fidelity::Hardened, ..config() });
    let mut vm = vm.unwrap();
    let id = paused(&mut vm);
    assert_eq!(ask(&mut vm, "POST"), "503");
    assert!(vm.take_events().is_empty(), "it waits again, in the fresh VM");
    let released = vm.reclaim(id, vm::Direction::Request);
    assert_eq!(text(&released.headers.unwrap()).matches("x-seen").count(), 1, "it was shown its head as it came");
    let id = paused(&mut vm);
    assert_eq!(ask(&mut vm, "POST"), "503");
    assert!(vm.take_events().is_empty());
    assert_eq!(ask(&mut vm, "POST"), "503");
    let events = vm.take_events();
    assert!(matches!(&events[..], [Event::Fail { stream, .. }] if *stream == id), "{events:?}");
}

#[test]
fn as_envoy_streams_in_flight_get_503_at_their_next_callback() {
    let (vm, _) = start_with(&pauser(), config());
    let mut vm = vm.unwrap();
    let id = paused(&mut vm);
    assert_eq!(ask(&mut vm, "POST"), "503");
    assert!(vm.take_events().is_empty(), "it waits for its own timeout");
    let outcome = vm.on_request_body(id, Bytes::from_static(b"x"), true);
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.released.headers.is_some(), "what was held comes back");
    vm.on_done(id);
}

#[test]
fn shared_things_outlive_a_vm() {
    let set = r#"(import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#;
    let module = load(
        set,
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $set (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 8) (i32.const 0))) (i32.const 1))"#,
    );
    let shared = Shared::default();
    drop(Vm::start(&module, config(), &shared, Box::new(Still::default())).unwrap());
    assert_eq!(shared.data().get(b"", b"\0\0\0\0").map(|data| data.value.len()), Some(8));
}
