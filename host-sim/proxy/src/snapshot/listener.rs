//! A listener: where it listens, and which filter chain takes a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ManagerConfig;
use crate::access_log::{AccessLog, InvalidAccessLog};
use crate::http_filters::{ChainError, Loader};
use crate::listener::ProxyProtocol;
use crate::tls::{Downstream, FilterChains, InvalidTls, Secrets};
use crate::tracing::Place;

/// A listener.
pub(crate) struct ListenerConfig {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) chains: Vec<FilterChain>,
    /// Picks among them.
    pub(crate) choice: FilterChains,
    /// What reads the client's first words before a chain is chosen, in order.
    pub(crate) filters: Vec<ListenerFilter>,
    /// How long the client may take to say them.
    pub(crate) filters_timeout: Option<Duration>,
    /// One that took too long is served with what is known of it.
    pub(crate) continues_on_timeout: bool,
}

/// A listener filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerFilter {
    TlsInspector,
    ProxyProtocol(ProxyProtocol),
}

/// What happens to a connection.
pub(crate) struct FilterChain {
    pub(crate) transport: Transport,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) network: Network,
}

/// What a chain's connections are carried by.
pub(crate) enum Transport {
    Plain,
    Tls(Box<Downstream>),
    /// TLS whose secret is not here: connections are closed as they come, and the other chains go on.
    SecretMissing,
}

impl Transport {
    /// The certificates and rules, where there are any.
    pub(crate) fn tls(&self) -> Option<&Downstream> {
        match self {
            Transport::Tls(tls) => Some(tls),
            Transport::Plain | Transport::SecretMissing => None,
        }
    }
}

/// Where requests of a chain come in, as modules may ask.
pub(crate) struct Entrance {
    pub(crate) listener: Arc<xds::Listener>,
    /// The chain's name.
    pub(crate) chain: String,
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
    /// How long a connection may last.
    pub(crate) most: Option<Duration>,
    /// Clients of one address are to reach one endpoint.
    pub(crate) hash_by_source: bool,
    pub(crate) access_log: Vec<AccessLog>,
}

/// `tcp_proxy`'s default.
const TCP_IDLE: Duration = Duration::from_secs(3600);
/// `listener_filters_timeout`'s default.
const INSPECTION: Duration = Duration::from_secs(15);

impl ListenerConfig {
    pub(crate) fn compile(
        listener: &xds::Listener,
        secrets: &Secrets,
        loader: &Loader<'_>,
    ) -> Result<ListenerConfig, ChainError> {
        let egress = listener.traffic_direction.as_deref() == Some("OUTBOUND");
        let loader = &Loader { tracing: Place { egress, ..loader.tracing }, ..*loader };
        let mut problems = super::undone::not_supported(&super::undone::of_listener(listener));
        let address =
            address(listener.address.as_ref()).map_err(|problem| problems.push(format!("address: {problem}")));
        let filters = listener.listener_filters.iter().enumerate().filter_map(|(at, filter)| {
            let compiled = ListenerFilter::compile(filter);
            compiled.map_err(|problem| problems.push(format!("listener_filters[{at}]: {problem}"))).ok()
        });
        let mut filters: Vec<_> = filters.collect();
        let mut chains = Vec::new();
        // What filters may ask of it; its chains may have ten thousands of routes.
        let asked = Arc::new(xds::Listener {
            metadata: listener.metadata.clone(),
            traffic_direction: listener.traffic_direction.clone(),
            per_connection_buffer_limit_bytes: listener.per_connection_buffer_limit_bytes,
            ..xds::Listener::default()
        });
        for (at, chain) in listener.filter_chains.iter().chain(&listener.default_filter_chain).enumerate() {
            let entrance = Entrance { listener: Arc::clone(&asked), chain: chain.name.clone() };
            match FilterChain::compile(chain, entrance, secrets, loader) {
                Ok(chain) => chains.push(chain),
                Err(ChainError::Config(found)) => {
                    problems.extend(found.into_iter().map(|text| format!("filter_chains[{at}].{text}")));
                }
                Err(module) => return Err(module),
            }
        }
        let default = listener.default_filter_chain.is_some().then_some(listener.filter_chains.len());
        let choice =
            FilterChains::new(&listener.filter_chains, default).map_err(|error| problems.push(error.to_string()));
        let (Ok(address), Ok(choice), true) = (address, choice, problems.is_empty()) else {
            return Err(ChainError::Config(problems));
        };
        // Envoy adds the inspector where chains need it.
        if choice.need_client_hello() && !filters.contains(&ListenerFilter::TlsInspector) {
            filters.push(ListenerFilter::TlsInspector);
        }
        let timeout = listener.listener_filters_timeout.map_or(INSPECTION, |timeout| timeout.0);
        Ok(ListenerConfig {
            name: listener.name.as_str().into(),
            address,
            chains,
            filters,
            choice,
            filters_timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
            continues_on_timeout: listener.continue_on_listener_filters_timeout,
        })
    }

