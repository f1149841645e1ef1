//! Istio's standard metrics under Istio's names and labels, as its stats filter counts them at a gateway.
//!
//! Source: Istio's reference "Istio Standard Metrics" and `source/extensions/filters/http/istio_stats` of istio/proxy, for the reporter at
//! the client's side, which a gateway is. Its own workload is told by its node, an endpoint's by its metadata, as in Istio. That metadata has
//! neither `app` nor `version`: Istio learns them from its peers alone, and they are `unknown` here.

use super::{Key, Series, Spoken};
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
    let (protocol, grpc_status) = match key.protocol {
        Spoken::Http => ("http", String::new()),
        Spoken::Grpc(status) => ("grpc", status.map(known_status).unwrap_or_default()),
    };
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
        ("destination_workload_namespace", workload.namespace.unwrap_or(UNKNOWN)),
        ("destination_principal", UNKNOWN),
        ("destination_app", UNKNOWN),
        ("destination_version", UNKNOWN),
        ("destination_service", destination.service),
        ("destination_canonical_service", workload.service.unwrap_or(UNKNOWN)),
        ("destination_canonical_revision", workload.revision.unwrap_or("latest")),
        ("destination_service_name", destination.name),
        ("destination_service_namespace", destination.namespace.or(workload.namespace).unwrap_or(UNKNOWN)),
        ("destination_cluster", workload.cluster.unwrap_or(UNKNOWN)),
        ("request_protocol", protocol),
        ("response_code", &status),
        ("grpc_response_status", &grpc_status),
        ("response_flags", &flags),
        ("connection_security_policy", UNKNOWN),
    ];
    pairs.iter().map(|(name, value)| format!("{name}={value}{ISTIO}")).collect()
}

/// What is no status of gRPC's is -1, as in Envoy.
fn known_status(status: i64) -> String {
    if (0..=16).contains(&status) { status.to_string() } else { "-1".to_owned() }
}

/// What a cluster's name says of its service.
struct Destination<'c> {
    service: &'c str,
    name: &'c str,
    /// Of a service in Kubernetes; a service entry's is not in its name.
    namespace: Option<&'c str>,
}

impl<'c> Destination<'c> {
    fn of(cluster: Option<&'c str>) -> Destination<'c> {
        const NOBODY: Destination<'static> = Destination { service: UNKNOWN, name: UNKNOWN, namespace: None };
        let Some(host) = cluster.unwrap_or_default().split('|').nth(3) else { return NOBODY };
        let mut labels = host.split('.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(name), namespace @ Some(_), Some("svc")) => Destination { service: host, name, namespace },
            _ => Destination { service: host, name: host, namespace: None },
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
        for (cluster, service, name, namespace) in [
            (Some("outbound|80|v1|cart.shop.svc.cluster.local"), "cart.shop.svc.cluster.local", "cart", Some("shop")),
            (Some("outbound|443||api.example.com"), "api.example.com", "api.example.com", None),
            (Some("plain"), "unknown", "unknown", None),
            (None, "unknown", "unknown", None),
        ] {
            let seen = Destination::of(cluster);
            assert_eq!((seen.service, seen.name, seen.namespace), (service, name, namespace));
        }
    }

    #[test]
    fn labels_are_those_of_istios_reporter_at_the_clients_side() {
        let key = |workload: Option<&str>, protocol| Key {
            route: "".into(),
            virtual_host: "".into(),
            cluster: Some("outbound|80|v1|cart.shop.svc.cluster.local".into()),
            workload: workload.map(Into::into),
            status: 200,
            flags: crate::local_reply::Flags::default(),
            protocol,
        };
        let known = Some("cart-v1;shop;cart;v1;Kubernetes");
        for (workload, protocol, expected) in [
            (
                known,
                Spoken::Http,
                "destination_workload=cart-v1 destination_workload_namespace=shop destination_app=unknown destination_version=unknown",
            ),
            (
                known,
                Spoken::Http,
                "destination_canonical_service=cart destination_canonical_revision=v1 destination_cluster=Kubernetes",
            ),
            (
                known,
                Spoken::Http,
                "destination_service_name=cart destination_service_namespace=shop request_protocol=http grpc_response_status=",
            ),
            (
                None,
                Spoken::Http,
                "destination_workload=unknown destination_workload_namespace=unknown destination_canonical_service=unknown",
            ),
            (
                None,
                Spoken::Http,
                "destination_canonical_revision=latest destination_service_namespace=shop destination_cluster=unknown",
            ),
            (known, Spoken::Grpc(Some(14)), "request_protocol=grpc grpc_response_status=14"),
            (known, Spoken::Grpc(Some(99)), "request_protocol=grpc grpc_response_status=-1"),
            (known, Spoken::Grpc(None), "request_protocol=grpc grpc_response_status="),
        ] {
            let all = labels(&Source::default(), &key(workload, protocol));
            let all: Vec<_> = all.split(ISTIO).collect();
            for pair in expected.split(' ') {
                assert!(all.contains(&pair), "no {pair} of {workload:?} {protocol:?} in {all:?}");
            }
        }
    }
}
