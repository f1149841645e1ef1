//! The table and the JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tests::process::Process;
use tests::repository;

use crate::cost;
use crate::filter_cost::FilterCost;
use crate::load::Load;

/// A gateway under load, and its figures round by round.
pub(crate) struct Contestant {
    name: &'static str,
    pid: u32,
    pub(crate) address: SocketAddr,
    rounds: BTreeMap<&'static str, Vec<Figures>>,
}

/// One round of one workload.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    /// CPU time of the gateway per request, in microseconds.
    cpu: f64,
    per_second: f64,
    /// Milliseconds.
    median: f64,
    p99: f64,
}

impl Contestant {
    pub(crate) fn new(name: &'static str, process: &Process, address: SocketAddr) -> Self {
        Self { name, pid: process.id(), address, rounds: BTreeMap::new() }
    }

    /// One round, after a little of the same load to warm up.
    pub(crate) fn measure(&mut self, workload: &'static str, load: &Load<'_>) -> Result<()> {
        Load { duration: load.duration / 4, ..*load }.run()?;
        let before = cost::cpu(self.pid)?;
        let mut done = load.run()?;
        let cpu = cost::cpu(self.pid)?.saturating_sub(before);
        done.latencies.sort_unstable();
        let requests = f64::from(u32::try_from(done.latencies.len())?);
        let at =
            |part: usize| done.latencies.get(done.latencies.len() * part / 100).map_or(0.0, |l| l.as_secs_f64() * 1e3);
        let figures = Figures {
            cpu: cpu.as_secs_f64() * 1e6 / requests,
            per_second: requests / done.took.as_secs_f64(),
            median: at(50),
            p99: at(99),
        };
        self.rounds.entry(workload).or_default().push(figures);
        Ok(())
    }

    /// CPU time per request, in microseconds.
    pub(crate) fn cpu(&self, workload: &str) -> f64 {
        self.median(workload, |figures| figures.cpu)
    }

