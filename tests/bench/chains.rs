//! Gateways that differ in their filters alone: one Envoy bootstrap, a listener for each chain, one origin.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// A listener: its number in the name, the filters before the router, the routes.
pub(crate) struct Chain {
    pub(crate) number: u16,
    pub(crate) filters: Vec<Value>,
    pub(crate) routes: Vec<Value>,
}

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// Everything to the origin.
pub(crate) fn one_route() -> Vec<Value> {
    vec![json!({"match": {"prefix": "/"}, "route": {"cluster": "origin"}})]
}

/// A plugin in a VM that it shares with nobody.
pub(crate) fn plugin(vm: &str, module: &Path, configuration: &str) -> Value {
    let text = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration});
    json!({"name": "wasm", "typed_config": {"@type": format!("{TYPES}.http.wasm.v3.Wasm"), "config": {
        "name": vm, "configuration": text,
        "vm_config": {"vm_id": vm, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}}}}})
}

/// Listeners `chain_<number>` on ports of the kernel's choice.
pub(crate) fn bootstrap(origin: SocketAddr, chains: Vec<Chain>) -> Value {
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let any_port = address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let router = json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.http.router.v3.Router")}});
    let listener = |mut chain: Chain| {
        chain.filters.push(router.clone());
        let manager = json!({
            "@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "bench", "http_filters": chain.filters,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": chain.routes}]},
        });
        json!({"name": format!("chain_{}", chain.number), "address": any_port,
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]})
    };
    let listeners: Vec<Value> = chains.into_iter().map(listener).collect();
    json!({
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": any_port},
        "static_resources": {
            "listeners": listeners,
            "clusters": [{"name": "origin", "type": "STATIC", "connect_timeout": "1s", "load_assignment": {"cluster_name": "origin",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(origin)}}]}]}}],
        },
    })
}
