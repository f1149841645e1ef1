//! What a limit remembers when a configuration is pushed, in host-sim and in the real Envoy: all of it while the rule keeps its quota, nothing
//! once it has another.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod filters;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use filters::{Connection, address, block, plugin, setup};
use serde_json::{Value, json};
use tests::{envoy, host_sim};

/// A configuration that says its number on every answer, and refuses with it.
fn configuration(number: u32, burst: u32) -> Value {
    json!({
        "headerMatch": {"rules": [{"name": "say", "headers": {"response": {"set": {"x-number": number.to_string()}}}}]},
        "rateLimit": {"rules": [{
            "name": "all",
            "match": [{"uri": {"prefix": "/limited"}}],
            "limit": {"requests": 5, "per": "24h", "burst": burst},
            "response": {"body": {"string": format!("refused by {number}")}},
        }]},
    })
}

/// Pushes each configuration and asks as often as it says; these are the statuses.
async fn check(who: &str, to: SocketAddr, mut push: impl FnMut(u32, u32)) {
    // What was spent under the first is spent under the second, which only answers otherwise; the third has another quota.
    let table: [(u32, u32, &[u16]); 3] =
        [(1, 5, &[200; 3]), (2, 5, &[200, 200, 429, 429]), (3, 6, &[200, 200, 200, 200, 200, 200, 429])];
    for (number, burst, expected) in table {
        push(number, burst);
        in_force(who, to, number).await;
        let mut connection = Connection::to(to).await;
        for (at, status) in expected.iter().enumerate() {
            let answer = connection.get("/limited", "").await;
            assert_eq!(answer.status, *status, "{who}: configuration {number}, request {at}: {}", answer.head);
            assert!(*status == 200 || answer.body == format!("refused by {number}"), "{who}: {}", answer.body);
        }
    }
}

/// Waits until answers carry a configuration's number.
async fn in_force(who: &str, to: SocketAddr, number: u32) {
    for _ in 0..200 {
        let answer = Connection::to(to).await.get("/free", "").await;
        if answer.head.contains(&format!("x-number: {number}\r\n")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // until the push is in force
    }
    panic!("{who}: configuration {number} was never in force");
}

/// Takes the place of a file at once, as those who watch it want.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[test]
fn a_limit_goes_on_where_it_was_while_its_quota_stays() {
    let (folder, setup) = setup(&[plugin("suite", &configuration(1, 5))], 1);
    let manifests = setup.manifests[0].clone();
    let before = std::fs::read_to_string(&manifests).unwrap();
    let written = |number, burst| {
        let (gateway, _) = before.rsplit_once("\n---\n").unwrap();
        format!("{gateway}\n---\n{}", plugin("suite", &configuration(number, burst)))
    };
    let listeners = || {
        let bootstrap = setup.bootstrap(&host_sim::binary().unwrap(), &[]).unwrap();
        let mut listeners = bootstrap["static_resources"]["listeners"].clone();
        for listener in listeners.as_array_mut().unwrap() {
            listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        }
        (bootstrap, json!({"resources": listeners}).to_string())
    };
    block(async {
        let gateway = setup.host_sim(&["--watch".to_owned()]).await.unwrap();
        check("host-sim", address(&gateway), |number, burst| replace(&manifests, &written(number, burst))).await;

        let Some(binary) = envoy::binary().unwrap() else { return };
        std::fs::write(&manifests, written(1, 5)).unwrap();
        let (mut bootstrap, first) = listeners();
        let file = folder.path().join("listeners.json");
        std::fs::write(&file, first).unwrap();
        bootstrap["static_resources"]["listeners"] = json!([]);
        // Whoever subscribes has to have a name.
        bootstrap["node"] = json!({"id": "gateway", "cluster": "gateway"});
        bootstrap["dynamic_resources"] =
            json!({"lds_config": {"resource_api_version": "V3", "path_config_source": {"path": file}}});
        let envoy = envoy::start(&binary, &bootstrap, 1).await.unwrap();
        check("Envoy", address(&envoy), |number, burst| {
            std::fs::write(&manifests, written(number, burst)).unwrap();
            replace(&file, &listeners().1);
        })
        .await;
    });
}
