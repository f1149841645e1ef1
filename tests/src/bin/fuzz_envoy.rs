//! Random gateways and requests through `host-sim run` and through the real Envoy: prints every difference as a small case.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use tests::fuzz::case::{Case, one_line};
use tests::fuzz::judge::{Finding, Judge};
use tests::fuzz::shrink;

/// Random gateways and requests through host-sim and through the real Envoy.
#[derive(Parser)]
struct Arguments {
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed; each world takes the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this many worlds.
    #[arg(long)]
    worlds: Option<u64>,
    /// Requests in each world.
    #[arg(long, default_value_t = 150)]
    requests: usize,
    /// Differences made small in each world.
    #[arg(long, default_value_t = 2)]
    shrink: usize,
    /// Let istiod translate for Envoy (`make istiod`), instead of host-sim.
    #[arg(long)]
    istiod: bool,
    /// Print the worlds instead of running them.
    #[arg(long)]
    print: bool,
    /// Print the manifests that are refused.
    #[arg(long)]
    refusals: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let Some(mut judge) = Judge::new()? else { return Ok(ExitCode::SUCCESS) };
    if arguments.istiod {
        judge = judge.with_istiod()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments, &judge))
}

async fn run(arguments: &Arguments, judge: &Judge) -> Result<ExitCode> {
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let (mut worlds, mut exchanges, mut differences, mut refused) = (0_u64, 0, 0, 0);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for seed in arguments.seed.. {
        if Instant::now() >= end || arguments.worlds.is_some_and(|most| worlds >= most) {
            break;
        }
        worlds += 1;
        let case = Case::of_seed(seed, &judge.net, arguments.requests);
        if arguments.print {
            println!("{}", case.yaml()?);
            continue;
        }
        match judge.judge(&case).await? {
            Finding::Refused(words) => {
                refused += 1;
                if arguments.refusals {
                    println!("seed {seed}: refused: {words}");
                }
            }
            Finding::Start(words) => {
                differences += 1;
                println!("seed {seed}: {words}");
                if arguments.shrink > 0 {
                    println!("{}", shrink::shrink(judge, Case { requests: Vec::new(), ..case }, "start").await.yaml()?);
                }
            }
            Finding::Asked(asked, different) => {
                exchanges += asked;
                differences += different.len();
                for (at, one) in different.iter().enumerate() {
                    let kind = one.kind();
                    let known = kinds.entry(kind.clone()).or_default();
                    *known += 1;
                    println!("seed {seed}: {}\n    {}", one.words, one_line(&one.send)?);
                    if at < arguments.shrink && *known <= 1 {
                        let alone = Case { requests: vec![one.send.clone()], ..case.clone() };
                        println!("{}", shrink::shrink(judge, alone, &kind).await.yaml()?);
                    }
                }
            }
        }
    }
    println!("{worlds} worlds ({refused} refused by both), {exchanges} exchanges, {differences} differences");
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
