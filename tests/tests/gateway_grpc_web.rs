//! gRPC-Web calls of a browser through the filter `grpc_web` to an origin that speaks gRPC: host-sim as the real Envoy, on one bootstrap, with either
//! protocol towards the client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tests::bootstrap::{self, address, cluster, listener, manager, upstream};
use tests::case::{Send, Version};
use tests::client::{self, Reply};
use tests::gateway::Gateway;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);
const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

struct Row {
    what: &'static str,
    path: &'static str,
    content_type: &'static str,
    accept: &'static str,
    body: &'static str,
    /// Status, the headers that matter, the body.
    answer: (u16, &'static str, &'static str),
}

fn rows() -> Vec<Row> {
    let row = |what, path, content_type, accept, body, answer| Row { what, path, content_type, accept, body, answer };
    vec![
        row(
            "a binary call: its trailers are the last frame",
            "/pkg.Service/Seen",
            BINARY,
            "",
            "abc",
            (
                200,
                "content-type=application/grpc-web+proto",
                "\0\0\0\0\x5fte=trailers grpc-accept-encoding=identity content-type=application/grpc content-length=none abc\u{80}\0\0\0\x1bgrpc-status:0\r\nx-more:yes\r\n",
            ),
        ),
        row(
            "a text call, answered in text",
            "/pkg.Service/Echo",
            TEXT,
            TEXT,
            "AAAAAANhYmM=",
            (
                200,
                "content-type=application/grpc-web-text+proto",
                "AAAAAANhYmM=gAAAABtncnBjLXN0YXR1czowDQp4LW1vcmU6eWVzDQo=",
            ),
        ),
        row(
            "a text call, answered in binary",
            "/pkg.Service/Echo",
            TEXT,
            "*/*",
            "AAAAAANhYmM=",
            (
                200,
                "content-type=application/grpc-web+proto",
                "\0\0\0\0\x03abc\u{80}\0\0\0\x1bgrpc-status:0\r\nx-more:yes\r\n",
            ),
        ),
        row(
            "every frame is encoded by itself, however it came",
            "/pkg.Service/Split",
            BINARY,
            TEXT,
            "",
            (
                200,
                "content-type=application/grpc-web-text+proto",
                "AAAAAAJoaQ==AAAAAAFvgAAAABtncnBjLXN0YXR1czowDQp4LW1vcmU6eWVzDQo=",
            ),
        ),
        row(
            "an answer of trailers only",
            "/pkg.Service/Refused",
            BINARY,
            "",
            "",
            (200, "content-type=application/grpc-web+proto grpc-status=5 grpc-message=no", ""),
        ),
        row(
            "an origin that does not speak gRPC",
            "/pkg.Service/Plain",
            BINARY,
            TEXT,
            "",
            (
                503,
                "content-type=application/grpc-web-text+proto grpc-status=14 grpc-message=out of%0Aorder%25 content-length=0",
                "",
            ),
        ),
        row(
            "gRPC with another status is none",
            "/pkg.Service/Teapot",
            BINARY,
            "",
            "",
            (418, "content-type=application/grpc-web+proto grpc-status=2 grpc-message=tea content-length=0", ""),
        ),
        row(
            "text that is no base64",
            "/pkg.Service/Echo",
            TEXT,
            "",
            "AA==AAAA",
            (
                400,
                "content-type=application/grpc-web+proto grpc-status=13 grpc-message=Bad gRPC-web request, invalid base64 data. content-length=0",
                "",
            ),
        ),
        row(
            "text that breaks off",
            "/pkg.Service/Echo",
            TEXT,
            "",
            "AAAAA",
            (
                400,
                "content-type=application/grpc-web+proto grpc-status=13 grpc-message=Bad gRPC-web request, invalid base64 data. content-length=0",
                "",
            ),
        ),
        row(
            "a direct response is told in the head",
            "/direct",
            BINARY,
            "",
            "",
            (200, "content-type=application/grpc-web+proto grpc-status=2 grpc-message=straight content-length=0", ""),
        ),
        row(
            "no route: nothing to tell",
            "/nowhere",
            TEXT,
            TEXT,
            "",
            (404, "content-type=application/grpc-web-text+proto", ""),
        ),
        row(
            "a route for gRPC is found by what the client said",
            "/typed",
            BINARY,
            "",
            "",
            (200, "content-type=application/grpc-web+proto grpc-status=2 grpc-message=web content-length=0", ""),
        ),
        row(
            "what is not gRPC-Web passes",
            "/pkg.Service/Plain",
            "application/json",
            "",
            "{}",
            (503, "content-type=text/plain content-length=13", "out of\norder%"),
        ),
    ]
}

/// What an origin says.
#[derive(Default)]
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// Pieces of gRPC, and trailers behind them.
fn called(pieces: &[&[u8]]) -> Frames {
    let trailers = [("grpc-status", "0"), ("x-more", "yes")];
    let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
    let pieces = pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
    Frames(pieces.chain([Frame::trailers(trailers)]).collect())
}

