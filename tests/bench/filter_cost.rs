//! What a module alone costs: CPU time per request of the same gateway with the module and without, in Envoy's V8 and in host-sim.
//!
//! A chain has the module many times over, or what one costs would be lost in what the rest of a request costs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::gateway::Gateway;
use tests::host_sim::{self, Run};
use tests::{envoy, repository};

use crate::Bench;
use crate::chains::{self, Chain, one_route};
use crate::contest::{Contest, Contestant};
use crate::load::Target;
use crate::section::{Goal, Section};

/// Listeners by their number, and what their filter does; the first has none.
const CHAINS: [(u16, &str); 3] = [(1, "none"), (2, "no-op"), (3, "three headers")];
const OURS: [&str; 3] = ["host-sim, none", "host-sim, no-op", "host-sim, three headers"];
const THEIRS: [&str; 3] = ["Envoy, none", "Envoy, no-op", "Envoy, three headers"];
/// How often a chain has its module.
const COPIES: u16 = 8;
const REQUEST: Target = Target { name: "module", path: "/", filtered: true };

/// Measures a module that does nothing, and one that reads and sets three headers.
pub(crate) fn measure(bench: &Bench) -> Result<Section> {
    let module = sdk_filter()?;
    let chain = |(number, what): &(u16, &str)| {
        let copies = if *what == "none" { 0 } else { usize::from(COPIES) };
        let mode = if *what == "no-op" { "noop" } else { "headers" };
        let filters = vec![chains::plugin(&number.to_string(), &module, mode); copies];
        Chain { number: *number, filters, routes: one_route() }
    };
    let bootstrap = chains::bootstrap(bench.origin, CHAINS.iter().map(chain).collect());
    let binary = host_sim::binary()?;
    let file = repository().join("target/bench-modules.json");
    std::fs::write(&file, bootstrap.to_string())?;
    let flags = ["--bootstrap", &file.display().to_string(), "--port-map", "0=0", "--workers", "1"].map(str::to_owned);
    let ours = bench.runtime.block_on(Run::manifests(&binary, &[]).with(flags).start())?;
    let theirs = match envoy::binary()? {
        Some(envoy) => Some(bench.runtime.block_on(envoy::start(&envoy, &bootstrap, 1))?),
        None => None,
    };
    let mut all = contestants(OURS, &ours)?;
    if let Some(theirs) = &theirs {
        all.extend(contestants(THEIRS, theirs)?);
    }
    let contest = Contest::run(all, bench)?;
    let added = |names: [&'static str; 3], at: usize| {
        let all = contest.difference(names.get(at)?, names[0], REQUEST.name, |f| f.cpu)?;
        Some(all / f64::from(COPIES))
    };
    let (mut lines, mut goals, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (_, module)) in CHAINS.iter().enumerate().skip(1) {
        let ours = added(OURS, at).context("host-sim was not measured")?;
        let theirs = added(THEIRS, at);
        lines.push(format!("{module:<16}host-sim {ours:>6.2} us   Envoy {:>6.2} us", theirs.unwrap_or(f64::NAN)));
        goals.extend(theirs.map(|theirs| Goal::at_most(0.7, format!("host-sim / Envoy, {module}"), ours / theirs)));
        figures.push(json!({"module": module, "host_sim_cpu_us": ours, "envoy_cpu_us": theirs}));
    }
    let title = "CPU time a module adds to a request, in us".to_owned();
    Ok(Section { title, lines, goals, figures: figures.into() })
}

fn contestants(names: [&'static str; 3], gateway: &Gateway) -> Result<Vec<Contestant>> {
    let address = |port| gateway.ports.get(&port).copied().with_context(|| format!("listener {port}"));
    let named = names.iter().zip(&CHAINS);
    named.map(|(name, (port, _))| Ok(Contestant::new(name, &gateway.process, address(*port)?, &[REQUEST]))).collect()
}

/// The filter as Rust's SDK writes it, built if it is not there.
pub(crate) fn sdk_filter() -> Result<PathBuf> {
    let arguments = ["build", "--quiet", "--profile", "wasm", "--target", "wasm32-wasip1", "-p", "sdk-filter"];
    let status = Command::new("cargo").args(arguments).current_dir(repository()).status()?;
    ensure!(status.success(), "sdk-filter does not build");
    Ok(repository().join("target/wasm32-wasip1/wasm/sdk_filter.wasm"))
}
