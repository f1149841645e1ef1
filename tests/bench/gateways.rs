//! What a request costs in host-sim, in Envoy and in a proxy made of hyper alone: the bundled shop with its filter and without, one worker each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::gateway::Gateway;
use tests::pair::{Pair, Setup};
use tests::process::Process;
use tests::repository;

use crate::Bench;
use crate::contest::{Contest, Contestant};
use crate::load::{self, Target};
use crate::section::{Goal, Section};

/// What is asked of everybody.
pub(crate) const WORKLOADS: [Target; 2] = [
    Target { name: "proxied", path: "/api/cart/items?page=2", filtered: true },
    Target { name: "direct", path: "/healthz", filtered: true },
];

pub(crate) fn measure(bench: &Bench) -> Result<Section> {
    let whole = bench.runtime.block_on(shop(bench.origin, true).start())?;
    let plain = bench.runtime.block_on(shop(bench.origin, false).start())?;
    for (name, gateway) in [("host-sim", Some(&whole.host_sim)), ("Envoy", whole.envoy.as_ref())] {
        if let Some(gateway) = gateway {
            bench.runtime.block_on(load::filtered(at_80(gateway)?)).context(name)?;
        }
    }
    let hyper = bench.runtime.block_on(start_hyper(bench.origin, false))?;
    let guarded = bench.runtime.block_on(start_hyper(bench.origin, true))?;
    let mut contestants = contestants(["host-sim, filter", "Envoy, filter"], &whole)?;
    contestants.extend(self::contestants(["host-sim", "Envoy"], &plain)?);
    contestants.push(Contestant::new("bare hyper", &hyper.0, hyper.1, &WORKLOADS));
    contestants.push(Contestant::new("bare hyper, head guard", &guarded.0, guarded.1, &WORKLOADS));
    let contest = Contest::run(contestants, bench)?;
    Ok(Section {
        title: "CPU time per request, one worker each".to_owned(),
        lines: contest.table(),
        goals: goals(&contest),
        figures: contest.json(),
    })
}

fn goals(contest: &Contest) -> Vec<Goal> {
    let mut goals = Vec::new();
    for workload in WORKLOADS.map(|workload| workload.name) {
        let pairs = [("Envoy, filter", "host-sim, filter", "with the filter"), ("Envoy", "host-sim", "no filter")];
        for (envoy, ours, which) in pairs {
            let cpu = contest.ratio(envoy, ours, workload, |f| f.cpu);
            goals.extend(cpu.map(|ratio| Goal::at_least(1.5, format!("Envoy / host-sim, {workload}, {which}"), ratio)));
            let p99 = contest.ratio(ours, envoy, workload, |f| f.p99);
            goals.extend(
                p99.map(|ratio| Goal::at_most(1.0, format!("p99 host-sim / Envoy, {workload}, {which}"), ratio)),
            );
        }
        for (hyper, ours, which) in [
            ("bare hyper", "host-sim", "no filter"),
            ("bare hyper, head guard", "host-sim", "no filter"),
            ("bare hyper", "host-sim, filter", "with the filter"),
        ] {
            let cpu = contest.ratio(hyper, ours, workload, |f| f.cpu);
            goals.extend(
                cpu.map(|ratio| Goal::at_least(0.7, format!("{hyper} / host-sim, {workload}, {which}"), ratio)),
            );
        }
    }
    goals
}

fn contestants(names: [&'static str; 2], pair: &Pair) -> Result<Vec<Contestant>> {
    let [ours, theirs] = names;
    let mut both = vec![Contestant::new(ours, &pair.host_sim.process, at_80(&pair.host_sim)?, &WORKLOADS)];
    if let Some(envoy) = &pair.envoy {
        both.push(Contestant::new(theirs, &envoy.process, at_80(envoy)?, &WORKLOADS));
    }
    Ok(both)
}

/// The bundled example, whose services are all one origin.
pub(crate) fn shop(origin: SocketAddr, filter: bool) -> Setup {
    let folder = repository().join("manifests/examples/shop");
    let files = ["cart", "catalog", "destinationrule", "gateway", "virtualservice"];
    let services =
        ["catalog.shop.svc.cluster.local/v1", "catalog.shop.svc.cluster.local/v2", "cart.shop.svc.cluster.local"];
    let backends = services.iter().flat_map(|service| ["--backend".to_owned(), format!("{service}={origin}")]);
    let modules = ["--wasm-dir", "target/filters"].map(str::to_owned).into_iter();
    Setup {
        manifests: if filter {
            vec![folder]
        } else {
            files.map(|file| folder.join(file).with_extension("yaml")).to_vec()
        },
        flags: modules.chain(backends).collect(),
        backends: BTreeMap::new(),
        ports: [80].into(),
        workers: 1,
    }
}

pub(crate) fn at_80(gateway: &Gateway) -> Result<SocketAddr> {
    gateway.ports.get(&80).copied().context("a listener for port 80")
}

/// The example of the crate `proxy`, which `make bench` has built.
async fn start_hyper(origin: SocketAddr, guarded: bool) -> Result<(Process, SocketAddr)> {
    let program: PathBuf = repository().join("target/release/examples/bare_proxy");
    let mut command = Command::new(program);
    command.arg(origin.to_string()).args(guarded.then_some("guard"));
    let process = Process::start(&mut command)?;
    let address = |lines: &[String]| lines.iter().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
    let at = process.wait_for("its address", Duration::from_secs(10), address).await?;
    Ok((process, at))
}