async fn answer(request: http::Request<Incoming>) -> Result<http::Response<Frames>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let grpc = || http::Response::builder().header("content-type", "application/grpc");
    let plain = |status: u16, body: &'static str| {
        let response = http::Response::builder().status(status);
        let body = Frames([Frame::data(Bytes::from(body))].into());
        response.header("content-type", "text/plain").header("content-length", body_length(&body)).body(body)
    };
    let response = match head.uri.path() {
        "/pkg.Service/Seen" => {
            let field = |name: &str| head.headers.get(name).map_or("none", |value| value.to_str().unwrap()).to_owned();
            let names = ["te", "grpc-accept-encoding", "content-type", "content-length"];
            let mut seen = names.map(|name| format!("{name}={} ", field(name))).concat().into_bytes();
            seen.extend_from_slice(&body);
            let length = u32::try_from(seen.len()).unwrap().to_be_bytes();
            grpc().body(called(&[&[0], &length, &seen]))
        }
        "/pkg.Service/Echo" => grpc().body(called(&[&body])),
        "/pkg.Service/Split" => grpc().body(called(&[b"\0\0\0", b"\0\x02h", b"i\0\0\0\0\x01o"])),
        "/pkg.Service/Refused" => {
            grpc().header("grpc-status", "5").header("grpc-message", "no").body(Frames::default())
        }
        "/pkg.Service/Teapot" => grpc().status(418).body(Frames([Frame::data(Bytes::from("tea"))].into())),
        _ => plain(503, "out of\norder%"),
    };
    Ok(response.unwrap())
}

fn body_length(body: &Frames) -> usize {
    body.0.iter().filter_map(Frame::data_ref).map(Bytes::len).sum()
}

async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), hyper::service::service_fn(answer)));
        }
    });
    at
}

fn bootstrap(origin: SocketAddr) -> Value {
    let said = |text: &str| json!({ "status": 200, "body": { "inline_string": text } });
    let typed = |value: &str| json!({ "prefix": "/typed", "headers": [{ "name": "content-type", "string_match": { "exact": value } }] });
    let routes = json!([
        { "match": { "prefix": "/pkg.Service" }, "route": { "cluster": "grpc" } },
        { "match": { "path": "/direct" }, "direct_response": said("straight") },
        { "match": typed("application/grpc"), "direct_response": said("grpc") },
        { "match": typed(BINARY), "direct_response": said("web") },
    ]);
    let filter = |name: &str, kind: &str| json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": { "@type": format!("type.googleapis.com/envoy.extensions.filters.http.{kind}") } });
    let filters =
        json!({ "http_filters": [filter("grpc_web", "grpc_web.v3.GrpcWeb"), filter("router", "router.v3.Router")] });
    let manager = manager(&json!([{ "name": "all", "domains": ["*"], "routes": routes }]), &filters);
    let http2 = upstream(&json!({ "http2_protocol_options": {} }), &json!({}));
    bootstrap::bootstrap(&[listener(1, &manager)], &[cluster("grpc", &address(origin), &http2)], &json!({}))
}

/// Status, the headers that matter, the body; without an answer, what came instead.
async fn ask(at: SocketAddr, row: &Row, version: Version) -> (u16, String, String) {
    let mut headers =
        vec![("host".to_owned(), "a".to_owned()), ("content-type".to_owned(), row.content_type.to_owned())];
    if !row.accept.is_empty() {
        headers.push(("accept".to_owned(), row.accept.to_owned()));
    }
    let send = json!({ "method": "POST", "path": row.path, "headers": headers, "body": row.body });
    let send = Send { version, ..serde_json::from_value(send).unwrap() };
    match client::exchange_within(PATIENCE, at, &send, None, None).await.unwrap() {
        Reply::Response(response) => {
            let said = |name: &str| {
                let value = response.headers.iter().find(|(known, _)| known == name)?;
                Some(format!("{name}={}", value.1))
            };
            let mut known: Vec<_> = ["content-type", "grpc-status", "grpc-message", "content-length"]
                .into_iter()
                .filter_map(said)
                .collect();
            if response.body.is_empty() && row.answer.1.split(' ').all(|field| !field.starts_with("content-length")) {
                known.retain(|field| field != "content-length=0"); // how HTTP/1 says that nothing follows
            }
            (response.status, known.join(" "), response.body)
        }
        other => (0, format!("{other:?}"), String::new()),
    }
}

async fn check(who: &str, gateway: &Gateway) -> Vec<String> {
    let at = gateway.ports[&1];
    let mut wrong = Vec::new();
    for row in rows() {
        for version in [Version::Http11, Version::Http2] {
            let got = ask(at, &row, version).await;
            let expected = (row.answer.0, row.answer.1.to_owned(), row.answer.2.to_owned());
            if got != expected {
                wrong.push(format!("{who}, {version:?}, {}:\n  {got:?}, not\n  {expected:?}", row.what));
            }
        }
    }
    wrong
}

#[tokio::test]
async fn a_browser_s_calls_are_translated_as_envoy_translates_them() {
    let gateways = bootstrap::run(&bootstrap(origin().await)).await.unwrap();
    let mut wrong = Vec::new();
    for (who, gateway) in &gateways {
        wrong.extend(check(who, gateway).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