    /// The address as statistics name it.
    pub(crate) fn stat_address(&self) -> String {
        self.address.to_string()
    }
}

impl FilterChain {
    /// Can a client that speaks TLS, or does not, get a request across?
    pub(crate) fn understands(&self, tls: bool) -> bool {
        matches!(self.network, Network::Tcp(_)) || self.transport.tls().is_some() == tls
    }

    fn compile(
        chain: &xds::FilterChain,
        entrance: Entrance,
        secrets: &Secrets,
        loader: &Loader<'_>,
    ) -> Result<FilterChain, ChainError> {
        let conditions = chain.filter_chain_match.clone().unwrap_or_default();
        let mut problems = super::undone::not_supported(&super::undone::of_filter_chain(chain));
        let understood = xds::FilterChainMatch {
            server_names: conditions.server_names.clone(),
            transport_protocol: conditions.transport_protocol.clone(),
            application_protocols: conditions.application_protocols.clone(),
            ..xds::FilterChainMatch::default()
        };
        if understood != conditions {
            problems.push(
                "filter_chain_match: only server_names, transport_protocol and application_protocols are supported"
                    .to_owned(),
            );
        }
        let transport = match chain.transport_socket.as_ref().and_then(|socket| socket.typed_config.as_ref()) {
            None | Some(xds::TransportSocketConfig::RawBuffer(_)) => Transport::Plain,
            Some(xds::TransportSocketConfig::DownstreamTls(context)) => match Downstream::build(context, secrets) {
                Ok(tls) => Transport::Tls(Box::new(tls)),
                Err(error @ InvalidTls::MissingSecret { .. }) => {
                    log::warn!("filter chain {:?}: its connections are closed: {error}", chain.name);
                    Transport::SecretMissing
                }
                Err(error) => {
                    problems.push(format!("transport_socket: {error}"));
                    Transport::Plain
                }
            },
            Some(other) => {
                problems.push(format!("transport_socket: {} is not supported", other.type_name()));
                Transport::Plain
            }
        };
        match network(&chain.filters, entrance, loader) {
            Ok(network) if problems.is_empty() => {
                let timeout = chain.transport_socket_connect_timeout.map(|timeout| timeout.0);
                Ok(FilterChain { transport, handshake_timeout: timeout.filter(|timeout| !timeout.is_zero()), network })
            }
            Ok(_) => Err(ChainError::Config(problems)),
            Err(ChainError::Config(found)) => Err(ChainError::Config(problems.into_iter().chain(found).collect())),
            Err(module) => Err(module),
        }
    }
}

