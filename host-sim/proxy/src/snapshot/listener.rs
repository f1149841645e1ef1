//! A listener: where it listens, and which filter chain takes a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ManagerConfig;

/// A listener.
pub(crate) struct ListenerConfig {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) chains: Vec<FilterChain>,
    /// Connections are looked into for TLS before a chain is chosen.
    pub(crate) inspects_tls: bool,
}

/// What happens to a connection.
pub(crate) struct FilterChain {
    /// Names a client asks for in TLS, lower case, `*.` in front for a suffix; none takes every connection.
    pub(crate) server_names: Vec<String>,
    /// `tls` or `raw_buffer`; empty takes both.
    pub(crate) transport: String,
    pub(crate) tls: Option<Arc<xds::DownstreamTlsContext>>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) network: Network,
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
}

/// `tcp_proxy`'s default.
const TCP_IDLE: Duration = Duration::from_secs(3600);

impl ListenerConfig {
    pub(crate) fn compile(listener: &xds::Listener) -> Result<ListenerConfig, Vec<String>> {
        let mut problems = Vec::new();
        let address = match address(listener.address.as_ref()) {
            Ok(address) => address,
            Err(problem) => {
                problems.push(format!("address: {problem}"));
                SocketAddr::from(([0, 0, 0, 0], 0))
            }
        };
        let inspects_tls = listener.listener_filters.iter().any(|filter| filter.name.ends_with("tls_inspector"));
        let mut chains = Vec::new();
        let all = listener.filter_chains.iter().chain(&listener.default_filter_chain);
        for (at, chain) in all.enumerate() {
            match FilterChain::compile(chain) {
                Ok(chain) => chains.push(chain),
                Err(found) => problems.extend(found.into_iter().map(|text| format!("filter_chains[{at}].{text}"))),
            }
        }
        let name = listener.name.as_str().into();
        if problems.is_empty() { Ok(ListenerConfig { name, address, chains, inspects_tls }) } else { Err(problems) }
    }

    /// The chain for a connection; `hello` is what a client says in TLS, `None` for a connection in the clear.
    ///
    /// The most specific server name wins, then the transport; a chain without conditions takes what is left.
    pub(crate) fn chain(&self, hello: Option<&str>) -> Option<(usize, &FilterChain)> {
        let transport = if hello.is_some() { "tls" } else { "raw_buffer" };
        let name = hello.map(str::to_ascii_lowercase).unwrap_or_default();
        let mut best: Option<(usize, (usize, bool), &FilterChain)> = None;
        for (at, chain) in self.chains.iter().enumerate() {
            let Some(specific) = chain.matches_name(&name) else { continue };
            if !chain.transport.is_empty() && chain.transport != transport {
                continue;
            }
            let rank = (specific, !chain.transport.is_empty());
            if best.as_ref().is_none_or(|(_, most, _)| rank > *most) {
                best = Some((at, rank, chain));
            }
        }
        best.map(|(at, _, chain)| (at, chain))
    }
}

impl FilterChain {
    fn compile(chain: &xds::FilterChain) -> Result<FilterChain, Vec<String>> {
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
            Some(xds::TransportSocketConfig::DownstreamTls(context)) => Some(Arc::new(context.as_ref().clone())),
            Some(other) => {
                problems.push(format!("transport_socket: {} is not supported", other.type_name()));
                None
            }
        };
        let network = network(&chain.filters).map_err(|found| problems.extend(found));
        match network {
            Ok(network) if problems.is_empty() => Ok(FilterChain {
                server_names: conditions.server_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
                transport: conditions.transport_protocol,
                tls,
                handshake_timeout: chain.transport_socket_connect_timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero()),
                network,
            }),
            _ => Err(problems),
        }
    }

    /// How specifically the chain asks for this name; `None` if it does not take it.
    fn matches_name(&self, name: &str) -> Option<usize> {
        if self.server_names.is_empty() {
            return Some(0);
        }
        let length = |wanted: &String| match wanted.strip_prefix('*') {
            _ if wanted == name => Some(usize::MAX),
            Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len()),
            None => None,
        };
        self.server_names.iter().filter_map(length).max()
    }
}

