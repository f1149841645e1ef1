//! The services a gateway sees, with their ports and endpoints: Kubernetes Services and ServiceEntries in one table, as istiod's registry has it.

mod endpoints;

use std::collections::{BTreeMap, HashMap};

pub(crate) use endpoints::{Endpoint, Health, is_subset, left_out};

use super::visibility::Visibility;
use crate::resource::{
    Resources, kubernetes,
    object::Object,
    protocol::Protocol,
    service_entry::{Location, Resolution, ServiceEntry},
};

/// One host name with its ports.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) host: String,
    pub(crate) namespace: String,
    pub(crate) ports: Vec<Port>,
    pub(crate) resolution: Discovery,
    pub(crate) mesh_external: bool,
    /// From Kubernetes, not from a ServiceEntry.
    pub(crate) is_kubernetes: bool,
    /// Another name that routes to this service really go to.
    pub(crate) external_name: String,
    pub(crate) subject_alt_names: Vec<String>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether the manifests say where the endpoints are, were it that there are none.
    pub(crate) endpoints_known: bool,
    /// Labels of the pods behind it.
    pub(crate) selector: BTreeMap<String, String>,
    visibility: Visibility,
    created: String,
}

/// How addresses are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// Listed: EDS in a cluster, static here.
    #[default]
    Listed,
    StrictDns,
    LogicalDns,
    /// A wildcard resolved per request.
    DynamicDns,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
}

/// All services that a namespace sees, by host name; where two claim one name, the older wins, Kubernetes before others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    services: Vec<Service>,
    by_host: HashMap<String, usize>,
}

impl Registry {
    /// The services as a workload in `namespace` sees them.
    pub(crate) fn new(resources: &Resources, namespace: &str) -> Self {
        let mut all = from_kubernetes(resources);
        all.extend(from_entries(resources));
        all.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        endpoints::share_between_twins(&mut all);
        // Private and explicitly exported services come before public ones.
        let (public, private): (Vec<_>, Vec<_>) = all
            .into_iter()
            .filter(|service| service.visibility.includes(namespace))
            .partition(|service| service.visibility.is_public());
        let mut registry = Self::default();
        private.into_iter().chain(public).for_each(|service| registry.add(service));
        registry
    }

    fn add(&mut self, service: Service) {
        let Some(existing) = self.by_host.get(&service.host).and_then(|index| self.services.get_mut(*index)) else {
            self.by_host.insert(service.host.clone(), self.services.len());
            self.services.push(service);
            return;
        };
        if !existing.is_kubernetes && service.is_kubernetes {
            *existing = service;
        } else if existing.is_kubernetes == service.is_kubernetes
            && existing.namespace == service.namespace
            && existing.resolution == service.resolution
            && existing.mesh_external == service.mesh_external
        {
            let new: Vec<_> = service
                .ports
                .into_iter()
                .filter(|port| existing.ports.iter().all(|own| own.number != port.number))
                .collect();
            existing.ports.extend(new);
        }
    }

    /// The service of that full name.
    pub(crate) fn get(&self, host: &str) -> Option<&Service> {
        self.by_host.get(host).and_then(|index| self.services.get(*index))
    }

    /// All services, in istiod's order.
    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }
}

impl Service {
    /// Oldest first; one without an age is about to be created.
    fn age_order(&self) -> (bool, &str, &str, &str) {
        (self.created.is_empty(), &self.created, self.sort_name(), &self.namespace)
    }

    /// Kubernetes services sort by their short name, others by their host.
    fn sort_name(&self) -> &str {
        if self.is_kubernetes { self.host.split('.').next().unwrap_or(&self.host) } else { &self.host }
    }
}

const EXPORT_TO: &str = "networking.istio.io/exportTo";

fn from_kubernetes(resources: &Resources) -> Vec<Service> {
    let mesh = &resources.mesh;
    let pods = endpoints::Pods::of(resources);
    let convert = |object: &Object<kubernetes::Service>| {
        let spec = &object.spec;
        let namespace = &object.metadata.namespace;
        let annotation = object.metadata.annotations.get(EXPORT_TO);
        let export_to: Vec<String> =
            annotation.iter().flat_map(|text| text.split(',')).map(|entry| entry.trim().to_owned()).collect();
        let found = endpoints::of_service(resources, &pods, object);
        Service {
            host: format!("{}.{namespace}.svc.{}", object.metadata.name, mesh.domain()),
            namespace: namespace.clone(),
            ports: spec.ports.iter().map(Port::of_kubernetes).collect(),
            resolution: Discovery::Listed,
            mesh_external: spec.kind == "ExternalName",
            is_kubernetes: true,
            external_name: if spec.kind == "ExternalName" { spec.external_name.clone() } else { String::new() },
            subject_alt_names: Vec::new(),
            endpoints_known: found.is_some(),
            endpoints: found.unwrap_or_default(),
            selector: spec.selector.clone(),
            visibility: Visibility::new(&export_to, mesh.default_service_export_to.as_deref(), namespace),
            created: object.metadata.creation_timestamp.clone(),
        }
    };
    resources.services.iter().map(convert).collect()
}

fn from_entries(resources: &Resources) -> Vec<Service> {
    resources
        .service_entries
        .iter()
        .flat_map(|object| object.spec.hosts.iter().map(|host| from_entry(resources, object, host)))
        .collect()
}

fn from_entry(resources: &Resources, object: &Object<ServiceEntry>, host: &str) -> Service {
    let spec = &object.spec;
    let namespace = &object.metadata.namespace;
    let found = endpoints::of_entry(resources, object, host);
    let port = |port: &crate::resource::service_entry::ServicePort| Port {
        number: port.number,
        name: port.name.clone(),
        protocol: Protocol::parse(&port.protocol),
    };
    Service {
        host: host.to_owned(),
        namespace: namespace.clone(),
        ports: spec.ports.iter().map(port).collect(),
        resolution: match spec.resolution {
            Resolution::None | Resolution::Static => Discovery::Listed,
            Resolution::Dns => Discovery::StrictDns,
            Resolution::DnsRoundRobin => Discovery::LogicalDns,
            Resolution::DynamicDns => Discovery::DynamicDns,
        },
        mesh_external: spec.location == Location::MeshExternal,
        is_kubernetes: false,
        external_name: String::new(),
        subject_alt_names: spec.subject_alt_names.clone(),
        endpoints_known: !found.is_empty(),
        endpoints: found,
        selector: spec.workload_selector.as_ref().map(|selector| selector.labels.clone()).unwrap_or_default(),
        visibility: Visibility::new(&spec.export_to, resources.mesh.default_service_export_to.as_deref(), namespace),
        created: object.metadata.creation_timestamp.clone(),
    }
}

impl Port {
    fn of_kubernetes(port: &kubernetes::ServicePort) -> Self {
        let protocol = Protocol::of_service_port(port.port, &port.name, &port.protocol, port.app_protocol.as_deref());
        Self { number: port.port, name: port.name.clone(), protocol }
    }
}
