//! Bootstraps put together from the parts that a test is about, and the gateways that run them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::envoy;
use crate::gateway::Gateway;
use crate::host_sim::{self, Run};

/// `host-sim` and, on a machine that has it, the real Envoy, one worker each, by name.
///
/// # Errors
/// Either refuses the bootstrap; the message has its words.
pub async fn run(bootstrap: &Value) -> Result<Vec<(&'static str, Gateway)>> {
    let folder = tempfile::tempdir()?; // read at the start, never again
    let file = folder.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string())?;
    let program = host_sim::binary()?;
    let run = Run::manifests(&program, &[]).with(["--workers", "1", "--bootstrap"]);
    let run = run.with([file.to_str().context("a path in UTF-8")?]);
    let mut gateways = vec![("host-sim", run.start().await?)];
    if let Some(binary) = envoy::binary()? {
        gateways.push(("Envoy", envoy::start(&binary, bootstrap, 1).await?));
    }
    Ok(gateways)
}

/// An address in Envoy's words.
#[must_use]
pub fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

/// Loopback, on a port of the kernel's choice.
#[must_use]
pub fn nowhere() -> Value {
    address(([127, 0, 0, 1], 0).into())
}

/// The fields of both objects; those of `more` win.
///
/// # Panics
/// One of them is no object.
#[must_use]
pub fn merged(base: Value, more: &Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more.clone()) else { unreachable!("two objects") };
    base.extend(more);
    Value::Object(base)
}

/// A connection manager with a router and these virtual hosts; fields of `more` are added or replace.
#[must_use]
pub fn manager(virtual_hosts: &Value, more: &Value) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "tested",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
        "route_config": { "name": "r", "virtual_hosts": virtual_hosts },
    });
    merged(manager, more)
}

/// A listener that a test finds under this number.
#[must_use]
pub fn listener(number: usize, manager: &Value) -> Value {
    json!({ "name": format!("l_{number}"), "address": nowhere(), "filter_chains": [{ "filters": [
        { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager },
    ] }] })
}

/// A cluster of one endpoint; fields of `more` are added or replace.
#[must_use]
pub fn cluster(name: &str, endpoint: &Value, more: &Value) -> Value {
    let cluster = json!({ "name": name, "type": "STATIC", "load_assignment": {
        "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": endpoint } }] }],
    } });
    merged(cluster, more)
}

/// How a cluster speaks HTTP to its endpoints: `explicit_http_config`, `common_http_protocol_options`.
#[must_use]
pub fn upstream(explicit: &Value, common: &Value) -> Value {
    json!({ "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": explicit, "common_http_protocol_options": common,
    } } })
}

/// The whole; fields of `more` are added or replace.
#[must_use]
pub fn bootstrap(listeners: &[Value], clusters: &[Value], more: &Value) -> Value {
    let whole = json!({
        "admin": { "address": nowhere() },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    });
    merged(whole, more)
}
