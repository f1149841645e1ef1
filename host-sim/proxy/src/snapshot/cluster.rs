//! A cluster: its endpoints, what is spoken to them, and how long anything may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::upstream::{Http2Settings, Protocols};

/// A cluster.
pub(crate) struct ClusterConfig {
    /// As it was configured; two equal configurations share their connections across a change.
    pub(crate) source: Arc<xds::Cluster>,
    pub(crate) protocol: ClusterProtocol,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_requests: Option<u64>,
    pub(crate) http2: Http2Settings,
    pub(crate) tls: Option<Arc<xds::UpstreamTlsContext>>,
    /// Endpoints with an address of their own, in order.
    pub(crate) endpoints: Vec<SocketAddr>,
}

/// What is spoken to a cluster's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterProtocol {
    Always(Protocols),
    /// What the client speaks to us.
    AsDownstream,
}

impl ClusterProtocol {
    /// For a client that speaks HTTP/2, or not.
    pub(crate) fn for_client(self, http2: bool) -> Protocols {
        match self {
            ClusterProtocol::Always(protocol) => protocol,
            ClusterProtocol::AsDownstream if http2 => Protocols::Http2,
            ClusterProtocol::AsDownstream => Protocols::Http1,
        }
    }
}

const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(3600);

impl ClusterConfig {
    pub(crate) fn compile(cluster: &xds::Cluster) -> Result<ClusterConfig, Vec<String>> {
        let mut problems = Vec::new();
        let options = cluster.typed_extension_protocol_options.values().find_map(|options| match options {
            xds::ExtensionProtocolOptions::Http(options) => Some(options.as_ref().clone()),
            xds::ExtensionProtocolOptions::Other(_) => None,
        });
        let options = options.unwrap_or_default();
        let common = options.common_http_protocol_options.as_ref().or(cluster.common_http_protocol_options.as_ref());
        let downstream = options.use_downstream_protocol_config.as_ref();
        let explicit = options.explicit_http_config.as_ref();
        let http2 = explicit.or(downstream).and_then(|config| config.http2_protocol_options.as_ref());
        let http2 = http2.or(cluster.http2_protocol_options.as_ref());
        let follows = downstream.is_some() || cluster.protocol_selection == xds::ClusterProtocolSelection::UseDownstreamProtocol;
        let protocol = match (follows, http2) {
            (true, _) => ClusterProtocol::AsDownstream,
            (false, Some(_)) => ClusterProtocol::Always(Protocols::Http2),
            (false, None) => ClusterProtocol::Always(Protocols::Http1),
        };
        let tls = tls(cluster, &mut problems);
        let max_requests = common.and_then(|common| common.max_requests_per_connection).or(cluster.max_requests_per_connection);
        let idle = common.and_then(|common| common.idle_timeout).map_or(IDLE, |timeout| timeout.0);
        let config = ClusterConfig {
            source: Arc::new(cluster.clone()),
            protocol,
            connect_timeout: cluster.connect_timeout.map_or(CONNECT, |timeout| timeout.0),
            idle_timeout: Some(idle).filter(|idle| !idle.is_zero()),
            max_requests: max_requests.filter(|most| *most > 0).map(u64::from),
            http2: Http2Settings {
                stream_window: http2.and_then(|options| options.initial_stream_window_size),
                connection_window: http2.and_then(|options| options.initial_connection_window_size),
            },
            tls,
            endpoints: endpoints(cluster),
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

fn tls(cluster: &xds::Cluster, problems: &mut Vec<String>) -> Option<Arc<xds::UpstreamTlsContext>> {
    let everyone = |entry: &&xds::TransportSocketMatch| entry.r#match.as_ref().is_none_or(serde_json::Map::is_empty);
    let matched = cluster.transport_socket_matches.iter().find(everyone).and_then(|entry| entry.transport_socket.as_ref());
    match matched.or(cluster.transport_socket.as_ref()).and_then(|socket| socket.typed_config.as_ref()) {
        None | Some(xds::TransportSocketConfig::RawBuffer(_)) => None,
        Some(xds::TransportSocketConfig::UpstreamTls(context)) => Some(Arc::new(context.as_ref().clone())),
        Some(other) => {
            problems.push(format!("transport_socket: {} is not supported", other.type_name()));
            None
        }
    }
}

fn endpoints(cluster: &xds::Cluster) -> Vec<SocketAddr> {
    let localities = cluster.load_assignment.iter().flat_map(|assignment| &assignment.endpoints);
    let endpoints = localities.flat_map(|locality| &locality.lb_endpoints).filter_map(|endpoint| endpoint.endpoint.as_ref());
    let sockets = endpoints.filter_map(|endpoint| endpoint.address.as_ref()?.socket_address.as_ref());
    sockets
        .filter_map(|socket| {
            let port = u16::try_from(socket.port_value.unwrap_or_default()).ok()?;
            Some(SocketAddr::new(socket.address.parse().ok()?, port))
        })
        .collect()
}
