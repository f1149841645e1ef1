//! What a gateway says when a client, an origin or a stream takes too long, and what becomes of trailers: host-sim as the real Envoy, on one bootstrap.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tests::bootstrap::{self, address, cluster, manager, merged, upstream};
use tests::gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Every timeout under test. No answer is judged by when it comes.
const SHORT: &str = "0.3s";
/// A gateway that has said nothing by now says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

struct Case {
    what: &'static str,
    /// Fields of the connection manager.
    manager: Value,
    /// Fields of the route's action.
    route: Value,
    sent: &'static str,
    /// What the client must have read in the end: status line, the body behind it.
    answer: (&'static str, &'static str),
}

const SILENT: &str = "GET /silent HTTP/1.1\r\nhost: a.example\r\n\r\n";
const SILENT_SWITCH: &str =
    "GET /silent HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst words";
const HALF_AN_ANSWER: &str = "GET /half HTTP/1.1\r\nhost: a.example\r\n\r\n";
const HALF_A_HEAD: &str = "GET /silent HTTP/1.1\r\nhost: a.example\r\n";
const HALF_A_BODY: &str = "POST /silent HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nab";
const TRAILERS: &str =
    "POST /trailers HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sent: 1\r\n\r\n";

fn cases() -> Vec<Case> {
    let timeout_408 = |text| ("HTTP/1.1 408 Request Timeout", text);
    let timeout_504 = |text| ("HTTP/1.1 504 Gateway Timeout", text);
    let none = || json!({});
    let case = |what, manager, route, sent, answer| Case { what, manager, route, sent, answer };
    vec![
        case(
            "a head that does not end",
            json!({ "request_headers_timeout": SHORT }),
            none(),
            HALF_A_HEAD,
            timeout_408("request header timeout"),
        ),
        case(
            "a request whose head does not end",
            json!({ "request_timeout": SHORT }),
            none(),
            HALF_A_HEAD,
            timeout_408("request timeout"),
        ),
        case(
            "a request whose body does not end",
            json!({ "request_timeout": SHORT }),
            none(),
            HALF_A_BODY,
            timeout_408("request timeout"),
        ),
        case(
            "a client that goes silent",
            json!({ "stream_idle_timeout": SHORT }),
            none(),
            HALF_A_BODY,
            timeout_408("stream timeout"),
        ),
        case(
            "an origin that is silent",
            json!({ "stream_idle_timeout": SHORT }),
            none(),
            SILENT,
            timeout_504("stream timeout"),
        ),
        case(
            "an origin that is silent, by the route",
            none(),
            json!({ "idle_timeout": SHORT }),
            SILENT,
            timeout_504("stream timeout"),
        ),
        case(
            "the route switches the idle timeout off",
            json!({ "stream_idle_timeout": SHORT, "common_http_protocol_options": { "max_stream_duration": "0.9s" } }),
            json!({ "idle_timeout": "0s" }),
            SILENT,
            timeout_504("downstream duration timeout"),
        ),
        case(
            "a stream that lasts too long",
            json!({ "common_http_protocol_options": { "max_stream_duration": SHORT } }),
            none(),
            SILENT,
            timeout_504("downstream duration timeout"),
        ),
        case(
            "a stream that lasts too long, by the route",
            none(),
            json!({ "max_stream_duration": { "max_stream_duration": SHORT } }),
            SILENT,
            timeout_504("downstream duration timeout"),
        ),
        case(
            "a request whose body does not end lasts too long",
            json!({ "common_http_protocol_options": { "max_stream_duration": SHORT } }),
            none(),
            HALF_A_BODY,
            timeout_408("downstream duration timeout"),
        ),
        case(
            "the route's timeout",
            none(),
            json!({ "timeout": SHORT }),
            SILENT,
            timeout_504("upstream request timeout"),
        ),
        case(
            "the route's timeout, while the rest of the request waits for a switch of protocols",
            json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }),
            json!({ "timeout": SHORT }),
            SILENT_SWITCH,
            timeout_504("upstream request timeout"),
        ),
        case(
            "what one try may take",
            none(),
            json!({ "retry_policy": { "num_retries": 0, "per_try_timeout": SHORT } }),
            SILENT,
            timeout_504("upstream request timeout"),
        ),
        case(
            "how long one try may be silent",
            none(),
            json!({ "retry_policy": { "num_retries": 0, "per_try_idle_timeout": SHORT } }),
            SILENT,
            timeout_504("upstream request timeout"),
        ),
        case(
            "an answer that stops for longer than one try may be silent",
            none(),
            json!({ "retry_policy": { "per_try_idle_timeout": SHORT } }),
            HALF_AN_ANSWER,
            ("HTTP/1.1 200 OK", "2\r\nab\r\n"),
        ),
        case(
            "an answer that stops is not bounded by what one try may take",
            none(),
            json!({ "timeout": "0.9s", "retry_policy": { "per_try_timeout": SHORT } }),
            HALF_AN_ANSWER,
            ("HTTP/1.1 200 OK", "2\r\nab\r\n"),
        ),
        case(
            "a connection without a request",
            json!({ "common_http_protocol_options": { "idle_timeout": SHORT } }),
            none(),
            "",
            ("", ""),
        ),
        case("trailers, dropped", none(), none(), TRAILERS, ("HTTP/1.1 200 OK", "2\r\nab\r\n0\r\n\r\n")),
        case(
            "trailers, kept",
            json!({ "http_protocol_options": { "enable_trailers": true } }),
            json!({ "cluster": "with-trailers" }),
            TRAILERS,
            ("HTTP/1.1 200 OK", "2\r\nab\r\n0\r\nx-sent: 1\r\nx-answered: 2\r\n\r\n"),
        ),
    ]
}