    fn median(&self, workload: &str, figure: impl Fn(&Figures) -> f64) -> f64 {
        let mut all: Vec<f64> = self.rounds.get(workload).into_iter().flatten().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn figures(&self, workload: &str) -> Figures {
        Figures {
            cpu: self.median(workload, |f| f.cpu),
            per_second: self.median(workload, |f| f.per_second),
            median: self.median(workload, |f| f.median),
            p99: self.median(workload, |f| f.p99),
        }
    }
}

/// Everything that was measured.
pub(crate) struct Report {
    workloads: BTreeMap<&'static str, Vec<(&'static str, Figures)>>,
    resident: Vec<(&'static str, u64)>,
    starts: Vec<(&'static str, Duration)>,
    modules: Vec<(String, u64)>,
    filters: Vec<FilterCost>,
}

impl Report {
    /// Medians of the rounds, and what the processes weigh now.
    pub(crate) fn new(contestants: Vec<Contestant>, starts: Vec<(&'static str, Duration)>) -> Result<Self> {
        let mut workloads: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut resident = Vec::new();
        for contestant in &contestants {
            for workload in contestant.rounds.keys() {
                workloads.entry(*workload).or_default().push((contestant.name, contestant.figures(workload)));
            }
            resident.push((contestant.name, cost::resident(contestant.pid)?));
        }
        Ok(Self { workloads, resident, starts, modules: modules()?, filters: Vec::new() })
    }

    /// And what modules alone cost.
    pub(crate) fn with_filters(self, filters: Vec<FilterCost>) -> Self {
        Self { filters, ..self }
    }

    /// The form scripts read: `target/bench.json`.
    pub(crate) fn json(&self) -> Value {
        let figures = |f: &Figures| json!({"cpu_us": f.cpu, "requests_per_second": f.per_second, "p50_ms": f.median, "p99_ms": f.p99});
        let workload = |rows: &Vec<(&str, Figures)>| -> Value {
            rows.iter().map(|(name, f)| ((*name).to_owned(), figures(f))).collect::<serde_json::Map<_, _>>().into()
        };
        let workloads: serde_json::Map<String, Value> =
            self.workloads.iter().map(|(name, rows)| ((*name).to_owned(), workload(rows))).collect();
        let pairs = |list: &[(&str, u64)]| -> Value {
            list.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect::<serde_json::Map<_, _>>().into()
        };
        json!({
            "workloads": workloads,
            "cpu_ratios": self.ratios().into_iter().map(|(name, ratio)| (name, json!(ratio))).collect::<serde_json::Map<_, _>>(),
            "resident_bytes": pairs(&self.resident),
            "start_ms": self.starts.iter().map(|(k, v)| ((*k).to_owned(), json!(v.as_secs_f64() * 1e3))).collect::<serde_json::Map<_, _>>(),
            "filters": self.filters.iter().map(|cost| json!({"module": cost.module, "host_sim_cpu_us": cost.host_sim, "envoy_cpu_us": cost.envoy, "ratio": cost.ratio()})).collect::<Vec<_>>(),
            "module_bytes": self.modules.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        })
    }

    /// CPU time per request of the others, host-sim's being 1: above 1, host-sim is cheaper.
    fn ratios(&self) -> Vec<(String, f64)> {
        let mut ratios = Vec::new();
        for (workload, rows) in &self.workloads {
            let ours = rows.iter().find(|(name, _)| *name == "host-sim").map_or(f64::NAN, |(_, f)| f.cpu);
            ratios.extend(
                rows.iter()
                    .filter(|(name, _)| *name != "host-sim")
                    .map(|(name, f)| (format!("{name} / host-sim, {workload}"), f.cpu / ours)),
            );
        }
        ratios
    }
}

/// The modules as `make build` leaves them.
fn modules() -> Result<Vec<(String, u64)>> {
    let mut modules = Vec::new();
    for entry in std::fs::read_dir(repository().join("target/filters"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "wasm") {
            modules.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path.metadata()?.len()));
        }
    }
    modules.sort();
    Ok(modules)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10}{:<12}{:>14}{:>12}{:>10}{:>10}",
            "workload", "gateway", "CPU us/request", "requests/s", "p50 ms", "p99 ms"
        )?;
        for (workload, rows) in &self.workloads {
            for (name, figures) in rows {
                writeln!(
                    f,
                    "{workload:<10}{name:<12}{:>14.1}{:>12.0}{:>10.2}{:>10.2}",
                    figures.cpu, figures.per_second, figures.median, figures.p99
                )?;
            }
        }
        writeln!(f, "\nCPU time per request, host-sim = 1")?;
        for (name, ratio) in self.ratios() {
            writeln!(f, "  {name:<34}{ratio:>6.2}")?;
        }
        writeln!(f, "\nstart to first answer")?;
        for (name, took) in &self.starts {
            writeln!(f, "  {name:<34}{:>6.0} ms", took.as_secs_f64() * 1e3)?;
        }
        writeln!(f, "\nresident memory after the load")?;
        for (name, bytes) in &self.resident {
            writeln!(f, "  {name:<34}{:>6} MB", bytes / 1_000_000)?;
        }
        writeln!(f, "\nCPU time a module adds to a request; host-sim / Envoy, the goal is 0.7 or less")?;
        for cost in &self.filters {
            let (theirs, ratio) = (cost.envoy.unwrap_or(f64::NAN), cost.ratio().unwrap_or(f64::NAN));
            writeln!(
                f,
                "  {:<16}host-sim {:>6.2} us   Envoy {theirs:>6.2} us   {ratio:>6.2}",
                cost.module, cost.host_sim
            )?;
        }
        writeln!(f, "\nmodules")?;
        for (name, bytes) in &self.modules {
            writeln!(f, "  {name:<34}{bytes:>6} bytes")?;
        }
        Ok(())
    }
}