fn network(filters: &[xds::NetworkFilter]) -> Result<Network, Vec<String>> {
    for (at, filter) in filters.iter().enumerate() {
        match &filter.typed_config {
            Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) => {
                return ManagerConfig::compile(manager)
                    .map(|manager| Network::Http(Arc::new(manager)))
                    .map_err(|found| found.into_iter().map(|text| format!("filters[{at}].{text}")).collect());
            }
            Some(xds::NetworkFilterConfig::TcpProxy(proxy)) => return Ok(Network::Tcp(Arc::new(tcp_proxy(proxy)))),
            // Istio's own network filters (statistics, metadata exchange) change nothing about where bytes go.
            Some(xds::NetworkFilterConfig::Other(any)) if any.type_name().contains("istio") || any.type_name().contains("stats") => {}
            Some(other) => return Err(vec![format!("filters[{at}]: {} is not supported", other.type_name())]),
            None => return Err(vec![format!("filters[{at}]: no typed_config")]),
        }
    }
    Err(vec!["filters: neither a connection manager nor a TCP proxy".to_owned()])
}

fn tcp_proxy(proxy: &xds::TcpProxy) -> TcpProxy {
    let single = proxy.cluster.iter().map(|name| (Arc::from(name.as_str()), 1));
    let weighted = proxy.weighted_clusters.iter().flat_map(|all| &all.clusters);
    let clusters = single.chain(weighted.map(|one| (Arc::from(one.name.as_str()), one.weight))).collect();
    let idle_timeout = proxy.idle_timeout.map_or(TCP_IDLE, |timeout| timeout.0);
    TcpProxy { clusters, idle_timeout: Some(idle_timeout).filter(|timeout| !timeout.is_zero()) }
}

fn address(address: Option<&xds::Address>) -> Result<SocketAddr, String> {
    let socket = address.and_then(|address| address.socket_address.as_ref()).ok_or("a socket_address is needed")?;
    let ip = socket.address.parse().map_err(|_| format!("\"{}\" is no IP address", socket.address))?;
    let port = socket.port_value.unwrap_or_default();
    let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(chains: &[(&[&str], &str)]) -> ListenerConfig {
        let proxy = || Network::Tcp(Arc::new(TcpProxy { clusters: Vec::new(), idle_timeout: None }));
        let chain = |(names, transport): &(&[&str], &str)| FilterChain {
            server_names: names.iter().map(|name| (*name).to_owned()).collect(),
            transport: (*transport).to_owned(),
            tls: None,
            handshake_timeout: None,
            network: proxy(),
        };
        let chains = chains.iter().map(chain).collect();
        ListenerConfig { name: "l".into(), address: ([127, 0, 0, 1], 0).into(), chains, inspects_tls: true }
    }

    #[test]
    fn the_most_specific_name_takes_a_connection() {
        let names = listener(&[(&["*.example"], ""), (&["a.example"], ""), (&["*.b.example"], "")]);
        let any = listener(&[(&["a.example"], ""), (&[], "")]);
        let clear = listener(&[(&[], "tls"), (&[], "")]);
        for (listener, hello, expected) in [
            (&names, Some("a.example"), Some(1)),
            (&names, Some("A.Example"), Some(1)),
            (&names, Some("c.example"), Some(0)),
            (&names, Some("x.b.example"), Some(2)),
            (&names, Some("example"), None),
            (&names, Some(".example"), None),
            (&names, None, None),
            (&any, Some("b.example"), Some(1)),
            (&any, None, Some(1)),
            (&clear, Some(""), Some(0)),
            (&clear, None, Some(1)),
        ] {
            assert_eq!(listener.chain(hello).map(|(at, _)| at), expected, "{hello:?}");
        }
    }
}
