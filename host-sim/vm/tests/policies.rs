//! What a trap costs under each failure policy: in the real Envoy, and here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use support::{
    envoy::{self, Envoy, Filter},
    *,
};
use vm::{Admission, FailurePolicy, NoInfo, PluginConfig, Shared, Verdict, Vm};

/// A name, what Envoy's configuration says, what ours says.
fn policies() -> Vec<(&'static str, serde_json::Value, FailurePolicy)> {
    // The back-off runs from the last load, which is the start: one is over long before the trap, the other never is.
    let reload = |interval: &str| json!({"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": interval}}});
    vec![
        ("unset", json!({}), FailurePolicy::default()),
        ("closed", json!({"failure_policy": "FAIL_CLOSED"}), FailurePolicy::Closed),
        ("open", json!({"failure_policy": "FAIL_OPEN"}), FailurePolicy::Open),
        ("legacy-open", json!({"fail_open": true}), FailurePolicy::LegacyOpen),
        ("reload-soon", reload("0.002s"), FailurePolicy::Reload { backoff: Duration::from_millis(2) }),
        ("reload-late", reload("600s"), FailurePolicy::Reload { backoff: Duration::from_secs(600) }),
    ]
}

#[test]
fn a_trap_costs_what_it_costs_in_envoy() {
    let Some(binary) = envoy::binary("a_trap_costs_what_it_costs_in_envoy") else { return };
    let module = envoy::build_module("sdk-filter");
    let filters: Vec<Filter> = policies()
        .into_iter()
        .map(|(name, extra, _)| {
            // A VM of its own: a trap kills all plugins of a VM.
            let mut config = envoy::plugin(&module, name);
            config["configuration"]["value"] = json!("trap");
            config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            Filter { listener: name.to_owned(), config }
        })
        .collect();
    let envoy = Envoy::start(&binary, &filters, envoy::origin());
    let wasm = std::fs::read(&module).unwrap();
    for (name, _, policy) in policies() {
        let address = envoy.listener(name);
        let get = |path: &str| {
            envoy::exchange(
                address,
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
                envoy::PATIENCE,
            )
            .0
        };
        let theirs = [get("/"), get("/trap"), get("/"), get("/")];
        assert_eq!(theirs, ours(&wasm, policy), "{name}");
    }
}

fn ours(wasm: &[u8], failure: FailurePolicy) -> [String; 4] {
    let world = Still::default();
    let config = PluginConfig {
        name: "test.trap".to_owned(),
        configuration: Bytes::from_static(b"trap"),
        failure,
        ..PluginConfig::default()
    };
    let mut vm = Vm::start(&ENGINE.load(wasm).unwrap(), config, &Shared::default(), Box::new(world.clone())).unwrap();
    world.advance(1000);
    ["/", "/trap", "/", "/"].map(|path| {
        let id = match vm.create_stream(Rc::new(NoInfo)) {
            Admission::Stream(id) => id,
            Admission::Bypass => return "200".to_owned(),
            Admission::Fail => return "503".to_owned(),
        };
        let mut head = request(&[]);
        head[1].1 = Bytes::copy_from_slice(path.as_bytes());
        let outcome = vm.on_request_headers(id, head, true);
        vm.on_done(id);
        if outcome.verdict == Verdict::Continue { "200" } else { "503" }.to_owned()
    })
}

/// The functions on the stack, as the log names them, innermost first.
fn backtrace(log: &[String]) -> Vec<String> {
    let lines = log.iter().map(|line| line.trim_start_matches("[error] "));
    let frames = lines.skip_while(|line| *line != "Proxy-Wasm plugin in-VM backtrace:").skip(1);
    frames.map_while(|line| line.split_once(" - ").map(|(_, name)| name.to_owned())).collect()
}

#[test]
fn the_log_says_where_a_trap_was_as_envoys_does() {
    let text = module_text(
        "",
        r#"(func $inner (unreachable)) (func $"my_filter::outer" (call $inner))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $"my_filter::outer") (i32.const 0))"#,
    );
    let wasm = wat::parse_str(text).unwrap();
    let (mut vm, world) = start(&ENGINE.load(&wasm).unwrap());
    let id = stream(&mut vm);
    assert_eq!(vm.on_request_headers(id, request(&[]), true).verdict, Verdict::Fail);
    let ours = backtrace(&world.log());
    assert_eq!(ours[..2], ["inner", "my_filter::outer"]);
    assert!(ours[2].starts_with("unknown(function index:"), "{ours:?}");
    let Some(binary) = envoy::binary("the_log_says_where_a_trap_was_as_envoys_does") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trap.wasm");
    std::fs::write(&file, &wasm).unwrap();
    let filter = Filter { listener: "trap".to_owned(), config: envoy::plugin(&file, "trap") };
    let envoy = Envoy::start(&binary, &[filter], envoy::origin());
    envoy::exchange(envoy.listener("trap"), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", envoy::PATIENCE);
    assert_eq!(ours, backtrace(&envoy.lines_until(|line| line.contains("unknown(function index"))));
}
