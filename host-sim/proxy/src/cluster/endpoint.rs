//! The endpoints of a cluster, as a load balancer sees them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::route::error::{Errors, Path};

/// One endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Its name, for SNI, `auto_host_rewrite` and the log.
    pub hostname: Option<Arc<str>>,
    /// Its share among its peers; at least 1.
    pub weight: u32,
    /// 0 is served first.
    pub priority: u32,
    /// What the configuration says of its health; ejection by outlier detection comes on top.
    pub healthy: bool,
    /// What consistent hashes are made of: its address, unless metadata says otherwise.
    pub hash_key: String,
    /// Its metadata, for transport socket matches and the log.
    pub metadata: Option<Arc<xds::Metadata>>,
    /// Its neighbourhood.
    pub locality: Arc<Locality>,
    /// `istio.workload` of it: `name;namespace;service;revision;cluster`.
    pub workload: Option<Arc<str>>,
}

/// A neighbourhood of endpoints, as it was configured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Locality {
    /// Where it is.
    pub place: xds::Locality,
    /// Its metadata.
    pub metadata: Option<Arc<xds::Metadata>>,
}

/// Reads a cluster's endpoints in their order. `resolve` gives the addresses of a name, for clusters that are found by DNS.
pub(super) fn compile(
    assignment: &xds::ClusterLoadAssignment,
    use_hostname_for_hashing: bool,
    resolve: &mut dyn FnMut(&str) -> Vec<IpAddr>,
    at: &Path<'_>,
    errors: &mut Errors,
) -> Vec<Endpoint> {
    let mut out = Vec::new();
    for (n, locality) in assignment.endpoints.iter().enumerate() {
        let at = at.item("endpoints", n);
        errors.unsupported(&at, "load_balancer_endpoints", locality.load_balancer_endpoints.is_some());
        errors.unsupported(&at, "leds_cluster_locality_config", locality.leds_cluster_locality_config.is_some());
        let neighbourhood = Arc::new(Locality {
            place: locality.locality.clone().unwrap_or_default(),
            metadata: locality.metadata.clone().map(Arc::new),
        });
        for (n, endpoint) in locality.lb_endpoints.iter().enumerate() {
            let at = at.item("lb_endpoints", n);
            let Some((address, port)) = socket_address(endpoint) else {
                errors.refuse(&at, "an endpoint needs a socket_address with a port_value");
                continue;
            };
            let ips = address.parse::<IpAddr>().map_or_else(|_| resolve(address), |ip| vec![ip]);
            out.extend(ips.into_iter().map(|ip| {
                let locality = (&neighbourhood, locality.priority);
                one(endpoint, locality, SocketAddr::new(ip, port), address, use_hostname_for_hashing)
            }));
        }
    }
    out
}

fn socket_address(endpoint: &xds::LbEndpoint) -> Option<(&str, u16)> {
    let address = endpoint.endpoint.as_ref()?.address.as_ref()?.socket_address.as_ref()?;
    Some((address.address.as_str(), u16::try_from(address.port_value?).ok()?))
}

fn one(
    endpoint: &xds::LbEndpoint,
    (locality, priority): (&Arc<Locality>, u32),
    address: SocketAddr,
    name: &str,
    by_hostname: bool,
) -> Endpoint {
    let given = endpoint.endpoint.as_ref().map(|endpoint| endpoint.hostname.as_str()).filter(|name| !name.is_empty());
    // A name found by DNS is the endpoint's host name.
    let hostname = given.or_else(|| name.parse::<IpAddr>().is_err().then_some(name));
    let metadata = endpoint.metadata.as_ref();
    let by_metadata = metadata.and_then(|metadata| metadata.filter_metadata.get("envoy.lb")?.get("hash_key")?.as_str());
    let by_hostname = hostname.filter(|_| by_hostname);
    Endpoint {
        address,
        hostname: hostname.map(Arc::from),
        weight: endpoint.load_balancing_weight.unwrap_or(1).max(1),
        priority,
        healthy: !matches!(
            endpoint.health_status,
            xds::HealthStatus::Unhealthy | xds::HealthStatus::Draining | xds::HealthStatus::Timeout
        ),
        hash_key: by_metadata.or(by_hostname).map_or_else(|| address.to_string(), str::to_owned),
        metadata: metadata.cloned().map(Arc::new),
        locality: Arc::clone(locality),
        workload: metadata
            .and_then(|metadata| metadata.filter_metadata.get("istio")?.get("workload")?.as_str())
            .map(Arc::from),
    }
}
