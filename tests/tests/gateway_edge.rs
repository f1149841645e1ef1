//! The front door: which raw HTTP/1 heads and bodies are accepted, what is said to the others, whether the connection stays; and how far an
//! HTTP/2 client may go before it loses its connection. host-sim as the real Envoy, byte for byte where there are bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod edge;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tests::gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use edge::{find, heads, http2};

/// Connections at a time.
const AT_ONCE: usize = 96;
/// How often a row that differs is asked again, alone, before it counts.
const AGAIN: usize = 3;

/// Everything a client gets, dates and durations aside, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    bytes: String,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The gateway closed the connection.
    Closed,
    /// The second request was answered: the connection is as good as new.
    Open,
    /// Neither: the gateway waits for more.
    Waits,
}

/// Sends a row with a second request behind it.
async fn send(to: SocketAddr, row: Vec<u8>, patience: Duration) -> Got {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let (mut reading, mut writing) = socket.split();
    let (mut bytes, mut end) = (Vec::new(), End::Closed);
    let sending = async {
        // A gateway that has heard enough may close before it has heard all.
        let _ = writing.write_all(&[&row, heads::SENTINEL].concat()).await;
    };
    let receiving = async {
        loop {
            match tokio::time::timeout(patience, reading.read_buf(&mut bytes)).await {
                Err(_) => break end = End::Waits,
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) if is_second_answer(&bytes) => break end = End::Open,
                Ok(Ok(_)) => {}
            }
        }
    };
    tokio::join!(sending, receiving);
    Got { bytes: without_times(&bytes), end }
}

/// The second request's own bytes come back at the end of its answer.
fn is_second_answer(bytes: &[u8]) -> bool {
    find(bytes, b"\r\n\r\nGET /sentinel HTTP/1.1\r\n").is_some() && bytes.ends_with(b"\r\n\r\n")
}

fn without_times(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let told = |line: &&str| {
        !["date: ", "x-envoy-upstream-service-time: ", "x-request-id: "].iter().any(|name| line.starts_with(name))
    };
    text.split("\r\n").filter(told).collect::<Vec<_>>().join("\n")
}

/// The rows that are answered differently on a listener.
async fn differing(
    gateways: &[&Gateway; 2],
    listener: u16,
    rows: Vec<Vec<u8>>,
    patience: Duration,
) -> Vec<(Vec<u8>, Got, Got)> {
    let [envoy, host_sim] = gateways.map(|gateway| gateway.ports[&listener]);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for row in rows {
        let turns = Arc::clone(&turns);
        asking.spawn(async move {
            let _turn = turns.acquire().await;
            let (envoy, host_sim) =
                tokio::join!(send(envoy, row.clone(), patience), send(host_sim, row.clone(), patience));
            (row, envoy, host_sim)
        });
    }
    let mut different = asking.join_all().await;
    different.retain(|(_, envoy, host_sim)| envoy != host_sim);
    different
}

#[tokio::test]
async fn heads_and_bodies_are_taken_and_refused_as_envoy_does() {
    let gateways = edge::start(edge::mirror().await).await;
    let rows = heads::rows();
    assert!(rows.iter().collect::<BTreeSet<_>>().len() > 500, "the table has shrunk");
    let Some(envoy) = &gateways.envoy else { return };
    let mut wrong = Vec::new();
    for listener in [0, 1] {
        let mut left = rows.clone();
        let mut different = Vec::new();
        for round in 0..AGAIN {
            let patience = Duration::from_millis(if round == 0 { 1500 } else { 4000 });
            different = differing(&[envoy, &gateways.host_sim], listener, left, patience).await;
            left = different.iter().map(|(row, ..)| row.clone()).collect();
        }
        wrong.extend(different.into_iter().map(|(row, envoy, host_sim)| {
            let row = String::from_utf8_lossy(&row[..row.len().min(300)]).into_owned();
            format!("l_{listener}: {row:?}\n  Envoy {envoy:?}\n  host-sim {host_sim:?}")
        }));
    }
    assert!(wrong.is_empty(), "{} of {} rows\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[tokio::test]
async fn an_http_2_client_that_goes_too_far_loses_its_connection_as_in_envoy() {
    let gateways = edge::start(edge::mirror().await).await;
    let mut wrong = Vec::new();
    for attack in http2::attacks() {
        let expected = attack.verdict;
        let got = http2::verdict(gateways.host_sim.ports[&0], &attack).await;
        if got != expected {
            wrong.push(format!("host-sim: {}: {got:?}, not {expected:?}", attack.what));
        }
        if let Some(envoy) = &gateways.envoy {
            let got = http2::verdict(envoy.ports[&0], &attack).await;
            if got != expected {
                wrong.push(format!("Envoy: {}: {got:?}, not {expected:?}", attack.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
