//! Calls every host function with good and bad arguments in every callback, and logs what came back as `P|callback|what|result`.
//!
//! The request's `x-probe` header names what is to be tried. Run in two hosts, the two tables must be equal.
#![allow(
    missing_docs,
    clippy::missing_safety_doc,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a module for tests; a panic in it is a finding"
)]

mod abi;
mod attempts;
mod foreign;
mod scenarios;

use std::cell::RefCell;

use abi::*;

thread_local! {
    /// What the request under way is for, by context. The probe is asked one thing at a time.
    static SCENARIO: RefCell<String> = const { RefCell::new(String::new()) };
    static STREAM: RefCell<u32> = const { RefCell::new(0) };
}

/// One row of the table.
fn report(callback: &str, what: &str, result: String) {
    let line = format!("P|{callback}|{what}|{}", result.escape_default());
    let (text, len) = at(line.as_bytes());
    // SAFETY: pointer and length of a live string.
    unsafe { proxy_log(2, text, len) };
}

fn scenario() -> String {
    SCENARIO.with_borrow(Clone::clone)
}

fn stream() -> u32 {
    STREAM.with_borrow(|id| *id)
}

fn all(callback: &str) {
    if scenario().starts_with("all") {
        attempts::everything(callback);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    report("create", "parent", format!("{} {parent}", if parent == 0 { id } else { 0 }));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(root: u32, size: u32) -> u32 {
    report("vm_start", "arguments", format!("{root} {size}"));
    attempts::system("vm_start");
    attempts::maps("vm_start");
    attempts::buffers("vm_start");
    attempts::properties("vm_start");
    attempts::foreign("vm_start");
    attempts::wasi("vm_start");
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(root: u32, size: u32) -> u32 {
    report("configure", "arguments", format!("{root} {size}"));
    attempts::system("configure");
    attempts::maps("configure");
    attempts::buffers("configure");
    attempts::properties("configure");
    attempts::calls("configure");
    attempts::foreign("configure");
    foreign::declarations("configure");
    // SAFETY: no pointers.
    report("configure", "tick", format!("{}", unsafe { proxy_set_tick_period_milliseconds(20) }));
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(_root: u32) {
    scenarios::tick(&scenario(), stream());
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(id: u32, _count: u32, end: u32) -> u32 {
    let name = scenarios::asked_for();
    SCENARIO.set(name.clone());
    STREAM.set(id);
    report("request_headers", "end", format!("{end}"));
    all("request_headers");
    match name.as_str() {
        "signatures" => foreign::signatures("request_headers"),
        "expressions" => foreign::expressions("request_headers"),
        _ => {}
    }
    scenarios::request_headers(&name, id)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(_id: u32, size: u32, end: u32) -> u32 {
    report("request_body", "size, end", format!("{size} {end}"));
    if size > 0 || end == 1 {
        all("request_body");
    }
    scenarios::request_body(&scenario(), size, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_trailers(_id: u32, count: u32) -> u32 {
    report("request_trailers", "count", format!("{count}"));
    all("request_trailers");
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(_id: u32, _count: u32, end: u32) -> u32 {
    report("response_headers", "end", format!("{end}"));
    all("response_headers");
    scenarios::response_headers(&scenario())
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(_id: u32, size: u32, end: u32) -> u32 {
    report("response_body", "size, end", format!("{size} {end}"));
    if size > 0 || end == 1 {
        all("response_body");
    }
    scenarios::response_body(&scenario(), size, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_trailers(_id: u32, count: u32) -> u32 {
    report("response_trailers", "count", format!("{count}"));
    all("response_trailers");
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(root: u32, _call: u32, headers: u32, body: u32, trailers: u32) {
    scenarios::http_call_response(&scenario(), stream(), (root, headers, body, trailers));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_close(root: u32, _call: u32, status: u32) {
    scenarios::grpc_close(stream(), root, status);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_queue_ready(_root: u32, queue: u32) {
    scenarios::queue_ready(queue, stream());
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(id: u32) {
    report("log", "same stream", format!("{}", id == stream()));
    all("log");
    match scenario().as_str() {
        "expressions" => foreign::expressions("log"),
        // Not before: Envoy would act by what is set.
        "declared" => foreign::properties("log"),
        _ => {}
    }
    report("log", "maps", format!("{}|{}|{}", attempts::read_map(0), attempts::read_map(2), attempts::read_map(3)));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_done(id: u32) -> u32 {
    if id == stream() {
        report("done", "called", String::new());
        all("done");
    }
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(id: u32) {
    if id == stream() {
        report("delete", "called", String::new());
    }
    STREAM.set(0);
}
