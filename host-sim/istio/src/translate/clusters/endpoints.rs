//! Endpoints of one cluster, and the echo backends that stand in where nobody says where a service is.

use std::collections::BTreeMap;

use xds::{Address, Endpoint, HealthStatus, LbEndpoint, LocalityLbEndpoints, SocketAddress};

use super::{cluster_name, policy::Policy};
use crate::{
    resource::{destination_rule::Subset, protocol::Protocol},
    translate::{
        Context, EchoBackend,
        options::Backend,
        registry::{self, Health, Port, Service, is_subset},
        workload,
    },
};

/// By locality, in the order of their names.
pub(super) fn of(
    context: &Context<'_>,
    service: &Service,
    port: &Port,
    subset: Option<&Subset>,
    policy: &Policy<'_>,
) -> Vec<LocalityLbEndpoints> {
    if let Some(backends) = backends(context, service, port, subset) {
        return vec![locality("", backends)];
    }
    let wanted = subset.map(|subset| &subset.labels);
    // Unready endpoints are sent as unhealthy, unless the policy asks to use all when few are healthy.
    let send_unready = policy.min_health_percent() <= 0.0;
    let chosen = service.endpoints.iter().filter(|endpoint| {
        endpoint.port_name == port.name
            && wanted.is_none_or(|labels| is_subset(labels, &endpoint.labels))
            && (send_unready || endpoint.health != Health::NotReady)
            && (service.resolution != registry::Discovery::Listed
                || endpoint.port == 0
                || endpoint.address.parse::<std::net::IpAddr>().is_ok())
    });
    let mut by_locality: BTreeMap<&str, Vec<LbEndpoint>> = BTreeMap::new();
    for endpoint in chosen {
        by_locality.entry(&endpoint.locality).or_default().push(lb_endpoint(context, service, endpoint));
    }
    by_locality.into_iter().map(|(name, endpoints)| locality(name, endpoints)).collect()
}

/// Where the user says the service is: the most specific of what was said wins.
fn backends(context: &Context<'_>, service: &Service, port: &Port, subset: Option<&Subset>) -> Option<Vec<LbEndpoint>> {
    let labels = subset.map(|subset| &subset.labels);
    let subset = subset.map(|subset| subset.name.as_str());
    let fits = |backend: &&Backend| {
        backend.is_for(&service.host)
            && backend.port.is_none_or(|number| u32::from(number) == port.number)
            && (backend.subset.is_none() || subset.is_none() || backend.subset.as_deref() == subset)
    };
    let all: Vec<_> = context.options.backends.iter().filter(fits).collect();
    let exact: Vec<_> =
        all.iter().copied().filter(|backend| subset.is_some() && backend.subset.as_deref() == subset).collect();
    let chosen = if exact.is_empty() { all } else { exact };
    let selectors: Vec<_> = std::iter::once(&service.selector).chain(labels).collect();
    let workload = workload::behind(context.resources, &service.namespace, &selectors);
    let endpoint = |backend: &&Backend| LbEndpoint {
        endpoint: Some(address(&backend.address, u32::from(backend.address_port))),
        metadata: workload.as_deref().map(workload::metadata),
        load_balancing_weight: Some(1),
        ..LbEndpoint::default()
    };
    (!chosen.is_empty()).then(|| chosen.iter().map(endpoint).collect())
}

fn lb_endpoint(context: &Context<'_>, service: &Service, endpoint: &registry::Endpoint) -> LbEndpoint {
    let workload = workload::of_pod(context.resources, &service.namespace, &endpoint.pod, &endpoint.labels);
    LbEndpoint {
        metadata: workload.as_deref().map(workload::metadata),
        endpoint: Some(address(&endpoint.address, endpoint.port)),
        health_status: match endpoint.health {
            Health::Unknown => HealthStatus::Unknown,
            Health::Ready => HealthStatus::Healthy,
            Health::NotReady => HealthStatus::Unhealthy,
        },
        load_balancing_weight: Some(endpoint.weight),
        ..LbEndpoint::default()
    }
}

fn address(address: &str, port: u32) -> Endpoint {
    let address = match port {
        0 => Address { pipe: Some(serde_json::json!({"path": address})), ..Address::default() },
        _ => {
            let socket =
                SocketAddress { address: address.to_owned(), port_value: Some(port), ..SocketAddress::default() };
            Address { socket_address: Some(socket), ..Address::default() }
        }
    };
    Endpoint { address: Some(address), ..Endpoint::default() }
}

fn locality(name: &str, lb_endpoints: Vec<LbEndpoint>) -> LocalityLbEndpoints {
    let mut parts = name.split('/').map(ToOwned::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let locality = xds::Locality { region: next(), zone: next(), sub_zone: next() };
    let weight = lb_endpoints.iter().filter_map(|endpoint| endpoint.load_balancing_weight).fold(0, u32::saturating_add);
    LocalityLbEndpoints {
        locality: Some(locality),
        load_balancing_weight: Some(weight),
        lb_endpoints,
        ..LocalityLbEndpoints::default()
    }
}

/// An echo backend per Deployment behind a service of unknown endpoints, else one per subset, else one; only for clusters in `used`.
pub(crate) fn echo_backends(context: &Context<'_>, used: &std::collections::BTreeSet<String>) -> Vec<EchoBackend> {
    let unknown = |service: &&Service| {
        !service.endpoints_known && !context.options.backends.iter().any(|backend| backend.is_for(&service.host))
    };
    context.registry.services().iter().filter(unknown).flat_map(|service| echo_of(context, service, used)).collect()
}

fn echo_of(context: &Context<'_>, service: &Service, used: &std::collections::BTreeSet<String>) -> Vec<EchoBackend> {
    let rule = context.rule_for(service);
    let subsets: Vec<&Subset> = rule.map(|rule| rule.subsets.clone()).unwrap_or_default();
    let short = service.host.split('.').next().unwrap_or(&service.host);
    let workloads = context.resources.workloads.iter().filter(|workload| {
        workload.metadata.namespace == service.namespace
            && !service.selector.is_empty()
            && is_subset(&service.selector, &workload.spec.labels)
    });
    let mut named: Vec<(String, BTreeMap<String, String>)> =
        workloads.map(|workload| (workload.metadata.name.clone(), workload.spec.labels.clone())).collect();
    let deployed = !named.is_empty();
    if named.is_empty() {
        named = subsets.iter().map(|subset| (format!("{short}-{}", subset.name), subset.labels.clone())).collect();
    }
    if named.is_empty() {
        named.push((short.to_owned(), BTreeMap::new()));
    }
    let backend = |(name, labels): (String, BTreeMap<String, String>)| {
        let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
        let clusters: Vec<String> = ports
            .flat_map(|port| {
                let own = subsets
                    .iter()
                    .filter(|subset| is_subset(&subset.labels, &labels))
                    .map(|subset| subset.name.as_str());
                std::iter::once("")
                    .chain(own)
                    .map(|subset| cluster_name(port.number, subset, &service.host))
                    .collect::<Vec<_>>()
            })
            .filter(|name| used.contains(name))
            .collect();
        let workload = deployed.then(|| workload::describe(&name, &service.namespace, &labels));
        let workload = workload.as_deref().map(workload::metadata);
        EchoBackend { name, host: service.host.clone(), labels, workload, clusters }
    };
    named.into_iter().map(backend).filter(|backend| !backend.clusters.is_empty()).collect()
}
