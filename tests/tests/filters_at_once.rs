//! The filters under many requests at once, through host-sim and through the real Envoy: limits over two workers, delays by the thousand.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod filters;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use filters::{Answer, Connection, address, block, plugin, setup, within};
use serde_json::json;

const RATE: f64 = 100.0;
const BURST: f64 = 100.0;

/// Sixteen connections ask as fast as they are answered.
async fn ask(to: SocketAddr, long: Duration) -> Vec<Answer> {
    let until = Instant::now() + long;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                let mut connection = Connection::to(to).await;
                let mut answers = Vec::new();
                while Instant::now() < until {
                    answers.push(connection.get("/", "").await);
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.unwrap());
    }
    answers
}

/// A decision lies between asking and reading, so only what must, or only what can, lie in an interval is counted.
fn judge(who: &str, answers: &[Answer]) {
    let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    let admitted: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(admitted.len() + refused.len(), answers.len(), "{who}: other answers");
    assert!(refused.len() > 100, "{who}: demand did not exceed the limit: {} of {}", refused.len(), answers.len());
    for from in &admitted {
        let mut inside: Vec<Instant> =
            admitted.iter().filter(|answer| answer.asked >= from.asked).map(|answer| answer.read).collect();
        inside.sort();
        for (n, end) in inside.iter().enumerate() {
            let most = BURST + RATE * seconds(from.asked, *end) + 1.0;
            assert!((n + 1) as f64 <= most, "{who}: {} admitted, {most:.1} at most", n + 1);
        }
    }
    // Who is refused finds the bucket empty: between two refusals everything that flowed in has been given out.
    let mut by_time = refused.clone();
    by_time.sort_by_key(|answer| answer.read);
    let step = (by_time.len() / 40).max(1);
    for first in by_time.iter().step_by(step) {
        for last in by_time.iter().rev().step_by(step).filter(|last| last.asked > first.read) {
            let can = admitted.iter().filter(|answer| answer.read >= first.asked && answer.asked <= last.read).count();
            let least = RATE * seconds(first.read, last.asked) - 2.0;
            assert!(can as f64 >= least, "{who}: {can} admitted, at least {least:.1} would have fitted");
        }
    }
    let whole = seconds(answers.iter().map(|a| a.asked).min().unwrap(), by_time.last().unwrap().asked);
    println!("{who}: {} asked, {} admitted in {whole:.2} s", answers.len(), admitted.len());
}

#[test]
fn two_workers_and_sixteen_connections_keep_one_limit() {
    let limit = json!({"requests": 100, "per": "1s", "burst": 100});
    let config = json!({"rules": [{"name": "all", "key": [{"constant": "all"}], "limit": limit}]});
    let (_folder, setup) = setup(&[plugin("rate-limit", &config)], 2);
    block(async {
        let pair = setup.start().await.unwrap();
        let asking = ask(address(&pair.host_sim), Duration::from_secs(2));
        judge("host-sim", &within(&pair.host_sim, asking).await);
        if let Some(envoy) = &pair.envoy {
            judge("Envoy", &within(envoy, ask(address(envoy), Duration::from_secs(2))).await);
        }
    });
}

/// Two thousand are held; meanwhile others are answered, and when their time has come all of them are.
async fn delayed(who: &str, to: SocketAddr) {
    const HELD: usize = 2000;
    let mut others = Connection::to(to).await;
    assert_eq!(others.get("/", "").await.status, 200);
    let mut waiting = Vec::new();
    for _ in 0..HELD {
        let mut connection = Connection::to(to).await;
        waiting.push(tokio::spawn(async move { connection.get("/slow", "").await }));
    }
    let mut served = Vec::new();
    while !waiting.iter().any(|task| task.is_finished()) {
        served.push(others.get("/", "").await);
    }
    let mut held = Vec::new();
    for task in waiting {
        held.push(task.await.unwrap());
    }
    assert!(held.iter().chain(&served).all(|answer| answer.status == 200), "{who}");
    assert!(held.iter().all(|answer| answer.read - answer.asked >= Duration::from_secs(3)), "{who}: let go too early");
    // While all of them were held, others came and went.
    let (last_asked, first_read) =
        (held.iter().map(|a| a.asked).max().unwrap(), held.iter().map(|a| a.read).min().unwrap());
    let between = served.iter().filter(|answer| answer.asked > last_asked && answer.read < first_read).count();
    assert!(last_asked < first_read, "{who}: not all were held at once");
    assert!(between > 100, "{who}: {between} others were answered while {HELD} were held");
    println!("{who}: {between} others answered while {HELD} were held");
}

