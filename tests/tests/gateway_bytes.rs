//! What clients say, byte for byte, and what they are told: HTTP/1.0, the PROXY protocol, the form of the gateway's own answers, what is refused early, and
//! what may not last. host-sim as the real Envoy, on one bootstrap.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tests::bootstrap::{self, address, bootstrap, cluster, listener, manager};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A gateway that has said nothing by now says nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing more comes when nothing has come for so long.
const SILENCE: Duration = Duration::from_millis(150);
/// What stands for the end of the connection, and for one without manners.
const END: &str = "<end>";
const RESET: &str = "<reset>";
/// Header lines that say nothing about a rule.
const UNTOLD: [&str; 3] = ["date: ", "server: ", "x-envoy-upstream-service-time: "];

struct Row {
    what: &'static str,
    /// The listener's number.
    door: u16,
    said: Vec<u8>,
    told: String,
}

fn row(what: &'static str, door: u16, said: &(impl AsRef<[u8]> + ?Sized), told: &str) -> Row {
    Row { what, door, said: said.as_ref().to_vec(), told: told.to_owned() }
}

/// An origin that tells what it was asked, with or without a length.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while socket.read_buf(&mut seen).await.is_ok_and(|count| count > 0) {
                    let text = String::from_utf8(seen.clone()).unwrap();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let value = |name: &str| {
                        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
                        lines.find(|(known, _)| *known == name).map_or("-", |(_, value)| value)
                    };
                    if value("content-length").parse().is_ok_and(|length| body.len() < length)
                        || value("transfer-encoding") == "chunked" && !body.ends_with("0\r\n\r\n")
                    {
                        continue;
                    }
                    let asked = head.split("\r\n").next().unwrap();
                    let says = ["host", "x-forwarded-for", "x-forwarded-port"].map(value).join(" ");
                    let said = match asked {
                        asked if asked.contains("/chunked") => {
                            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned()
                        }
                        asked if asked.contains("/never") => continue,
                        asked if asked.contains("/early") => {
                            "HTTP/1.1 103 X\r\nlink: <a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                                .to_owned()
                        }
                        _ => {
                            let text = format!("{asked} {says}");
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
                        }
                    };
                    socket.write_all(said.as_bytes()).await.unwrap();
                    seen.clear();
                }
            });
        }
    });
    at
}

fn without_untold(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive("\r\n").filter(|line| !UNTOLD.iter().any(|name| line.starts_with(name))).collect()
}

async fn ask(at: SocketAddr, row: &Row) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(&row.said).await.unwrap();
    let mut told = Vec::new();
    loop {
        let patience = if without_untold(&told).len() < row.told.len() { PATIENCE } else { SILENCE };
        match tokio::time::timeout(patience, socket.read_buf(&mut told)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) => return without_untold(&told) + END,
            Ok(Err(_)) => return without_untold(&told) + RESET,
            Err(_) => return without_untold(&told),
        }
    }
}

