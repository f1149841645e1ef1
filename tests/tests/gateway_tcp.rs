//! Connections that are carried as they are: how long, to which endpoint, behind which words, in TLS of the gateway's own. host-sim as the real Envoy,
//! on one bootstrap.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tests::bootstrap::{self, address, bootstrap, cluster, merged, nowhere};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(20);
/// How many endpoints there are to choose from, and how many clients of one address choose.
const ENDPOINTS: usize = 5;
const CLIENTS: usize = 6;

/// Says its name, then whatever it hears.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: String) {
    let mut heard = vec![0; 1024];
    if stream.write_all(name.as_bytes()).await.is_err() {
        return;
    }
    while let Ok(count @ 1..) = stream.read(&mut heard).await {
        if stream.write_all(&heard[..count]).await.is_err() {
            return;
        }
    }
}

async fn origin(name: &str, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, name) = (listener.local_addr().unwrap(), name.to_owned());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (name, tls) = (name.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => echo(stream, name).await,
                    Some(tls) => echo(tls.accept(stream).await.expect("a handshake"), name).await,
                }
            });
        }
    });
    at
}

/// A certificate that nobody checks.
fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["origin.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![CertificateDer::from(own.cert)], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn door(number: usize, proxy: &Value, more: &Value) -> Value {
    let base = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t" });
    let listener = json!({ "name": format!("l_{number}"), "address": nowhere(), "filter_chains": [{ "filters": [
        { "name": "envoy.filters.network.tcp_proxy", "typed_config": merged(base, proxy) },
    ] }] });
    merged(listener, more)
}

/// What comes back of what is said; to the end where that is soon.
async fn ask(at: SocketAddr, said: &[u8], expected: usize) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut told = Vec::new();
    while told.len() < expected {
        match tokio::time::timeout(PATIENCE, stream.read_buf(&mut told)).await.expect("an answer or an end") {
            Ok(1..) => {}
            Ok(0) | Err(_) => return String::from_utf8(told).unwrap() + "<end>",
        }
    }
    String::from_utf8(told).unwrap()
}

#[tokio::test]
async fn connections_are_carried_as_in_envoy() {
    let plain = origin("plain ", None).await;
    let secret = origin("secret ", Some(acceptor())).await;
    let mut endpoints = Vec::new();
    for number in 0..ENDPOINTS {
        endpoints.push(json!({ "endpoint": { "address": address(origin(&number.to_string(), None).await) } }));
    }
    let protocol = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
    let protocol = json!({ "listener_filters": [{ "name": "p", "typed_config": { "@type": protocol } }] });
    let listeners = [
        door(0, &json!({ "cluster": "plain", "max_downstream_connection_duration": "0.3s" }), &json!({})),
        door(1, &json!({ "cluster": "plain" }), &protocol),
        door(2, &json!({ "cluster": "secret" }), &json!({})),
        door(3, &json!({ "cluster": "ring", "hash_policy": [{ "source_ip": {} }] }), &protocol),
    ];
    let tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    let tls = json!({ "transport_socket": { "name": "tls", "typed_config": { "@type": tls } } });
    let ring = json!({ "lb_policy": "RING_HASH", "load_assignment": {
        "cluster_name": "ring", "endpoints": [{ "lb_endpoints": endpoints }],
    } });
    let clusters = [
        cluster("plain", &address(plain), &json!({})),
        cluster("secret", &address(secret), &tls),
        cluster("ring", &address(plain), &ring),
    ];
    let mut chosen = Vec::new();
    for (who, gateway) in bootstrap::run(&bootstrap(&listeners, &clusters, &json!({}))).await.unwrap() {
        assert_eq!(ask(gateway.ports[&0], b"hello", 100).await, "plain hello<end>", "{who}: its time runs out");
        assert_eq!(ask(gateway.ports[&1], b"PROXY UNKNOWN\r\nhello", 11).await, "plain hello", "{who}: behind a line");
        assert_eq!(ask(gateway.ports[&1], b"hello, it is nobody", 1).await, "<end>", "{who}: without one");
        assert_eq!(ask(gateway.ports[&2], b"hello", 12).await, "secret hello", "{who}: in TLS");
        let mut of_clients = Vec::new();
        for client in 0..CLIENTS {
            let from = async |port: u16| {
                let line = format!("PROXY TCP4 192.0.2.{client} 10.0.0.9 {port} 443\r\n");
                ask(gateway.ports[&3], line.as_bytes(), 1).await
            };
            let (first, again) = (from(1000).await, from(2000).await);
            assert_eq!(first, again, "{who}: client {client}");
            of_clients.push(first);
        }
        chosen.push((who, of_clients));
    }
    let ours = &chosen[0].1;
    assert!(ours.iter().any(|endpoint| endpoint != &ours[0]), "all of them: {ours:?}");
    for (who, theirs) in &chosen {
        assert_eq!(theirs, ours, "{who}");
    }
}
