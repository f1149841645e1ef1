//! A few random worlds, always the same ones, through host-sim and the real Envoy; `make fuzz-envoy` goes on from there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use tests::fuzz::case::{Case, one_line};
use tests::fuzz::judge::{Finding, Judge};

const WORLDS: std::ops::RangeInclusive<u64> = 1..=8;
const REQUESTS: usize = 60;

#[tokio::test]
async fn random_worlds_answer_as_in_envoy() {
    let Some(judge) = Judge::new().unwrap() else { return };
    let (mut exchanges, mut wrong) = (0, Vec::new());
    for seed in WORLDS {
        match judge.judge(&Case::of_seed(seed, &judge.net, REQUESTS)).await.unwrap() {
            Finding::Refused(_) => {}
            Finding::Start(words) => wrong.push(format!("seed {seed}: {words}")),
            Finding::Asked(asked, different) => {
                exchanges += asked;
                let words = different
                    .iter()
                    .map(|one| format!("seed {seed}: {}\n  {}", one.words, one_line(&one.send).unwrap()));
                wrong.extend(words);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(exchanges >= REQUESTS * 4, "most worlds are refused: only {exchanges} exchanges");
}
