//! Listeners: one per address and port, a filter chain per server or SNI name.

use std::collections::BTreeMap;

use xds::{
    Address, Duration, FilterChain, FilterChainMatch, Listener, ListenerFilter, ListenerFilterConfig, NetworkFilter,
    NetworkFilterConfig, RouteConfiguration, Secret, SocketAddress, TlsInspector, TransportSocket,
    TransportSocketConfig,
};

use super::{
    Context, ListenerPort, connection_manager,
    gateways::{BoundServer, PortServers},
    server_tls, tcp,
};
use crate::{
    problem::Problem,
    resource::{gateway::TlsMode, protocol::Protocol},
};

/// Listeners, and what they need beside themselves.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) ports: Vec<ListenerPort>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    taken_names: Vec<(u32, String)>,
}

/// A chain before it knows its listener.
struct Chain {
    sni_hosts: Vec<String>,
    tls: Option<xds::DownstreamTlsContext>,
    filters: Vec<NetworkFilter>,
}

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The listeners of all merged servers. Route tables are put in as they are.
pub(crate) fn all(context: &Context<'_>, tables: BTreeMap<String, RouteConfiguration>) -> Listeners {
    let mut made = Listeners::default();
    let mut tables = Tables::new(context, tables);
    for port in &context.gateways.ports {
        let chains = made.chains(context, port, &mut tables);
        made.add(context, port, chains);
    }
    made
}

/// Route tables, handed out: who is the last to ask for one gets it itself.
struct Tables {
    tables: BTreeMap<String, RouteConfiguration>,
    wanted: BTreeMap<String, usize>,
}

impl Tables {
    fn new(context: &Context<'_>, tables: BTreeMap<String, RouteConfiguration>) -> Tables {
        let mut wanted = BTreeMap::new();
        for port in &context.gateways.ports {
            let of_port = port.protocol.is_http().then_some(&port.route_name);
            let servers = port.servers.iter().filter(|bound| of_port.is_none() && bound.server.terminates_https());
            for name in servers.map(|bound| &bound.route_name).chain(of_port) {
                *wanted.entry(name.clone()).or_default() += 1;
            }
        }
        Tables { tables, wanted }
    }

    fn take(&mut self, name: &str) -> Option<RouteConfiguration> {
        match self.wanted.get_mut(name) {
            Some(left @ 2..) => {
                *left -= 1;
                self.tables.get(name).cloned()
            }
            _ => self.tables.remove(name),
        }
    }
}

impl Listeners {
    fn chains(&mut self, context: &Context<'_>, port: &PortServers<'_>, tables: &mut Tables) -> Vec<Chain> {
        if port.protocol.is_http() {
            let filters = http(context, port, port.protocol, "", tables.take(&port.route_name));
            return vec![Chain { sni_hosts: Vec::new(), tls: None, filters }];
        }
        let mut chains = Vec::new();
        for bound in &port.servers {
            if bound.server.terminates_https() {
                let table = tables.take(&bound.route_name);
                let filters = http(context, port, bound.server.protocol(), &bound.server.name, table);
                chains.extend(self.ends_tls(context, bound, filters));
            } else if bound.server.is_passthrough() {
                chains.extend(self.passes_tls(context, bound));
            } else {
                let filters = tcp::opaque(context, bound);
                if filters.is_empty() {
                    let reason = "no VirtualService with a tcp route applies: this server gets no listener";
                    self.warnings.push(bound.gateway.problem(&format!("spec.servers[{}]", bound.index), reason));
                } else {
                    chains.extend(self.ends_tls(context, bound, filters));
                }
            }
        }
        chains
    }

    /// With `filters` behind TLS when the server ends it, in the open otherwise.
    fn ends_tls(
        &mut self,
        context: &Context<'_>,
        bound: &BoundServer<'_>,
        filters: Vec<NetworkFilter>,
    ) -> Option<Chain> {
        let Some(tls) = &bound.server.tls else { return Some(Chain { sni_hosts: Vec::new(), tls: None, filters }) };
        if tls.mode == TlsMode::IstioMutual {
            let path = format!("spec.servers[{}].tls.mode", bound.index);
            self.problems
                .push(bound.gateway.problem(&path, "ISTIO_MUTUAL needs a mesh certificate, which only istiod issues"));
            return None;
        }
        let sni_hosts = sni_hosts(bound);
        match server_tls::context(context, bound, tls) {
            Ok(server) => {
                for secret in server.secrets {
                    if self.secrets.iter().all(|known| known.name != secret.name) {
                        self.secrets.push(secret);
                    }
                }
                Some(Chain { sni_hosts, tls: Some(server.context), filters })
            }
            Err(missing) => {
                self.warnings.push(*missing);
                Some(Chain { sni_hosts, tls: None, filters: tcp::closed() })
            }
        }
    }

