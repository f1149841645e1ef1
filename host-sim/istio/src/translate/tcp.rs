//! Connections that are passed on unread: TLS by SNI, and opaque TCP.

use serde_json::json;
use xds::{NetworkFilter, NetworkFilterConfig, TcpClusterWeight, TcpProxy, TcpWeightedCluster};

use super::{Context, duration, gateways::BoundServer, rules::BoundVirtualService};
use crate::resource::{
    destination_rule::TrafficPolicy,
    host,
    virtual_service::{L4Match, RouteDestination},
};

/// A chain for connections with one of these server names.
pub(crate) struct SniChain {
    pub(crate) sni_hosts: Vec<String>,
    pub(crate) filters: Vec<NetworkFilter>,
}

/// One chain per `tls` match of the VirtualServices bound to a PASSTHROUGH server; names already `taken` on the port are left out, as Envoy would
/// refuse two chains for one name.
pub(crate) fn by_sni(context: &Context<'_>, bound: &BoundServer<'_>, taken: &mut Vec<(u32, String)>) -> Vec<SniChain> {
    let gateway = bound.gateway.full_name();
    let mut chains = Vec::new();
    for service in context.virtual_services_of(&gateway).filter(|service| takes_host(bound, service)) {
        for route in &service.tls {
            for matched in &route.matches {
                let applies = fits(matched.port, &matched.gateways, bound, &gateway);
                let new = matched.sni_hosts.iter().all(|name| !taken.contains(&(bound.port, name.clone())));
                if !applies || !new {
                    continue;
                }
                taken.extend(matched.sni_hosts.iter().map(|name| (bound.port, name.clone())));
                let filters = proxy(context, service, &route.route, bound.server.port.number);
                chains.push(SniChain { sni_hosts: matched.sni_hosts.clone(), filters });
            }
        }
    }
    chains
}

/// The first `tcp` route that applies; none leaves the server without a chain.
pub(crate) fn opaque(context: &Context<'_>, bound: &BoundServer<'_>) -> Vec<NetworkFilter> {
    let gateway = bound.gateway.full_name();
    for service in context.virtual_services_of(&gateway).filter(|service| takes_host(bound, service)) {
        let applies = |matched: &L4Match| fits(matched.port, &matched.gateways, bound, &gateway);
        let mut routes =
            service.tcp.iter().filter(|route| route.matches.is_empty() || route.matches.iter().any(applies));
        if let Some(route) = routes.next() {
            return proxy(context, service, &route.route, bound.server.port.number);
        }
    }
    Vec::new()
}

fn fits(port: u32, gateways: &[String], bound: &BoundServer<'_>, gateway: &str) -> bool {
    (port == 0 || port == bound.server.port.number)
        && (gateways.is_empty() || gateways.iter().any(|name| name == gateway))
}

/// The server takes a host of the VirtualService, for everyone or for its namespace.
fn takes_host(bound: &BoundServer<'_>, service: &BoundVirtualService<'_>) -> bool {
    let own = host::hosts_for_namespace(&bound.hosts, &service.object.metadata.namespace);
    own.iter().any(|host| service.hosts.iter().any(|other| host::matches(host, other)))
}

fn proxy(
    context: &Context<'_>,
    service: &BoundVirtualService<'_>,
    routes: &[RouteDestination],
    port: u32,
) -> Vec<NetworkFilter> {
    let namespace = &service.object.metadata.namespace;
    let name = |route: &RouteDestination| context.cluster_name(&route.destination, port);
    let first = routes.first().and_then(|route| context.registry.get(&route.destination.host));
    let rule = first.and_then(|service| context.rule_for(service));
    let policy = rule.and_then(|rule| rule.policy);
    let tcp = policy.and_then(|policy| policy.connection_pool.as_ref()).and_then(|pool| pool.tcp.as_ref());
    let mut proxy = TcpProxy {
        idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout).map(duration),
        max_downstream_connection_duration: tcp.and_then(|tcp| tcp.max_connection_duration).map(duration),
        ..TcpProxy::default()
    };
    let mut subset_policy = None;
    if let [only] = routes {
        let cluster = name(only);
        proxy.stat_prefix.clone_from(&cluster);
        proxy.cluster = Some(cluster);
        subset_policy = rule
            .and_then(|rule| rule.subset(&only.destination.subset))
            .and_then(|subset| subset.traffic_policy.as_ref());
    } else {
        proxy.stat_prefix = format!("{}.{namespace}", service.object.metadata.name);
        let weighted = routes.iter().filter_map(|route| {
            let weight = u32::try_from(route.weight).ok().filter(|weight| *weight > 0)?;
            Some(TcpClusterWeight { name: name(route), weight, ..TcpClusterWeight::default() })
        });
        proxy.weighted_clusters = Some(TcpWeightedCluster { clusters: weighted.collect() });
    }
    if hashes_source(policy, subset_policy) {
        proxy.hash_policy = vec![json!({"source_ip": {}})];
    }
    vec![filter(proxy)]
}

/// A chain that goes nowhere: the connection is taken and closed.
pub(crate) fn closed() -> Vec<NetworkFilter> {
    vec![filter(TcpProxy {
        stat_prefix: "BlackHoleCluster".into(),
        cluster: Some("BlackHoleCluster".into()),
        ..TcpProxy::default()
    })]
}

fn filter(proxy: TcpProxy) -> NetworkFilter {
    NetworkFilter {
        name: "envoy.filters.network.tcp_proxy".into(),
        typed_config: Some(NetworkFilterConfig::TcpProxy(Box::new(proxy))),
        ..NetworkFilter::default()
    }
}

/// A subset with a load balancer decides for itself.
fn hashes_source(policy: Option<&TrafficPolicy>, subset: Option<&TrafficPolicy>) -> bool {
    let own = subset.filter(|policy| policy.load_balancer.is_some()).or(policy);
    let balancer = own.and_then(|policy| policy.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.consistent_hash.as_ref()).and_then(|hash| hash.use_source_ip).unwrap_or(false)
}
