//! Istio's standard metrics under Istio's names and labels, as its stats filter counts them at a gateway.
//!
//! Source: Istio's reference "Istio Standard Metrics" and `extensions/stats` of istio/proxy. A gateway on a laptop knows no
//! workloads: what Istio learns from its peers is `unknown` here.

use super::{Key, Series};
use crate::stats::{ISTIO, Sample, See, Stat};

/// Hands on the four series of requests that are alike.
pub(super) fn see(key: &Key, series: &Series, see: &mut See<'_>) {
    let labels = labels(key);
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
fn labels(key: &Key) -> String {
    const UNKNOWN: &str = "unknown";
    let destination = Destination::of(key.cluster.as_deref());
    let status = key.status.to_string();
    let flags = match key.flags.short() {
        flags if flags.is_empty() => "-".to_owned(),
        flags => flags,
    };
    let pairs = [
        ("reporter", "source"),
        ("source_workload", UNKNOWN),
        ("source_canonical_service", UNKNOWN),
        ("source_canonical_revision", "latest"),
        ("source_workload_namespace", UNKNOWN),
        ("source_principal", UNKNOWN),
        ("source_app", UNKNOWN),
        ("source_version", UNKNOWN),
        ("source_cluster", UNKNOWN),
        ("destination_workload", UNKNOWN),
        ("destination_workload_namespace", destination.namespace),
        ("destination_principal", UNKNOWN),
        ("destination_app", UNKNOWN),
        ("destination_version", destination.version),
        ("destination_service", destination.service),
        ("destination_canonical_service", destination.name),
        ("destination_canonical_revision", destination.version),
        ("destination_service_name", destination.name),
        ("destination_service_namespace", destination.namespace),
        ("destination_cluster", UNKNOWN),
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
