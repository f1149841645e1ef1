//! Replays recorded cases against `host-sim` and prints how many answers are Istio's and Envoy's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use tests::case::{self, Case};
use tests::replay::{Replay, Through};
use tests::scoreboard::{Scoreboard, Scored};

/// Replays recorded cases against host-sim and counts the answers that are equal to Istio's and Envoy's.
#[derive(Parser)]
struct Arguments {
    /// Case files; all of tests/corpus/cases when none is named.
    files: Vec<PathBuf>,
    /// Only this area.
    #[arg(long)]
    area: Option<String>,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    name: String,
    /// Differences to print for each area.
    #[arg(short = 'v', default_value_t = 3)]
    shown: usize,
    /// Who answers: `envoy` is the real Envoy on what `host-sim envoy` prints, which judges the translation alone.
    #[arg(long, default_value = "host-sim")]
    through: Through,
    /// Cases at a time.
    #[arg(long, default_value_t = tests::replay::SIDE_BY_SIDE)]
    jobs: usize,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let cases = selected(&arguments)?;
    if cases.is_empty() {
        bail!("no case is called that");
    }
    let start = Instant::now();
    let replay = Rc::new(Replay::new(arguments.through)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scored = runtime.block_on(replay.all(cases, arguments.jobs));
    print_differences(&scored, arguments.shown);
    let board = Scoreboard::of(&scored);
    print!("{board}");
    println!("in {:.1} s", start.elapsed().as_secs_f32());
    let total = board.total();
    Ok(if total.equal == total.all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn selected(arguments: &Arguments) -> Result<Vec<Case>> {
    let files = if arguments.files.is_empty() { case::files()? } else { arguments.files.clone() };
    let mut cases = Vec::new();
    for file in files {
        cases.extend(case::load(&file)?);
    }
    let area = |case: &Case| arguments.area.as_deref().is_none_or(|area| area == case.scored_as() || area == case.area);
    cases.retain(|case| area(case) && case.name.contains(&arguments.name));
    Ok(cases)
}

fn print_differences(scored: &[Scored], limit: usize) {
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for one in scored.iter().filter(|one| one.difference.is_some()) {
        let count = shown.entry(&one.area).or_default();
        *count += 1;
        if *count <= limit {
            println!("  {one}");
        }
    }
}
