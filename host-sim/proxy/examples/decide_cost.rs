//! What a routing decision costs with ten routes and with ten thousand: `cargo run --release -p proxy --example decide_cost`.
//!
//! The routes are what a large gateway has: exact paths, prefixes, regexes, and conditions on headers, all in one virtual host. Each table is asked
//! for its first, middle and last route in turn; of several rounds the fastest counts.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program to be read, on numbers of its own")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use proxy::edge::{ConnectionInfo, Protocol};
use proxy::headers::HeaderList;
use proxy::route::{RequestHead, RouteTable};
use serde_json::{Value, json};

const ROUNDS: usize = 30;
const ASKED: usize = 3_000;

fn main() {
    let few = nanoseconds(10);
    println!("{:>7} routes: {few:>6.0} ns a decision", 10);
    for count in [100, 1_000, 10_000] {
        let many = nanoseconds(count);
        println!("{count:>7} routes: {many:>6.0} ns a decision, {:.2} of ten routes'", many / few);
    }
}

fn table(count: usize) -> RouteTable {
    let route = |at: usize| {
        let matched = match at % 5 {
            0 => json!({"path": format!("/exact/{at}")}),
            1 => json!({"prefix": format!("/prefix/{at}/")}),
            2 => json!({"safe_regex": {"regex": format!("/regex/{at}/[0-9]+")}}),
            3 => json!({"prefix": "/", "headers": [{"name": "x-route", "string_match": {"exact": at.to_string()}}]}),
            _ => {
                json!({"path": format!("/query/{at}"), "query_parameters": [{"name": "v", "string_match": {"exact": "1"}}]})
            }
        };
        json!({"name": format!("r{at}"), "match": matched, "route": {"cluster": "c"}})
    };
    let routes: Vec<Value> = (0..count).map(route).collect();
    let config = json!({"name": "r", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]});
    RouteTable::compile(&serde_json::from_value(config).expect("a configuration")).expect("a table")
}

/// A request for the route of this number.
fn request(at: usize) -> HeaderList {
    let mut lines =
        vec![(":authority", "shop.example".to_owned()), (":method", "GET".into()), ("user-agent", "curl".into())];
    let path = match at % 5 {
        0 => format!("/exact/{at}"),
        1 => format!("/prefix/{at}/x"),
        2 => format!("/regex/{at}/7"),
        3 => {
            lines.push(("x-route", at.to_string()));
            "/any".into()
        }
        _ => format!("/query/{at}?v=1"),
    };
    lines.push((":path", path));
    lines.into_iter().map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(value))).collect()
}

fn nanoseconds(count: usize) -> f64 {
    let table = table(count);
    let connection = ConnectionInfo {
        id: 1,
        remote: "127.0.0.1:50000".parse().expect("an address"),
        relay: None,
        local: "127.0.0.1:80".parse().expect("an address"),
        node_address: "127.0.0.1".parse().expect("an address"),
        protocol: Protocol::Http11,
        tls: None,
    };
    // The same kinds of routes at the beginning, in the middle and at the end.
    let places = [0, count / 2 / 5 * 5, count - 5].map(|from| (from..from + 5).map(request).collect::<Vec<_>>());
    let requests: Vec<&HeaderList> = places.iter().flatten().collect();
    let round = || {
        let start = Instant::now();
        for at in 0..ASKED {
            let Some(headers) = requests.get(at % requests.len()) else { continue };
            let head = RequestHead { headers: headers.as_slice(), random: 0, connection: &connection };
            let decision = table.decide(black_box(&head));
            assert!(decision.route().is_some(), "every request has its route");
        }
        start.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    best.as_secs_f64() * 1e9 / f64::from(u32::try_from(ASKED).unwrap_or(u32::MAX))
}
