//! Istio's standard metrics under Istio's names and labels, as its stats filter counts them at a gateway.
//!
//! Source: Istio's reference "Istio Standard Metrics" and `extensions/stats` of istio/proxy. The gateway's own workload
//! is told by its node, an endpoint's by its metadata, as in Istio; what Istio learns from its peers alone is `unknown` here.

use super::{Key, Series};
use crate::stats::{ISTIO, Sample, See, Stat};

const UNKNOWN: &str = "unknown";

/// The gateway's own workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    workload: String,
    namespace: String,
    service: String,
    revision: String,
    app: String,
    version: String,
    cluster: String,
}

impl Default for Source {
    fn default() -> Source {
        Source::of(None)
    }
}

impl Source {
    /// From the node's metadata, as Istio's agent writes it.
    pub(super) fn of(node: Option<&xds::Node>) -> Source {
        let metadata = node.and_then(|node| node.metadata.as_ref());
        let field = |pointer: &str| {
            let text = metadata.and_then(|metadata| metadata.pointer(pointer)).and_then(serde_json::Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let label =
            |names: &[&str]| names.iter().find_map(|name| field(&format!("/LABELS/{}", name.replace('/', "~1"))));
        let or_unknown = |text: Option<&str>| text.unwrap_or(UNKNOWN).to_owned();
        let workload = field("/WORKLOAD_NAME");
        Source {
            service: or_unknown(
                label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).or(workload),
            ),
            revision: label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"])
                .unwrap_or("latest")
                .to_owned(),
            workload: or_unknown(workload),
            namespace: or_unknown(field("/NAMESPACE")),
            app: or_unknown(label(&["app"])),
            version: or_unknown(label(&["version"])),
            cluster: or_unknown(field("/CLUSTER_ID")),
        }
    }
}

/// An endpoint's workload, `name;namespace;service;revision;cluster`; what is empty is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Workload<'w> {
    name: Option<&'w str>,
    namespace: Option<&'w str>,
    service: Option<&'w str>,
    revision: Option<&'w str>,
    cluster: Option<&'w str>,
}

impl<'w> Workload<'w> {
    fn of(described: Option<&'w str>) -> Workload<'w> {
        let mut parts = described.unwrap_or_default().split(';').map(|part| Some(part).filter(|part| !part.is_empty()));
        let mut next = || parts.next().flatten();
        Workload { name: next(), namespace: next(), service: next(), revision: next(), cluster: next() }
    }
}

/// Hands on the four series of requests that are alike.
pub(super) fn see(source: &Source, key: &Key, series: &Series, see: &mut See<'_>) {
    let labels = labels(source, key);
    let named = |name: &str| format!("{name}{ISTIO}{labels}");
    see(&named("istio_requests_total"), Sample::Counter(series.requests.value()));
    let histograms = [
        ("istio_request_duration_milliseconds", &series.duration),
        ("istio_request_bytes", &series.request_bytes),
        ("istio_response_bytes", &series.response_bytes),
    ];
    for (name, histogram) in histograms {
        histogram.see(&named(name), see);
    }
}

/// `name=value` pairs in Istio's order, each behind a separator no name has.
fn labels(source: &Source, key: &Key) -> String {
    let destination = Destination::of(key.cluster.as_deref());
    let workload = Workload::of(key.workload.as_deref());
    let status = key.status.to_string();
    let flags = match key.flags.short() {
        flags if flags.is_empty() => "-".to_owned(),
        flags => flags,
    };
    let pairs = [
        ("reporter", "source"),
        ("source_workload", &source.workload),
        ("source_canonical_service", &source.service),
        ("source_canonical_revision", &source.revision),
        ("source_workload_namespace", &source.namespace),
        ("source_principal", UNKNOWN),
        ("source_app", &source.app),
        ("source_version", &source.version),
        ("source_cluster", &source.cluster),
        ("destination_workload", workload.name.unwrap_or(UNKNOWN)),
        ("destination_workload_namespace", workload.namespace.unwrap_or(destination.namespace)),
        ("destination_principal", UNKNOWN),
        ("destination_app", workload.service.unwrap_or(UNKNOWN)),
        ("destination_version", workload.revision.unwrap_or(destination.version)),
        ("destination_service", destination.service),
        ("destination_canonical_service", workload.service.unwrap_or(destination.name)),
        ("destination_canonical_revision", workload.revision.unwrap_or(destination.version)),
        ("destination_service_name", destination.name),
        ("destination_service_namespace", destination.namespace),
        ("destination_cluster", workload.cluster.unwrap_or(UNKNOWN)),
        ("request_protocol", if key.grpc { "grpc" } else { "http" }),
        ("response_code", &status),
        ("grpc_response_status", ""),
        ("response_flags", &flags),
        ("connection_security_policy", UNKNOWN),
    ];
    pairs.iter().map(|(name, value)| format!("{name}={value}{ISTIO}")).collect()
}

/// What a cluster's name says of its service.
struct Destination<'c> {
    service: &'c str,
    name: &'c str,
    namespace: &'c str,
    /// The subset, which is a version wherever people follow Istio's examples.
    version: &'c str,
}

