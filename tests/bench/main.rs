//! `make bench`: the figures of speed, each section in a file of its own, in one run on one machine.
//!
//! CPU time of the gateway's process is the figure to look at, and ratios within a round: both are steady on a shared machine, where requests
//! per second are not.

mod chains;
mod contest;
mod cost;
mod filter_cost;
mod filters;
mod footprint;
mod gateways;
mod load;
mod many_routes;
mod origin;
mod section;
mod vm_cost;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Map, Value};
use tests::repository;
use tokio::runtime::Runtime;

use section::Section;

/// Measures host-sim beside Envoy and a bare hyper proxy, all on loopback.
#[derive(Parser)]
struct Arguments {
    /// Seconds of load for each contestant, workload and round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Rounds; the median of each figure counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Connections that send one request after another.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Only these sections; the others keep their figures in target/bench.json.
    #[arg(long)]
    only: Vec<String>,
}

/// What every section measures with.
pub(crate) struct Bench {
    runtime: Runtime,
    origin: SocketAddr,
    rounds: usize,
    connections: usize,
    duration: Duration,
}

type Measure = fn(&Bench) -> Result<Section>;

const SECTIONS: [(&str, Measure); 7] = [
    ("gateways", gateways::measure),
    ("routes", many_routes::requests),
    ("footprint", footprint::measure),
    ("commands", many_routes::commands),
    ("modules", filter_cost::measure),
    ("filters", filters::measure),
    ("vms", vm_cost::measure),
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench {
        origin: origin::start(&runtime)?,
        runtime,
        rounds: arguments.rounds.max(1),
        connections: arguments.connections,
        duration: Duration::try_from_secs_f64(arguments.seconds)?,
    };
    let file = repository().join("target/bench.json");
    let before = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut report: Map<String, Value> = before.unwrap_or_default();
    report.retain(|name, _| SECTIONS.iter().any(|(known, _)| known == name));
    for (name, measure) in SECTIONS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("{name}");
        let section = measure(&bench).context(name)?;
        println!("{section}");
        report.insert(name.to_owned(), section.json());
        std::fs::write(&file, serde_json::to_vec_pretty(&report)?)?;
    }
    eprintln!("written to {}; load average {}", file.display(), std::fs::read_to_string("/proc/loadavg")?.trim());
    Ok(())
}
