//! What becomes of a request's head on its way in: who the client is, how it came, which host and path it names. host-sim as the real Envoy, on one
//! bootstrap with a connection manager for each row.

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
use tests::bootstrap::{self, bootstrap, listener, manager};
use tests::client::read_head;
use tests::gateway::Gateway;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A gateway that has said nothing by now says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

struct Row {
    what: &'static str,
    /// Fields of the connection manager.
    manager: Value,
    /// Method and target, then header lines.
    sent: &'static str,
    /// What the answer shows of the request, as a format of Envoy's.
    shows: &'static str,
    /// Status, what it shows, `location`.
    answer: (&'static str, &'static str, &'static str),
}

fn rows() -> Vec<Row> {
    let row = |what, manager, sent, shows, answer| Row { what, manager, sent, shows, answer };
    let edge = || json!({ "use_remote_address": true });
    let behind_one = || json!({ "use_remote_address": true, "xff_num_trusted_hops": 1 });
    let stripped = || json!({ "strip_any_host_port": true });
    let matching = || json!({ "strip_matching_host_port": true });
    let normal = || json!({ "normalize_path": true });
    let named = || json!({ "add_user_agent": true });
    let client = "%DOWNSTREAM_REMOTE_ADDRESS%";
    let who = "%REQ(USER-AGENT)% %REQ(X-ENVOY-DOWNSTREAM-SERVICE-CLUSTER)% %REQ(X-ENVOY-DOWNSTREAM-SERVICE-NODE)%";
    let paths = "%REQ(:PATH)% %REQ(X-ENVOY-ORIGINAL-PATH)%";
    let (host, scheme, path) = ("%REQ(:AUTHORITY)%", "%REQ(:SCHEME)%", "%REQ(:PATH)%");
    let a = "GET / HTTP/1.1\r\nhost: a\r\n";
    vec![
        row(
            "a forwarded client has no port",
            json!({}),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.2.3.4\r\n",
            client,
            ("200", "1.2.3.4:0", ""),
        ),
        row(
            "behind one hop as well",
            behind_one(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 9.9.9.9, ::1\r\n",
            client,
            ("200", "[::1]:0", ""),
        ),
        row(
            "who does not say how it came has no route",
            behind_one(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto:\r\n",
            scheme,
            ("404", "", ""),
        ),
        row(
            "an edge says it itself",
            edge(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto:\r\n",
            scheme,
            ("200", "http", ""),
        ),
        row(
            "a scheme in any case",
            behind_one(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: HTTPS\r\n",
            scheme,
            ("200", "https", ""),
        ),
        row(
            "what is none is not believed",
            behind_one(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: ftp\r\n",
            scheme,
            ("200", "http", ""),
        ),
        row(
            "a default port goes with its scheme",
            edge(),
            "GET /https HTTP/1.1\r\nhost: a:80\r\n",
            host,
            ("301", "a:80", "https://a/https"),
        ),
        row(
            "and stays where that was another",
            behind_one(),
            "GET /https HTTP/1.1\r\nhost: a:80\r\nx-forwarded-proto: ftp\r\n",
            host,
            ("301", "a:80", "https://a:80/https"),
        ),
        row(
            "a redirect shows the path it sends to",
            edge(),
            "GET /old/x?q=1 HTTP/1.1\r\nhost: a\r\n",
            paths,
            ("301", "/new/x?q=1 /old/x?q=1", "http://a/new/x?q=1"),
        ),
        row("a port is a number", stripped(), "GET / HTTP/1.1\r\nhost: a:080\r\n", host, ("200", "a", "")),
        row("of any size", stripped(), "GET / HTTP/1.1\r\nhost: a:99999\r\n", host, ("200", "a", "")),
        row("a word is none", stripped(), "GET / HTTP/1.1\r\nhost: a:x\r\n", host, ("200", "a:x", "")),
        row("nothing is none", stripped(), "GET / HTTP/1.1\r\nhost: a:\r\n", host, ("200", "a:", "")),
        row(
            "another than the listener's stays",
            matching(),
            "GET / HTTP/1.1\r\nhost: a:80\r\n",
            host,
            ("200", "a:80", ""),
        ),
        row(
            "a loose percent sign becomes no escape",
            normal(),
            "GET /%%412F HTTP/1.1\r\nhost: a\r\n",
            path,
            ("200", "/%25A2F", ""),
        ),
        row("nor does one that grows", normal(), "GET /%4%31 HTTP/1.1\r\nhost: a\r\n", path, ("200", "/%2541", "")),
        row("who we are", named(), a, who, ("200", "c c n", "")),
        row(
            "but not who the client is",
            named(),
            "GET / HTTP/1.1\r\nhost: a\r\nuser-agent: b\r\n",
            who,
            ("200", "b c n", ""),
        ),
        row(
            "an absolute target where none is taken apart",
            json!({ "http_protocol_options": { "allow_absolute_url": false } }),
            "GET http://b/ HTTP/1.1\r\nhost: a\r\n",
            host,
            ("404", "", ""),
        ),
        row(
            "a port is forwarded, whoever the client is",
            json!({ "append_x_forwarded_port": true }),
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-port: 1\r\n",
            "%REQ(X-FORWARDED-PORT)%",
            ("200", "1", ""),
        ),
        row(
            "a word that is said twice is one word",
            json!({}),
            "GET / HTTP/1.1\r\nhost: a\r\nx-envoy-is-timeout-retry: true\r\nx-envoy-is-timeout-retry: true\r\n",
            "%REQ(X-ENVOY-IS-TIMEOUT-RETRY)%",
            ("200", "true,true", ""),
        ),
        row(
            "escaped slashes send to where they are none",
            json!({ "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT" }),
            "GET /a%2Fb HTTP/1.1\r\nhost: a\r\n",
            host,
            ("307", "", "/a/b"),
        ),
        row("no host", json!({}), "GET / HTTP/1.1\r\n", host, ("400", "", "")),
        row(
            "no host, by gRPC",
            json!({}),
            "GET / HTTP/1.1\r\ncontent-type: application/grpc\r\n",
            host,
            ("200", "", ""),
        ),
        row(
            "CONNECT is no gRPC",
            json!({}),
            "CONNECT b:80 HTTP/1.1\r\nhost: b:80\r\ncontent-type: application/grpc\r\n",
            host,
            ("404", "", ""),
        ),
    ]
}

fn virtual_hosts(shows: &str) -> Value {
    let says = json!({ "status": 200 });
    json!([{
        "name": "all", "domains": ["*"],
        "response_headers_to_add": [{ "header": { "key": "x-shown", "value": shows } }],
        "routes": [
            { "match": { "prefix": "/https" }, "redirect": { "https_redirect": true } },
            { "match": { "prefix": "/old" }, "redirect": { "prefix_rewrite": "/new" } },
            { "match": { "prefix": "/" }, "direct_response": says },
        ],
    }])
}

/// Status, what is shown, where to go.
async fn ask(at: SocketAddr, sent: &str) -> (String, String, String) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(format!("{sent}\r\n").as_bytes()).await.unwrap();
    let head = read_head(&mut socket, PATIENCE).await.unwrap();
    let line = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), line("x-shown: "), line("location: "))
}

async fn check(who: &str, gateway: &Gateway, rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let (status, shown, location) = ask(gateway.ports[&u16::try_from(number).unwrap()], row.sent).await;
        let got = (status.as_str(), shown.as_str(), location.as_str());
        if got != row.answer {
            wrong.push(format!("{who}: {}: {got:?}, not {:?}", row.what, row.answer));
        }
    }
    wrong
}

#[tokio::test]
async fn heads_come_in_as_in_envoy() {
    let rows = rows();
    let listeners: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(number, row)| listener(number, &manager(&virtual_hosts(row.shows), &row.manager)))
        .collect();
    let bootstrap = bootstrap(&listeners, &[], &json!({ "node": { "id": "n", "cluster": "c" } }));
    let mut wrong = Vec::new();
    for (who, gateway) in bootstrap::run(&bootstrap).await.unwrap() {
        wrong.extend(check(who, &gateway, &rows).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
