//! Where the endpoints of a service are, in the order of trust: EndpointSlice, Endpoints, WorkloadEntry for Kubernetes; the entry's own list,
//! then pods and WorkloadEntries by label, then its host name for a ServiceEntry.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::{Discovery, Service};
use crate::{
    problem::Problem,
    resource::{
        Resources,
        kubernetes::{self, EndpointConditions, EndpointPort, ObjectReference, Pod},
        object::Object,
        service_entry::{Resolution, ServiceEntry, ServicePort, WorkloadEntry},
    },
};

/// One address for one port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// IP address, host name, or path of a socket when `port` is 0.
    pub(crate) address: String,
    pub(crate) port: u32,
    /// Which port of the service it answers for.
    pub(crate) port_name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The pod behind it; empty where nobody says.
    pub(crate) pod: String,
    /// At least 1.
    pub(crate) weight: u32,
    pub(crate) health: Health,
    /// `region/zone/subzone`.
    pub(crate) locality: String,
}

/// What the orchestrator says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nobody checks (ServiceEntry).
    #[default]
    Unknown,
    Ready,
    NotReady,
}

/// The pods among the manifests, by namespace. Where two have one address, the first counts.
#[derive(Default)]
pub(super) struct Pods<'a>(HashMap<&'a str, PodsOfNamespace<'a>>);

#[derive(Default)]
struct PodsOfNamespace<'a> {
    by_name: HashMap<&'a str, &'a Object<Pod>>,
    by_address: HashMap<&'a str, &'a Object<Pod>>,
}

impl<'a> Pods<'a> {
    pub(super) fn of(resources: &'a Resources) -> Self {
        let mut all = Self::default();
        for pod in &resources.pods {
            let here = all.0.entry(&pod.metadata.namespace).or_default();
            here.by_name.entry(&pod.metadata.name).or_insert(pod);
            here.by_address.entry(&pod.spec.ip).or_insert(pod);
        }
        all
    }
}

/// Endpoints of a Kubernetes service; `None` when the manifests do not say.
pub(super) fn of_service(
    resources: &Resources,
    pods: &Pods<'_>,
    service: &Object<kubernetes::Service>,
) -> Option<Vec<Endpoint>> {
    let named = |name: &str| name == service.metadata.name;
    let same_namespace = |namespace: &str| namespace == service.metadata.namespace;
    let slices: Vec<_> = resources
        .endpoint_slices
        .iter()
        .filter(|slice| same_namespace(&slice.metadata.namespace))
        .filter(|slice| slice.metadata.labels.get("kubernetes.io/service-name").is_some_and(|name| named(name)))
        .collect();
    let mut found: Vec<_> = slices.iter().flat_map(|slice| of_slice(pods, slice)).collect();
    let mut known = !slices.is_empty();
    if !known {
        let lists = || {
            resources
                .endpoints
                .iter()
                .filter(|list| same_namespace(&list.metadata.namespace) && named(&list.metadata.name))
        };
        known = lists().next().is_some();
        found = lists().flat_map(|list| of_endpoints(pods, list)).collect();
    }
    let workloads: Vec<_> =
        selected_workload_entries(resources, &service.metadata.namespace, &service.spec.selector).collect();
    known |= !workloads.is_empty();
    found.extend(workloads.iter().flat_map(|entry| of_workload_entry_behind_service(entry, service)));
    known.then_some(found)
}

fn of_slice(pods: &Pods<'_>, slice: &Object<kubernetes::EndpointSlice>) -> Vec<Endpoint> {
    let mut found = Vec::new();
    if slice.spec.address_type == "FQDN" {
        return found;
    }
    for endpoint in &slice.spec.endpoints {
        let Some(health) = health(endpoint.conditions.as_ref()) else { continue };
        for address in &endpoint.addresses {
            let pod = Behind::of(pods, endpoint.target_ref.as_ref(), address, &slice.metadata.namespace);
            found.extend(slice.spec.ports.iter().filter_map(|port| pod.at(address, port, health)));
        }
    }
    found
}

/// `None` for an endpoint that is shutting down, which istiod leaves out.
fn health(conditions: Option<&EndpointConditions>) -> Option<Health> {
    let Some(conditions) = conditions else { return Some(Health::Ready) };
    match (conditions.ready.unwrap_or(true), conditions.terminating.unwrap_or(true)) {
        (true, _) => Some(Health::Ready),
        (false, true) => None,
        (false, false) => Some(Health::NotReady),
    }
}

