//! What moves a stream: each is asked for by name, and what the client then sees is part of the table.

use crate::{
    abi::*,
    attempts::{pairs, read_map},
    report,
};

macro_rules! call {
    ($function:ident($($arg:expr),*)) => {{
        reset();
        // SAFETY: the host checks every pointer; those that are valid point into this module's memory.
        unsafe { $function($($arg),*) }
    }};
}

/// The names Envoy might keep in a slot of their own.
const NAMES: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "client-trace-id",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "grpc-accept-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "if-match",
    "keep-alive",
    "location",
    "origin",
    "pragma",
    "proxy-connection",
    "proxy-status",
    "referer",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-b3-traceid",
    "x-client-trace-id",
    "x-custom",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-degraded",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-is-timeout-retry",
    "x-envoy-local-overloaded",
    "x-envoy-max-retries",
    "x-envoy-not-forwarded",
    "x-envoy-original-dst-host",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-overloaded",
    "x-envoy-peer-metadata",
    "x-envoy-ratelimited",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-canary",
    "x-envoy-upstream-healthchecked-cluster",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-service-time",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-ot-span-context",
    "x-ratelimit-limit",
    "x-request-id",
    "x-squash-debug",
    ":path",
    ":authority",
    ":method",
    ":scheme",
    ":status",
    ":protocol",
    ":custom",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-max-age",
    "x-amz-date",
    "x-content-type-options",
    "last-modified",
    "expires",
    "age",
    "if-none-match",
    "if-modified-since",
    "max-forwards",
    "link",
    "allow",
    "retry-after",
    "www-authenticate",
    "content-disposition",
    "range",
    "forwarded",
];

/// The request's `x-probe` header.
pub fn asked_for() -> String {
    let name = at(b"x-probe");
    call!(proxy_get_header_map_value(0, name.0, name.1, word(0), word(1)));
    String::from_utf8_lossy(&given()).into_owned()
}

fn add(map: u32, name: &str, value: &str) -> u32 {
    let (name, value) = (at(name.as_bytes()), at(value.as_bytes()));
    call!(proxy_add_header_map_value(map, name.0, name.1, value.0, value.1))
}

fn replace(map: u32, name: &str, value: &str) -> u32 {
    let (name, value) = (at(name.as_bytes()), at(value.as_bytes()));
    call!(proxy_replace_header_map_value(map, name.0, name.1, value.0, value.1))
}

fn remove(map: u32, name: &str) -> u32 {
    let name = at(name.as_bytes());
    call!(proxy_remove_header_map_value(map, name.0, name.1))
}

fn get(map: u32, name: &str) -> String {
    let name = at(name.as_bytes());
    let code = call!(proxy_get_header_map_value(map, name.0, name.1, word(0), word(1)));
    format!("{code} {:?}", String::from_utf8_lossy(&given()))
}

fn reply(status: u32, details: &str, body: &str, headers: &[(&str, &str)], grpc: u32) -> u32 {
    let headers = pairs(headers);
    let (details, body, headers) = (at(details.as_bytes()), at(body.as_bytes()), at(&headers));
    call!(proxy_send_local_response(status, details.0, details.1, body.0, body.1, headers.0, headers.1, grpc))
}

/// The first value of each header with two values added: joined in one, or two.
fn slots(callback: &str, map: u32) {
    for name in NAMES {
        remove(map, name);
        let (one, two) = (add(map, name, "1"), add(map, name, "2"));
        let got = get(map, name);
        let size = call!(proxy_get_header_map_size(map, word(0)));
        let removed = remove(map, name);
        report(
            callback,
            &format!("slot {name}"),
            format!("{one} {two} {got} {size} {removed}", size = u32::from(size != 0)),
        );
    }
}

