//! What the page asks for every second, and what it asks for when the configuration changed.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proxy::Gateway;
use proxy::telemetry::Finished;
use serde_json::{Value, json};

use super::explainer::Explainer;
use super::limits;
use crate::{chain, routes};

/// Numbers of now. Counts only grow: the page takes differences itself.
pub(super) fn now(gateway: &Gateway, explainer: &Explainer) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let traffic: Vec<_> = gateway
        .traffic()
        .into_iter()
        .map(|one| {
            json!({
                "route": one.route,
                "virtual_host": one.virtual_host,
                "cluster": one.cluster,
                "status": one.status,
                "requests": one.requests,
                "bins": one.duration.bins(),
            })
        })
        .collect();
    json!({
        "now": now,
        "uptime": explainer.uptime(),
        "generation": explainer.generation(),
        "ready": gateway.is_ready(),
        "traffic": traffic,
        "counters": counters(gateway),
        "limits": explainer.with_plan(|plan| limits::of(gateway, &plan.plugins)),
        "recent": gateway.recent().iter().take(50).map(|one| recent(one, explainer)).collect::<Vec<_>>(),
    })
}

/// What modules and the gateway's own limits count.
fn counters(gateway: &Gateway) -> Vec<(String, u64)> {
    let text = gateway.stats_text();
    let counted = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(": ")?;
        let own =
            name.strip_prefix("wasmcustom.").or_else(|| name.contains("http_local_rate_limit").then_some(name))?;
        Some((own.to_owned(), value.parse().ok()?))
    });
    counted.collect()
}

fn recent(one: &Finished, explainer: &Explainer) -> Value {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let field = |name: &str| one.request.iter().find(|(known, _)| known == name).map(|(_, value)| text(value));
    // What the gateway wrote itself is no part of the question.
    let path = field("x-envoy-original-path").or_else(|| field(":path")).unwrap_or_default();
    let own = one.request.iter().filter(|(name, _)| !name.starts_with(b":") && !written(name));
    let scheme = field("x-forwarded-proto").unwrap_or_else(|| "http".to_owned());
    let host = field("x-envoy-original-host").or_else(|| field(":authority")).unwrap_or_default();
    let port = explainer.port(&scheme);
    let url = match (port, host.contains(':')) {
        (Some(port), false) => format!("{scheme}://{host}:{port}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    };
    json!({
        "start": one.start.as_secs_f64(),
        "took": one.took.as_secs_f64(),
        "method": field(":method").unwrap_or_default(),
        "url": url,
        "headers": own.map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>(),
        "client": one.client.map(|client| client.ip().to_string()),
        "status": one.status,
        "flags": one.flags,
        "details": one.details,
        "route": one.route,
        "cluster": one.cluster,
    })
}

/// Headers the gateway adds on the way, and framing.
fn written(name: &[u8]) -> bool {
    name.starts_with(b"x-envoy-")
        || [&b"x-forwarded-for"[..], b"x-forwarded-proto", b"x-request-id", b"content-length", b"transfer-encoding"]
            .contains(&name)
}

/// Routes and filters as they are served.
pub(super) fn tables(explainer: &Explainer) -> Value {
    explainer.with_plan(|plan| {
        json!({
            "listeners": routes::as_json(plan).unwrap_or_default(),
            "chains": chain::as_json(plan),
        })
    })
}