fn of_endpoints(pods: &Pods<'_>, list: &Object<kubernetes::Endpoints>) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for subset in &list.spec.subsets {
        let ready = subset.addresses.iter().map(|address| (address, Health::Ready));
        let not_ready = subset.not_ready_addresses.iter().map(|address| (address, Health::NotReady));
        for (address, health) in ready.chain(not_ready) {
            let pod = Behind::of(pods, address.target_ref.as_ref(), &address.ip, &list.metadata.namespace);
            found.extend(subset.ports.iter().filter_map(|port| pod.at(&address.ip, port, health)));
        }
    }
    found
}

/// Who is behind an address of a Kubernetes service.
enum Behind<'a> {
    Pod(&'a Object<Pod>),
    /// No pod, as far as anybody says.
    Unknown,
    /// A pod that is not there: istiod leaves such an address out.
    Gone,
}

impl<'a> Behind<'a> {
    /// The pod that is named, else one of the namespace with this address. Where no pod of the namespace is among the manifests at all, nobody
    /// meant to say which there are.
    fn of(pods: &Pods<'a>, target: Option<&ObjectReference>, address: &str, namespace: &str) -> Self {
        let named = target.filter(|target| target.kind == "Pod");
        let home = named.map(|target| target.namespace.as_str()).filter(|home| !home.is_empty()).unwrap_or(namespace);
        let Some(here) = pods.0.get(home) else { return Self::Unknown };
        let found = match named {
            Some(target) => here.by_name.get(target.name.as_str()),
            None => here.by_address.get(address),
        };
        match found {
            Some(pod) => Self::Pod(pod),
            None if named.is_some() => Self::Gone,
            None => Self::Unknown,
        }
    }

    fn at(&self, address: &str, port: &EndpointPort, health: Health) -> Option<Endpoint> {
        let (labels, pod) = match self {
            Self::Pod(pod) => (pod.metadata.labels.clone(), pod.metadata.name.clone()),
            Self::Unknown => Default::default(),
            Self::Gone => return None,
        };
        Some(Endpoint {
            address: address.to_owned(),
            port: port.port?,
            port_name: port.name.clone(),
            labels,
            pod,
            weight: 1,
            health,
            locality: String::new(),
        })
    }
}

/// Warnings for addresses that are left out because the pod they name is not there.
pub(crate) fn left_out(resources: &Resources) -> Vec<Problem> {
    let pods = Pods::of(resources);
    // Whose pod is named is found by its name, whatever the address.
    let gone = |target: &Option<ObjectReference>, namespace: &str| {
        let target =
            target.as_ref().filter(|_| matches!(Behind::of(&pods, target.as_ref(), "", namespace), Behind::Gone));
        target.map(|pod| format!("no Pod \"{}\" is among the manifests: Istio leaves such addresses out", pod.name))
    };
    let mut warnings = Vec::new();
    for slice in &resources.endpoint_slices {
        let ends = slice.spec.endpoints.iter().enumerate();
        warnings.extend(ends.filter_map(|(n, endpoint)| {
            let reason = gone(&endpoint.target_ref, &slice.metadata.namespace)?;
            Some(slice.problem(&format!("endpoints[{n}].targetRef"), reason))
        }));
    }
    for list in &resources.endpoints {
        for (n, subset) in list.spec.subsets.iter().enumerate() {
            for (field, addresses) in
                [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)]
            {
                warnings.extend(addresses.iter().enumerate().filter_map(|(at, address)| {
                    let reason = gone(&address.target_ref, &list.metadata.namespace)?;
                    Some(list.problem(&format!("subsets[{n}].{field}[{at}].targetRef"), reason))
                }));
            }
        }
    }
    warnings
}

/// Endpoints of one host of a ServiceEntry.
pub(super) fn of_entry(resources: &Resources, entry: &Object<ServiceEntry>, host: &str) -> Vec<Endpoint> {
    let spec = &entry.spec;
    let by_name = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if let Some(selector) = &spec.workload_selector {
        let namespace = &entry.metadata.namespace;
        let workloads = selected_workload_entries(resources, namespace, &selector.labels).map(with_metadata_labels);
        let pods = resources
            .pods
            .iter()
            .filter(|pod| pod.metadata.namespace == *namespace && !pod.spec.ip.is_empty())
            .filter(|pod| is_subset(&selector.labels, &pod.metadata.labels))
            .map(|pod| WorkloadEntry {
                address: pod.spec.ip.clone(),
                labels: pod.metadata.labels.clone(),
                ..WorkloadEntry::default()
            });
        let of_pod = |pod: WorkloadEntry| {
            let found = of_workload_entry(&pod, &spec.ports);
            found.into_iter().map(|endpoint| Endpoint { health: Health::Ready, ..endpoint })
        };
        let mut found: Vec<_> = workloads.flat_map(|workload| of_workload_entry(&workload, &spec.ports)).collect();
        found.extend(pods.flat_map(of_pod));
        return found;
    }
    if spec.endpoints.is_empty() && by_name {
        let itself = WorkloadEntry { address: host.to_owned(), ..WorkloadEntry::default() };
        return of_workload_entry(&itself, &spec.ports);
    }
    spec.endpoints.iter().flat_map(|endpoint| of_workload_entry(endpoint, &spec.ports)).collect()
}

