//! The three versions of the ABI, and capabilities a plugin is not given.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use support::*;
use vm::{AbiVersion, Event, LoadError, PluginConfig, Verdict};

fn text(version: &str, imports: &str, body: &str) -> String {
    module_text(imports, body).replace("proxy_abi_version_0_2_1", version)
}

/// Reads a header that is not there, and tells by its answer what came: 403 for "found", 404 for "not found".
const MISSING: (&str, &str) = (
    r#"(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
       (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#,
    r#"(data (i32.const 0) "x-missing")
       (func $ask (result i32)
            (drop (call $reply (i32.add (i32.const 403) (call $get (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20)))
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
            (i32.const 1))"#,
);

#[track_caller]
fn a_missing_header_is(version: &str, params: &str, expected: u32) {
    let body = format!(
        r#"{} (func (export "proxy_on_request_headers") (param {params}) (result i32) (call $ask))"#,
        MISSING.1
    );
    let (mut vm, _) = start(&load_text(&text(version, MISSING.0, &body)).unwrap());
    let id = stream(&mut vm);
    let outcome = vm.on_request_headers(id, request(&[]), true);
    assert!(
        matches!(&outcome.verdict, Verdict::Reply(reply) if reply.status == expected),
        "{version}: {:?}",
        outcome.verdict
    );
}

#[test]
fn a_missing_header_is_empty_in_the_first_version_and_not_found_since() {
    a_missing_header_is("proxy_abi_version_0_1_0", "i32 i32", 403);
    a_missing_header_is("proxy_abi_version_0_2_0", "i32 i32 i32", 404);
    a_missing_header_is("proxy_abi_version_0_2_1", "i32 i32 i32", 404);
}

#[test]
fn headers_callbacks_have_the_signature_of_their_version() {
    let callback = |params: &str| {
        format!(r#"(func (export "proxy_on_response_headers") (param {params}) (result i32) (i32.const 0))"#)
    };
    for (version, params, good) in [
        ("proxy_abi_version_0_1_0", "i32 i32", true),
        ("proxy_abi_version_0_1_0", "i32 i32 i32", false),
        ("proxy_abi_version_0_2_0", "i32 i32 i32", true),
        ("proxy_abi_version_0_2_1", "i32 i32", false),
    ] {
        let loaded = load_text(&text(version, "", &callback(params)));
        assert_eq!(loaded.is_ok(), good, "{version} ({params}): {:?}", loaded.err());
    }
}

#[test]
fn the_first_version_reads_its_configuration_and_resumes_in_its_own_way() {
    let imports = r#"(import "env" "proxy_get_configuration" (func $configuration (param i32 i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
        (import "env" "proxy_continue_request" (func $continue (result i32)))"#;
    // Configured only if the configuration's five bytes are what it reads; the VM's are three.
    let body = r#"(func $size (result i32) (drop (call $configuration (i32.const 0) (i32.const 4))) (i32.load (i32.const 4)))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.eq (call $size) (i32.const 3)))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 5))) (i32.eq (call $size) (i32.const 5)))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (drop (call $effective (i32.const 2))) (drop (call $continue)))"#;
    let module = load_text(&text("proxy_abi_version_0_1_0", imports, body)).unwrap();
    assert_eq!(module.abi_version(), AbiVersion::V0_1_0);
    let configured = PluginConfig { vm_configuration: "one".into(), configuration: "three".into(), ..config() };
    let mut vm = start_with(&module, configured).0.unwrap();
    let id = stream(&mut vm);
    assert!(matches!(vm.on_request_headers(id, request(&[]), true).verdict, Verdict::Pause(_)));
    vm.take_events();
    vm.on_tick();
    assert!(matches!(&vm.take_events()[..], [Event::Resume { .. }]));
}

#[test]
fn an_import_of_another_version_is_refused_and_named_as_such() {
    let import = r#"(import "env" "proxy_get_log_level" (func (param i32) (result i32)))"#;
    let error = load_text(&text("proxy_abi_version_0_2_0", import, "")).unwrap_err();
    assert!(
        matches!(&error, LoadError::MissingImport { name, other_version: true, .. } if name == "proxy_get_log_level")
    );
    assert!(load_text(&text("proxy_abi_version_0_2_1", import, "")).is_ok());
}

#[test]
fn a_capability_that_is_not_given_is_a_stub_and_a_callback_that_is_not_given_is_not_called() {
    let imports = r#"(import "env" "proxy_get_log_level" (func $level (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))"#;
    // Configured only if the stubs answer as Envoy's do: internal failure, not capable.
    let body = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.and (i32.eq (call $level (i32.const 0)) (i32.const 10)) (i32.eq (call $clock (i32.const 0) (i64.const 0) (i32.const 0)) (i32.const 76))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)"#;
    let allowed = Some(["proxy_on_configure".to_owned(), "proxy_log".to_owned()].into());
    let (vm, world) = start_with(&load(imports, body), PluginConfig { allowed_capabilities: allowed, ..config() });
    let mut vm = vm.unwrap();
    assert!(world.log()[0].contains("Attempted call to restricted proxy-wasm capability: proxy_get_log_level"));
    let id = stream(&mut vm);
    assert_eq!(vm.on_request_headers(id, request(&[]), true).verdict, Verdict::Continue);
}
