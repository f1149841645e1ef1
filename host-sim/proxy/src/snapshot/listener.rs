//! A listener: where it listens, and which filter chain takes a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ManagerConfig;
use super::manager::access_logs;
use crate::access_log::{AccessLog, LogFiles};
use crate::tls::{Asked, Downstream, FilterChains, InvalidTls, Secrets};

/// A listener.
pub(crate) struct ListenerConfig {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    /// Its name in statistics: the address as configured, unless it has one of its own.
    pub(crate) stats_name: String,
    pub(crate) chains: Vec<FilterChain>,
    picks: FilterChains,
    /// How long a client may take to say whether it speaks TLS, and to whom; `None` for ever.
    pub(crate) patience: Option<Duration>,
}

/// What happens to a connection.
pub(crate) struct FilterChain {
    pub(crate) tls: Option<ChainTls>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) network: Network,
}

/// TLS towards clients.
pub(crate) enum ChainTls {
    Ready(Downstream),
    /// A secret is missing: as in Envoy, connections are taken and closed.
    NotReady,
}

/// The network filter at the end of a chain.
pub(crate) enum Network {
    Http(Arc<ManagerConfig>),
    Tcp(Arc<TcpProxy>),
}

/// Bytes passed on as they are.
pub(crate) struct TcpProxy {
    /// Cluster names and their weights.
    pub(crate) clusters: Vec<(Arc<str>, u32)>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) stat_prefix: String,
    pub(crate) access_log: Arc<[AccessLog]>,
}

/// Envoy's `listener_filters_timeout`.
const PATIENCE: Duration = Duration::from_secs(15);
/// `tcp_proxy`'s default.
const TCP_IDLE: Duration = Duration::from_secs(3600);

impl ListenerConfig {
    pub(crate) fn compile(listener: &xds::Listener, secrets: &Secrets, logs: &LogFiles) -> Result<ListenerConfig, Vec<String>> {
        let mut problems = Vec::new();
        let address = match address(listener.address.as_ref()) {
            Ok(address) => address,
            Err(problem) => {
                problems.push(format!("address: {problem}"));
                SocketAddr::from(([0, 0, 0, 0], 0))
            }
        };
        let mut chains = Vec::new();
        let all = listener.filter_chains.iter().chain(&listener.default_filter_chain);
        for (at, chain) in all.enumerate() {
            match FilterChain::compile(chain, secrets, logs) {
                Ok(chain) => chains.push(chain),
                Err(found) => problems.extend(found.into_iter().map(|text| format!("filter_chains[{at}].{text}"))),
            }
        }
        let default = listener.default_filter_chain.is_some().then_some(listener.filter_chains.len());
        let picks = FilterChains::new(&listener.filter_chains, default);
        let picks = picks.map_err(|error| problems.push(error.to_string())).unwrap_or_default();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(ListenerConfig {
            name: listener.name.as_str().into(),
            address,
            stats_name: Some(listener.stat_prefix.clone()).filter(|own| !own.is_empty()).unwrap_or_else(|| address.to_string()),
            chains,
            picks,
            patience: Some(listener.listener_filters_timeout.map_or(PATIENCE, |timeout| timeout.0)).filter(|most| !most.is_zero()),
        })
    }

    /// The chain for a connection can only be picked after its first bytes.
    pub(crate) fn must_look(&self) -> bool {
        self.picks.need_client_hello()
    }

    /// The chain for a connection; none: it is closed.
    pub(crate) fn pick(&self, asked: Asked<'_>) -> Option<(usize, &FilterChain)> {
        let at = self.picks.pick(asked)?;
        Some((at, self.chains.get(at)?))
    }
}

