//! Gateways under the same load in turn, round by round: a busy machine slows all of a round alike, so ratios are taken within a round and
//! their median counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};
use tests::process::Process;

use crate::Bench;
use crate::cost;
use crate::load::{Load, Target};

/// A gateway under load, and its figures round by round.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    address: SocketAddr,
    /// What it is asked; a target's name stands for the same question to all.
    targets: Vec<Target>,
    rounds: BTreeMap<&'static str, Vec<Figures>>,
}

/// One round of one workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    /// CPU time of the gateway per request, in microseconds.
    pub(crate) cpu: f64,
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Everybody, measured.
pub(crate) struct Contest(Vec<Contestant>);

impl Contestant {
    pub(crate) fn new(name: &'static str, process: &Process, address: SocketAddr, targets: &[Target]) -> Self {
        Self { name, pid: process.id(), address, targets: targets.to_vec(), rounds: BTreeMap::new() }
    }

    /// One round, after a little of the same load to warm up.
    fn measure(&mut self, bench: &Bench) -> Result<()> {
        for workload in &self.targets {
            let load = Load { to: self.address, workload, connections: bench.connections, duration: bench.duration };
            Load { duration: bench.duration / 4, ..load }.run(&bench.runtime)?;
            let before = cost::cpu(self.pid)?;
            let mut done = load.run(&bench.runtime)?;
            let cpu = cost::cpu(self.pid)?.saturating_sub(before);
            done.latencies.sort_unstable();
            let requests = f64::from(u32::try_from(done.latencies.len())?);
            let at = |part: usize| {
                done.latencies.get(done.latencies.len() * part / 100).map_or(0.0, |l| l.as_secs_f64() * 1e3)
            };
            let figures = Figures {
                cpu: cpu.as_secs_f64() * 1e6 / requests,
                per_second: requests / done.took.as_secs_f64(),
                median: at(50),
                p99: at(99),
            };
            self.rounds.entry(workload.name).or_default().push(figures);
        }
        Ok(())
    }

    fn figures(&self, workload: &str) -> Vec<Figures> {
        self.rounds.get(workload).cloned().unwrap_or_default()
    }
}

impl Contest {
    /// All rounds of all contestants.
    pub(crate) fn run(mut contestants: Vec<Contestant>, bench: &Bench) -> Result<Self> {
        for round in 0..bench.rounds {
            eprintln!("  round {} of {}", round + 1, bench.rounds);
            for contestant in &mut contestants {
                contestant.measure(bench)?;
            }
        }
        Ok(Self(contestants))
    }

    fn named(&self, name: &str) -> Option<&Contestant> {
        self.0.iter().find(|contestant| contestant.name == name)
    }

    /// A figure of one by the same figure of another, the median over the rounds; `None` if either did not take part.
    pub(crate) fn ratio(&self, of: &str, to: &str, workload: &str, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        let (of, to) = (self.named(of)?.figures(workload), self.named(to)?.figures(workload));
        Some(middle(of.iter().zip(&to).map(|(of, to)| figure(of) / figure(to))))
    }

    /// What a figure of one is above the same figure of another, the median over the rounds; `None` if either did not take part.
    pub(crate) fn difference(
        &self,
        of: &str,
        to: &str,
        workload: &str,
        figure: impl Fn(&Figures) -> f64,
    ) -> Option<f64> {
        let (of, to) = (self.named(of)?.figures(workload), self.named(to)?.figures(workload));
        Some(middle(of.iter().zip(&to).map(|(of, to)| figure(of) - figure(to))))
    }

    /// The table, its head first.
    pub(crate) fn table(&self) -> Vec<String> {
        let head = ["workload", "gateway", "CPU us/request", "requests/s", "p50 ms", "p99 ms"];
        let mut lines =
            vec![format!("{:<12}{:<26}{:>14}{:>12}{:>9}{:>9}", head[0], head[1], head[2], head[3], head[4], head[5])];
        for (workload, name, figures) in self.rows() {
            lines.push(format!(
                "{workload:<12}{name:<26}{:>14.1}{:>12.0}{:>9.2}{:>9.2}",
                figures.cpu, figures.per_second, figures.median, figures.p99
            ));
        }
        lines
    }

    /// Workload, gateway, medians.
    fn rows(&self) -> Vec<(&'static str, &'static str, Figures)> {
        let mut rows = Vec::new();
        for contestant in &self.0 {
            for (workload, rounds) in &contestant.rounds {
                let of = |figure: fn(&Figures) -> f64| middle(rounds.iter().map(figure));
                let figures = Figures {
                    cpu: of(|f| f.cpu),
                    per_second: of(|f| f.per_second),
                    median: of(|f| f.median),
                    p99: of(|f| f.p99),
                };
                rows.push((*workload, contestant.name, figures));
            }
        }
        rows.sort_by_key(|(workload, ..)| *workload);
        rows
    }

    pub(crate) fn json(&self) -> Value {
        let row = |(workload, name, f): (&str, &str, Figures)| json!({"workload": workload, "gateway": name, "cpu_us": f.cpu, "requests_per_second": f.per_second, "p50_ms": f.median, "p99_ms": f.p99});
        self.rows().into_iter().map(row).collect::<Vec<_>>().into()
    }
}

/// The one in the middle.
pub(crate) fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = figures.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
