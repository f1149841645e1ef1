//! What host-sim answers is what Istio and Envoy answered: the whole corpus, with a scoreboard, against the floors committed beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::rc::Rc;
use std::time::Instant;

use tests::replay::{Replay, SIDE_BY_SIDE, Through};
use tests::scoreboard::{Floors, Scoreboard, Scored};
use tests::{case, corpus};

#[test]
fn host_sim_answers_as_recorded() {
    let cases = case::files().unwrap().iter().flat_map(|file| case::load(file).unwrap()).collect();
    let start = Instant::now();
    let replay = Rc::new(Replay::new(Through::HostSim).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scored = runtime.block_on(replay.all(cases, SIDE_BY_SIDE));
    let board = Scoreboard::of(&scored);
    println!("\n{board}in {:.1} s\n", start.elapsed().as_secs_f32());
    let floors = Floors::load(&corpus().join("floors.yaml")).unwrap();
    for area in floors.outgrown(&board) {
        println!("tests/corpus/floors.yaml can be raised: {area}");
    }
    let broken = floors.broken(&board);
    assert!(broken.is_empty(), "{}\n\n{}", broken.join("\n"), differences(&scored));
}

/// Up to forty differences, a few of each area.
fn differences(scored: &[Scored]) -> String {
    let mut shown: Vec<&Scored> = Vec::new();
    for one in scored.iter().filter(|one| one.difference.is_some()) {
        if shown.iter().filter(|other| other.area == one.area).count() < 5 {
            shown.push(one);
        }
    }
    let shown: Vec<String> = shown.iter().take(40).map(ToString::to_string).collect();
    format!("{}\n\nMore: cargo run --release -p tests --bin corpus -- --area AREA -v 100", shown.join("\n"))
}
