//! Which workload a request comes from and which it goes to, as Istio's telemetry names them, as far as Deployments and labels tell.
//!
//! istiod writes an endpoint's workload into its metadata, `istio.workload: name;namespace;service;revision;cluster`, and a proxy's own
//! into its node: there Istio's statistics filter reads them, and here the gateway's.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::{node::Node, registry::is_subset};
use crate::resource::Resources;

type Labels = BTreeMap<String, String>;

/// The cluster's id where nobody said another.
const CLUSTER: &str = "Kubernetes";

/// A workload as telemetry describes it; without a name when no Deployment claims it.
pub(crate) fn describe(name: &str, namespace: &str, labels: &Labels) -> String {
    let fallback = if name.is_empty() { "unknown" } else { name };
    let service =
        first(labels, &["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or(fallback);
    let revision = first(labels, &["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    format!("{name};{namespace};{service};{};{CLUSTER}", revision.unwrap_or("latest"))
}

/// The workload of a pod with these labels: of the Deployment that asks for most of them, else the pod itself.
pub(crate) fn of_pod(resources: &Resources, namespace: &str, pod: &str, labels: &Labels) -> Option<String> {
    if labels.is_empty() {
        return None;
    }
    let owners = resources.workloads.iter().filter(|workload| {
        workload.metadata.namespace == namespace
            && !workload.spec.labels.is_empty()
            && is_subset(&workload.spec.labels, labels)
    });
    let owner = owners.max_by_key(|workload| workload.spec.labels.len());
    Some(describe(owner.map_or(pod, |owner| &owner.metadata.name), namespace, labels))
}

/// The one workload behind a selector, if there is just one.
pub(crate) fn behind(resources: &Resources, namespace: &str, selectors: &[&Labels]) -> Option<String> {
    if selectors.iter().all(|selector| selector.is_empty()) {
        return None;
    }
    let mut chosen = resources.workloads.iter().filter(|workload| {
        workload.metadata.namespace == namespace
            && selectors.iter().all(|selector| is_subset(selector, &workload.spec.labels))
    });
    let one = chosen.next()?;
    chosen.next().is_none().then(|| describe(&one.metadata.name, namespace, &one.spec.labels))
}

/// Where an endpoint keeps it.
pub(crate) fn metadata(workload: &str) -> xds::Metadata {
    let mut fields = Map::new();
    fields.insert("workload".to_owned(), workload.into());
    let mut metadata = xds::Metadata::default();
    metadata.filter_metadata.insert("istio".to_owned(), fields);
    metadata
}

/// The gateway's own, in the words of Istio's bootstrap.
pub(crate) fn of_gateway(resources: &Resources, node: &Node) -> xds::Node {
    let own = resources.workloads.iter().find(|workload| {
        workload.metadata.namespace == node.namespace
            && !node.labels.is_empty()
            && is_subset(&node.labels, &workload.spec.labels)
    });
    let labels = own.map_or(&node.labels, |own| &own.spec.labels);
    // Istio's own gateways are labelled `istio: ingressgateway` and called `istio-ingressgateway`.
    let by_label = || node.labels.get("app").cloned().or_else(|| Some(format!("istio-{}", node.labels.get("istio")?)));
    let name = own.map(|own| own.metadata.name.clone()).or_else(by_label);
    let metadata = json!({
        "WORKLOAD_NAME": name.unwrap_or_default(),
        "NAMESPACE": node.namespace,
        "CLUSTER_ID": CLUSTER,
        "LABELS": labels,
    });
    xds::Node { metadata: Some(metadata), ..xds::Node::default() }
}

fn first<'l>(labels: &'l Labels, names: &[&str]) -> Option<&'l str> {
    names.iter().find_map(|name| labels.get(*name)).map(String::as_str).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_described_by_its_labels_and_where_these_are_silent_by_its_name() {
        let check = |labels: &[(&str, &str)], described: &str| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(describe("reviews-v1", "shop", &labels), described);
        };
        check(&[("app", "reviews"), ("version", "v1")], "reviews-v1;shop;reviews;v1;Kubernetes");
        check(&[], "reviews-v1;shop;reviews-v1;latest;Kubernetes");
        check(&[("app", "a"), ("app.kubernetes.io/name", "b")], "reviews-v1;shop;b;latest;Kubernetes");
    }
}
