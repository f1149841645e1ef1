//! EnvoyFilters: what a patch makes of the configuration, and what is refused about it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code, reason = "a test")]

mod gateway;

use gateway::{GATEWAY, SHOP, attempt, cluster, manager, options, resources, translation, virtual_hosts, words};
use istio::Options;
use serde_json::{Value, json};

const ROUTES: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs, namespace: default}
spec:
  hosts: [a.b]
  gateways: [istio-system/gw]
  http:
  - {name: one, match: [{uri: {prefix: /1}}], timeout: 5s, route: [{destination: {host: shop, subset: v1}}]}
  - {name: two, redirect: {uri: /2}}
";

fn filter(name: &str, priority: i32, patches: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: {name}, namespace: istio-system}}\nspec: {{priority: {priority}, configPatches: [{patches}]}}\n"
    )
}

fn with(patches: &str) -> String {
    format!("{GATEWAY}{SHOP}{ROUTES}{}", filter("ef", 0, patches))
}

fn http_filters(manifests: &str) -> Vec<String> {
    let filters = manager(manifests)["http_filters"].as_array().cloned().unwrap_or_default();
    filters
        .iter()
        .map(|filter| filter["name"].as_str().unwrap().trim_start_matches("envoy.filters.http.").to_owned())
        .collect()
}

const HCM: &str = "envoy.filters.network.http_connection_manager";
const LIMIT: &str = "{name: limit, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, statPrefix: x}}";

fn at(sub_filter: &str) -> String {
    let sub = if sub_filter.is_empty() { String::new() } else { format!(", subFilter: {{name: {sub_filter}}}") };
    format!("match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: {HCM}{sub}}}}}}}}}")
}

#[test]
fn filters_go_where_the_patch_says() {
    let chain = ["grpc_stats", "fault", "cors", "router"];
    for (operation, sub_filter, expected) in [
        ("INSERT_BEFORE", "envoy.filters.http.router", vec!["grpc_stats", "fault", "cors", "limit", "router"]),
        ("INSERT_AFTER", "envoy.filters.http.fault", vec!["grpc_stats", "fault", "limit", "cors", "router"]),
        ("INSERT_FIRST", "", vec!["limit", "grpc_stats", "fault", "cors", "router"]),
        ("INSERT_BEFORE", "", vec!["limit", "grpc_stats", "fault", "cors", "router"]),
        ("INSERT_BEFORE", "istio.metadata_exchange", vec!["limit", "grpc_stats", "fault", "cors", "router"]),
        ("REPLACE", "envoy.filters.http.cors", vec!["grpc_stats", "fault", "limit", "router"]),
        ("REMOVE", "envoy.filters.http.cors", vec!["grpc_stats", "fault", "router"]),
        ("REMOVE", "", chain.to_vec()),
        ("INSERT_BEFORE", "no.such.filter", chain.to_vec()),
        ("ADD", "", vec!["grpc_stats", "fault", "cors", "router", "limit"]),
    ] {
        let value = if operation == "REMOVE" { String::new() } else { format!(", value: {LIMIT}") };
        let manifests =
            with(&format!("{{applyTo: HTTP_FILTER, {}, patch: {{operation: {operation}{value}}}}}", at(sub_filter)));
        assert_eq!(http_filters(&manifests), expected, "{operation} {sub_filter}");
    }
}

#[test]
fn what_stands_behind_the_router_is_warned_about() {
    let manifests = with(&format!("{{applyTo: HTTP_FILTER, {}, patch: {{operation: ADD, value: {LIMIT}}}}}", at("")));
    let warnings = translation(&manifests).warnings;
    assert!(warnings[0].reason.contains("limit stands behind the router"), "{warnings:?}");
}

#[test]
fn lower_priority_goes_first_then_name() {
    let first = |name: &str, priority: i32| {
        filter(
            name,
            priority,
            &format!(
                "{{applyTo: HTTP_FILTER, {}, patch: {{operation: INSERT_FIRST, value: {{name: {name}, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, stat_prefix: x}}}}}}}}",
                at("")
            ),
        )
    };
    let manifests = format!("{GATEWAY}{}{}{}", first("b", 0), first("a", 0), first("z", -1));
    assert_eq!(http_filters(&manifests)[..3], ["b", "a", "z"], "each goes to the front, the last one stays there");
}

#[test]
fn the_connection_manager_is_merged_field_by_field() {
    let manifests = with(&format!(
        "{{applyTo: NETWORK_FILTER, {}, patch: {{operation: MERGE, value: {{typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, mergeSlashes: true, serverName: mine, upgrade_configs: [{{upgrade_type: x}}], stream_idle_timeout: 3s}}}}}}}}",
        at("")
    ));
    let manager = manager(&manifests);
    assert_eq!((&manager["merge_slashes"], &manager["server_name"]), (&json!(true), &json!("mine")));
    assert_eq!(manager["stream_idle_timeout"], "3s");
    assert_eq!(manager["upgrade_configs"], json!([{"upgrade_type": "websocket"}, {"upgrade_type": "x"}]), "lists grow");
    assert_eq!(manager["normalize_path"], true, "the rest stays");
}

fn route(manifests: &str, index: usize) -> Value {
    virtual_hosts(manifests)[0]["routes"][index].clone()
}

