//! A module that means harm, in many ways: only to a request that has a header `x-evil`.

use super::module_text;

pub(crate) const IMPORTS: &str = r#"
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_http_call" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// Strings at fixed addresses: what the ways below name.
pub(crate) const DATA: &str = r#"
    (data (i32.const 256) "x-evil") (data (i32.const 272) "a\0d\0aset-cookie: b") (data (i32.const 304) "/a HTTP/1.1\0d\0ax: y") (data (i32.const 336) ":path")
    (data (i32.const 352) ":method") (data (i32.const 368) "G T") (data (i32.const 384) "content-length") (data (i32.const 400) "transfer-encoding")
    (data (i32.const 432) "chunked") (data (i32.const 448) "line\0aforged [error] \1b[31m line") (data (i32.const 496) "\ff\ff\ff\ff") (data (i32.const 512) "bad name")
    (data (i32.const 528) "uncompress") (data (i32.const 544) ":authority") (data (i32.const 560) "\01\00\00\00\00\00\00\80\00\00\00\80")"#;

/// What is done to a request, for each way to misbehave. Every one is in a request callback.
pub(crate) const WAYS: &[(&str, &str)] = &[
    ("traps", "unreachable"),
    ("overflows the stack", "(call $deep)"),
    ("loops", "(loop (br 0))"),
    ("loops through the host", "(loop (drop (call $log (i32.const 0) (i32.const 0) (i32.const 0))) (br 0))"),
    ("divides by zero", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
    ("reads out of bounds", "(drop (i32.load (i32.const 0x7fffffff)))"),
    ("calls nobody", "(call_indirect (i32.const 7))"),
    ("grows without end", "(loop (br_if 0 (i32.ne (memory.grow (i32.const 256)) (i32.const -1)))) unreachable"),
    (
        "grows the table without end",
        "(loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 100000)) (i32.const -1))))",
    ),
    ("exits", "(call $exit (i32.const 1)) unreachable"),
    (
        "passes a pointer out of range",
        "(drop (call $get (i32.const 0) (i32.const -16) (i32.const 100) (i32.const 0) (i32.const 4)))",
    ),
    (
        "passes a length out of range",
        "(drop (call $get (i32.const 0) (i32.const 336) (i32.const -1) (i32.const 0) (i32.const 4)))",
    ),
    (
        "wants the answer out of range",
        "(drop (call $get (i32.const 0) (i32.const 336) (i32.const 5) (i32.const -4) (i32.const -4)))",
    ),
    (
        "names a map that is none",
        "(drop (call $add (i32.const 99) (i32.const 256) (i32.const 6) (i32.const 256) (i32.const 6)))",
    ),
    ("names a context that is none", "(drop (call $effective (i32.const 12345)))"),
    (
        "continues and closes what is not paused",
        "(drop (call $continue (i32.const 0))) (drop (call $continue (i32.const 1))) (drop (call $continue (i32.const 77)))",
    ),
    (
        "splits a header's value",
        "(drop (call $add (i32.const 0) (i32.const 256) (i32.const 6) (i32.const 272) (i32.const 18)))",
    ),
    (
        "splits a header's name",
        "(drop (call $add (i32.const 0) (i32.const 272) (i32.const 18) (i32.const 256) (i32.const 6)))",
    ),
    (
        "puts a space into a name",
        "(drop (call $add (i32.const 0) (i32.const 512) (i32.const 8) (i32.const 256) (i32.const 6)))",
    ),
    (
        "puts NUL into a value",
        "(drop (call $add (i32.const 0) (i32.const 256) (i32.const 6) (i32.const 0) (i32.const 4)))",
    ),
    (
        "splits the request line",
        "(drop (call $set (i32.const 0) (i32.const 336) (i32.const 5) (i32.const 304) (i32.const 18)))",
    ),
    (
        "breaks the method",
        "(drop (call $set (i32.const 0) (i32.const 352) (i32.const 7) (i32.const 368) (i32.const 3)))",
    ),
    (
        "empties the authority",
        "(drop (call $set (i32.const 0) (i32.const 544) (i32.const 10) (i32.const 0) (i32.const 0)))",
    ),
    ("removes the path", "(drop (call $remove (i32.const 0) (i32.const 336) (i32.const 5)))"),
    ("adds a length", "(drop (call $add (i32.const 0) (i32.const 384) (i32.const 14) (i32.const 512) (i32.const 1)))"),
    (
        "adds a transfer coding",
        "(drop (call $add (i32.const 0) (i32.const 400) (i32.const 17) (i32.const 432) (i32.const 7)))",
    ),
    ("sets pairs that are none", "(drop (call $set_pairs (i32.const 0) (i32.const 496) (i32.const 4)))"),
    ("sets pairs of huge lengths", "(drop (call $set_pairs (i32.const 0) (i32.const 560) (i32.const 12)))"),
    ("sets no pairs", "(drop (call $set_pairs (i32.const 0) (i32.const 0) (i32.const 0)))"),
    (
        "answers with status 0",
        "(drop (call $reply (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))",
    ),
    (
        "answers with status 99999",
        "(drop (call $reply (i32.const 99999) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))",
    ),
    (
        "answers twice and continues",
        "(drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))) (drop (call $reply (i32.const 404) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))) (drop (call $continue (i32.const 0)))",
    ),
    (
        "splits the details of its answer",
        "(drop (call $reply (i32.const 403) (i32.const 448) (i32.const 31) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))",
    ),
    ("answers and closes", "(drop (call $close (i32.const 0))) (drop (call $close (i32.const 1)))"),
    ("forges lines of the log", "(drop (call $log (i32.const 4) (i32.const 448) (i32.const 31)))"),
    (
        "floods the log",
        "(local.set $n (i32.const 5000)) (loop (drop (call $log (i32.const 5) (i32.const 0) (i32.const 60000))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "writes one memory a thousand times",
        "(local.set $n (i32.const 8192)) (loop (i32.store offset=4 (i32.add (i32.const 4096) (local.get $n)) (i32.const 60000)) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 8))))) (drop (call $fd_write (i32.const 1) (i32.const 4096) (i32.const -1) (i32.const 0)))",
    ),
    (
        "shares without end",
        "(local.set $n (i32.const 100)) (loop (i32.store (i32.const 0) (local.get $n)) (drop (call $share (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 130000) (i32.const 0))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "queues without end",
        "(drop (call $register (i32.const 256) (i32.const 6) (i32.const 0))) (local.set $n (i32.const 2000)) (loop (drop (call $enqueue (i32.load (i32.const 0)) (i32.const 0) (i32.const 130000))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "opens queues without end",
        "(local.set $n (i32.const 5000)) (loop (i32.store (i32.const 8) (local.get $n)) (drop (call $register (i32.const 8) (i32.const 4) (i32.const 0))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "defines metrics without end",
        "(local.set $n (i32.const 20000)) (loop (i32.store (i32.const 8) (local.get $n)) (drop (call $define (i32.const 0) (i32.const 8) (i32.const 4) (i32.const 0))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "adds headers without end",
        "(local.set $n (i32.const 5000)) (loop (drop (call $add (i32.const 0) (i32.const 256) (i32.const 6) (i32.const 1024) (i32.const 60000))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "calls the network without end",
        "(local.set $n (i32.const 5000)) (loop (drop (call $http (i32.const 256) (i32.const 6) (i32.const 256) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    ),
    (
        "asks for strange properties",
        "(drop (call $property (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 4))) (drop (call $set_property (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 60000)))",
    ),
    (
        "unpacks rubbish",
        "(drop (call $foreign (i32.const 528) (i32.const 10) (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 4)))",
    ),
    ("wants all the dice", "(drop (call $random (i32.const 0) (i32.const -1)))"),
    ("ticks without pause", "(drop (call $tick (i32.const 1)))"),
    ("returns an unknown action", "(return (i32.const 99))"),
];

/// The text of the module that does this.
pub(crate) fn module(way: &str) -> String {
    let body = format!(
        r#"{DATA} (table 1 funcref) (func $deep (call $deep))
            (func $harm (param $n i32) (result i32) {way} (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (i32.store (i32.const 132) (i32.const 0))
                (drop (call $get (i32.const 0) (i32.const 256) (i32.const 6) (i32.const 128) (i32.const 132)))
                (if (result i32) (i32.load (i32.const 132)) (then (call $harm (i32.const 0))) (else (i32.const 0))))"#
    );
    module_text(IMPORTS, &body)
}
