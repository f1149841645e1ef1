//! Which Gateways apply to this workload, and what their servers make together: ports, and the servers on each.

use std::collections::BTreeMap;

use super::{node::Node, registry::is_subset};
use crate::{
    problem::Problem,
    resource::{
        Resources,
        gateway::{Gateway, Server},
        object::Object,
        protocol::Protocol,
    },
};

/// One server of one Gateway, its hosts made canonical.
#[derive(Clone, Debug)]
pub(crate) struct BoundServer<'a> {
    pub(crate) gateway: &'a Object<Gateway>,
    /// Position in `spec.servers`.
    pub(crate) index: usize,
    pub(crate) server: &'a Server,
    /// `host` or `namespace/host`.
    pub(crate) hosts: Vec<String>,
    /// The port it really listens on: the target port of the Service before the gateway, else its own.
    pub(crate) port: u32,
    /// Name of its route table; empty without HTTP.
    pub(crate) route_name: String,
}

/// One listener's worth of servers.
#[derive(Clone, Debug)]
pub(crate) struct PortServers<'a> {
    pub(crate) port: u32,
    pub(crate) protocol: Protocol,
    pub(crate) bind: &'a str,
    /// Name of the one route table of plain HTTP servers.
    pub(crate) route_name: String,
    pub(crate) servers: Vec<BoundServer<'a>>,
}

/// The servers of all Gateways that select the workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergedGateways<'a> {
    pub(crate) ports: Vec<PortServers<'a>>,
    /// Servers by the name of their route table, in the order of the names.
    pub(crate) by_route_name: BTreeMap<String, Vec<BoundServer<'a>>>,
    /// Gateways that apply, as `namespace/name`.
    pub(crate) names: Vec<String>,
}

impl<'a> MergedGateways<'a> {
    /// Merges in istiod's order: by age of the Gateways. Servers that cannot be had together are left out with a warning, as there.
    pub(crate) fn new(resources: &'a Resources, node: &Node, warnings: &mut Vec<Problem>) -> Self {
        let mut gateways: Vec<_> =
            resources.gateways.iter().filter(|gateway| node.is_selected_by(Some(&gateway.spec.selector))).collect();
        gateways.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        let mut merge = Merge { resources, node, warnings, merged: Self::default(), tls_hosts: Vec::new() };
        for gateway in gateways {
            merge.merged.names.push(gateway.full_name());
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                merge.server(gateway, index, server);
            }
        }
        merge.merged
    }
}

struct Merge<'a, 'm> {
    resources: &'a Resources,
    node: &'m Node,
    warnings: &'m mut Vec<Problem>,
    merged: MergedGateways<'a>,
    /// (port, bind, host) taken by TLS servers: a second one could not be told apart by SNI.
    tls_hosts: Vec<(u32, &'a str, String)>,
}

impl<'a> Merge<'a, '_> {
    fn server(&mut self, gateway: &'a Object<Gateway>, index: usize, server: &'a Server) {
        let port = target_port(self.resources, self.node, server.port.number);
        let bound = BoundServer {
            gateway,
            index,
            server,
            hosts: canonical_hosts(&server.hosts, &gateway.metadata.namespace),
            port,
            route_name: route_name(gateway, server, port),
        };
        if server.tls.is_some() && !self.take_tls_hosts(&bound) {
            return;
        }
        let same_port: Vec<usize> =
            self.merged.ports.iter().enumerate().filter(|(_, known)| known.port == port).map(|(i, _)| i).collect();
        let plain = same_port.iter().copied().find(|i| self.merged.ports.get(*i).is_some_and(is_plain));
        match plain {
            _ if same_port.is_empty() => self.open(bound),
            Some(plain) => self.beside_plain_text(bound, plain),
            None if !server.is_tls() => self.open(bound),
            None => self.beside_tls(bound),
        }
    }

    fn take_tls_hosts(&mut self, bound: &BoundServer<'a>) -> bool {
        let key = |host: &String| (bound.port, bound.server.bind.as_str(), host.clone());
        let taken: Vec<_> = bound.hosts.iter().filter(|host| self.tls_hosts.contains(&key(host))).cloned().collect();
        if !taken.is_empty() {
            self.skip(
                bound,
                &format!(
                    "left out: another TLS server on port {} already has the hosts {}",
                    bound.port,
                    taken.join(", ")
                ),
            );
            return false;
        }
        self.tls_hosts.extend(bound.hosts.iter().map(key));
        true
    }