pub fn request_headers(name: &str, _id: u32) -> u32 {
    const HERE: &str = "request_headers";
    match name {
        "slots" => {
            let before = ["/slots", "a.example", "GET", "http"];
            slots(HERE, 0);
            for (name, value) in [":path", ":authority", ":method", ":scheme"].iter().zip(before) {
                replace(0, name, value);
            }
            0
        }
        "order" => {
            report(HERE, "as it came", read_map(0));
            report(HERE, "add", format!("{} {}", add(0, "x-p-a", "1"), add(0, "X-P-A", "2")));
            report(HERE, "add a pseudo-header", format!("{}", add(0, ":x-p-pseudo", "1")));
            report(HERE, "after adding", read_map(0));
            report(
                HERE,
                "replace",
                format!("{} {}", replace(0, "x-orig", "new"), replace(0, ":path", "/replaced?q=1")),
            );
            report(HERE, "after replacing", read_map(0));
            report(HERE, "remove", format!("{} {}", remove(0, "x-p-a"), remove(0, ":x-p-pseudo")));
            report(HERE, "add to a pseudo-header", format!("{}", add(0, ":path", "more")));
            report(HERE, "after all", read_map(0));
            report(
                HERE,
                "empty values",
                format!("{} {} {}", add(0, "x-p-e", ""), add(0, "x-p-e", ""), get(0, "x-p-e")),
            );
            replace(0, ":path", "/order");
            0
        }
        "host" => {
            report(
                HERE,
                "host, Host, :authority",
                format!("{} {} {}", get(0, "host"), get(0, "Host"), get(0, ":authority")),
            );
            report(HERE, "replace host", format!("{} {}", replace(0, "host", "other.example"), read_map(0)));
            report(HERE, "add host", format!("{} {}", add(0, "HOST", "third.example"), read_map(0)));
            report(HERE, "remove host", format!("{} {}", remove(0, "host"), read_map(0)));
            replace(0, ":authority", "a.example");
            0
        }
        "set-pairs" => {
            let list = pairs(&[
                (":path", "/set-pairs"),
                (":method", "GET"),
                ("x-p-1", "a"),
                (":scheme", "http"),
                ("X-P-2", "b"),
                ("x-p-1", "c"),
                ("Host", "a.example"),
                ("user-agent", "one"),
                ("user-agent", "two"),
                ("x-probe", "set-pairs"),
            ]);
            let list = at(&list);
            report(HERE, "set", format!("{} {}", call!(proxy_set_header_map_pairs(0, list.0, list.1)), read_map(0)));
            report(HERE, "user-agent", get(0, "user-agent"));
            0
        }
        "set-garbage" => {
            let garbage = at(b"\xff\xff\xff\xff garbage");
            report(
                HERE,
                "set",
                format!("{} {}", call!(proxy_set_header_map_pairs(0, garbage.0, garbage.1)), read_map(0)),
            );
            0
        }
        "set-nothing" => {
            report(HERE, "set", format!("{} {}", call!(proxy_set_header_map_pairs(0, 0, 0)), read_map(0)));
            0
        }
        "resume-continue" => {
            report(HERE, "continue, write", format!("{} {}", call!(proxy_continue_stream(0)), add(0, "x-p", "late")));
            0
        }
        "resume-pause" => {
            report(HERE, "continue, write", format!("{} {}", call!(proxy_continue_stream(0)), add(0, "x-p", "late")));
            1
        }
        "action-2" => 2,
        // Nobody changes the length for a filter that changes the body.
        "edit" | "swallow" => {
            remove(0, "content-length");
            0
        }
        "reply-twice" => {
            report(
                HERE,
                "replies",
                format!(
                    "{} {}",
                    reply(403, "first one", "first", &[("X-P-R", "1"), (":status", "200")], u32::MAX),
                    reply(404, "second", "second", &[], u32::MAX)
                ),
            );
            report(HERE, "write after", format!("{}", add(0, "x-p", "late")));
            0
        }
        "reply-grpc" => {
            report(HERE, "reply", format!("{}", reply(200, "", "message", &[], 7)));
            1
        }
        "reply-empty" => {
            report(HERE, "reply", format!("{}", reply(204, "", "", &[], u32::MAX)));
            1
        }
        "reply-bad" => {
            report(
                HERE,
                "bad arguments",
                format!(
                    "{} {} {}",
                    call!(proxy_send_local_response(403, BAD, 100, 0, 0, 0, 0, 0)),
                    call!(proxy_send_local_response(403, 0, 0, BAD, 100, 0, 0, 0)),
                    call!(proxy_send_local_response(403, 0, 0, 0, 0, BAD, 100, 0))
                ),
            );
            0
        }
        "close" => {
            report(HERE, "close", format!("{}", call!(proxy_close_stream(0))));
            0
        }
        "tick-everything" | "tick-resume" | "tick-reply" | "tick-close" | "queue" => {
            if name == "queue" {
                let (name, message) = (at(b"probe ready"), at(b"hello"));
                let register = call!(proxy_register_shared_queue(name.0, name.1, word(0)));
                let queue = answer(0);
                report(
                    HERE,
                    "register, enqueue",
                    format!("{register} {}", call!(proxy_enqueue_shared_queue(queue, message.0, message.1))),
                );
            }
            1
        }
        "pause-3" => 3,
        "http-call" | "http-call-refused" | "http-call-empty" | "http-call-timeout" => {
            let cluster = at(match name {
                "http-call-refused" => &b"refused"[..],
                "http-call-empty" => b"no-endpoint",
                _ => b"origin",
            });
            let (path, timeout) = if name == "http-call-timeout" { ("/never", 50) } else { ("/call", 1000) };
            let headers = pairs(&[
                (":method", "POST"),
                (":path", path),
                (":authority", "call.example"),
                ("X-Orig", "call"),
                ("x-probe", "none"),
            ]);
            let (headers, body) = (at(&headers), at(b"call body"));
            let code = call!(proxy_http_call(
                cluster.0,
                cluster.1,
                headers.0,
                headers.1,
                body.0,
                body.1,
                0,
                0,
                timeout,
                word(0)
            ));
            report(HERE, "http_call", format!("{code} low bits {}", answer(0) & 3));
            u32::from(code == 0)
        }
        "grpc-call-refused" | "grpc-stream-refused" | "grpc-call-empty" | "grpc-stream-empty" => {
            let cluster = at(if name.ends_with("empty") { &b"no-endpoint"[..] } else { b"refused" });
            let service = at(b"probe.Service");
            let code = if name.starts_with("grpc-stream") {
                call!(proxy_grpc_stream(
                    cluster.0,
                    cluster.1,
                    service.0,
                    service.1,
                    service.0,
                    service.1,
                    0,
                    0,
                    word(0)
                ))
            } else {
                call!(proxy_grpc_call(
                    cluster.0,
                    cluster.1,
                    service.0,
                    service.1,
                    service.0,
                    service.1,
                    0,
                    0,
                    service.0,
                    service.1,
                    1000,
                    word(0)
                ))
            };
            report(HERE, "grpc", format!("{code} low bits {}", answer(0) & 3));
            u32::from(code == 0)
        }
        "trap" => std::process::abort(),
        _ => 0,
    }
}