fn with_metadata_labels(workload: &Object<WorkloadEntry>) -> WorkloadEntry {
    let mut spec = workload.spec.clone();
    spec.labels.extend(workload.metadata.labels.clone());
    spec
}

/// A port by the endpoint's own map, else the service's target port, else its number; a socket has none.
fn of_workload_entry(workload: &WorkloadEntry, ports: &[ServicePort]) -> Vec<Endpoint> {
    let socket = workload.address.strip_prefix("unix://");
    let port_of = |port: &ServicePort| match (socket, workload.ports.get(&port.name), port.target_port) {
        (Some(_), _, _) => 0,
        (None, Some(own), _) if *own > 0 => *own,
        (None, _, target) if target > 0 => target,
        _ => port.number,
    };
    let endpoint = |port: &ServicePort| Endpoint {
        address: socket.unwrap_or(&workload.address).to_owned(),
        port: port_of(port),
        port_name: port.name.clone(),
        labels: workload.labels.clone(),
        pod: String::new(),
        weight: workload.weight.max(1),
        health: Health::Unknown,
        locality: workload.locality.clone(),
    };
    ports.iter().map(endpoint).collect()
}

fn selected_workload_entries<'a>(
    resources: &'a Resources,
    namespace: &'a str,
    selector: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a Object<WorkloadEntry>> {
    let here = move |entry: &&Object<WorkloadEntry>| entry.metadata.namespace == namespace && !selector.is_empty();
    resources
        .workload_entries
        .iter()
        .filter(here)
        .filter(move |entry| is_subset(selector, &with_metadata_labels(entry).labels))
}

fn of_workload_entry_behind_service(
    entry: &Object<WorkloadEntry>,
    service: &Object<kubernetes::Service>,
) -> Vec<Endpoint> {
    use crate::manifest::decode::NumberOrName;
    let ports: Vec<ServicePort> = service
        .spec
        .ports
        .iter()
        .map(|port| ServicePort {
            number: port.port,
            name: port.name.clone(),
            protocol: port.protocol.clone(),
            target_port: match &port.target_port {
                Some(NumberOrName::Number(number)) => u32::try_from(*number).unwrap_or(0),
                _ => 0,
            },
        })
        .collect();
    of_workload_entry(&with_metadata_labels(entry), &ports)
}

/// Every label of `inner` is in `outer`.
pub(crate) fn is_subset(inner: &BTreeMap<String, String>, outer: &BTreeMap<String, String>) -> bool {
    inner.iter().all(|(key, value)| outer.get(key) == Some(value))
}

/// Services of one host and namespace share their endpoints, whichever of them ends up in the table; those of ServiceEntries come first, whatever
/// way their own cluster would find them.
pub(super) fn share_between_twins(services: &mut [Service]) {
    let mut count: HashMap<(&str, &str), usize> = HashMap::new();
    for service in services.iter() {
        *count.entry((&service.host, &service.namespace)).or_default() += 1;
    }
    let several = |service: &Service| count.get(&(&*service.host, &*service.namespace)).is_some_and(|count| *count > 1);
    let have_twins: Vec<usize> =
        services.iter().enumerate().filter(|(_, service)| several(service)).map(|(at, _)| at).collect();
    for i in have_twins {
        let Some(service) = services.get(i) else { continue };
        let listed = |other: &Service| other.resolution == Discovery::Listed && other.external_name.is_empty();
        let twin = |other: &&Service| {
            other.host == service.host && other.namespace == service.namespace && other.external_name.is_empty()
        };
        if !listed(service) || services.iter().filter(twin).count() < 2 {
            continue;
        }
        let (kubernetes, entries): (Vec<_>, Vec<_>) =
            services.iter().filter(twin).partition(|other| other.is_kubernetes);
        let mut shared: Vec<Endpoint> = Vec::new();
        for endpoint in entries.into_iter().chain(kubernetes).flat_map(|other| &other.endpoints) {
            // A list holds addresses; a name would have to be asked for.
            if !shared.contains(endpoint) && (endpoint.port == 0 || endpoint.address.parse::<IpAddr>().is_ok()) {
                shared.push(endpoint.clone());
            }
        }
        if let Some(service) = services.get_mut(i) {
            service.endpoints_known |= !shared.is_empty();
            service.endpoints = shared;
        }
    }
}
