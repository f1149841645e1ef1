//! What must never cost a request: another configuration, one that is refused, the end of the gateway.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proxy::{Gateway, GatewayConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CLIENTS: usize = 8;

/// `/version` is answered on the spot, everything else by the origin.
fn bootstrap(version: u64, origin: SocketAddr, filter: Option<Value>) -> xds::Bootstrap {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters: Vec<Value> = filter.into_iter().chain([router]).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "load",
        "http_filters": filters,
        "route_config": { "name": "r", "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "path": "/version" }, "direct_response": { "status": 200, "body": { "inline_string": version.to_string() } } },
            { "match": { "prefix": "/" }, "route": { "cluster": format!("origin-{}", version % 3) } },
        ] }] },
    });
    let address =
        |at: SocketAddr| json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } });
    let clusters: Vec<Value> = (0..3)
        .map(|n| {
            let name = format!("origin-{n}");
            json!({ "name": name, "type": "STATIC", "load_assignment": { "cluster_name": name, "endpoints": [
                { "lb_endpoints": [{ "endpoint": { "address": address(origin) } }] },
            ] } })
        })
        .collect();
    let listener = json!({ "name": "l", "address": address(SocketAddr::from(([127, 0, 0, 1], 0))), "filter_chains": [
        { "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] },
    ] });
    serde_json::from_value(json!({ "static_resources": { "listeners": [listener], "clusters": clusters } })).unwrap()
}

fn config(bootstrap: xds::Bootstrap) -> GatewayConfig {
    GatewayConfig { bootstrap, workers: 2, hardened: false, seed: Some(1), cache_dir: None, trace: None }
}

/// Answers every request head with 200 and two bytes.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                        bytes.drain(..end + 4);
                        if socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    at
}

/// One request on a connection: the body, and whether the connection can be used again.
async fn ask(socket: &mut TcpStream, path: &str) -> Result<(String, bool), String> {
    let said = |error: std::io::Error| error.to_string();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(said)?;
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                let ok = head.starts_with("HTTP/1.1 200 ");
                let again = !head.contains("connection: close");
                return if ok { Ok((body.to_owned(), again)) } else { Err(head.to_owned()) };
            }
        }
        if socket.read_buf(&mut bytes).await.map_err(said)? == 0 {
            return Err("closed without an answer".to_owned());
        }
    }
}

/// Asks until told to stop, or until nobody listens any more; says how many answers there were.
async fn client(at: SocketAddr, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Result<u64, String> {
    let (mut count, mut newest) = (0, 0);
    'connection: while !stop.load(Ordering::Relaxed) {
        let Ok(mut socket) = TcpStream::connect(at).await else { return Ok(count) };
        socket.set_nodelay(true).unwrap();
        let mut heard = false;
        while !stop.load(Ordering::Relaxed) {
            for path in ["/version", "/else"] {
                let asked = ask(&mut socket, path).await;
                // The kernel resets what still waited to be accepted when the listener closed.
                if asked.is_err() && !heard && TcpStream::connect(at).await.is_err() {
                    return Ok(count);
                }
                heard = true;
                let (body, again) = asked.map_err(|error| format!("{path}: {error}"))?;
                if path == "/version" {
                    let version: u64 = body.parse().map_err(|_| format!("no version: {body}"))?;
                    if version < newest {
                        return Err(format!("version {version} after {newest}"));
                    }
                    newest = version;
                }
                count += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                if !again {
                    continue 'connection;
                }
            }
        }
    }
    Ok(count)
}

struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<Result<u64, String>>>,
}

impl Load {
    /// Clients at work; every one of them has had an answer.
    async fn start(at: SocketAddr) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENTS).map(|_| tokio::spawn(client(at, Arc::clone(&stop), Arc::clone(&answered))));
        let load = Load { clients: clients.collect(), stop, answered };
        load.more(CLIENTS as u64).await;
        load
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, count: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + count;
        while self.answered.load(Ordering::Relaxed) < enough {
            assert!(!self.clients.iter().any(tokio::task::JoinHandle::is_finished), "a client has given up");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn ended(self) -> Vec<u64> {
        let mut counts = Vec::new();
        for client in self.clients {
            counts.push(client.await.unwrap().unwrap());
        }
        counts
    }
}

fn started(bootstrap: xds::Bootstrap) -> (Arc<Gateway>, SocketAddr) {
    let gateway = Gateway::start(config(bootstrap)).unwrap();
    let at = gateway.listeners()[0].1;
    (Arc::new(gateway), at)
}

#[tokio::test]
async fn a_thousand_changes_of_configuration_cost_no_request() {
    let origin = origin().await;
    let (gateway, at) = started(bootstrap(0, origin, None));
    let load = Load::start(at).await;
    let pusher = Arc::clone(&gateway);
    let pushes = tokio::task::spawn_blocking(move || {
        for version in 1..=1000 {
            pusher.apply(bootstrap(version, origin, None)).unwrap();
        }
    });
    pushes.await.unwrap();
    load.more(CLIENTS as u64 * 2).await;
    load.stop.store(true, Ordering::Relaxed);
    let counts = load.ended().await;
    assert!(counts.iter().all(|count| *count > 2), "{counts:?}");
    assert_eq!(gateway.listeners(), [("l".to_owned(), at)], "the listener stayed where it was");
    let (last, _) = ask(&mut TcpStream::connect(at).await.unwrap(), "/version").await.unwrap();
    assert_eq!(last, "1000");
}

#[tokio::test]
async fn a_refused_configuration_changes_nothing() {
    let origin = origin().await;
    let (gateway, at) = started(bootstrap(7, origin, None));
    let before = gateway.config_dump();
    let load = Load::start(at).await;
    let unknown = json!({ "name": "x", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua" } });
    let pusher = Arc::clone(&gateway);
    let refused = tokio::task::spawn_blocking(move || {
        (0..50).map(|n| pusher.apply(bootstrap(100 + n, origin, Some(unknown.clone()))).is_err()).collect::<Vec<_>>()
    });
    let refused = refused.await.unwrap();
    load.more(CLIENTS as u64).await;
    load.stop.store(true, Ordering::Relaxed);
    load.ended().await;
    assert_eq!(refused, vec![true; 50]);
    assert_eq!(gateway.config_dump(), before);
    let (version, _) = ask(&mut TcpStream::connect(at).await.unwrap(), "/version").await.unwrap();
    assert_eq!(version, "7");
}

#[tokio::test]
async fn a_drain_answers_everything_it_accepted_and_takes_no_more() {
    let origin = origin().await;
    let (gateway, at) = started(bootstrap(1, origin, None));
    let load = Load::start(at).await;
    load.more(100).await;
    let drained = gateway.drain();
    assert!(!gateway.is_ready());
    // Each client ends by itself when it finds nobody listening.
    let counts = load.ended().await;
    drained.finished().await;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(TcpStream::connect(at).await.is_err());
}
