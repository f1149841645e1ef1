//! `make bench`: what a request costs in host-sim, in Envoy and in a bare hyper proxy: the bundled shop with its filter, one worker each, one run.
//!
//! CPU time per request of the gateway's process is the figure to look at: it is steady on a shared machine, where requests per second are not.

mod bare_proxy;
mod cost;
mod filter_cost;
mod load;
mod origin;
mod report;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tests::gateway::Gateway;
use tests::pair::{Pair, Setup};
use tests::process::Process;
use tests::repository;
use tokio::runtime::Runtime;

use load::{Load, Target};
use report::{Contestant, Report};

/// Compares host-sim with Envoy and with a bare hyper proxy, all on loopback.
#[derive(Parser)]
struct Arguments {
    /// Seconds of load for each contestant, workload and round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds; the median of each figure counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections that send one request after another.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Runs the bare hyper proxy that the others are compared with.
    #[command(hide = true)]
    BareProxy {
        /// Where it forwards to.
        upstream: SocketAddr,
    },
}

/// What is asked of every contestant.
const WORKLOADS: [Target; 2] = [
    Target { name: "proxied", path: "/api/cart/items?page=2", filtered: true },
    Target { name: "direct", path: "/healthz", filtered: true },
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.role {
        Some(Role::BareProxy { upstream }) => {
            runtime.block_on(tokio::task::LocalSet::new().run_until(bare_proxy::serve(upstream)))
        }
        None => compare(&arguments, &runtime),
    }
}

fn compare(arguments: &Arguments, runtime: &Runtime) -> Result<()> {
    let origin = origin::start()?;
    let (pair, starts) = runtime.block_on(start_twice(origin))?;
    let bare = runtime.block_on(start_bare(origin))?;
    let mut contestants = vec![Contestant::new("host-sim", &pair.host_sim.process, at_80(&pair.host_sim)?)];
    if let Some(envoy) = &pair.envoy {
        contestants.push(Contestant::new("Envoy", &envoy.process, at_80(envoy)?));
    }
    contestants.push(Contestant::new("bare hyper", &bare.0, bare.1));
    let duration = Duration::try_from_secs_f64(arguments.seconds)?;
    for round in 0..arguments.rounds {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        for contestant in &mut contestants {
            for workload in &WORKLOADS {
                let load = Load { to: contestant.address, workload, connections: arguments.connections, duration };
                contestant.measure(workload.name, &load)?;
            }
        }
    }
    let report = Report::new(contestants, starts)?;
    drop((pair, bare));
    eprintln!("modules alone");
    let costs = filter_cost::measure(runtime, origin, arguments.rounds, arguments.connections, duration)?;
    let report = report.with_filters(costs);
    println!("{report}");
    let file = repository().join("target/bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&report.json())?)?;
    eprintln!("written to {}", file.display());
    Ok(())
}

fn at_80(gateway: &Gateway) -> Result<SocketAddr> {
    gateway.ports.get(&80).copied().context("a listener for port 80")
}

/// Starts the gateways, and host-sim a second time: then its modules are compiled already.
async fn start_twice(origin: SocketAddr) -> Result<(Pair, Vec<(&'static str, Duration)>)> {
    let flags = ["--wasm-dir", "target/filters"].map(str::to_owned).into_iter();
    let services =
        ["catalog.shop.svc.cluster.local/v1", "catalog.shop.svc.cluster.local/v2", "cart.shop.svc.cluster.local"];
    let backends = services.iter().flat_map(|service| ["--backend".to_owned(), format!("{service}={origin}")]);
    let setup = Setup {
        manifests: vec![repository().join("manifests/examples/shop")],
        flags: flags.chain(backends).collect(),
        backends: std::collections::BTreeMap::new(),
        ports: [80].into(),
        workers: 1,
    };
    drop(setup.host_sim(&setup.flags).await?); // compiles the module into the cache
    let start = Instant::now();
    let cached = setup.host_sim(&setup.flags).await?;
    load::one(at_80(&cached)?, &WORKLOADS[1]).await?;
    let mut starts = vec![("host-sim, module compiled before", start.elapsed())];
    drop(cached);
    let start = Instant::now();
    if let Some(envoy) = setup.envoy(&setup.flags).await? {
        load::one(at_80(&envoy)?, &WORKLOADS[1]).await?;
        starts.push(("Envoy", start.elapsed()));
    }
    let pair = setup.start().await?;
    for (name, gateway) in [("host-sim", Some(&pair.host_sim)), ("Envoy", pair.envoy.as_ref())] {
        if let Some(gateway) = gateway {
            load::filtered(at_80(gateway)?).await.context(name)?;
        }
    }
    Ok((pair, starts))
}

async fn start_bare(origin: SocketAddr) -> Result<(Process, SocketAddr)> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("bare-proxy").arg(origin.to_string());
    let process = Process::start(&mut command)?;
    let address = |lines: &[String]| lines.iter().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
    let at = process.wait_for("its address", Duration::from_secs(10), address).await?;
    Ok((process, at))
}