/// A listener per case, named by its number.
fn bootstrap(cases: &[Case], origin: SocketAddr) -> Value {
    let listener = |(number, case): (usize, &Case)| {
        let route = merged(json!({ "cluster": "origin", "timeout": "0s" }), &case.route);
        let hosts =
            json!([{ "name": "all", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": route }] }]);
        bootstrap::listener(number, &manager(&hosts, &case.manager))
    };
    let cluster = |name: &str, trailers: bool| {
        let http = json!({ "http_protocol_options": { "enable_trailers": trailers } });
        cluster(name, &address(origin), &upstream(&http, &json!({})))
    };
    let listeners: Vec<Value> = cases.iter().enumerate().map(listener).collect();
    bootstrap::bootstrap(&listeners, &[cluster("origin", false), cluster("with-trailers", true)], &json!({}))
}

/// Says nothing to `/silent` and half of what it has to say to `/half`; sends a body in chunks back, its trailers as they came and one more.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                    let text = String::from_utf8_lossy(&bytes);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    if head.starts_with("GET /half") {
                        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
                        socket.write_all(answer.as_bytes()).await.unwrap();
                        bytes.clear();
                        continue;
                    }
                    if head.starts_with("POST /trailers") && body.ends_with("\r\n\r\n") {
                        let body = body.strip_suffix("\r\n").unwrap();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}x-answered: 2\r\n\r\n");
                        socket.write_all(answer.as_bytes()).await.unwrap();
                        bytes.clear();
                    }
                }
            });
        }
    });
    at
}

/// Status line and body, once the gateway has closed or the body has ended.
async fn ask(at: SocketAddr, sent: &str) -> (String, String) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(sent.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let reading = async {
        // A chunked answer keeps its connection: its end is the empty line.
        while !(bytes.ends_with(b"\r\n\r\n") && String::from_utf8_lossy(&bytes).contains("\r\n0\r\n")) {
            if socket.read_buf(&mut bytes).await.unwrap_or_default() == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the gateway says something in the end");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

async fn check(who: &str, gateway: &Gateway, cases: &[Case]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let at = gateway.ports[&u16::try_from(number).unwrap()];
        let (status, body) = ask(at, case.sent).await;
        if (status.as_str(), body.as_str()) != case.answer {
            wrong.push(format!("{who}: {}: {status} {body:?}, not {:?}", case.what, case.answer));
        }
    }
    wrong
}

#[tokio::test]
async fn what_takes_too_long_is_answered_as_envoy_answers_it() {
    let cases = cases();
    let bootstrap = bootstrap(&cases, origin().await);
    let mut wrong = Vec::new();
    for (who, gateway) in bootstrap::run(&bootstrap).await.unwrap() {
        wrong.extend(check(who, &gateway, &cases).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
