//! What the webhook takes with a warning in an `EnvoyFilter`.

use super::warnings::{NO_LABELS, warn, warn_if};
use crate::{
    manifest::node::{Node, Value},
    problem::Problem,
    resource::{
        envoy_filter::{ApplyTo, EnvoyFilter, PatchContext},
        object::Object,
    },
};

/// All warnings about one.
pub(super) fn all(object: &Object<EnvoyFilter>, found: &mut Vec<Problem>) {
    let reason = "EnvoyFilter exposes internal implementation details that may change at any time. Prefer other APIs if possible, and exercise extreme caution, especially around upgrades.";
    warn(found, object, "spec", reason);
    let unlabelled = object.spec.workload_selector.as_ref().is_some_and(|selector| selector.labels.is_empty());
    let reason = format!("Envoy filter: {NO_LABELS}, will be applied to all services in namespace");
    warn_if(found, object, unlabelled, "spec.workloadSelector", &reason);
    for (i, patch) in object.spec.config_patches.iter().enumerate() {
        let path = format!("spec.configPatches[{i}]");
        if patch.matches.context == PatchContext::Waypoint {
            continue;
        }
        let long = patch.matches.proxy.as_ref().is_some_and(|proxy| proxy.proxy_version.len() > 1024);
        let reason = "Envoy filter: proxyVersion match exceeds 1024 characters and will be ignored";
        warn_if(found, object, long, &format!("{path}.match.proxy.proxyVersion"), reason);
        let chain = patch.matches.listener.as_ref().and_then(|listener| listener.filter_chain.as_ref());
        if let Some(filter) = chain.and_then(|chain| chain.filter.as_ref()) {
            let at = format!("{path}.match.listener.filterChain.filter");
            for (kind, name) in [(ApplyTo::Listener, "LISTENER"), (ApplyTo::FilterChain, "FILTER_CHAIN")] {
                let reason = format!("Envoy filter: filter match has no effect when used with {name}");
                warn_if(found, object, patch.apply_to == kind, &at, &reason);
            }
            let names =
                std::iter::once(filter.name.as_str()).chain(filter.sub_filter.iter().map(|sub| sub.name.as_str()));
            for name in names {
                if let Some((_, new)) = OLD_NAMES.iter().find(|(old, _)| *old == name) {
                    warn(found, object, &at, format!("using deprecated filter name {name:?}; use {new:?} instead"));
                }
            }
        }
        let untyped = patch.patch.value.as_ref().map(|value| untyped(&value.0, patch.apply_to)).unwrap_or_default();
        if !untyped.is_empty() {
            let reason = format!("using deprecated types by name without typed_config; {}", untyped.join(", "));
            warn(found, object, &format!("{path}.patch.value"), reason);
        }
    }
}

/// Names of extensions in a patch that carry no typed configuration.
fn untyped(value: &Node, apply_to: ApplyTo) -> Vec<String> {
    let mut names = Vec::new();
    let mut look = |node: Option<&Node>| {
        let Some(node) = node.filter(|node| matches!(node.value, Value::Map(_))) else { return };
        let typed = ["typed_config", "typedConfig", "config_discovery", "configDiscovery"]
            .iter()
            .any(|key| node.get(key).is_some());
        if !typed {
            names.push(node.get("name").and_then(Node::text).unwrap_or_default().to_owned());
        }
    };
    match apply_to {
        ApplyTo::HttpFilter | ApplyTo::NetworkFilter | ApplyTo::ListenerFilter => look(Some(value)),
        ApplyTo::Cluster | ApplyTo::FilterChain => {
            for key in [
                "transport_socket",
                "transportSocket",
                "cluster_type",
                "clusterType",
                "upstream_config",
                "upstreamConfig",
            ] {
                look(value.get(key));
            }
        }
        _ => {}
    }
    names
}

/// Names that Envoy gave up, with those it uses now.
const OLD_NAMES: [(&str, &str); 26] = [
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.http_dynamo_filter", "envoy.filters.http.dynamo"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.grpc_http1_bridge", "envoy.filters.http.grpc_http1_bridge"),
    ("envoy.grpc_json_transcoder", "envoy.filters.http.grpc_json_transcoder"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    ("envoy.ip_tagging", "envoy.filters.http.ip_tagging"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.squash", "envoy.filters.http.squash"),
    ("envoy.listener.http_inspector", "envoy.filters.listener.http_inspector"),
    ("envoy.listener.original_dst", "envoy.filters.listener.original_dst"),
    ("envoy.listener.original_src", "envoy.filters.listener.original_src"),
    ("envoy.listener.proxy_protocol", "envoy.filters.listener.proxy_protocol"),
    ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"),
    ("envoy.client_ssl_auth", "envoy.filters.network.client_ssl_auth"),
    ("envoy.echo", "envoy.filters.network.echo"),
    ("envoy.http_connection_manager", "envoy.filters.network.http_connection_manager"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
];
