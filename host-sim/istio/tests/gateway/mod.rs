//! A gateway from manifests, as JSON to look into.

use istio::{Options, Problem, Source, Translation};
use serde_json::Value;

/// A plain Gateway `istio-system/gw` on port 80 for all hosts.
pub(crate) const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
---
";

/// A service `shop` with subsets v1 and v2, one endpoint each.
pub(crate) const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: default}
spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
";

/// Options as they are for a gateway with Istio's usual labels.
pub(crate) fn options() -> Options {
    let labels = [("istio", "ingressgateway"), ("app", "istio-ingressgateway")];
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Options { labels: Some(labels), ..Options::default() }
}

/// Reads and translates, with the problems of either.
pub(crate) fn attempt(manifests: &str, options: &Options) -> Result<Translation, Vec<Problem>> {
    let (resources, problems) = istio::read(&[Source { name: "m.yaml".into(), text: manifests.into() }]);
    if problems.is_empty() { istio::translate(&resources, options) } else { Err(problems) }
}

/// A translation that works.
pub(crate) fn translation(manifests: &str) -> Translation {
    attempt(manifests, &options()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Static resources as JSON.
pub(crate) fn resources(manifests: &str) -> Value {
    serde_json::to_value(&translation(manifests).bootstrap).unwrap()["static_resources"].clone()
}

/// The connection manager of the first listener.
pub(crate) fn manager(manifests: &str) -> Value {
    resources(manifests)["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"].clone()
}

/// Virtual hosts of the first listener.
pub(crate) fn virtual_hosts(manifests: &str) -> Vec<Value> {
    manager(manifests)["route_config"]["virtual_hosts"].as_array().cloned().unwrap_or_default()
}

/// A cluster by name.
pub(crate) fn cluster(manifests: &str, name: &str) -> Value {
    let found = resources(manifests)["clusters"].as_array().cloned().unwrap_or_default();
    found.into_iter().find(|cluster| cluster["name"] == name).unwrap_or_else(|| panic!("no cluster {name}"))
}

/// The words of problems, one a line.
pub(crate) fn words(result: Result<Translation, Vec<Problem>>) -> Vec<String> {
    result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}