#[test]
fn routes_are_patched_by_name_host_and_action() {
    let merge = |vhost: &str, value: &str| {
        with(&format!(
            "{{applyTo: HTTP_ROUTE, match: {{context: GATEWAY, routeConfiguration: {{vhost: {vhost}}}}}, patch: {{operation: MERGE, value: {value}}}}}"
        ))
    };
    let timeout = "{route: {timeout: 9s}}";
    assert_eq!(route(&merge("{route: {name: one}}", timeout), 0)["route"]["timeout"], "9s");
    assert_eq!(route(&merge("{name: 'a.b:80', route: {action: ROUTE}}", timeout), 0)["route"]["timeout"], "9s");
    assert_eq!(route(&merge("{name: 'c.d:80', route: {name: one}}", timeout), 0)["route"]["timeout"], "5s");
    assert_eq!(route(&merge("{domainName: a.b, route: {name: one}}", timeout), 0)["route"]["timeout"], "9s");
    let redirected = route(&merge("{route: {name: one}}", "{redirect: {path_redirect: /x}}"), 0);
    assert_eq!(
        (redirected.get("route"), &redirected["redirect"]["path_redirect"]),
        (None, &json!("/x")),
        "a oneof keeps one member"
    );
    let removed = with(
        "{applyTo: HTTP_ROUTE, match: {context: GATEWAY, routeConfiguration: {portNumber: 80, vhost: {route: {name: one}}}}, patch: {operation: REMOVE}}",
    );
    assert_eq!(route(&removed, 0)["name"], "two");
}

#[test]
fn virtual_hosts_and_tables_are_patched() {
    let merged = with(
        "{applyTo: VIRTUAL_HOST, match: {context: GATEWAY, routeConfiguration: {vhost: {name: 'a.b:80'}}}, patch: {operation: MERGE, value: {rate_limits: [{actions: [{remote_address: {}}]}]}}}",
    );
    assert_eq!(virtual_hosts(&merged)[0]["rate_limits"], json!([{"actions": [{"remote_address": {}}]}]));
    let added = with(
        "{applyTo: VIRTUAL_HOST, match: {context: GATEWAY}, patch: {operation: ADD, value: {name: extra, domains: [x.y]}}}",
    );
    assert_eq!(virtual_hosts(&added)[1]["name"], "extra");
    let table = with(
        "{applyTo: ROUTE_CONFIGURATION, match: {context: GATEWAY, routeConfiguration: {name: http.80}}, patch: {operation: MERGE, value: {response_headers_to_remove: [x-a]}}}",
    );
    assert_eq!(manager(&table)["route_config"]["response_headers_to_remove"], json!(["x-a"]));
}

#[test]
fn clusters_are_patched_by_service_subset_and_port() {
    let patch = |matched: &str, operation: &str, value: &str| {
        with(&format!(
            "{{applyTo: CLUSTER, match: {{context: GATEWAY, cluster: {matched}}}, patch: {{operation: {operation}{value}}}}}"
        ))
    };
    let name = "outbound|80|v1|shop.default.svc.cluster.local";
    let merged = patch(
        "{service: shop.default.svc.cluster.local, subset: v1}",
        "MERGE",
        ", value: {connect_timeout: 1s, lbPolicy: RANDOM}",
    );
    assert_eq!(
        (&cluster(&merged, name)["connect_timeout"], &cluster(&merged, name)["lb_policy"]),
        (&json!("1s"), &json!("RANDOM"))
    );
    assert_eq!(cluster(&merged, "outbound|80|v2|shop.default.svc.cluster.local")["connect_timeout"], "10s");
    let removed = resources(&patch(&format!("{{name: '{name}'}}"), "REMOVE", ""));
    assert!(removed["clusters"].as_array().unwrap().iter().all(|cluster| cluster["name"] != name));
    let added = patch("{}", "ADD", ", value: {name: rls, type: STATIC, connect_timeout: 1s}");
    assert_eq!(cluster(&added, "rls")["connect_timeout"], "1s");
}

#[test]
fn patches_for_others_do_not_apply() {
    for context in ["SIDECAR_INBOUND", "SIDECAR_OUTBOUND"] {
        let manifests = with(&format!(
            "{{applyTo: HTTP_FILTER, match: {{context: {context}}}, patch: {{operation: INSERT_FIRST, value: {LIMIT}}}}}"
        ));
        assert_eq!(http_filters(&manifests), ["grpc_stats", "fault", "cors", "router"]);
    }
    let manifests = with(&format!(
        "{{applyTo: HTTP_FILTER, match: {{context: GATEWAY, listener: {{portNumber: 443}}}}, patch: {{operation: INSERT_FIRST, value: {LIMIT}}}}}"
    ));
    assert_eq!(http_filters(&manifests), ["grpc_stats", "fault", "cors", "router"]);
}

#[test]
fn an_unknown_field_is_refused_where_it_stands() {
    let manifests = format!(
        "{GATEWAY}---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: ef, namespace: istio-system}}\nspec:\n  configPatches:\n  - applyTo: CLUSTER\n    match: {{context: GATEWAY}}\n    patch:\n      operation: MERGE\n      value:\n        connectTimeot: 1s\n"
    );
    let problems = words(attempt(&manifests, &options()));
    let line = manifests.lines().position(|line| line.contains("connectTimeot")).unwrap() + 1;
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with(&format!(
            "m.yaml:{line}:9: EnvoyFilter istio-system/ef: spec.configPatches[0].patch: unknown field"
        )),
        "{problems:?}"
    );
}

#[test]
fn a_filter_that_does_not_run_here_is_refused_by_name() {
    let lua = "{name: envoy.filters.http.lua, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inline_code: x}}";
    let manifests =
        with(&format!("{{applyTo: HTTP_FILTER, {}, patch: {{operation: INSERT_FIRST, value: {lua}}}}}", at("")));
    let problems = words(attempt(&manifests, &options()));
    assert!(problems[0].contains("envoy.extensions.filters.http.lua.v3.Lua does not run here"), "{problems:?}");
    let allowed = Options { allow_unsupported: vec!["EnvoyFilter".into()], ..options() };
    assert_eq!(attempt(&manifests, &allowed).unwrap().warnings.len(), 1, "gone on without, aloud");
}
