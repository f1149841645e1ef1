//! Destinations of VirtualServices: their hosts, ports and subsets.

use std::collections::BTreeMap;

use super::list_text;
use crate::{
    analysis::{Finding, Level},
    resource::{
        Resources, host,
        object::Object,
        virtual_service::{Destination, VirtualService},
    },
};

/// One destination and where it stands.
pub(in crate::analysis) struct Placed<'a> {
    pub(in crate::analysis) field: String,
    pub(in crate::analysis) destination: &'a Destination,
    pub(in crate::analysis) is_mirror: bool,
}

/// All destinations of all rules, mirrors last.
pub(in crate::analysis) fn of(spec: &VirtualService) -> Vec<Placed<'_>> {
    let mut found = Vec::new();
    let mut push = |field: String, destination, is_mirror| found.push(Placed { field, destination, is_mirror });
    for (i, route) in spec.tcp.iter().enumerate() {
        for (j, own) in route.route.iter().enumerate() {
            push(format!("spec.tcp[{i}].route[{j}].destination"), &own.destination, false);
        }
    }
    for (i, route) in spec.tls.iter().enumerate() {
        for (j, own) in route.route.iter().enumerate() {
            push(format!("spec.tls[{i}].route[{j}].destination"), &own.destination, false);
        }
    }
    for (i, route) in spec.http.iter().enumerate() {
        for (j, own) in route.route.iter().enumerate() {
            push(format!("spec.http[{i}].route[{j}].destination"), &own.destination, false);
        }
    }
    for (i, route) in spec.http.iter().enumerate() {
        if let Some(mirror) = &route.mirror {
            push(format!("spec.http[{i}].mirror"), mirror, true);
        }
        for (j, mirror) in route.mirrors.iter().enumerate() {
            if let Some(destination) = &mirror.destination {
                push(format!("spec.http[{i}].mirrors[{j}].destination"), destination, true);
            }
        }
    }
    found
}

/// `IST0101`: the subset is in a DestinationRule of that host.
pub(super) fn subsets(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        for Placed { field, destination, is_mirror } in of(&object.spec) {
            if destination.subset.is_empty() || has_subset(resources, &object.metadata.namespace, destination) {
                continue;
            }
            let what = if is_mirror { "mirror+subset in destinationrule" } else { "host+subset in destinationrule" };
            let text = format!("{}+{}", destination.host, destination.subset);
            let message = format!("Referenced {what} not found: {text:?}");
            let fix = known_subsets(resources, &object.metadata.namespace, &destination.host);
            found.push(Finding::new("IST0101", Level::Error, object, &format!("{field}.subset"), message).fix(fix));
        }
    }
}

fn has_subset(resources: &Resources, namespace: &str, destination: &Destination) -> bool {
    rules_for(resources, namespace, &destination.host)
        .any(|rule| rule.spec.subsets.iter().any(|subset| subset.name == destination.subset))
}

/// DestinationRules whose host is the same, both made full as istioctl does.
fn rules_for<'r>(
    resources: &'r Resources,
    namespace: &str,
    host: &str,
) -> impl Iterator<Item = &'r Object<crate::resource::destination_rule::DestinationRule>> {
    let wanted = service_name(host, namespace);
    resources
        .destination_rules
        .iter()
        .filter(move |rule| service_name(&rule.spec.host, &rule.metadata.namespace) == wanted)
}

fn known_subsets(resources: &Resources, namespace: &str, host: &str) -> String {
    let names: Vec<_> = rules_for(resources, namespace, host)
        .flat_map(|rule| &rule.spec.subsets)
        .map(|subset| subset.name.as_str())
        .collect();
    match names.as_slice() {
        [] => format!("add a DestinationRule for {host} with this subset"),
        names => format!("the subsets of {host} are {}", names.join(", ")),
    }
}

/// Namespace and name that a host means: `name.namespace.svc.cluster.local`, else a name in `namespace`.
fn service_name(host: &str, namespace: &str) -> (String, String) {
    let full = host.strip_suffix(".svc.cluster.local").and_then(|rest| rest.rsplit_once('.'));
    match full.filter(|(name, namespace)| !name.is_empty() && !namespace.is_empty()) {
        Some((name, namespace)) => (namespace.to_owned(), name.to_owned()),
        None => (namespace.to_owned(), host.to_owned()),
    }
}

