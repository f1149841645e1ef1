//! A stream through a module: headers, bodies, replies, pauses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use bytes::Bytes;
use support::*;
use vm::{Direction, Event, Hold, Verdict};

const REPLACE: &str =
    r#"(import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))"#;

#[test]
fn a_filter_changes_headers_and_they_come_back() {
    let module = load(
        REPLACE,
        r#"(data (i32.const 0) "X-Mark") (data (i32.const 16) "yes")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $replace (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 16) (i32.const 3)))
                (i32.const 0))"#,
    );
    let (mut vm, _) = start(&module);
    let id = stream(&mut vm);
    let outcome = vm.on_request_headers(id, request(&[("x-mark", "forged"), ("accept", "*/*")]), true);
    assert_eq!(outcome.verdict, Verdict::Continue);
    assert!(outcome.released.route_cleared);
    assert_eq!(
        text(&outcome.released.headers.unwrap()),
        ":authority: a.example\n:path: /\n:method: GET\n:scheme: http\naccept: */*\nx-mark: yes\n"
    );
    vm.on_done(id);
    assert!(vm.take_events().is_empty());
}

#[test]
fn a_filter_without_callbacks_lets_everything_pass() {
    let (mut vm, _) = start(&load("", ""));
    let id = stream(&mut vm);
    let outcome = vm.on_request_headers(id, request(&[]), false);
    assert_eq!((outcome.verdict, outcome.released.headers), (Verdict::Continue, Some(request(&[]))));
    let outcome = vm.on_request_body(id, Bytes::from_static(b"abc"), true);
    assert_eq!((outcome.verdict, outcome.released.body), (Verdict::Continue, Bytes::from_static(b"abc")));
    let outcome = vm.on_response_headers(id, headers(&[(":status", "200")]), true);
    assert_eq!((outcome.verdict, outcome.released.headers), (Verdict::Continue, Some(headers(&[(":status", "200")]))));
}

#[test]
fn a_local_reply_wins_over_what_the_callback_returns() {
    let module = load(
        r#"(import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 0) "not so fast") (data (i32.const 16) "go away")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 11) (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 0))"#,
    );
    let (mut vm, _) = start(&module);
    let id = stream(&mut vm);
    let outcome = vm.on_request_headers(id, request(&[]), true);
    let Verdict::Reply(reply) = outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert_eq!(
        (reply.status, reply.details.as_str(), reply.body, reply.grpc_status),
        (403, "not_so_fast", Bytes::from_static(b"go away"), None)
    );
    assert_eq!(outcome.released.headers, Some(request(&[])));
}

/// Pauses requests, and resumes the first of them at the next tick.
const PAUSER: (&str, &str) = (
    r#"(import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
       (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
       (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))"#,
    r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 10))) (i32.const 1))
       (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
       (func (export "proxy_on_tick") (param i32) (drop (call $effective (i32.const 2))) (drop (call $continue (i32.const 0))))"#,
);

#[test]
fn a_paused_stream_goes_on_at_a_tick() {
    let (mut vm, _) = start(&load(PAUSER.0, PAUSER.1));
    assert!(matches!(vm.take_events()[..], [Event::TickPeriod(Some(period))] if period.as_millis() == 10));
    let id = stream(&mut vm);
    let outcome = vm.on_request_headers(id, request(&[]), true);
    assert_eq!((outcome.verdict, outcome.released.headers), (Verdict::Pause(Hold::All), None));
    vm.on_tick();
    let events = vm.take_events();
    let [Event::Resume { stream, direction: Direction::Request, released }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*stream, &released.headers), (id, &Some(request(&[]))));
    vm.on_tick();
    assert!(vm.take_events().is_empty(), "once is enough");
}

#[test]
fn a_body_is_gathered_while_the_callback_says_so() {
    let module = load(
        "",
        r#"(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
                (i32.eqz (local.get $end)))"#,
    );
    let (mut vm, _) = start(&module);
    let id = stream(&mut vm);
    assert_eq!(vm.on_request_headers(id, request(&[]), false).verdict, Verdict::Continue);
    assert_eq!(vm.on_request_body(id, Bytes::from_static(b"one "), false).verdict, Verdict::Pause(Hold::BodyAndBuffer));
    assert_eq!(vm.on_request_body(id, Bytes::from_static(b"two "), false).verdict, Verdict::Pause(Hold::BodyAndBuffer));
    assert_eq!(vm.buffered(id, Direction::Request), 8);
    let outcome = vm.on_request_body(id, Bytes::from_static(b"three"), true);
    assert_eq!((outcome.verdict, outcome.released.body), (Verdict::Continue, Bytes::from_static(b"one two three")));
}

#[test]
fn the_vm_can_go_to_another_thread_only_as_a_module() {
    fn shared_between_threads<T: Send + Sync + Clone>() {}
    shared_between_threads::<vm::Engine>();
    shared_between_threads::<vm::Module>();
    shared_between_threads::<vm::Shared>();
}
