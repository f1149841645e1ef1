//! The calls that `suite` makes to the proxy for a request that a rule of every module concerns: none more than its effects take, the same in
//! host-sim and in the real Envoy.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod filters;

use std::net::SocketAddr;
use std::time::Duration;

use filters::{Connection, address, block, plugin, setup};
use serde_json::{Value, json};

/// Read once; charged with a read, the clock and a write; a state of each module that did something but reroute; a header each that changed; the
/// route once more.
const REQUEST: [&str; 12] = [
    "proxy_get_header_map_pairs",
    "proxy_get_shared_data",
    "clock_time_get",
    "proxy_set_shared_data",
    "proxy_set_property",
    "proxy_set_property",
    "proxy_set_property",
    "proxy_replace_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_call_foreign_function",
];
/// `ratelimit` and `ratelimit-policy`.
const RESPONSE: [&str; 2] = ["proxy_replace_header_map_value"; 2];

/// Marked, charged, not delayed, rewritten, sent to one of two.
fn configuration() -> Value {
    let on = json!([{"uri": {"prefix": "/team/"}}]);
    json!({
        "headerMatch": {"rules": [{"name": "mark", "match": on, "headers": {"request": {"set": {"x-team": "a"}}}}]},
        "rateLimit": {"rules": [{"name": "limit", "match": on, "key": [{"header": "x-user"}], "limit": {"requests": 1000, "per": "1s"}}]},
        "faultInject": {"rules": [{"match": [{"headers": {"x-chaos": {"exact": "on"}}}], "delay": {"fixedDelay": "1s"}}]},
        "uriRewrite": {"rules": [{"match": on, "rewrite": {"uri": "/svc/"}}]},
        "trafficShift": {"rules": [{
            "name": "shift", "match": [{"uri": {"prefix": "/svc/"}}], "key": [{"header": "x-user"}],
            "destinations": [{"name": "stable", "weight": 90}, {"name": "canary", "weight": 10}],
        }]},
    })
}

/// Three requests; the first make counters known and find the seed.
async fn ask(to: SocketAddr) {
    let mut connection = Connection::to(to).await;
    for _ in 0..3 {
        let answer = connection.get("/team/a", "x-user: ann\r\n").await;
        assert!(answer.head.contains("seen: /svc/a"), "{}", answer.head);
    }
}

/// The calls between the last two of these lines, by `name`; counters' ticks come when they come.
fn last<'l>(
    lines: impl Iterator<Item = &'l str>,
    begins: &str,
    ends: &str,
    name: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut calls = Vec::new();
    let mut inside = false;
    for line in lines {
        if line.contains(begins) {
            (calls, inside) = (Vec::new(), true);
        } else if line.contains(ends) {
            inside = false;
        } else if inside {
            calls.extend(name(line));
        }
    }
    calls
}

#[test]
fn a_request_takes_the_calls_its_effects_take() {
    let (folder, setup) = setup(&[plugin("suite", &configuration())], 1);
    block(async {
        let file = folder.path().join("trace.jsonl");
        let mut gateway = setup.host_sim(&["--trace".to_owned(), file.display().to_string()]).await.unwrap();
        ask(address(&gateway)).await;
        tokio::time::sleep(Duration::from_secs(1)).await; // in which a tick without a cause would show
        gateway.process.terminate(Duration::from_secs(20)).await.unwrap();
        let trace = std::fs::read_to_string(&file).unwrap();
        for (direction, expected) in [("request", &REQUEST[..]), ("response", &RESPONSE[..])] {
            let begins = format!(r#""direction":"{direction}""#);
            let calls = last(trace.lines(), &begins, r#""record":"outcome""#, |line| {
                let line: Value = serde_json::from_str(line).unwrap();
                (line["record"] == "hostcall").then(|| line["name"].as_str().unwrap().to_owned())
            });
            assert_eq!(calls, expected, "host-sim, {direction}");
        }

        // Counters are sent, and then nothing ticks: in the second that followed there would have been twenty.
        let ticks = trace.matches(r#""name":"proxy_on_tick""#).count();
        assert!((1..=4).contains(&ticks), "{ticks} ticks");

        let Some(envoy) = setup.envoy(&setup.flags).await.unwrap() else { return };
        let mut admin = Connection::to(envoy.admin).await;
        assert_eq!(admin.send("POST", "/logging?wasm=trace", "").await.status, 200);
        ask(address(&envoy)).await;
        let over = |lines: &[String]| {
            (lines.iter().filter(|line| line.contains("[host<-vm] proxy_on_delete")).count() >= 3).then_some(())
        };
        envoy.process.wait_for("the end of three requests", Duration::from_secs(20), over).await.unwrap();
        let log = envoy.process.log();
        for (direction, expected) in [("request", &REQUEST[..]), ("response", &RESPONSE[..])] {
            let begins = format!("[host->vm] proxy_on_{direction}_headers(");
            let ends = format!("[host<-vm] proxy_on_{direction}_headers ");
            let calls = last(log.lines(), &begins, &ends, |line| {
                let call = line.split_once("[vm->host] ")?.1;
                Some(call.split_once('(')?.0.rsplit_once('.')?.1.to_owned())
            });
            assert_eq!(calls, expected, "Envoy, {direction}");
        }
    });
}
