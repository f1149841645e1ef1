//! One bootstrap, two gateways: the real Envoy and host-sim, each with the same listeners in front of the same origin.

pub(crate) mod heads;
pub(crate) mod http2;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::gateway::Gateway;
use tests::host_sim::Run;
use tests::{envoy, host_sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The gateways, Envoy first; host-sim alone where there is no Envoy.
pub(crate) struct Gateways {
    pub(crate) envoy: Option<Gateway>,
    pub(crate) host_sim: Gateway,
}

/// Starts both. Listener `l_0` is a connection manager as it comes, `l_1` is an edge as Istio has it.
pub(crate) async fn start(origin: SocketAddr) -> Gateways {
    let bootstrap = bootstrap(origin);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    let program = host_sim::binary().unwrap();
    let run = Run::manifests(&program, &[]).with(["--bootstrap", file.to_str().unwrap(), "--port-map", "0=0"]);
    let host_sim = run.start().await.unwrap();
    let envoy = match envoy::binary().unwrap() {
        None => None,
        Some(binary) => Some(envoy::start(&binary, &bootstrap, 1).await.unwrap()),
    };
    Gateways { envoy, host_sim }
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

fn bootstrap(origin: SocketAddr) -> Value {
    let listener = |(number, more): (usize, Value)| {
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "edge",
            "delayed_close_timeout": "0.3s",
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
            }],
            "route_config": { "name": "r", "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                { "match": { "prefix": "/direct" }, "direct_response": { "status": 200, "body": { "inline_string": "d" } } },
                { "match": { "prefix": "/moved" }, "redirect": { "host_redirect": "new.example" } },
                { "match": { "prefix": "/" }, "route": { "cluster": "origin", "timeout": "0s" } },
            ] }] },
        });
        if let (Some(fields), Value::Object(more)) = (manager.as_object_mut(), more) {
            fields.extend(more);
        }
        json!({ "name": format!("l_{number}"), "address": address(([127, 0, 0, 1], 0).into()), "filter_chains": [
            { "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] },
        ] })
    };
    let profiles = [json!({}), json!({ "use_remote_address": true, "normalize_path": true })];
    json!({
        "admin": { "address": address(([127, 0, 0, 1], 0).into()) },
        "static_resources": {
            "listeners": profiles.into_iter().enumerate().map(listener).collect::<Vec<_>>(),
            "clusters": [{ "name": "origin", "type": "STATIC", "load_assignment": { "cluster_name": "origin", "endpoints": [
                { "lb_endpoints": [{ "endpoint": { "address": address(origin) } }] },
            ] } }],
        },
    })
}

/// Answers each request with its bytes, so that a client sees what its origin saw. `/slow` is never answered.
pub(crate) async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    at
}

async fn serve(mut socket: TcpStream) {
    let mut bytes = Vec::new();
    loop {
        while let Some(length) = message(&bytes) {
            let seen: Vec<u8> = bytes.drain(..length).collect();
            if seen.windows(5).any(|part| part == b"/slow") {
                continue;
            }
            let body = if seen.len() > 4000 { format!("{} bytes", seen.len()).into_bytes() } else { seen.clone() };
            let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
            if !seen.starts_with(b"HEAD ") {
                answer.extend(body);
            }
            if socket.write_all(&answer).await.is_err() {
                return;
            }
        }
        if !matches!(socket.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

/// The length of the first message, once it is whole.
fn message(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked") {
        let body = &bytes[head..];
        return if body.starts_with(b"0\r\n\r\n") {
            Some(head + 5)
        } else {
            Some(head + find(body, b"\r\n0\r\n\r\n")? + 7)
        };
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let whole = head.checked_add(length)?;
    (bytes.len() >= whole).then_some(whole)
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}
