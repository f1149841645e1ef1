//! SIGTERM under load, and the admin pages that change a running gateway.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use tests::gateway::{Gateway, fetch};
use tests::pair::Setup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLIENTS: usize = 8;

async fn started() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("gateway.yaml");
    std::fs::write(&manifest, tests::gateway::HELLO).unwrap();
    let setup = Setup { manifests: vec![manifest], ports: [80].into(), workers: 2, ..Setup::default() };
    setup.host_sim(&[]).await.unwrap()
}

/// One answer's head, its body read; an error when there is none.
async fn ask(socket: &mut TcpStream) -> Result<String, String> {
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"hello") {
        if socket.read_buf(&mut bytes).await.map_err(|error| error.to_string())? == 0 {
            return Err(format!("closed behind {:?}", String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks until nobody listens any more; says how often it was answered.
async fn client(at: SocketAddr) -> Result<u32, String> {
    let mut answered = 0;
    while let Ok(mut socket) = TcpStream::connect(at).await {
        let mut heard = false;
        loop {
            let asked = ask(&mut socket).await;
            // The kernel resets what still waited to be accepted when the listener closed.
            if asked.is_err() && !heard && TcpStream::connect(at).await.is_err() {
                return Ok(answered);
            }
            heard = true;
            let head = asked?;
            if !head.starts_with("HTTP/1.1 200 ") {
                return Err(head);
            }
            answered += 1;
            if head.contains("connection: close") {
                break;
            }
        }
    }
    Ok(answered)
}

#[tokio::test]
async fn sigterm_under_load_fails_no_request() {
    let mut gateway = started().await;
    let at = gateway.ports[&80];
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(at))).collect();
    ask(&mut TcpStream::connect(at).await.unwrap()).await.unwrap();
    // One that has said nothing yet must not be waited for.
    let _silent = TcpStream::connect(at).await.unwrap();
    let status = gateway.process.terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", gateway.process.log());
    for client in clients {
        assert!(client.await.unwrap().unwrap() > 0);
    }
}

async fn post(at: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn listeners_are_drained_by_post_alone() {
    let gateway = started().await;
    let at = gateway.ports[&80];
    assert!(fetch(gateway.admin, "/drain_listeners").await.is_err(), "GET changes nothing");
    ask(&mut TcpStream::connect(at).await.unwrap()).await.unwrap();
    assert!(post(gateway.admin, "/drain_listeners").await.starts_with("HTTP/1.1 200 "));
    // Accepting ends when the workers have heard of it.
    let closed = async { while TcpStream::connect(at).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
    assert!(fetch(gateway.admin, "/ready").await.is_err(), "a gateway that drains is not ready");
}

#[tokio::test]
async fn the_log_level_is_changed_by_post_alone() {
    let gateway = started().await;
    let level = async || fetch(gateway.admin, "/logging").await.unwrap();
    let before = level().await;
    assert!(post(gateway.admin, "/logging?level=debug").await.starts_with("HTTP/1.1 200 "));
    assert_ne!(level().await, before);
    assert!(post(gateway.admin, "/logging?level=loud").await.starts_with("HTTP/1.1 400 "));
    assert_eq!(level().await.trim(), "active log level: DEBUG");
}
