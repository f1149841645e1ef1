//! A few random worlds and talks, always the same ones, through host-sim and the real Envoy; `make fuzz-envoy` and `make fuzz-raw` go on from there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use tests::fuzz::case::{Case, one_line};
use tests::fuzz::judge::{Finding, Judge};
use tests::fuzz::raw;

const WORLDS: std::ops::RangeInclusive<u64> = 1..=8;
const REQUESTS: usize = 60;
/// Worlds that were found to differ, once: retries that leave out priorities, names with underscores.
const FOUND: [u64; 2] = [72103, 74018];
const REQUESTS_OF_FOUND: usize = 150;

/// The requests of a world that are answered differently.
async fn differing(judge: &Judge, seed: u64, requests: usize) -> Vec<String> {
    match judge.judge(&Case::of_seed(seed, &judge.net, requests)).await.unwrap() {
        Finding::Asked(_, different) => different.iter().map(|one| one_line(&one.send).unwrap()).collect(),
        Finding::Refused(_) | Finding::Start(_) => Vec::new(),
    }
}

#[tokio::test]
async fn random_worlds_answer_as_in_envoy() {
    let Some(judge) = Judge::new().unwrap() else { return };
    let (mut exchanges, mut wrong) = (0, Vec::new());
    let found = FOUND.into_iter().map(|seed| (seed, REQUESTS_OF_FOUND));
    for (seed, requests) in WORLDS.map(|seed| (seed, REQUESTS)).chain(found) {
        match judge.judge(&Case::of_seed(seed, &judge.net, requests)).await.unwrap() {
            Finding::Refused(_) => {}
            Finding::Start(words) => wrong.push(format!("seed {seed}: {words}")),
            Finding::Asked(asked, different) => {
                exchanges += asked;
                // Envoy draws dice of its own: a difference is one that is there again.
                let again = if different.is_empty() { Vec::new() } else { differing(&judge, seed, requests).await };
                let sends = different.iter().map(|one| (one_line(&one.send).unwrap(), &one.words));
                let still = sends.filter(|(send, _)| again.contains(send));
                wrong.extend(still.map(|(send, words)| format!("seed {seed}: {words}\n  {send}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(exchanges >= REQUESTS * 4, "most worlds are refused: only {exchanges} exchanges");
}

/// Bootstraps of the byte fuzzer, and talks on each.
const BOOTSTRAPS: std::ops::RangeInclusive<u64> = 1..=2;
const TALKS: usize = 250;

#[tokio::test]
async fn random_bytes_are_taken_as_in_envoy() {
    let mut wrong = Vec::new();
    for seed in BOOTSTRAPS {
        let Some(judge) = raw::judge::Judge::start(seed).await.unwrap() else { return };
        let talks = raw::talk::Talk::of_seed(seed, TALKS, None);
        let different = judge.judge(&talks).await.unwrap();
        let known = different.into_iter().filter(|one| one.allowance().is_none());
        wrong.extend(known.map(|one| format!("seed {seed}: {}\n{}{}", one.kind(), one.talk, one.words())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