impl<'c> Destination<'c> {
    fn of(cluster: Option<&'c str>) -> Destination<'c> {
        const UNKNOWN: Destination<'static> =
            Destination { service: "unknown", name: "unknown", namespace: "unknown", version: "unknown" };
        let mut parts = cluster.unwrap_or_default().split('|').skip(2);
        let (Some(subset), Some(host)) = (parts.next(), parts.next()) else { return UNKNOWN };
        let version = if subset.is_empty() { "unknown" } else { subset };
        let mut labels = host.split('.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(name), Some(namespace), Some("svc")) => Destination { service: host, name, namespace, version },
            _ => Destination { service: host, name: host, namespace: "unknown", version },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_who_its_node_says() {
        let metadata = serde_json::json!({
            "WORKLOAD_NAME": "istio-ingressgateway", "NAMESPACE": "istio-system", "CLUSTER_ID": "Kubernetes",
            "LABELS": {"app": "gate", "service.istio.io/canonical-name": "door"},
        });
        let source = Source::of(Some(&xds::Node { metadata: Some(metadata), ..xds::Node::default() }));
        assert_eq!((source.workload.as_str(), source.namespace.as_str()), ("istio-ingressgateway", "istio-system"));
        assert_eq!(
            (source.service.as_str(), source.revision.as_str(), source.app.as_str()),
            ("door", "latest", "gate")
        );
        assert_eq!((source.version.as_str(), source.cluster.as_str()), ("unknown", "Kubernetes"));
        assert_eq!(Source::of(None).workload, "unknown");
    }

    #[test]
    fn an_endpoint_s_workload_is_in_its_metadata_and_what_is_empty_is_not_known() {
        let workload = Workload::of(Some(";shop;cart;;Kubernetes"));
        assert_eq!((workload.name, workload.namespace, workload.service), (None, Some("shop"), Some("cart")));
        assert_eq!((workload.revision, workload.cluster), (None, Some("Kubernetes")));
        assert_eq!(Workload::of(None), Workload::default());
    }

    #[test]
    fn a_cluster_s_name_says_which_service_it_is() {
        for (cluster, service, name, namespace, version) in [
            (Some("outbound|80|v1|cart.shop.svc.cluster.local"), "cart.shop.svc.cluster.local", "cart", "shop", "v1"),
            (Some("outbound|443||api.example.com"), "api.example.com", "api.example.com", "unknown", "unknown"),
            (Some("plain"), "unknown", "unknown", "unknown", "unknown"),
            (None, "unknown", "unknown", "unknown", "unknown"),
        ] {
            let seen = Destination::of(cluster);
            assert_eq!((seen.service, seen.name, seen.namespace, seen.version), (service, name, namespace, version));
        }
    }
}