fn edits(callback: &str, buffer: u32) {
    let set = |start: u32, len: u32, data: &[u8]| {
        let data = at(data);
        let code = call!(proxy_set_buffer_bytes(buffer, start, len, data.0, data.1));
        call!(proxy_get_buffer_bytes(buffer, 0, 1000, word(0), word(1)));
        format!("{code} {:?}", String::from_utf8_lossy(&given()))
    };
    report(callback, "prepend", set(0, 0, b"<"));
    report(callback, "append", set(u32::MAX, 0, b">"));
    report(callback, "insert", set(1, 0, b"|"));
    report(callback, "replace inside", set(1, 2, b"|"));
    report(callback, "drop three in front", set(0, 3, b"..."));
    report(callback, "drop too much", set(0, 10_000, b"edited"));
    report(callback, "append at the end", set(6, 0, b"!"));
    report(callback, "one before the end", set(6, 1, b"?"));
}

pub fn request_body(name: &str, size: u32, end: u32) -> u32 {
    match name {
        "edit" if end == 1 => {
            edits("request_body", 0);
            0
        }
        "edit" => 1,
        "gather" => u32::from(end == 0),
        "watermark" if end == 0 => 2,
        "swallow" if size > 0 && end == 0 => 3,
        "reply-in-body" => {
            report("request_body", "reply", format!("{}", reply(413, "in body", "too much", &[], u32::MAX)));
            0
        }
        "late-write" => {
            report("request_body", "write", format!("{}", add(0, "x-p", "late")));
            0
        }
        "trailers" if end == 1 => {
            report("request_body", "make trailers", format!("{} {}", add(1, "x-p-t", "made"), read_map(1)));
            0
        }
        _ => 0,
    }
}

pub fn response_headers(name: &str) -> u32 {
    match name {
        "slots" => {
            let status = get(2, ":status");
            slots("response_headers", 2);
            report("response_headers", "status was", status);
            replace(2, ":status", "200");
            0
        }
        "reply-in-response" => {
            report(
                "response_headers",
                "reply",
                format!("{}", reply(451, "in response", "hidden", &[("x-p-r", "1")], u32::MAX)),
            );
            0
        }
        "reply-twice" => {
            report(
                "response_headers",
                "of the reply",
                format!("{} {} {}", get(2, ":status"), get(2, "x-p-r"), read_map(0)),
            );
            0
        }
        "response-resume-pause" => {
            report(
                "response_headers",
                "continue, write",
                format!("{} {}", call!(proxy_continue_stream(1)), add(2, "x-p", "late")),
            );
            1
        }
        "edit" => {
            remove(2, "content-length");
            0
        }
        "pause-response" => 1,
        _ => 0,
    }
}

