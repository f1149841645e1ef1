//! A run on record is played again, and says where another build of the module differs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use support::*;
use vm::{Admission, ClusterState, Direction, Event, HttpCallResponse, LogMaps, Record, Shared, TraceSink, Value, Vm};

const IMPORTS: &str = r#"
    (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_shared_data" (func $shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_http_call" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))"#;

/// Writes clock, dice, an attribute and a shared value into headers, calls a cluster, and goes on with the answer.
fn source(header: &str) -> String {
    module_text(
        IMPORTS,
        &format!(
            r#"(data (i32.const 256) "{header}") (data (i32.const 272) "source\00address") (data (i32.const 304) "key") (data (i32.const 320) "origin")
            (data (i32.const 512) "\03\00\00\00\05\00\00\00\01\00\00\00\07\00\00\00\03\00\00\00\0a\00\00\00\01\00\00\00:path\00/\00:method\00GET\00:authority\00a\00")
            (global $stream (mut i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
                (global.set $stream (local.get $id))
                (drop (call $now (i32.const 0))) (drop (call $random (i32.const 8) (i32.const 8)))
                (drop (call $add (i32.const 0) (i32.const 256) (i32.const 5) (i32.const 0) (i32.const 16)))
                (drop (call $property (i32.const 272) (i32.const 14) (i32.const 32) (i32.const 36)))
                (drop (call $add (i32.const 0) (i32.const 256) (i32.const 5) (i32.load (i32.const 32)) (i32.load (i32.const 36))))
                (drop (call $shared (i32.const 304) (i32.const 3) (i32.const 32) (i32.const 36) (i32.const 40)))
                (drop (call $share (i32.const 304) (i32.const 3) (i32.const 0) (i32.const 8) (i32.load (i32.const 40))))
                (drop (call $add (i32.const 0) (i32.const 256) (i32.const 5) (i32.load (i32.const 32)) (i32.load (i32.const 36))))
                (drop (call $http (i32.const 320) (i32.const 6) (i32.const 512) (i32.const 61) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 44)))
                (i32.const 1))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
                (drop (call $effective (global.get $stream))) (drop (call $continue (i32.const 0))))"#
        ),
    )
}

fn bytes(header: &str) -> Vec<u8> {
    wat::parse_str(source(header)).unwrap()
}

/// The module run once in a world that moves, and the lines that were recorded.
fn recorded(header: &str) -> Vec<String> {
    let module = ENGINE.load(&bytes(header)).unwrap();
    let lines: Rc<RefCell<Vec<String>>> = Rc::default();
    let kept = lines.clone();
    let sink: TraceSink =
        Rc::new(RefCell::new(move |record: &Record| kept.borrow_mut().push(serde_json::to_string(record).unwrap())));
    let world = Still::default();
    world.0.borrow_mut().clusters.insert(b"origin".to_vec(), ClusterState::Ready);
    let shared = Shared::default();
    shared.data().set(b"", b"key", b"left by another worker", 0).unwrap();
    let mut vm = Vm::start_traced(&module, config(), &shared, Box::new(world.clone()), sink).unwrap();
    let mut info = Info::default();
    info.attributes.insert("source.address", Value::text("10.0.0.1:1234"));
    let Admission::Stream(id) = vm.create_stream(Rc::new(info)) else { panic!("no stream") };
    world.advance(5);
    let _ = vm.on_request_headers(id, request(&[("x-\u{e9}", "1")]), true);
    let events = vm.take_events();
    let [Event::HttpCall { call, .. }] = &events[..] else { panic!("{events:?}") };
    vm.on_http_call_response(
        *call,
        HttpCallResponse::Response {
            headers: headers(&[(":status", "200")]),
            body: Bytes::from_static(b"\xff"),
            trailers: Vec::new(),
        },
    );
    let events = vm.take_events();
    let [Event::Resume { released, direction: Direction::Request, .. }] = &events[..] else { panic!("{events:?}") };
    let maps = LogMaps { request_headers: released.headers.clone(), ..LogMaps::default() };
    vm.on_log(id, maps);
    vm.on_done(id);
    drop(vm);
    lines.borrow().clone()
}

fn parsed(lines: &[String]) -> Vec<Record> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn the_same_module_does_the_same_again_in_another_world() {
    let lines = recorded("x-one");
    assert!(lines.len() > 20, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains('\n')));
    let trace = parsed(&lines);
    assert_eq!(vm::replay(&ENGINE, &bytes("x-one"), &trace).unwrap(), []);
}

#[test]
fn another_build_differs_at_the_line_where_it_first_does_something_else() {
    let lines = recorded("x-one");
    let differences = vm::replay(&ENGINE, &bytes("x-two"), &parsed(&lines)).unwrap();
    let first = differences.first().expect("a difference");
    assert!(
        lines[first.line - 1].contains(r#""name":"proxy_add_header_map_value","arguments":{"key":"x-one""#),
        "{}",
        lines[first.line - 1]
    );
    assert!(
        matches!(&first.now, Some(Record::Hostcall { name, .. }) if name == "proxy_add_header_map_value"),
        "{first:?}"
    );
}

#[test]
fn a_trace_without_its_beginning_is_refused() {
    assert!(vm::replay(&ENGINE, &bytes("x-one"), &[]).is_err());
}