#[test]
fn two_thousand_delayed_requests_do_not_hold_up_the_others() {
    let config = json!({"rules": [{
        "match": [{"uri": {"exact": "/slow"}}], "delay": {"fixedDelay": "3s"}, "maxActive": 2000,
    }]});
    let (_folder, setup) = setup(&[plugin("fault-inject", &config)], 1);
    block(async {
        let pair = setup.start().await.unwrap();
        within(&pair.host_sim, delayed("host-sim", address(&pair.host_sim))).await;
        if let Some(envoy) = &pair.envoy {
            within(envoy, delayed("Envoy", address(envoy))).await;
        }
    });
}

/// All are due at the same moment, for the proxy sleeps through it.
async fn slept_through(who: &str, gateway: &tests::gateway::Gateway) {
    const HELD: usize = 1000;
    let to = address(gateway);
    let mut waiting = Vec::new();
    for _ in 0..HELD {
        let mut connection = Connection::to(to).await;
        waiting.push(tokio::spawn(async move { connection.get("/slow", "").await }));
    }
    let signal = |name: &str| {
        let kill = std::process::Command::new("kill").args([name, &gateway.process.id().to_string()]).status();
        assert!(kill.unwrap().success(), "{who}: {name}");
    };
    tokio::time::sleep(Duration::from_millis(500)).await; // until all are held
    signal("-STOP");
    tokio::time::sleep(Duration::from_secs(2)).await; // what is held is held for as long
    signal("-CONT");
    let mut statuses = std::collections::BTreeMap::new();
    for task in waiting {
        *statuses.entry(task.await.unwrap().status).or_insert(0) += 1;
    }
    assert_eq!(statuses, [(200, HELD)].into(), "{who}");
}

#[test]
fn a_thousand_that_are_due_at_once_are_let_go_without_harm() {
    let rule = json!({"match": [{"uri": {"exact": "/slow"}}], "delay": {"fixedDelay": "2s"}, "maxActive": 1000});
    let (_folder, setup) = setup(&[plugin("fault-inject", &json!({"rules": [rule]}))], 1);
    block(async {
        let pair = setup.start().await.unwrap();
        within(&pair.host_sim, slept_through("host-sim", &pair.host_sim)).await;
        if let Some(envoy) = &pair.envoy {
            within(envoy, slept_through("Envoy", envoy)).await;
        }
    });
}

/// One may be held at a time. While one is, others pass at once; when its client goes, its place is free for the next.
async fn left(who: &str, to: SocketAddr) {
    const HELD: Duration = Duration::from_secs(2);
    let first = tokio::spawn(async move { Connection::to(to).await.get("/slow", "").await });
    tokio::time::sleep(HELD / 8).await; // until it is held
    let passed = Connection::to(to).await.get("/slow", "").await;
    assert!(passed.read - passed.asked < HELD / 2, "{who}: held although another is");
    first.abort();
    assert!(first.await.is_err(), "{who}: the first was answered already");
    tokio::time::sleep(HELD / 8).await; // until the proxy has seen it go
    let held = Connection::to(to).await.get("/slow", "").await;
    assert!(held.read - held.asked >= HELD, "{who}: the place of a client that went is still taken");
}

#[test]
fn a_client_that_goes_leaves_its_place_to_the_next() {
    let config =
        json!({"rules": [{"match": [{"uri": {"exact": "/slow"}}], "delay": {"fixedDelay": "2s"}, "maxActive": 1}]});
    let (_folder, setup) = setup(&[plugin("fault-inject", &config)], 1);
    block(async {
        let pair = setup.start().await.unwrap();
        within(&pair.host_sim, left("host-sim", address(&pair.host_sim))).await;
        if let Some(envoy) = &pair.envoy {
            within(envoy, left("Envoy", address(envoy))).await;
        }
    });
}
