//! Who was meant to take a host: the Gateways' servers, the VirtualServices, and the delegates that are not there. It changes nothing about the
//! translation; it is what a person is told about a request that nobody took.

use super::{Context, rules::BoundVirtualService};
use crate::{
    problem::Position,
    resource::{Resources, host, object::Object, virtual_service::VirtualService},
};

/// A server of a Gateway that applies to this workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRef {
    /// `namespace/name` of the Gateway.
    pub gateway: String,
    /// Name of the server's port.
    pub name: String,
    /// The port it names.
    pub port: u32,
    /// `HTTP`, `HTTPS`, …
    pub protocol: String,
    /// Its hosts, without namespaces.
    pub hosts: Vec<String>,
    /// Its route table; empty without HTTP.
    pub route_config: String,
    /// It ends TLS, or passes it on.
    pub tls: bool,
    /// The manifest.
    pub file: String,
    /// Where the server stands there.
    pub at: Position,
}

/// A VirtualService with hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualServiceRef {
    /// `VirtualService namespace/name`
    pub resource: String,
    /// Its hosts, in full.
    pub hosts: Vec<String>,
    /// The Gateways it names, `namespace/name`, or `mesh`.
    pub gateways: Vec<String>,
    /// Its creationTimestamp; empty where the manifest has none.
    pub created: String,
    /// The manifest.
    pub file: String,
    /// Where it begins there.
    pub at: Position,
}

/// A rule that is left out because its delegate is not there.
#[derive(Clone, Debug, Default)]
pub struct MissingDelegate {
    /// The VirtualService that delegates.
    pub root: VirtualServiceRef,
    /// `namespace/name` of what it delegates to.
    pub delegate: String,
    /// What the rule would have taken.
    pub matches: Vec<xds::RouteMatch>,
    /// Where the rule's `delegate` stands.
    pub at: Position,
}

/// All three.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// In the order of their ports, then of their Gateways' age.
    pub servers: Vec<ServerRef>,
    /// Oldest first.
    pub virtual_services: Vec<VirtualServiceRef>,
    /// In the order of their VirtualServices.
    pub missing_delegates: Vec<MissingDelegate>,
}

impl ServerRef {
    /// Does one of its hosts cover this one? A port is no part of `host`.
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.hosts, host)
    }
}

impl VirtualServiceRef {
    /// The same for a VirtualService.
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.hosts, host)
    }
}

fn covers(hosts: &[String], asked: &str) -> bool {
    let asked = asked.to_lowercase();
    hosts.iter().any(|own| host::is_subset(&asked, &own.to_lowercase()))
}

impl Bindings {
    pub(super) fn of(context: &Context<'_>) -> Bindings {
        let ports = context.gateways.ports.iter();
        let servers = ports.flat_map(|port| &port.servers).map(|bound| {
            let name = |host: &String| host.split_once('/').map_or(host.as_str(), |(_, name)| name).to_owned();
            ServerRef {
                gateway: bound.gateway.full_name(),
                name: bound.server.port.name.clone(),
                port: bound.server.port.number,
                protocol: bound.server.port.protocol.clone(),
                hosts: bound.hosts.iter().map(name).collect(),
                route_config: bound.route_name.clone(),
                tls: bound.server.is_tls(),
                file: bound.gateway.origin.file.to_string(),
                at: bound.gateway.locate(&format!("spec.servers[{}]", bound.index)),
            }
        });
        Bindings {
            servers: servers.collect(),
            virtual_services: context.virtual_services.iter().map(reference).collect(),
            missing_delegates: context
                .virtual_services
                .iter()
                .flat_map(|service| missing(context.resources, service))
                .collect(),
        }
    }
}

fn reference(service: &BoundVirtualService<'_>) -> VirtualServiceRef {
    VirtualServiceRef {
        resource: service.object.to_string(),
        hosts: service.hosts.clone(),
        gateways: service.gateways.clone(),
        created: service.object.metadata.creation_timestamp.clone(),
        file: service.object.origin.file.to_string(),
        at: service.object.locate("metadata.name"),
    }
}

fn missing(resources: &Resources, service: &BoundVirtualService<'_>) -> Vec<MissingDelegate> {
    let rules = service.object.spec.http.iter().enumerate();
    rules
        .filter_map(|(rule, route)| {
            let delegate = route.delegate.as_ref()?;
            let own = &service.object.metadata.namespace;
            let namespace = if delegate.namespace.is_empty() { own } else { &delegate.namespace };
            let named = |object: &Object<VirtualService>| {
                object.metadata.name == delegate.name && object.metadata.namespace == *namespace
            };
            if resources.virtual_services.iter().any(|object| named(object) && object.spec.hosts.is_empty()) {
                return None;
            }
            let entries = route.matches.iter().map(Some);
            let entries: Vec<_> = if route.matches.is_empty() { vec![None] } else { entries.collect() };
            Some(MissingDelegate {
                root: reference(service),
                delegate: format!("{namespace}/{}", delegate.name),
                matches: entries.into_iter().map(super::routes::route_match).collect(),
                at: service.object.locate(&format!("spec.http[{rule}].delegate")),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_covers_its_hosts_in_any_spelling_and_no_bare_domain_of_a_wildcard() {
        let server = ServerRef { hosts: vec!["Shop.example".into(), "*.api.example".into()], ..ServerRef::default() };
        for (host, covered) in [
            ("shop.example", true),
            ("SHOP.example", true),
            ("v1.api.example", true),
            ("api.example", false),
            ("other", false),
        ] {
            assert_eq!(server.covers(host), covered, "{host}");
        }
    }
}
