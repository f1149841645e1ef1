//! A cluster: its endpoints, what is spoken to them, and how long anything may take.

use std::sync::Arc;
use std::time::Duration;

use super::resolve::addresses;
use crate::cluster::ClusterPlan;
use crate::tls::{InvalidTls, Secrets, Upstream};
use crate::upstream::{Http2Settings, Protocols, Shared};

/// A cluster.
pub(crate) struct ClusterConfig {
    /// As it was configured; two equal configurations share their connections across a change.
    pub(crate) source: Arc<xds::Cluster>,
    pub(crate) protocol: ClusterProtocol,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_requests: Option<u64>,
    pub(crate) http2: Http2Settings,
    pub(crate) tls: Option<Arc<UpstreamTls>>,
    /// How its endpoints are chosen.
    pub(crate) plan: ClusterPlan,
    /// What all workers know of it together.
    pub(crate) shared: Arc<Shared>,
    /// Request bodies are kept for retries up to this size.
    pub(crate) buffer_limit: usize,
    /// Its name in statistics, where it differs.
    pub(crate) stat_name: Option<Arc<str>>,
    pub(crate) metadata: Option<Arc<xds::Metadata>>,
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
const BUFFER: u32 = 1024 * 1024;

impl ClusterConfig {
    pub(crate) fn compile(cluster: &xds::Cluster, secrets: &Secrets) -> Result<ClusterConfig, Vec<String>> {
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
        let http = options.upstream_http_protocol_options.as_ref().or(cluster.upstream_http_protocol_options.as_ref());
        let tls = tls(cluster, http, secrets, &mut problems);
        let max_requests = common.and_then(|common| common.max_requests_per_connection).or(cluster.max_requests_per_connection);
        let idle = common.and_then(|common| common.idle_timeout).map_or(IDLE, |timeout| timeout.0);
        let plan = ClusterPlan::compile(cluster, &mut addresses);
        let plan = match plan {
            Ok(plan) => plan,
            Err(found) => {
                problems.extend(found.iter().map(ToString::to_string));
                return Err(problems);
            }
        };
        let stat_name = cluster.alt_stat_name.trim_end_matches(';');
        let config = ClusterConfig {
            shared: Arc::new(Shared::new(cluster, &plan)),
            plan,
            buffer_limit: usize::try_from(cluster.per_connection_buffer_limit_bytes.unwrap_or(BUFFER)).unwrap_or(usize::MAX),
            stat_name: (!stat_name.is_empty()).then(|| Arc::from(stat_name)),
            metadata: cluster.metadata.clone().map(Arc::new),
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
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// TLS to endpoints.
pub(crate) struct UpstreamTls {
    /// `None`: a secret is missing, and no connection can be made.
    pub(crate) side: Option<Upstream>,
    /// The request's host is the name asked for.
    pub(crate) auto_sni: bool,
    /// The request's host must be in the certificate.
    pub(crate) auto_san: bool,
}

fn tls(
    cluster: &xds::Cluster,
    http: Option<&xds::UpstreamHttpProtocolOptions>,
    secrets: &Secrets,
    problems: &mut Vec<String>,
) -> Option<Arc<UpstreamTls>> {
    let everyone = |entry: &&xds::TransportSocketMatch| entry.r#match.as_ref().is_none_or(serde_json::Map::is_empty);
    let matched = cluster.transport_socket_matches.iter().find(everyone).and_then(|entry| entry.transport_socket.as_ref());
    let side = match matched.or(cluster.transport_socket.as_ref()).and_then(|socket| socket.typed_config.as_ref()) {
        None | Some(xds::TransportSocketConfig::RawBuffer(_)) => return None,
        Some(xds::TransportSocketConfig::UpstreamTls(context)) => Upstream::build(context, secrets),
        Some(other) => {
            problems.push(format!("transport_socket: {} is not supported", other.type_name()));
            return None;
        }
    };
    let side = match side {
        Ok(side) => Some(side),
        Err(missing @ InvalidTls::MissingSecret { .. }) => {
            log::warn!("cluster {}: {missing}; until then it cannot be reached", cluster.name);
            None
        }
        Err(error) => {
            problems.push(format!("transport_socket: {error}"));
            None
        }
    };
    let asks = |rule: fn(&xds::UpstreamHttpProtocolOptions) -> bool| http.is_some_and(rule);
    Some(Arc::new(UpstreamTls { side, auto_sni: asks(|http| http.auto_sni), auto_san: asks(|http| http.auto_san_validation) }))
}
