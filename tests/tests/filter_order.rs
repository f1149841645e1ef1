//! Plugins and patches end up where istiod puts them: `tests/corpus/filter-order.yaml` against what `host-sim envoy` prints.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use tests::{corpus, host_sim, replay};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    manifests: String,
    http_filters_on_port_80: Vec<String>,
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
";

/// Filters that only make sense inside a mesh, or that `--allow-unsupported` leaves out.
const ABSENT: &[&str] = &[
    "istio.metadata_exchange",
    "istio.alpn",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.rbac",
    "envoy.filters.http.jwt_authn",
];

/// `istio-system.a`, however the resource is called that became the filter; Envoy's own filters by their name.
fn short(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap();
    last.split('~').next().unwrap().to_owned()
}

fn plugins(manifests: &str) -> Vec<String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let plugin = |d: &&Value| ["WasmPlugin", "TrafficExtension"].contains(&d["kind"].as_str().unwrap());
    let name = |d: &Value| {
        format!("{}/{}", d["metadata"]["namespace"].as_str().unwrap(), d["metadata"]["name"].as_str().unwrap())
    };
    documents.iter().filter(plugin).map(name).collect()
}

/// What stands in the chain of port 80, or why there is none.
fn chain(manifests: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let (file, module) = (folder.path().join("manifests.yaml"), folder.path().join("x.wasm"));
    std::fs::write(&file, format!("{GATEWAY}---\n{manifests}")).unwrap();
    std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let mut command = Command::new(host_sim::binary().unwrap());
    command.args(["envoy", "--no-echo", "--labels", replay::LABELS, "-f"]).arg(&file);
    for plugin in plugins(manifests) {
        command.arg("--wasm").arg(format!("{plugin}={}", module.display()));
    }
    for kind in ["AuthorizationPolicy", "RequestAuthentication"] {
        command.args(["--allow-unsupported", kind]);
    }
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let bootstrap: Value = serde_json::from_slice(&output.stdout).unwrap();
    let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
    let listener = listeners.iter().find(|l| l["name"].as_str().unwrap().ends_with("_80")).unwrap();
    let filters = listener["filter_chains"][0]["filters"].as_array().unwrap();
    let manager = filters.iter().find(|f| f["typed_config"]["http_filters"].is_array()).unwrap();
    Ok(manager["typed_config"]["http_filters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| short(f["name"].as_str().unwrap()))
        .collect())
}

#[test]
fn filters_stand_in_istios_order() {
    let text = std::fs::read_to_string(corpus().join("filter-order.yaml")).unwrap();
    let orders: Vec<Order> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(orders.len(), 26);
    let mut wrong = Vec::new();
    for (at, order) in orders.iter().enumerate() {
        let absent = |name: &String| ABSENT.contains(&name.as_str());
        let expected: Vec<String> =
            order.http_filters_on_port_80.iter().map(|name| short(name)).filter(|name| !absent(name)).collect();
        match chain(&order.manifests) {
            // Lua and network filters are not run, and that is said.
            Err(words) if order.manifests.contains("lua:") && words.to_lowercase().contains("lua") => {}
            Err(words) if order.manifests.contains("type: NETWORK") && words.contains("network plugins") => {}
            Err(words) => wrong.push(format!("{at}: refused: {words}")),
            Ok(got) => {
                let got: Vec<String> = got.into_iter().filter(|name| !absent(name)).collect();
                if got != expected {
                    wrong.push(format!("{at}: {got:?}\n   Istio: {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of 26:\n{}", wrong.len(), wrong.join("\n"));
}
