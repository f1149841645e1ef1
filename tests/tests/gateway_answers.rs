//! What becomes of an origin's bytes: interim answers, odd statuses, ends without manners, switches of protocols. host-sim as the real Envoy, on one
//! bootstrap.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tests::bootstrap::{self, address, bootstrap, cluster, listener, manager};
use tests::gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A gateway that has said nothing by now says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// How an origin's connection ends.
#[derive(Clone, Copy)]
enum End {
    Closes,
    Resets,
}

struct Row {
    what: &'static str,
    /// More of the request's head.
    asked: &'static str,
    said: &'static str,
    end: End,
    /// What of these the client is told, in this order, and what it is not.
    told: &'static [&'static str],
    untold: &'static [&'static str],
}

fn rows() -> Vec<Row> {
    let row = |what, asked, said, end, told, untold| Row { what, asked, said, end, told, untold };
    let websocket = "connection: upgrade\r\nupgrade: websocket\r\n";
    let other = "connection: upgrade\r\nupgrade: foo\r\n";
    let (closes, resets) = (End::Closes, End::Resets);
    vec![
        row(
            "the first interim answer is passed on, without a word about its connection",
            "",
            "HTTP/1.1 103 X\r\nconnection: close\r\nlink: <a>\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok",
            closes,
            &["HTTP/1.1 103 ", "link: <a>\r\n\r\n", "HTTP/1.1 200 OK", "ok"],
            &["102", "close"],
        ),
        row(
            "no retry behind an interim answer",
            "x-envoy-retry-on: 5xx\r\nx-envoy-internal: true\r\n",
            "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 503 X\r\ncontent-length: 2\r\n\r\nno",
            closes,
            &["HTTP/1.1 103 ", "HTTP/1.1 503 ", "no"],
            &[],
        ),
        row(
            "a status is a number",
            "",
            "HTTP/1.1 0418 X\r\ncontent-length: 2\r\n\r\nok",
            closes,
            &["HTTP/1.1 418 ", "ok"],
            &[],
        ),
        row(
            "of sixteen bits",
            "",
            "HTTP/1.1 65736 X\r\ncontent-length: 2\r\n\r\nok",
            closes,
            &["HTTP/1.1 200 OK", "ok"],
            &[],
        ),
        row("even a small one", "", "HTTP/1.1 20 X\r\ncontent-length: 0\r\n\r\n", closes, &["HTTP/1.1 20 "], &[]),
        row("but a number", "", "HTTP/1.1 2x0 X\r\ncontent-length: 0\r\n\r\n", closes, &["HTTP/1.1 502 "], &[]),
        row(
            "a reset ends what ends with its connection",
            "",
            "HTTP/1.1 200 OK\r\n\r\nall",
            resets,
            &["HTTP/1.1 200 OK", "3\r\nall\r\n0\r\n\r\n"],
            &[],
        ),
        row(
            "a reset in a head is a breach of the protocol",
            "",
            "HTTP/1.1 200 OK\r\n",
            resets,
            &["HTTP/1.1 502 ", "protocol error"],
            &[],
        ),
        row(
            "nothing stands before an answer",
            "",
            " HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            closes,
            &["HTTP/1.1 502 ", "protocol error"],
            &[],
        ),
        row(
            "nobody reads the length of what has no body",
            "",
            "HTTP/1.1 304 X\r\ncontent-length: many\r\n\r\n",
            closes,
            &["HTTP/1.1 304 ", "content-length: many\r\n"],
            &[],
        ),
        row(
            "an origin that does not switch to WebSocket is quoted behind the route, without its body",
            websocket,
            "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nok",
            closes,
            &["HTTP/1.1 200 OK", "x-route: 1", "x-a: 1", "connection: close\r\ncontent-length: 0\r\n\r\n"],
            &["ok"],
        ),
        row(
            "one that does not switch to another protocol answers like any other",
            other,
            "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nok",
            closes,
            &["HTTP/1.1 200 OK", "x-a: 1", "x-route: 1", "ok"],
            &[],
        ),
        row(
            "one that says it switches without saying to what has answered",
            websocket,
            "HTTP/1.1 101 X\r\n\r\n",
            closes,
            &["HTTP/1.1 101 ", "connection: close\r\n"],
            &[],
        ),
    ]
}

/// Says the row's bytes to `/<row>`.
async fn origin(rows: Vec<(&'static str, End)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let head = tests::client::read_head(&mut socket, PATIENCE).await.unwrap();
            let number = head.split(' ').nth(1).and_then(|path| path.trim_start_matches('/').parse::<usize>().ok());
            let (said, end) = rows[number.unwrap()];
            socket.write_all(said.as_bytes()).await.unwrap();
            if matches!(end, End::Resets) {
                tokio::time::sleep(Duration::from_millis(50)).await; // a reset takes with it what was not read
                socket.set_zero_linger().unwrap();
            }
        }
    });
    at
}

async fn ask(at: SocketAddr, number: usize, asked: &str) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    let head = format!("GET /{number} HTTP/1.1\r\nhost: a\r\n{asked}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    // Where the answer does not end the connection, a second one does.
    socket.write_all(b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    let reading = socket.read_to_end(&mut told);
    tokio::time::timeout(PATIENCE, reading).await.expect("an end").unwrap_or_default();
    let told = String::from_utf8(told).unwrap();
    told.split("HTTP/1.1 299 ").next().unwrap_or_default().to_owned()
}

async fn check(who: &str, gateway: &Gateway, rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let told = ask(gateway.ports[&0], number, row.asked).await;
        let mut rest = told.as_str();
        let in_order = row.told.iter().all(|part| match rest.split_once(part) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        });
        if !in_order || row.untold.iter().any(|part| told.contains(part)) {
            wrong.push(format!("{who}: {}: {told:?}", row.what));
        }
    }
    wrong
}

#[tokio::test]
async fn answers_come_back_as_in_envoy() {
    let rows = rows();
    let origin = origin(rows.iter().map(|row| (row.said, row.end)).collect()).await;
    let hosts = json!([{
        "name": "all", "domains": ["*"],
        "response_headers_to_add": [{ "header": { "key": "x-route", "value": "1" } }],
        "routes": [
            { "match": { "path": "/last" }, "direct_response": { "status": 299 } },
            { "match": { "prefix": "/" }, "route": { "cluster": "origin" } },
        ],
    }]);
    let more = json!({
        "proxy_100_continue": true, "delayed_close_timeout": "0.1s",
        "upgrade_configs": [{ "upgrade_type": "websocket" }, { "upgrade_type": "foo" }],
    });
    let once =
        bootstrap::upstream(&json!({ "http_protocol_options": {} }), &json!({ "max_requests_per_connection": 1 }));
    let cluster = cluster("origin", &address(origin), &once);
    let bootstrap = bootstrap(&[listener(0, &manager(&hosts, &more))], &[cluster], &json!({}));
    let mut wrong = Vec::new();
    for (who, gateway) in bootstrap::run(&bootstrap).await.unwrap() {
        wrong.extend(check(who, &gateway, &rows).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