impl FilterChain {
    fn compile(chain: &xds::FilterChain, secrets: &Secrets, logs: &LogFiles) -> Result<FilterChain, Vec<String>> {
        let conditions = chain.filter_chain_match.clone().unwrap_or_default();
        let mut problems = Vec::new();
        let understood = xds::FilterChainMatch {
            server_names: conditions.server_names.clone(),
            transport_protocol: conditions.transport_protocol.clone(),
            application_protocols: conditions.application_protocols.clone(),
            ..xds::FilterChainMatch::default()
        };
        if understood != conditions {
            problems.push("filter_chain_match: only server_names, transport_protocol and application_protocols are supported".to_owned());
        }
        let tls = match chain.transport_socket.as_ref().and_then(|socket| socket.typed_config.as_ref()) {
            None | Some(xds::TransportSocketConfig::RawBuffer(_)) => None,
            Some(xds::TransportSocketConfig::DownstreamTls(context)) => tls(context, secrets, &mut problems),
            Some(other) => {
                problems.push(format!("transport_socket: {} is not supported", other.type_name()));
                None
            }
        };
        let network = network(&chain.filters, logs).map_err(|found| problems.extend(found));
        match network {
            Ok(network) if problems.is_empty() => Ok(FilterChain {
                tls,
                handshake_timeout: chain.transport_socket_connect_timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero()),
                network,
            }),
            _ => Err(problems),
        }
    }
}

fn tls(context: &xds::DownstreamTlsContext, secrets: &Secrets, problems: &mut Vec<String>) -> Option<ChainTls> {
    match Downstream::build(context, secrets) {
        Ok(side) => Some(ChainTls::Ready(side)),
        Err(missing @ InvalidTls::MissingSecret { .. }) => {
            log::warn!("{missing}; until then its connections are closed");
            Some(ChainTls::NotReady)
        }
        Err(error) => {
            problems.push(format!("transport_socket: {error}"));
            None
        }
    }
}

fn network(filters: &[xds::NetworkFilter], logs: &LogFiles) -> Result<Network, Vec<String>> {
    for (at, filter) in filters.iter().enumerate() {
        match &filter.typed_config {
            Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) => {
                return ManagerConfig::compile(manager, logs)
                    .map(|manager| Network::Http(Arc::new(manager)))
                    .map_err(|found| found.into_iter().map(|text| format!("filters[{at}].{text}")).collect());
            }
            Some(xds::NetworkFilterConfig::TcpProxy(proxy)) => {
                let access_log = access_logs(&proxy.access_log, logs)?;
                return Ok(Network::Tcp(Arc::new(tcp_proxy(proxy, access_log))));
            }
            // Istio's own network filters (statistics, metadata exchange) change nothing about where bytes go.
            Some(xds::NetworkFilterConfig::Other(any)) if any.type_name().contains("istio") || any.type_name().contains("stats") => {}
            Some(other) => return Err(vec![format!("filters[{at}]: {} is not supported", other.type_name())]),
            None => return Err(vec![format!("filters[{at}]: no typed_config")]),
        }
    }
    Err(vec!["filters: neither a connection manager nor a TCP proxy".to_owned()])
}

fn tcp_proxy(proxy: &xds::TcpProxy, access_log: Arc<[AccessLog]>) -> TcpProxy {
    let single = proxy.cluster.iter().map(|name| (Arc::from(name.as_str()), 1));
    let weighted = proxy.weighted_clusters.iter().flat_map(|all| &all.clusters);
    let clusters = single.chain(weighted.map(|one| (Arc::from(one.name.as_str()), one.weight))).collect();
    let idle_timeout = proxy.idle_timeout.map_or(TCP_IDLE, |timeout| timeout.0);
    let idle_timeout = Some(idle_timeout).filter(|timeout| !timeout.is_zero());
    TcpProxy { clusters, idle_timeout, stat_prefix: proxy.stat_prefix.clone(), access_log }
}

fn address(address: Option<&xds::Address>) -> Result<SocketAddr, String> {
    let socket = address.and_then(|address| address.socket_address.as_ref()).ok_or("a socket_address is needed")?;
    let ip = socket.address.parse().map_err(|_| format!("\"{}\" is no IP address", socket.address))?;
    let port = socket.port_value.unwrap_or_default();
    let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
    Ok(SocketAddr::new(ip, port))
}
