//! What a VM costs besides its requests: a module's load, a start, an idle VM, and a VM that takes a trapped one's place.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::repository;

use crate::Bench;
use crate::contest::middle;
use crate::filter_cost::sdk_filter;
use crate::section::{Goal, Section};

/// Runs the example `cost` of the host on the module that the requests were measured with.
pub(crate) fn measure(bench: &Bench) -> Result<Section> {
    let module = sdk_filter()?;
    let run = || -> Result<Value> {
        let output = Command::new(repository().join("target/release/examples/cost"))
            .arg(&module)
            .stderr(Stdio::inherit())
            .output()
            .context("target/release/examples/cost: `make bench` builds it")?;
        ensure!(output.status.success(), "examples/cost: {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let runs = (0..bench.rounds).map(|_| run()).collect::<Result<Vec<_>>>()?;
    let of = |name: &str| middle(runs.iter().filter_map(|run| run.pointer(&format!("/once/{name}"))?.as_f64()));
    let line = format!(
        "a module of {} kB: compiled in {:.0} ms; a VM of it that idles keeps {:.0} KiB",
        std::fs::metadata(&module)?.len() / 1000,
        of("compiled_ms"),
        of("idle_kib")
    );
    let goals = vec![
        Goal::at_most(5.0, "a module's load from the cache, ms", of("cached_load_ms")),
        Goal::at_most(100.0, "a VM's start, configured, us", of("start_us")),
        Goal::at_most(1000.0, "a request that traps, its VM replaced, us", of("trap_us")),
    ];
    let title = "VMs".to_owned();
    Ok(Section { title, lines: vec![line], goals, figures: runs.into() })
}
