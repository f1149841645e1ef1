//! What a gateway does with its connections: protocols that take one over, pools that keep them, breakers that count them, streams that talk
//! both ways, and what the admin server says is configured. host-sim as the real Envoy, on one bootstrap.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tests::bootstrap::{self, address, cluster, listener, manager, upstream};
use tests::client::read_head;
use tests::gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// A gateway that has said nothing by now says nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// The cluster whose pool is used up.
const NARROW: &str = "narrow";

/// An HTTP/1 origin: it counts its connections, echoes what comes over a switched one, and keeps `/slow` waiting until it is let go.
struct Origin {
    at: SocketAddr,
    connections: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    released: watch::Sender<bool>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let released = watch::Sender::new(false);
        let (count, heard, release) = (Arc::clone(&connections), Arc::clone(&asked), released.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(socket, Arc::clone(&heard), release.subscribe()));
            }
        });
        Self { at, connections, asked, released }
    }
}

async fn serve(mut socket: TcpStream, asked: Arc<AtomicUsize>, mut released: watch::Receiver<bool>) {
    let mut bytes = Vec::new();
    while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        asked.fetch_add(1, Ordering::Relaxed);
        bytes.clear();
        if head.starts_with("GET /ws") {
            let switched = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
            socket.write_all(switched.as_bytes()).await.unwrap();
            let (mut reading, mut writing) = socket.split();
            tokio::io::copy(&mut reading, &mut writing).await.unwrap_or_default();
            return;
        }
        if head.starts_with("GET /half") {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
            return;
        }
        if head.starts_with("GET /slow") {
            released.wait_for(|released| *released).await.unwrap();
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    }
}

/// An HTTP/2 origin that sends every piece of a request back as it comes, and then how the call went.
async fn echo_of_streams() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let answer = |request: http::Request<Incoming>| async move {
        let trailers = async {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            Some(Ok(trailers))
        };
        let body = request.into_body().with_trailers(trailers);
        Ok::<_, Infallible>(http::Response::builder().header("content-type", "application/grpc").body(body).unwrap())
    };
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    });
    at
}

fn bootstrap(plain: SocketAddr, streams: SocketAddr) -> Value {
    let route = |prefix: &str, cluster: &str| json!({ "match": { "prefix": prefix }, "route": { "cluster": cluster, "timeout": "0s" } });
    let hosts = json!([
        { "name": "secure", "domains": ["secure", "secure:80"], "require_tls": "ALL", "routes": [route("/", "kept")] },
        { "name": "empty", "domains": ["empty", "empty:80"], "routes": [] },
        { "name": "all", "domains": ["*"], "routes": [
            route("/once", "once"), route("/slow", NARROW), route("/pkg.Service", "streams"), route("/", "kept"),
        ] },
    ]);
    let manager = manager(&hosts, &json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }));
    let http1 = |common: Value| upstream(&json!({ "http_protocol_options": {} }), &common);
    let http2 = upstream(&json!({ "http2_protocol_options": {} }), &json!({}));
    let narrow = json!({ "circuit_breakers": { "thresholds": [{ "max_connections": 1, "max_pending_requests": 1 }] } });
    let clusters = [
        cluster("kept", &address(plain), &http1(json!({}))),
        cluster("once", &address(plain), &http1(json!({ "max_requests_per_connection": 1 }))),
        cluster(NARROW, &address(plain), &narrow),
        cluster("streams", &address(streams), &http2),
    ];
    bootstrap::bootstrap(&[listener(1, &manager)], &clusters, &json!({}))
}

/// The head of the answer to one request on a connection of its own.
async fn head(at: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    read_head(&mut socket, PATIENCE).await.unwrap()
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// Both directions of a switched connection, more than once.
async fn web_socket(at: SocketAddr) -> Vec<String> {
    let mut socket = TcpStream::connect(at).await.unwrap();
    let request =
        "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut said = vec![status(&read_head(&mut socket, PATIENCE).await.unwrap()).to_owned()];
    for word in ["one", "and another"] {
        socket.write_all(word.as_bytes()).await.unwrap();
        let mut echo = vec![0; word.len()];
        tokio::time::timeout(PATIENCE, socket.read_exact(&mut echo)).await.expect("an echo").unwrap();
        said.push(String::from_utf8(echo).unwrap());
    }
    said
}

/// What is said to who asks for another protocol, by host and by what is asked: 403 where there is a route that does not allow it.
const SWITCHES: [(&str, &str, &str); 8] = [
    ("a", "GET /kept HTTP/1.1\r\nconnection: upgrade\r\nupgrade: other\r\n", "403"),
    ("secure", "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: other\r\n", "403"),
    ("secure", "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n", "301"),
    ("empty", "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: other\r\n", "404"),
    ("empty", "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n", "404"),
    ("secure:80", "CONNECT secure:80 HTTP/1.1\r\n", "403"),
    ("empty:80", "CONNECT empty:80 HTTP/1.1\r\n", "404"),
    // A prefix takes no CONNECT.
    ("a:80", "CONNECT a:80 HTTP/1.1\r\n", "404"),
];

async fn switches(at: SocketAddr) -> Vec<String> {
    let mut said = Vec::new();
    for (host, head, _) in SWITCHES {
        let mut socket = TcpStream::connect(at).await.unwrap();
        socket.write_all(format!("{head}host: {host}\r\n\r\n").as_bytes()).await.unwrap();
        said.push(status(&read_head(&mut socket, PATIENCE).await.unwrap()).to_owned());
    }
    said
}

/// How many connections three requests in a row cost the origin.
async fn connections(at: SocketAddr, origin: &Origin, path: &str) -> usize {
    let before = origin.connections.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(status(&head(at, path).await), "200");
    }
    origin.connections.load(Ordering::Relaxed) - before
}

