//! `host-sim chain`: the HTTP filters of each listener in their order, and why each stands where it stands.

use std::fmt::Write;

use serde::Serialize;

use crate::command_line::{Output, TableArgs};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::routes::managers;
use crate::say;

/// One connection manager's chain.
#[derive(Debug, Serialize)]
struct Chain {
    listener: String,
    port: Option<u16>,
    route_config: Option<String>,
    filters: Vec<Filter>,
}

#[derive(Debug, Serialize)]
struct Filter {
    order: usize,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    file: Option<String>,
    line: Option<u64>,
    url: Option<String>,
    failure_policy: Option<String>,
    reason: String,
}

/// Prints the chains.
///
/// # Errors
/// As `run`: exit 3 and 5.
pub(crate) fn chain(args: &TableArgs) -> Result<(), Failure> {
    let plan = Plan::read(&args.gateway)?;
    plan.say_warnings();
    let chains = chains(&plan);
    match args.output {
        Output::Text => say::answer(text(&chains)),
        Output::Json => say::json(&serde_json::json!({ "listeners": chains })),
    }
}

/// The chains as `-o json` prints them.
pub(crate) fn as_json(plan: &Plan) -> serde_json::Value {
    serde_json::to_value(chains(plan)).unwrap_or_default()
}

fn chains(plan: &Plan) -> Vec<Chain> {
    let listeners = plan.bootstrap.static_resources.iter().flat_map(|resources| &resources.listeners);
    let chain = |listener: &xds::Listener, manager: &xds::HttpConnectionManager| Chain {
        listener: listener.name.clone(),
        port: plan.server_ports.get(&listener.name).copied(),
        route_config: manager.route_config.as_ref().map(|config| config.name.clone()),
        filters: manager.http_filters.iter().enumerate().map(|(order, one)| filter(order, one, plan)).collect(),
    };
    listeners.flat_map(|listener| managers(listener).map(move |manager| chain(listener, manager))).collect()
}

fn filter(order: usize, filter: &xds::HttpFilter, plan: &Plan) -> Filter {
    let plugin = plan.plugins.iter().find(|plugin| plugin.filter == filter.name);
    let kind = filter.typed_config.as_ref().map(|config| config.type_name().to_owned()).unwrap_or_default();
    let policy = match &filter.typed_config {
        Some(xds::HttpFilterConfig::Wasm(wasm)) => wasm.config.as_ref().map(|config| match config.failure_policy {
            xds::FailurePolicy::FailOpen => "FAIL_OPEN",
            xds::FailurePolicy::FailReload => "FAIL_RELOAD",
            xds::FailurePolicy::FailClosed | xds::FailurePolicy::Unspecified => "FAIL_CLOSE",
        }),
        _ => None,
    };
    Filter {
        order,
        name: plugin.map_or_else(|| filter.name.clone(), |plugin| format!("{}/{}", plugin.namespace, plugin.name)),
        kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
        file: plugin.map(|plugin| plugin.file.clone()),
        line: plugin.map(|plugin| plugin.at.line),
        url: plugin.map(|plugin| plugin.url.clone()),
        failure_policy: policy.map(str::to_owned),
        reason: match plugin {
            Some(plugin) => plugin.reason.clone(),
            None if plan.bindings.is_none() => "as configured".to_owned(),
            None => built_in(&filter.name).to_owned(),
        },
    }
}

/// Filters that istiod puts into every gateway's chain, and why there.
fn built_in(name: &str) -> &'static str {
    match name {
        "envoy.filters.http.grpc_stats" => "Istio's own: counts gRPC messages of what plugins let pass",
        "envoy.filters.http.cors" => "Istio's own: answers preflights, after faults",
        "envoy.filters.http.fault" => "Istio's own: a VirtualService's fault acts after all plugins",
        "envoy.filters.http.router" => "always last: it sends the request on",
        name if name.starts_with("istio.") => "Istio's own",
        _ => "put there by an EnvoyFilter",
    }
}

fn text(chains: &[Chain]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for chain in chains {
        let port = chain.port.map(|port| format!(", port {port}")).unwrap_or_default();
        let routes = chain.route_config.as_deref().unwrap_or("none");
        let _ = writeln!(out, "listener {}{port}, routes {routes}", chain.listener);
        for filter in &chain.filters {
            let place = match (&filter.file, filter.line) {
                (Some(file), Some(line)) => format!(" ({file}:{line})"),
                _ => String::new(),
            };
            let policy = filter.failure_policy.as_ref().map(|policy| format!(" {policy}")).unwrap_or_default();
            let _ = writeln!(out, "  {:>2}  {}{policy}{place}", filter.order, filter.name);
            let _ = writeln!(out, "      {}", filter.reason);
        }
    }
    out
}
