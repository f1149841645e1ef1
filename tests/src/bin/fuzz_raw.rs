//! Random bytes of clients and origins through host-sim and through the real Envoy: prints every difference as a small case.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use tests::fuzz::raw::judge::{Different, Judge};
use tests::fuzz::raw::shrink;
use tests::fuzz::raw::talk::{Talk, Way};

/// Random bytes of clients and origins through host-sim and through the real Envoy.
#[derive(Parser)]
struct Arguments {
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed; each bootstrap takes the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this many bootstraps.
    #[arg(long)]
    bootstraps: Option<u64>,
    /// Talks on each bootstrap.
    #[arg(long, default_value_t = 500)]
    talks: usize,
    /// Kinds of differences made small on each bootstrap.
    #[arg(long, default_value_t = 4)]
    shrink: usize,
    /// One way of asking alone.
    #[arg(long)]
    only: Option<Way>,
    /// Print the talks instead of having them.
    #[arg(long)]
    print: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

#[derive(Default)]
struct Totals {
    bootstraps: u64,
    talks: BTreeMap<Way, usize>,
    kinds: BTreeMap<String, usize>,
    allowed: BTreeMap<&'static str, usize>,
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut totals = Totals::default();
    for seed in arguments.seed.. {
        if Instant::now() >= end || arguments.bootstraps.is_some_and(|most| totals.bootstraps >= most) {
            break;
        }
        totals.bootstraps += 1;
        let talks = Talk::of_seed(seed, arguments.talks, arguments.only);
        if arguments.print {
            talks.iter().for_each(|talk| println!("{talk}"));
            continue;
        }
        let Some(judge) = Judge::start(seed).await? else { return Ok(ExitCode::SUCCESS) };
        talks.iter().for_each(|talk| *totals.talks.entry(talk.way).or_default() += 1);
        let different = judge.judge(&talks).await?;
        tell(arguments, seed, &judge, different, &mut totals).await;
    }
    let talks: Vec<String> = totals.talks.iter().map(|(way, count)| format!("{count} {way:?}")).collect();
    for (what, count) in &totals.allowed {
        println!("allowed {count} times: {what}");
    }
    for (kind, count) in &totals.kinds {
        println!("{count} times: {kind}");
    }
    let differences: usize = totals.kinds.values().sum();
    println!("{} bootstraps, talks: {}; {differences} differences", totals.bootstraps, talks.join(", "));
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is new among them, made small, and counts all.
async fn tell(arguments: &Arguments, seed: u64, judge: &Judge, different: Vec<Different>, totals: &mut Totals) {
    let mut shrunk = 0;
    for one in different {
        if let Some(why) = one.allowance() {
            *totals.allowed.entry(why).or_default() += 1;
            continue;
        }
        let kind = one.kind();
        let known = totals.kinds.entry(kind.clone()).or_default();
        *known += 1;
        if *known > 1 {
            continue;
        }
        let small = if shrunk < arguments.shrink { shrink::shrink(judge, one).await } else { one };
        shrunk += 1;
        println!("seed {seed}: {kind}\n  {}\n{}{}\n", judge.door(&small.talk), small.talk, small.words());
    }
}