/// One request has the only connection, one may wait for it, the third is too many: its head; and the statuses of the others in the end.
async fn breaker(at: SocketAddr, origin: &Origin, gateway: &Gateway) -> (String, Vec<String>) {
    origin.released.send_replace(false);
    let asked = origin.asked.load(Ordering::Relaxed);
    let first = tokio::spawn(async move { head(at, "/slow").await });
    until("the origin is asked", async || origin.asked.load(Ordering::Relaxed) > asked).await;
    let second = tokio::spawn(async move { head(at, "/slow").await });
    let waits = format!("cluster.{NARROW}.upstream_rq_pending_active: 1");
    until("one request waits", async || gateway.admin("/stats").await.unwrap().contains(&waits)).await;
    let third = head(at, "/slow").await;
    origin.released.send_replace(true);
    let others = [first.await.unwrap(), second.await.unwrap()];
    let third = third.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n");
    (third, others.iter().map(|head| status(head).to_owned()).collect())
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await; // nobody tells
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not so in time: {what}"));
}

/// A call in which each side says its next word when it has heard the other's last.
async fn call(at: SocketAddr) -> Vec<String> {
    let socket = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let (say, words) = mpsc::channel::<Frame<Bytes>>(1);
    let body = Words(words);
    let request = http::Request::post(format!("http://{at}/pkg.Service/Talk"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let talking = async {
        let response = sender.send_request(request).await.unwrap();
        let mut said = vec![response.status().as_u16().to_string()];
        let mut body = response.into_body();
        for word in ["first", "second"] {
            say.send(Frame::data(Bytes::from_static(word.as_bytes()))).await.unwrap();
            let frame = body.frame().await.unwrap().unwrap();
            said.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
        }
        drop(say);
        let end = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        said.push(format!("grpc-status {}", end["grpc-status"].to_str().unwrap()));
        said
    };
    tokio::time::timeout(PATIENCE, talking).await.expect("both sides say their words")
}

/// What an HTTP/2 client has of an answer that breaks off: status, bytes, and how it ends.
async fn half(at: SocketAddr) -> (u16, String, Option<String>) {
    let socket = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{at}/half")).body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let reading = async {
        let response = sender.send_request(request).await.expect("a head");
        let (status, mut body, mut bytes) = (response.status().as_u16(), response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => {
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    return (status, String::from_utf8(bytes).unwrap(), why);
                }
            }
        }
        (status, String::from_utf8(bytes).unwrap(), None)
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an end")
}

/// A body that is said as it goes.
struct Words(mpsc::Receiver<Frame<Bytes>>);

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// What the admin server says is configured: the names of listeners, clusters and routes.
async fn configured(gateway: &Gateway) -> BTreeSet<String> {
    let dump: Value = serde_json::from_str(&gateway.admin("/config_dump").await.unwrap()).unwrap();
    let mut names = BTreeSet::new();
    for section in dump["configs"].as_array().unwrap() {
        for (list, resource) in
            [("static_listeners", "listener"), ("static_clusters", "cluster"), ("static_route_configs", "route_config")]
        {
            for one in section[list].as_array().into_iter().flatten() {
                names.insert(format!("{resource} {}", one[resource]["name"].as_str().unwrap()));
            }
        }
    }
    names
}

async fn check(who: &str, gateway: &Gateway, origin: &Origin) {
    let at = gateway.ports[&1];
    assert_eq!(web_socket(at).await, ["101", "one", "and another"], "{who}");
    assert_eq!(switches(at).await, SWITCHES.map(|(_, _, status)| status), "{who}");
    assert_eq!(connections(at, origin, "/kept").await, 1, "{who}: a pool keeps its connection");
    assert_eq!(connections(at, origin, "/once").await, 3, "{who}: one request for each connection");
    let (refused, others) = breaker(at, origin, gateway).await;
    let expected = "HTTP/1.1 503 Service Unavailable\nx-envoy-overloaded: true\ncontent-length: 81\ncontent-type: text/plain\nserver: envoy\n";
    assert_eq!(sorted(&refused), sorted(expected), "{who}");
    assert_eq!(others, ["200", "200"], "{who}");
    assert_eq!(call(at).await, ["200", "first", "second", "grpc-status 0"], "{who}");
    assert_eq!(
        half(at).await,
        (200, "half".to_owned(), Some("stream error received: unexpected internal error encountered".to_owned())),
        "{who}"
    );
    let names = ["cluster kept", "cluster narrow", "cluster once", "cluster streams", "listener l_1", "route_config r"];
    assert_eq!(configured(gateway).await, names.map(str::to_owned).into(), "{who}");
}

fn sorted(head: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = head.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn connections_are_kept_shared_refused_and_handed_over_as_envoy_does() {
    let origin = Origin::start().await;
    let bootstrap = bootstrap(origin.at, echo_of_streams().await);
    for (who, gateway) in bootstrap::run(&bootstrap).await.unwrap() {
        check(who, &gateway, &origin).await;
    }
}