fn network(filters: &[xds::NetworkFilter], entrance: Entrance, loader: &Loader<'_>) -> Result<Network, ChainError> {
    let refused = |text: String| Err(ChainError::Config(vec![text]));
    for (at, filter) in filters.iter().enumerate() {
        match &filter.typed_config {
            Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) => {
                return match ManagerConfig::compile(manager, entrance, loader) {
                    Ok(manager) => Ok(Network::Http(Arc::new(manager))),
                    Err(ChainError::Config(found)) => {
                        Err(ChainError::Config(found.into_iter().map(|text| format!("filters[{at}].{text}")).collect()))
                    }
                    Err(module) => Err(module),
                };
            }
            Some(xds::NetworkFilterConfig::TcpProxy(proxy)) => {
                let proxy = tcp_proxy(proxy, loader);
                return proxy
                    .map(|proxy| Network::Tcp(Arc::new(proxy)))
                    .map_err(|error| ChainError::Config(vec![format!("filters[{at}].{error}")]));
            }
            // Istio's own network filters (statistics, metadata exchange) change nothing about where bytes go.
            Some(xds::NetworkFilterConfig::Other(any))
                if any.type_name().contains("istio") || any.type_name().contains("stats") => {}
            Some(other) => return refused(format!("filters[{at}]: {} is not supported", other.type_name())),
            None => return refused(format!("filters[{at}]: no typed_config")),
        }
    }
    refused("filters: neither a connection manager nor a TCP proxy".to_owned())
}

impl ListenerFilter {
    fn compile(filter: &xds::ListenerFilter) -> Result<ListenerFilter, String> {
        if filter.filter_disabled.is_some() {
            return Err("filter_disabled is not supported".to_owned());
        }
        let protocol = match &filter.typed_config {
            Some(xds::ListenerFilterConfig::TlsInspector(_)) => return Ok(ListenerFilter::TlsInspector),
            Some(xds::ListenerFilterConfig::ProxyProtocol(protocol)) => protocol,
            Some(other) => return Err(format!("{} is not supported", other.type_name())),
            None => return Err("no typed_config".to_owned()),
        };
        if !protocol.rules.is_empty() {
            return Err("rules: TLVs are not read here".to_owned());
        }
        let allowed = |version: &str| !protocol.disallowed_versions.iter().any(|forbidden| forbidden == version);
        Ok(ListenerFilter::ProxyProtocol(ProxyProtocol {
            optional: protocol.allow_requests_without_proxy_protocol,
            text: allowed("V1"),
            binary: allowed("V2"),
        }))
    }
}

fn tcp_proxy(proxy: &xds::TcpProxy, loader: &Loader<'_>) -> Result<TcpProxy, String> {
    if let Some(field) = super::undone::of_tcp_proxy(proxy).first() {
        return Err(format!("{field}: not supported"));
    }
    let single = proxy.cluster.iter().map(|name| (Arc::from(name.as_str()), 1));
    let weighted = proxy.weighted_clusters.iter().flat_map(|all| &all.clusters);
    let clusters = single.chain(weighted.map(|one| (Arc::from(one.name.as_str()), one.weight))).collect();
    let idle_timeout = proxy.idle_timeout.map_or(TCP_IDLE, |timeout| timeout.0);
    let logs = proxy.access_log.iter().map(|entry| AccessLog::compile(entry, loader.log_files));
    let access_log =
        logs.collect::<Result<_, _>>().map_err(|error: InvalidAccessLog| format!("access_log: {error}"))?;
    Ok(TcpProxy {
        clusters,
        idle_timeout: Some(idle_timeout).filter(|timeout| !timeout.is_zero()),
        most: proxy.max_downstream_connection_duration.map(|most| most.0),
        hash_by_source: proxy.hash_policy.iter().any(|policy| policy.get("source_ip").is_some()),
        access_log,
    })
}

fn address(address: Option<&xds::Address>) -> Result<SocketAddr, String> {
    let socket = address.and_then(|address| address.socket_address.as_ref()).ok_or("a socket_address is needed")?;
    let ip = socket.address.parse().map_err(|_| format!("\"{}\" is no IP address", socket.address))?;
    let port = socket.port_value.unwrap_or_default();
    let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
    Ok(SocketAddr::new(ip, port))
}