    /// The first server of its port and bind.
    fn open(&mut self, bound: BoundServer<'a>) {
        if bound.server.is_http() {
            self.merged.by_route_name.insert(bound.route_name.clone(), vec![bound.clone()]);
        }
        self.merged.ports.push(PortServers {
            port: bound.port,
            protocol: bound.server.protocol(),
            bind: &bound.server.bind,
            route_name: bound.route_name.clone(),
            servers: vec![bound],
        });
    }

    fn beside_plain_text(&mut self, bound: BoundServer<'a>, plain: usize) {
        let Some(current) = self.merged.ports.get_mut(plain) else { return };
        let same_bind = current.bind == bound.server.bind;
        let http = current.protocol.is_http() && bound.server.protocol().is_http();
        if same_bind && (!http || bound.route_name.is_empty()) {
            let known = current.protocol;
            return self
                .skip(&bound, &format!("left out: port {} already has a server with protocol {known:?}", bound.port));
        }
        if same_bind {
            current.servers.push(bound.clone());
        } else if let Some(own) =
            self.merged.ports.iter_mut().find(|known| known.port == bound.port && known.bind == bound.server.bind)
        {
            own.servers.push(bound.clone());
        } else {
            return self.open(bound);
        }
        self.merged.by_route_name.entry(bound.route_name.clone()).or_default().push(bound);
    }

    fn beside_tls(&mut self, bound: BoundServer<'a>) {
        if bound.server.is_http() {
            if bound.route_name.is_empty() || self.merged.by_route_name.contains_key(&bound.route_name) {
                return self.skip(&bound, "left out: an HTTPS server of this port name exists already");
            }
            self.merged.by_route_name.insert(bound.route_name.clone(), vec![bound.clone()]);
        }
        let protocol = bound.server.protocol();
        let own = |known: &&mut PortServers<'a>| {
            known.port == bound.port && known.bind == bound.server.bind && known.protocol == protocol
        };
        match self.merged.ports.iter_mut().find(own) {
            Some(known) => known.servers.push(bound),
            None => self.merged.ports.push(PortServers {
                port: bound.port,
                protocol,
                bind: &bound.server.bind,
                route_name: String::new(),
                servers: vec![bound],
            }),
        }
    }

    fn skip(&mut self, bound: &BoundServer<'a>, reason: &str) {
        self.warnings.push(bound.gateway.problem(&format!("spec.servers[{}]", bound.index), reason));
    }
}

fn is_plain(port: &PortServers<'_>) -> bool {
    port.servers.first().is_some_and(|bound| !bound.server.is_tls())
}

/// `./host` is the Gateway's namespace's own, `*/host` everyone's, `*/*` takes all.
fn canonical_hosts(hosts: &[String], namespace: &str) -> Vec<String> {
    if hosts.iter().any(|host| host == "*/*") {
        return vec!["*".to_owned()];
    }
    let canonical = |host: &String| match host.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(("*", name)) => name.to_owned(),
        _ => host.clone(),
    };
    hosts.iter().map(canonical).collect()
}

/// `http.80` for all plain HTTP servers of a port, `https.443.name.gateway.namespace` for each that ends TLS.
fn route_name(gateway: &Object<Gateway>, server: &Server, port: u32) -> String {
    let bind = if server.bind.is_empty() { String::new() } else { format!(".{}", server.bind) };
    if server.protocol().is_http() {
        return format!("http.{port}{bind}");
    }
    if server.protocol() == Protocol::Https && !server.is_passthrough() {
        let (name, namespace) = (&gateway.metadata.name, &gateway.metadata.namespace);
        return format!("https.{}.{}.{name}.{namespace}{bind}", server.port.number, server.port.name);
    }
    String::new()
}

/// Where the Service in front of the gateway sends `number`; the number itself when there is none.
fn target_port(resources: &Resources, node: &Node, number: u32) -> u32 {
    use crate::manifest::decode::NumberOrName;
    const KEPT: &str = "experimental.istio.io/disable-gateway-port-translation";
    let fronts = resources.services.iter().filter(|service| {
        service.metadata.namespace == node.namespace
            && !service.spec.selector.is_empty()
            && is_subset(&service.spec.selector, &node.labels)
            && !service.metadata.labels.contains_key(KEPT)
    });
    let ports = fronts.flat_map(|service| &service.spec.ports);
    let target = ports.filter(|port| port.port == number).find_map(|port| match &port.target_port {
        Some(NumberOrName::Number(target)) => u32::try_from(*target).ok().filter(|target| *target != 0),
        Some(NumberOrName::Name(name)) => node.named_ports.get(name).copied(),
        None => None,
    });
    target.unwrap_or(number)
}