    fn passes_tls(&mut self, context: &Context<'_>, bound: &BoundServer<'_>) -> Vec<Chain> {
        if bound.server.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::AutoPassthrough) {
            let path = format!("spec.servers[{}].tls.mode", bound.index);
            self.problems.push(bound.gateway.problem(&path, "AUTO_PASSTHROUGH (east-west gateways) is not supported"));
            return Vec::new();
        }
        let chains = tcp::by_sni(context, bound, &mut self.taken_names);
        chains
            .into_iter()
            .map(|chain| Chain { sni_hosts: chain.sni_hosts, tls: None, filters: chain.filters })
            .collect()
    }

    /// Servers that share an address share a listener, whatever their protocols.
    fn add(&mut self, context: &Context<'_>, port: &PortServers<'_>, chains: Vec<Chain>) {
        let name = listener_name(port);
        let sniffs = chains.iter().any(|chain| !chain.sni_hosts.is_empty() || chain.tls.is_some());
        let filter_chains: Vec<_> = chains.into_iter().map(filter_chain).collect();
        if let Some(known) = self.listeners.iter_mut().find(|listener| listener.name == name) {
            known.filter_chains.extend(filter_chains);
            if sniffs && !known.listener_filters.iter().any(|filter| filter.name == TLS_INSPECTOR) {
                known.listener_filters.push(tls_inspector());
            }
            return;
        }
        if filter_chains.is_empty() {
            return;
        }
        let server_port = port.servers.first().map_or(port.port, |bound| bound.server.port.number);
        let settings = context
            .proxy_config()
            .and_then(|config| config.connection_settings.as_ref())
            .map(|settings| settings.with_profile());
        let topology = context.proxy_config().and_then(|config| config.gateway_topology.as_ref());
        let speaks_for_others = topology.is_some_and(|topology| topology.proxy_protocol.is_some());
        let buffer = settings.and_then(|settings| settings.listener_per_connection_buffer_limit_bytes);
        self.ports.push(ListenerPort { listener: name.clone(), server_port, port: port.port });
        self.listeners.push(Listener {
            name,
            address: Some(Address {
                socket_address: Some(SocketAddress {
                    address: bind(port).to_owned(),
                    port_value: Some(server_port),
                    ..SocketAddress::default()
                }),
                ..Address::default()
            }),
            filter_chains,
            listener_filters: speaks_for_others
                .then(proxy_protocol)
                .into_iter()
                .chain(sniffs.then(tls_inspector))
                .collect(),
            traffic_direction: Some("OUTBOUND".to_owned()),
            max_connections_to_accept_per_socket_event: Some(1),
            per_connection_buffer_limit_bytes: buffer.and_then(|limit| u32::try_from(limit).ok()),
            ..Listener::default()
        });
    }
}

fn bind<'p>(port: &PortServers<'p>) -> &'p str {
    if port.bind.is_empty() { "0.0.0.0" } else { port.bind }
}

fn listener_name(port: &PortServers<'_>) -> String {
    format!("{}_{}", bind(port), port.port)
}

/// A connection manager around the route table. `server` gives its stats a prefix of their own.
fn http(
    context: &Context<'_>,
    port: &PortServers<'_>,
    protocol: Protocol,
    server: &str,
    table: Option<RouteConfiguration>,
) -> Vec<NetworkFilter> {
    let default = format!("outbound_{};", listener_name(port));
    let stat_prefix = if server.is_empty() { &default } else { server };
    let mut manager = connection_manager::build(context, stat_prefix, port.port, protocol);
    manager.route_config = table;
    vec![NetworkFilter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        typed_config: Some(NetworkFilterConfig::HttpConnectionManager(Box::new(manager))),
        ..NetworkFilter::default()
    }]
}

/// The server's hosts without their namespaces.
fn sni_hosts(bound: &BoundServer<'_>) -> Vec<String> {
    let mut names: Vec<String> = bound
        .hosts
        .iter()
        .map(|host| host.split_once('/').map_or(host.as_str(), |(_, name)| name).to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A chain whose names include `*` takes every connection.
fn filter_chain(chain: Chain) -> FilterChain {
    let mut server_names = chain.sni_hosts;
    server_names.sort();
    let any = server_names.is_empty() || server_names.iter().any(|name| name == "*");
    FilterChain {
        filter_chain_match: (!any).then(|| FilterChainMatch { server_names, ..FilterChainMatch::default() }),
        filters: chain.filters,
        transport_socket: chain.tls.map(|context| TransportSocket {
            name: "envoy.transport_sockets.tls".to_owned(),
            typed_config: Some(TransportSocketConfig::DownstreamTls(Box::new(context))),
        }),
        transport_socket_connect_timeout: Some(HANDSHAKE_TIMEOUT),
        ..FilterChain::default()
    }
}

fn proxy_protocol() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.proxy_protocol".to_owned(),
        typed_config: Some(ListenerFilterConfig::ProxyProtocol(Box::default())),
        ..ListenerFilter::default()
    }
}

const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";

fn tls_inspector() -> ListenerFilter {
    let inspector = TlsInspector { initial_read_buffer_size: Some(512), ..TlsInspector::default() };
    ListenerFilter {
        name: TLS_INSPECTOR.to_owned(),
        typed_config: Some(ListenerFilterConfig::TlsInspector(Box::new(inspector))),
        ..ListenerFilter::default()
    }
}