/// `IST0101`, `IST0112`, `IST0140`: the host is a service, and the port one of its ports.
pub(super) fn hosts(resources: &Resources, found: &mut Vec<Finding>) {
    let known = Known::new(resources);
    for object in &resources.virtual_services {
        for Placed { field, destination, is_mirror } in of(&object.spec) {
            let at = format!("{field}.host");
            let Some(ports) = known.ports(&object.metadata.namespace, &object.spec.export_to, &destination.host) else {
                let what = if is_mirror { "mirror host" } else { "host" };
                let message = format!("Referenced {what} not found: {:?}", destination.host);
                found.push(
                    Finding::new("IST0101", Level::Error, object, &at, message)
                        .fix("name a Service or a host of a ServiceEntry"),
                );
                continue;
            };
            match &destination.port {
                None if ports.len() > 1 => {
                    let numbers: Vec<_> = ports.iter().map(ToString::to_string).collect();
                    let message = format!(
                        "This VirtualService routes to a service {:?} that exposes multiple ports {}. Specifying a port in the destination is required to disambiguate.",
                        destination.host,
                        list_text(&numbers)
                    );
                    found
                        .push(Finding::new("IST0112", Level::Error, object, &at, message).fix("add port: {number: …}"));
                }
                Some(port) if !ports.contains(&port.number) => {
                    let text = format!("{}:{}", destination.host, port.number);
                    let message = format!("Referenced host:port not found: {text:?}");
                    found.push(
                        Finding::new("IST0101", Level::Error, object, &at, message)
                            .fix(format!("the service's ports are {ports:?}")),
                    );
                }
                _ => {}
            }
        }
        subsets_of_other_hosts(resources, object, found);
    }
}

/// `IST0140`: a host that another VirtualService splits into subsets is routed to here without one.
fn subsets_of_other_hosts(resources: &Resources, object: &Object<VirtualService>, found: &mut Vec<Finding>) {
    if object.spec.gateways.is_empty() {
        return;
    }
    for (i, route) in object.spec.http.iter().enumerate() {
        for (j, own) in route.route.iter().enumerate().filter(|(_, own)| own.destination.subset.is_empty()) {
            let splits = |other: &&Object<VirtualService>| {
                let destinations =
                    other.spec.http.iter().flat_map(|route| &route.route).map(|other| &other.destination);
                let mut split =
                    destinations.filter(|there| !there.subset.is_empty() && other.spec.hosts.contains(&there.host));
                split.any(|there| there.host == own.destination.host)
            };
            for other in resources.virtual_services.iter().filter(splits) {
                let message = format!(
                    "Subset in virtual service {} has no effect on ingress gateway {} requests",
                    other.full_name(),
                    object.full_name()
                );
                let field = format!("spec.http[{i}].route[{j}].destination.host");
                found.push(
                    Finding::new("IST0140", Level::Warning, object, &field, message).fix("name the subset here too"),
                );
            }
        }
    }
}

/// Ports of every service, by the scope it is seen in and its full host.
pub(super) struct Known(BTreeMap<(String, String), Vec<u32>>);

impl Known {
    pub(super) fn new(resources: &Resources) -> Self {
        let mut known = BTreeMap::new();
        for entry in &resources.service_entries {
            let namespace = &entry.metadata.namespace;
            let ports: Vec<u32> = entry.spec.ports.iter().map(|port| port.number).collect();
            for name in &entry.spec.hosts {
                for scope in scopes(&entry.spec.export_to, namespace) {
                    known.insert((scope, convert(name, namespace)), ports.clone());
                }
            }
        }
        for service in &resources.services {
            let namespace = &service.metadata.namespace;
            let ports: Vec<u32> = service.spec.ports.iter().map(|port| port.port).collect();
            let annotation = service.metadata.annotations.get("networking.istio.io/exportTo");
            let export_to: Vec<String> =
                annotation.iter().flat_map(|text| text.split(',')).map(|entry| entry.trim().to_owned()).collect();
            for scope in scopes(&export_to, namespace) {
                known.insert((scope, convert(&service.metadata.name, namespace)), ports.clone());
            }
        }
        Self(known)
    }

    /// The ports of `host` as `namespace` sees it; `None` when there is no such service.
    pub(super) fn ports(&self, namespace: &str, export_to: &[String], host: &str) -> Option<&Vec<u32>> {
        let full = convert(host, namespace);
        let mut seen_in = vec!["*".to_owned()];
        match export_to {
            [] => seen_in.push(namespace.to_owned()),
            listed => seen_in
                .extend(listed.iter().map(|entry| if entry == "." { namespace.to_owned() } else { entry.clone() })),
        }
        if let Some(ports) = seen_in.into_iter().find_map(|scope| self.0.get(&(scope, full.clone()))) {
            return Some(ports);
        }
        let visible = |scope: &str| scope == "*" || scope == namespace;
        let wild = |((scope, known), _): &(&(String, String), &Vec<u32>)| {
            let suffix = known.strip_prefix('*');
            visible(scope) && suffix.is_some_and(|suffix| host.strip_prefix('*').unwrap_or(host).ends_with(suffix))
        };
        self.0.iter().find(wild).map(|(_, ports)| ports)
    }
}

fn scopes(export_to: &[String], namespace: &str) -> Vec<String> {
    if export_to.is_empty() || export_to.iter().any(|entry| entry == "*") {
        return vec!["*".to_owned()];
    }
    export_to.iter().map(|entry| if entry == "." { namespace.to_owned() } else { entry.clone() }).collect()
}

/// istioctl's idea of a full name: wildcards and names with a dot are full already.
fn convert(name: &str, namespace: &str) -> String {
    if name.starts_with('*') { name.to_owned() } else { host::full_name(name, namespace, "cluster.local") }
}