async fn check(listeners: &[Value], rows: &[Row]) {
    let cluster = cluster("origin", &address(origin().await), &json!({}));
    let nobody = cluster_of_nobody();
    let mut wrong = Vec::new();
    for (who, gateway) in bootstrap::run(&bootstrap(listeners, &[cluster, nobody], &json!({}))).await.unwrap() {
        for row in rows {
            let told = ask(gateway.ports[&row.door], row).await;
            if told != row.told {
                wrong.push(format!("{who}: {}:\n  {told:?} instead of\n  {:?}", row.what, row.told));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cluster_of_nobody() -> Value {
    json!({ "name": "nobody", "type": "STATIC", "load_assignment": { "cluster_name": "nobody" } })
}

/// Ends at once what is answered for good.
fn manager_with(routes: &Value, more: &Value) -> Value {
    let hosts = json!([{ "name": "all", "domains": ["*"], "routes": routes }]);
    manager(&hosts, &bootstrap::merged(json!({ "delayed_close_timeout": "0.01s" }), more))
}

fn to_origin() -> Value {
    json!([
        { "match": { "path": "/direct" }, "direct_response": { "status": 200, "body": { "inline_string": "hi" } } },
        { "match": { "prefix": "/" }, "route": { "cluster": "origin" } },
    ])
}

#[tokio::test]
async fn http_1_0_is_answered_as_it_is_asked() {
    let doors = [
        json!({ "http_protocol_options": { "accept_http_10": true } }),
        json!({ "http_protocol_options": { "accept_http_10": true, "default_host_for_http_10": "b.example" } }),
        json!({}),
        json!({ "http_protocol_options": { "accept_http_10": true }, "proxy_100_continue": true }),
    ];
    let listeners: Vec<Value> =
        doors.iter().enumerate().map(|(number, more)| listener(number, &manager_with(&to_origin(), more))).collect();
    let direct = |word: &str, end: &str| {
        format!("HTTP/1.0 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\nconnection: {word}\r\n\r\nhi{end}")
    };
    let told = |text: &str| {
        format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}{END}", text.len())
    };
    let keeping = "GET /direct HTTP/1.0\r\nhost: a\r\nconnection: Keep-Alive\r\n\r\n";
    let bad = "HTTP/1.0 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n<end>";
    check(
        &listeners,
        &[
            row("it ends", 0, "GET /direct HTTP/1.0\r\nhost: a\r\n\r\n", &direct("close", END)),
            row("unless it is asked to go on", 0, &keeping.repeat(2), &direct("keep-alive", "").repeat(2)),
            row(
                "whatever else is asked",
                0,
                "GET /direct HTTP/1.0\r\nhost: a\r\nconnection: close, keep-alive\r\n\r\n",
                &direct("keep-alive", ""),
            ),
            row(
                "by that header alone",
                0,
                "GET /direct HTTP/1.0\r\nhost: a\r\nproxy-connection: keep-alive\r\n\r\n",
                &direct("close", END),
            ),
            row(
                "an answer without a length is as long as its connection",
                0,
                "GET /chunked HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
                "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nabc<end>",
            ),
            row(
                "so is that to HEAD",
                0,
                "HEAD /chunked HTTP/1.0\r\nhost: a\r\n\r\n",
                "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n<end>",
            ),
            row(
                "the origin is asked in HTTP/1.1",
                0,
                "POST /x HTTP/1.0\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
                &told("POST /x HTTP/1.1 a - -"),
            ),
            row("any other version is it, too", 0, "GET /x HTTP/1.2\r\nhost: a\r\n\r\n", &told("GET /x HTTP/1.1 a - -")),
            row("without a host", 0, "GET /x HTTP/1.0\r\n\r\n", bad),
            row("a host that is assumed", 1, "GET /x HTTP/1.0\r\n\r\n", &told("GET /x HTTP/1.1 b.example - -")),
            row("for no version, too", 1, "GET /x\r\n\r\n", &told("GET /x HTTP/1.1 b.example - -")),
            row(
                "but not for HTTP/1.1",
                1,
                "GET /x HTTP/1.1\r\n\r\n",
                "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n<end>",
            ),
            row(
                "nor where one is said",
                1,
                "GET http://c.example/x HTTP/1.0\r\n\r\n",
                &told("GET /x HTTP/1.1 c.example - -"),
            ),
            row(
                "what is refused is refused in HTTP/1.0",
                0,
                "POST /x HTTP/1.0\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
                "HTTP/1.0 501 Not Implemented\r\ncontent-length: 15\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nNot Implemented<end>",
            ),
            row(
                "as long as there is a version",
                0,
                "GET /x HTTP/1.0\r\nhost: a\r\nx: \u{1}\r\n\r\n",
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 11\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nBad Request<end>",
            ),
            row(
                "an expectation is met in HTTP/1.0",
                0,
                "POST /x HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
                &format!("HTTP/1.0 100 Continue\r\n\r\n{}", told("POST /x HTTP/1.1 a - -")),
            ),
            row(
                "so is an interim answer passed on",
                3,
                "GET /early HTTP/1.0\r\nhost: a\r\n\r\n",
                "HTTP/1.0 103 Unknown\r\nlink: <a>\r\n\r\nHTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok<end>",
            ),
            row(
                "it is not taken everywhere",
                2,
                "GET /direct HTTP/1.0\r\nhost: a\r\n\r\n",
                "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 16\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nUpgrade Required<end>",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_proxy_protocol_says_who_the_client_is() {
    let protocol = |more: &Value| {
        let kind = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
        let config = bootstrap::merged(json!({ "@type": kind }), more);
        json!([{ "name": "envoy.filters.listener.proxy_protocol", "typed_config": config }])
    };
    let more = json!({ "use_remote_address": true, "append_x_forwarded_port": true });
    let door = |number: usize, options: &Value| {
        let listener = listener(number, &manager_with(&to_origin(), &more));
        bootstrap::merged(listener, &json!({ "listener_filters": protocol(options) }))
    };
    let listeners = [
        door(0, &json!({})),
        door(1, &json!({ "allow_requests_without_proxy_protocol": true, "disallowed_versions": ["V2"] })),
    ];
    const ASKED: &str = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    let behind = |line: &str| format!("{line}{ASKED}");
    let packet =
        |head: [u8; 4], rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &head, rest, ASKED.as_bytes()].concat();
    let told = |who: &str| {
        let text = format!("GET /x HTTP/1.1 a {who}");
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
    };
    let ipv4 = [192, 0, 2, 7, 10, 0, 0, 9, 4, 0, 1, 187];
    let with_tlv = [&ipv4[..], b"\x05\0\x03abc"].concat();
    check(
        &listeners,
        &[
            row("a line", 0, &behind("PROXY TCP4 192.0.2.7 10.0.0.9 1024 443\r\n"), &told("192.0.2.7 443")),
            row("a line about IPv6", 0, &behind("PROXY TCP6 2001:db8::7 ::9 1 80\r\n"), &told("2001:db8::7 80")),
            row("a packet", 0, &packet([0x21, 0x11, 0, 12], &ipv4), &told("192.0.2.7 443")),
            row("a packet with more in it", 0, &packet([0x21, 0x11, 0, 18], &with_tlv), &told("192.0.2.7 443")),
            row("one that claims too much", 0, &packet([0x21, 0x11, 0, 17], &with_tlv), RESET),
            row("a family that is none", 0, &packet([0x21, 0x31, 0, 12], &ipv4), RESET),
            row("two spaces", 0, &behind("PROXY TCP4 192.0.2.7  10.0.0.9 1024 443\r\n"), RESET),
            row("nobody in particular", 0, &behind("PROXY TCP4 0.0.0.0 10.0.0.9 1024 443\r\n"), RESET),
            row("no header", 0, ASKED, RESET),
            row(
                "a line where any may come",
                1,
                &behind("PROXY TCP4 192.0.2.7 10.0.0.9 1024 443\r\n"),
                &told("192.0.2.7 443"),
            ),
            row(
                "a version that is not taken is no header",
                1,
                &packet([0x21, 0x11, 0, 12], &ipv4),
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 11\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nBad Request<end>",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn answers_of_the_gateways_own_have_the_form_that_is_asked() {
    let direct = |path: &str, status: u16, body: &str| json!({ "match": { "path": path }, "direct_response": { "status": status, "body": { "inline_string": body } } });
    let typed = bootstrap::merged(
        direct("/typed", 418, "t"),
        &json!({ "response_headers_to_add": [{ "header": { "key": "content-type", "value": "text/html" } }] }),
    );
    let formed = json!({ "match": { "path": "/formed" }, "direct_response": {
        "status": 418, "body": { "inline_string": "t" },
        "body_format": { "text_format": "<%LOCAL_REPLY_BODY%>", "content_type": "text/html" },
    } });
    let elsewhere = json!({ "match": { "path": "/elsewhere" }, "redirect": { "path_redirect": "/x" } });
    let nobody = json!({ "match": { "path": "/nobody" }, "route": { "cluster": "nobody" } });
    let routes = json!([direct("/down", 503, "down\n"), direct("/gone", 404, ""), typed, formed, elsewhere, nobody]);
    let status = |op: &str, status: u16| {
        let value = json!({ "default_value": status, "runtime_key": "k" });
        json!({ "status_code_filter": { "comparison": { "op": op, "value": value } } })
    };
    let text = "%RESPONSE_CODE% %LOCAL_REPLY_BODY% %REQ(:path)% %RESP(x)% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%";
    let configs = [
        json!({ "body_format": { "text_format": text, "content_type": "a/b" } }),
        json!({ "body_format": { "json_format": {
            "text": "%LOCAL_REPLY_BODY%", "code": "%RESPONSE_CODE%", "list": [1, "%REQ(x)%"], "mixed": "x %REQ(x)%",
        } } }),
        json!({ "mappers": [
            { "filter": status("EQ", 404), "status_code": 501, "body": { "inline_string": "mapped" },
              "headers_to_add": [{ "header": { "key": "x-was", "value": "%RESPONSE_CODE%" } }] },
            { "filter": { "and_filter": { "filters": [
                status("GE", 500), { "header_filter": { "header": { "name": "x", "present_match": true } } },
              ] } },
              "body_format_override": { "text_format": "O:%LOCAL_REPLY_BODY%" },
              "headers_to_add": [{ "header": { "key": "content-type", "value": "c/d" } }] },
            { "filter": { "response_flag_filter": { "flags": ["UH"] } }, "body": { "inline_string": "nobody" } },
            { "filter": { "response_flag_filter": {} }, "body": { "inline_string": "flagged" } },
        ] }),
    ];
    let doors = configs.iter().map(|config| manager_with(&routes, &json!({ "local_reply_config": config })));
    let listeners: Vec<Value> = doors.enumerate().map(|(number, manager)| listener(number, &manager)).collect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let asked = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n\r\n");
    let grpc = "content-type: application/grpc";
    let answer = |status: &str, more: &str, kind: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\ncontent-type: {kind}\r\n\r\n{body}")
    };
    let json = "application/json";
    let message = |status: u8, text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: {status}\r\ngrpc-message: {text}\r\ncontent-length: 0\r\n\r\n"
        )
    };
    check(
        &listeners,
        &[
            row(
                "a text",
                0,
                &get("/down"),
                &answer("503 Service Unavailable", "", "a/b", "503 down\n /down - - direct_response"),
            ),
            row("for nothing, too", 0, &get("/gone"), &answer("404 Not Found", "", "a/b", "404  /gone - - direct_response")),
            row(
                "its type stands where another stood",
                0,
                &get("/typed"),
                "HTTP/1.1 418 Unknown\r\ncontent-type: a/b\r\ncontent-length: 32\r\n\r\n418 t /typed - - direct_response",
            ),
            row(
                "what is no request has no flags yet",
                0,
                "junk\r\n\r\n",
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 39\r\ncontent-type: a/b\r\nconnection: close\r\n\r\n400 Bad Request - - - http1.codec_error<end>",
            ),
            row("to gRPC, a message", 0, &asked("/gone", grpc), &message(12, "404  /gone - - direct_response")),
            row(
                "an object",
                1,
                &get("/down"),
                &answer(
                    "503 Service Unavailable",
                    "",
                    json,
                    "{\"code\":503,\"list\":[1,null],\"mixed\":\"x -\",\"text\":\"down\\n\"}\n",
                ),
            ),
            row(
                "without its line's end to gRPC",
                1,
                &asked("/down", grpc),
                &message(14, "{\"code\":503,\"list\":[1,null],\"mixed\":\"x -\",\"text\":\"down\\n\"}"),
            ),
            row(
                "a redirect",
                1,
                &get("/elsewhere"),
                &answer(
                    "301 Moved Permanently",
                    "location: http://a/x\r\n",
                    json,
                    "{\"code\":301,\"list\":[1,null],\"mixed\":\"x -\",\"text\":\"\"}\n",
                ),
            ),
            row(
                "another status, text and header",
                2,
                &get("/gone"),
                &answer("501 Not Implemented", "x-was: 404\r\n", "text/plain", "mapped"),
            ),
            row(
                "a rule that looks at the request, with a form of its own",
                2,
                &asked("/down", "x: 1\r\ncontent-length: 0"),
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: c/d\r\ncontent-length: 7\r\n\r\nO:down\n",
            ),
            row("no rule", 2, &get("/down"), &answer("503 Service Unavailable", "", "text/plain", "down\n")),
            row(
                "by flags",
                2,
                &get("/nobody"),
                &answer("503 Service Unavailable", "", "text/plain", "nobody"),
            ),
            row(
                "a direct response's own form",
                2,
                &get("/formed"),
                "HTTP/1.1 418 Unknown\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\n<t>",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn early_refusals_last_requests_and_late_tries() {
    let hosts = |names: &[&str]| -> Value {
        let host = |name: &&str| {
            json!({ "name": name, "domains": [name], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "origin", "timeout": "10s" } }],
                "response_headers_to_add": [{ "header": { "key": "x-route", "value": "1" } }, { "header": { "key": "keep-alive", "value": "ours" } }] })
        };
        names.iter().map(host).collect()
    };
    let once = json!({ "max_requests_per_connection": 2 });
    let soon = json!({ "max_connection_duration": "0.3s" });
    let internal = json!({ "cidr_ranges": [{ "address_prefix": "10.0.0.0", "prefix_len": 8 }] });
    let doors = [
        manager(&hosts(&["*"]), &json!({ "delayed_close_timeout": "0.01s", "internal_address_config": internal })),
        manager(&hosts(&["*", "b.example"]), &json!({ "delayed_close_timeout": "0.01s" })),
        manager(&hosts(&["*"]), &json!({ "delayed_close_timeout": "0.01s", "common_http_protocol_options": once })),
        manager(&hosts(&["*"]), &json!({ "drain_timeout": "0.3s", "common_http_protocol_options": soon })),
    ];
    let listeners: Vec<Value> = doors.iter().enumerate().map(|(number, manager)| listener(number, manager)).collect();
    let refused =
        |route: &str| format!("HTTP/1.1 400 Bad Request\r\n{route}connection: close\r\ncontent-length: 0\r\n\r\n{END}");
    let routed = "x-route: 1\r\nkeep-alive: ours\r\n";
    let told = |end: &str| {
        let text = "GET /x HTTP/1.1 a - -";
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{routed}{end}\r\n{text}", text.len())
    };
    let asked = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    let late = "upstream max stream duration reached";
    check(
        &listeners,
        &[
            row(
                "what is refused has its route's headers, where somebody says how the client came",
                0,
                "GET /# HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: http\r\n\r\n",
                &refused(routed),
            ),
            row("and none otherwise", 0, "GET /# HTTP/1.1\r\nhost: a\r\n\r\n", &refused("")),
            row("likewise without a host", 0, "GET / HTTP/1.1\r\nx-forwarded-proto: http\r\n\r\n", &refused(routed)),
            row(
                "if there is one virtual host",
                1,
                "GET / HTTP/1.1\r\nx-forwarded-proto: http\r\n\r\n",
                &refused(""),
            ),
            row(
                "a query without a type",
                0,
                "QUERY / HTTP/1.1\r\nhost: a\r\ncontent-type:\r\nx-forwarded-proto: https\r\n\r\n",
                &refused(routed),
            ),
            row(
                "a host in the target is not the hop's",
                0,
                "GET http://a/x HTTP/1.1\r\nconnection: host\r\n\r\n",
                &told(""),
            ),
            row("the last request of a connection", 2, &asked.repeat(3), &format!("{}{}{END}", told(""), told("connection: close\r\n"))),
            row("a connection whose time runs out", 3, asked, &format!("{}{END}", told(""))),
            row("one that never asks", 3, "", END),
            row(
                "a try that may not last",
                0,
                "GET /never HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\nx-envoy-upstream-stream-duration-ms: 200\r\n\r\n",
                &format!(
                    "HTTP/1.1 504 Gateway Timeout\r\n{routed}content-length: {}\r\ncontent-type: text/plain\r\n\r\n{late}",
                    late.len()
                ),
            ),
        ],
    )
    .await;
}
