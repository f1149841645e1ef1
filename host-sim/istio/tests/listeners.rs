//! What stands before the filter chains of a listener, and what patches change in a connection manager.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code, reason = "a test")]

mod gateway;

use gateway::{GATEWAY, attempt, manager, options, resources, words};
use serde_json::{Value, json};

const TLS: &str = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: tls, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: [a.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tls, namespace: istio-system}
spec: {hosts: [a.example], gateways: [tls], tls: [{match: [{sniHosts: [a.example]}], route: [{destination: {host: b.example}}]}]}
";

fn mesh(topology: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    defaultConfig: {{gatewayTopology: {topology}}}\n"
    )
}

fn patched(patch: &str) -> String {
    format!(
        "{GATEWAY}---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: ef, namespace: istio-system}}\nspec: {{configPatches: [{patch}]}}\n"
    )
}

fn filters(listener: &Value) -> Vec<&str> {
    listener["listener_filters"].as_array().into_iter().flatten().filter_map(|filter| filter["name"].as_str()).collect()
}

/// As istiod of 2026-08-27 has it.
#[test]
fn a_mesh_behind_the_proxy_protocol_reads_it_first() {
    let expected = [
        ("{numTrustedProxies: 1}", vec![], vec!["envoy.filters.listener.tls_inspector"]),
        (
            "{proxyProtocol: {}}",
            vec!["envoy.filters.listener.proxy_protocol"],
            vec!["envoy.filters.listener.proxy_protocol", "envoy.filters.listener.tls_inspector"],
        ),
    ];
    for (topology, plain, tls) in expected {
        let listeners = resources(&format!("{GATEWAY}{TLS}{}", mesh(topology)))["listeners"].clone();
        let of = |port: &str| {
            let listeners = listeners.as_array().unwrap().iter();
            listeners.clone().find(|listener| listener["name"].as_str().unwrap().ends_with(port)).unwrap().clone()
        };
        assert_eq!((filters(&of("_80")), filters(&of("_443"))), (plain, tls), "{topology}");
    }
}

#[test]
fn a_patch_may_put_a_filter_before_the_others_if_it_runs_here() {
    let filter = |kind: &str| {
        patched(&format!(
            "{{applyTo: LISTENER, match: {{context: GATEWAY}}, patch: {{operation: MERGE, value: {{listener_filters: [{{name: x, typed_config: {{'@type': type.googleapis.com/{kind}}}}}]}}}}}}"
        ))
    };
    let taken = filter("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol");
    assert_eq!(filters(&resources(&taken)["listeners"][0]), ["x"]);
    let added = |kind: &str| {
        patched(&format!(
            "{{applyTo: LISTENER_FILTER, match: {{context: GATEWAY}}, patch: {{operation: INSERT_FIRST, value: {{name: x, typed_config: {{'@type': type.googleapis.com/{kind}}}}}}}}}"
        ))
    };
    let found = words(attempt(&added("envoy.extensions.filters.listener.original_src.v3.OriginalSrc"), &options()));
    assert!(found[0].contains("OriginalSrc does not run here") && found[0].contains("proxy_protocol"), "{found:?}");
}

#[test]
fn a_patch_may_change_the_form_of_answers_and_let_http_1_0_in() {
    let text = patched(
        "{applyTo: NETWORK_FILTER, match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}, \
         patch: {operation: MERGE, value: {typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
         http_protocol_options: {accept_http_10: true}, \
         local_reply_config: {mappers: [{filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 503, runtime_key: k}}}}, status_code: 502}]}}}}}",
    );
    let manager = manager(&text);
    assert_eq!(manager["http_protocol_options"]["accept_http_10"], json!(true));
    assert_eq!(manager["local_reply_config"]["mappers"][0]["status_code"], json!(502));
}