pub fn response_body(name: &str, _size: u32, end: u32) -> u32 {
    match name {
        "edit" if end == 1 => {
            edits("response_body", 1);
            0
        }
        "edit" => 1,
        "gather" => u32::from(end == 0),
        _ => 0,
    }
}

fn effective(id: u32) -> u32 {
    call!(proxy_set_effective_context(id))
}

pub fn tick(name: &str, id: u32) {
    if id == 0 {
        return;
    }
    match name {
        "tick-everything" => {
            crate::attempts::everything("tick");
            effective(id);
            crate::attempts::everything("tick for a stream");
            report("tick", "effective, continue", format!("{} {}", effective(id), call!(proxy_continue_stream(0))));
            crate::SCENARIO.set("over".to_owned());
        }
        "tick-resume" => {
            report(
                "tick",
                "effective, write, continue, write",
                format!(
                    "{} {} {} {}",
                    effective(id),
                    add(0, "x-p-tick", "1"),
                    call!(proxy_continue_stream(0)),
                    add(0, "x-p-tick", "2")
                ),
            );
            crate::SCENARIO.set("over".to_owned());
        }
        "tick-reply" => {
            report(
                "tick",
                "effective, reply",
                format!("{} {}", effective(id), reply(418, "from a tick", "tea", &[], u32::MAX)),
            );
            crate::SCENARIO.set("over".to_owned());
        }
        "tick-close" => {
            report("tick", "effective, close", format!("{} {}", effective(id), call!(proxy_close_stream(0))));
            crate::SCENARIO.set("over".to_owned());
        }
        "pause-response" => {
            report("tick", "effective, continue", format!("{} {}", effective(id), call!(proxy_continue_stream(1))));
            crate::SCENARIO.set("over".to_owned());
        }
        "pause-3" => {
            report("tick", "effective, continue", format!("{} {}", effective(id), call!(proxy_continue_stream(0))));
            crate::SCENARIO.set("over".to_owned());
        }
        _ => {}
    }
}

pub fn http_call_response(name: &str, id: u32, arguments: (u32, u32, u32, u32)) {
    const HERE: &str = "http_call_response";
    let (root, headers, body, trailers) = arguments;
    report(HERE, "root, any headers, body, trailers", format!("{root} {} {} {trailers}", headers > 0, body > 0));
    report(HERE, "status", get(6, ":status"));
    report(HERE, "trailers", get(7, "x-orig"));
    let size = call!(proxy_get_buffer_status(4, word(0), word(1)));
    call!(proxy_get_buffer_bytes(4, 0, 1000, word(0), word(1)));
    let text = String::from_utf8_lossy(&given()).into_owned();
    // The rest of Envoy's words for a refused connection name addresses and errors of the system.
    report(HERE, "body", format!("{size} {:?}", text.get(..20).unwrap_or(&text)));
    report(HERE, "write", format!("{}", add(6, "x-p", "1")));
    crate::attempts::system(HERE);
    report(HERE, "effective, continue", format!("{} {} {name}", effective(id), call!(proxy_continue_stream(0))));
}

pub fn grpc_close(id: u32, root: u32, status: u32) {
    let code = call!(proxy_get_status(word(2), word(0), word(1)));
    report("grpc_close", "root, status, get_status", format!("{root} {status} {code} {}", answer(2)));
    report("grpc_close", "effective, continue", format!("{} {}", effective(id), call!(proxy_continue_stream(0))));
}

pub fn queue_ready(queue: u32, id: u32) {
    if id == 0 {
        return;
    }
    let first = call!(proxy_dequeue_shared_queue(queue, word(0), word(1)));
    let message = String::from_utf8_lossy(&given()).into_owned();
    report(
        "queue_ready",
        "dequeue, again",
        format!("{first} {message:?} {}", call!(proxy_dequeue_shared_queue(queue, word(0), word(1)))),
    );
    if crate::scenario() == "queue" {
        report("queue_ready", "effective, continue", format!("{} {}", effective(id), call!(proxy_continue_stream(0))));
    }
}
