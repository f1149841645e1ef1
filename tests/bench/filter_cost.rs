//! What a module alone costs: CPU time per request of the same gateway with the module and without, in Envoy's V8 and in host-sim.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::gateway::Gateway;
use tests::host_sim::{self, Run};
use tests::{envoy, repository};
use tokio::runtime::Runtime;

use crate::load::{Load, Target};
use crate::report::Contestant;

/// Listeners by their number, and what their filter does; the first has none.
const CHAINS: [(u16, &str); 3] = [(1, "none"), (2, "no-op"), (3, "three headers")];
const REQUEST: Target = Target { name: "module", path: "/", filtered: true };

/// Microseconds of CPU that a module adds to a request.
pub(crate) struct FilterCost {
    pub(crate) module: &'static str,
    pub(crate) host_sim: f64,
    /// `None` on a machine without Envoy.
    pub(crate) envoy: Option<f64>,
}

impl FilterCost {
    /// Ours by Envoy's; the goal is 0.7 or less.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.host_sim / self.envoy?)
    }
}

/// Measures a module that does nothing, and one that reads and sets three headers, round by round; medians count.
pub(crate) fn measure(
    runtime: &Runtime,
    origin: SocketAddr,
    rounds: usize,
    connections: usize,
    duration: Duration,
) -> Result<Vec<FilterCost>> {
    let bootstrap = bootstrap(origin, &sdk_filter()?);
    let binary = host_sim::binary()?;
    let file = repository().join("target/bench-modules.json");
    std::fs::write(&file, bootstrap.to_string())?;
    let flags = ["--bootstrap", &file.display().to_string(), "--port-map", "0=0", "--workers", "1"].map(str::to_owned);
    let ours = runtime.block_on(Run::manifests(&binary, &[]).with(flags).start())?;
    let theirs = match envoy::binary()? {
        Some(envoy) => Some(runtime.block_on(envoy::start(&envoy, &bootstrap, 1))?),
        None => None,
    };
    let mut ours = contestants("host-sim", &ours)?;
    let mut theirs = theirs.as_ref().map(|theirs| contestants("Envoy", theirs)).transpose()?;
    for _ in 0..rounds {
        for contestant in ours.iter_mut().chain(theirs.iter_mut().flatten()) {
            let load = Load { to: contestant.address, workload: &REQUEST, connections, duration };
            contestant.measure(REQUEST.name, &load)?;
        }
    }
    let added = |all: &[Contestant], at: usize| {
        let cpu = |at: usize| all.get(at).map_or(f64::NAN, |contestant| contestant.cpu(REQUEST.name));
        cpu(at) - cpu(0)
    };
    let costs = CHAINS.iter().enumerate().skip(1).map(|(at, (_, module))| FilterCost {
        module,
        host_sim: added(&ours, at),
        envoy: theirs.as_deref().map(|theirs| added(theirs, at)),
    });
    Ok(costs.collect())
}

fn contestants(name: &'static str, gateway: &Gateway) -> Result<Vec<Contestant>> {
    let address = |port| gateway.ports.get(&port).copied().with_context(|| format!("{name}: listener {port}"));
    CHAINS.iter().map(|(port, _)| Ok(Contestant::new(name, &gateway.process, address(*port)?))).collect()
}

/// The filter as Rust's SDK writes it, built if it is not there.
fn sdk_filter() -> Result<PathBuf> {
    let arguments = ["build", "--quiet", "--profile", "wasm", "--target", "wasm32-wasip1", "-p", "sdk-filter"];
    let status = Command::new("cargo").args(arguments).current_dir(repository()).status()?;
    ensure!(status.success(), "sdk-filter does not build");
    Ok(repository().join("target/wasm32-wasip1/wasm/sdk_filter.wasm"))
}

fn bootstrap(origin: SocketAddr, module: &std::path::Path) -> Value {
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let any_port = address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let string = |text: &str| json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
    let wasm = |number: u16, what: &str| {
        let mode = if what == "no-op" { "noop" } else { "headers" };
        json!({"name": "wasm", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": {
            "name": what, "configuration": string(mode),
            "vm_config": {"vm_id": number.to_string(), "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}}}}})
    };
    let listener = |(number, what): &(u16, &str)| {
        let router = json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
        let filters = if *what == "none" { vec![router] } else { vec![wasm(*number, what), router] };
        json!({"name": format!("module_{number}"), "address": any_port, "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench", "http_filters": filters,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}]}]}}}]}]})
    };
    json!({
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": any_port},
        "static_resources": {
            "listeners": CHAINS.iter().map(listener).collect::<Vec<_>>(),
            "clusters": [{"name": "origin", "type": "STATIC", "connect_timeout": "1s", "load_assignment": {"cluster_name": "origin",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(origin)}}]}]}}],
        },
    })
}
