//! ServiceEntries: TCP without an address, one host and port with two protocols.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    analysis::{Finding, Level},
    resource::{Resources, object::Object, service_entry::ServiceEntry},
};

/// `IST0134`: a TCP listener needs an address to listen for.
pub(super) fn addresses(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.service_entries {
        let allocated = object
            .origin
            .root
            .get("status")
            .and_then(|status| status.get("addresses"))
            .is_some_and(|list| !list.items().is_empty());
        let opaque = |protocol: &str| protocol.is_empty() || protocol.eq_ignore_ascii_case("TCP");
        if !object.spec.addresses.is_empty() || allocated {
            continue;
        }
        if let Some(i) = object.spec.ports.iter().position(|port| opaque(&port.protocol)) {
            let message = "ServiceEntry addresses are required for this protocol.";
            let fix = "add addresses, or say the port's protocol (HTTP, TLS, …)";
            found.push(
                Finding::new("IST0134", Level::Warning, object, &format!("spec.ports[{i}].protocol"), message).fix(fix),
            );
        }
    }
}

/// A protocol, and the entry that asks for it.
type Claim<'a> = (String, &'a Object<ServiceEntry>);

/// `IST0177`: each ServiceEntry once, with all that claim the host and port.
pub(super) fn conflicting_protocols(resources: &Resources, found: &mut Vec<Finding>) {
    let mut claims: BTreeMap<(String, String, u32), Vec<Claim<'_>>> = BTreeMap::new();
    for object in &resources.service_entries {
        let spec = &object.spec;
        let scopes: BTreeSet<String> =
            match spec.export_to.is_empty() || spec.export_to.iter().any(|entry| entry == "*") {
                true => ["*".to_owned()].into(),
                false => spec
                    .export_to
                    .iter()
                    .map(|entry| if entry == "." { object.metadata.namespace.clone() } else { entry.clone() })
                    .collect(),
            };
        for scope in scopes {
            for host in &spec.hosts {
                for port in &spec.ports {
                    let key = (scope.clone(), host.clone(), port.number);
                    claims.entry(key).or_default().push((port.protocol.to_uppercase(), object));
                }
            }
        }
    }
    let mut reported: Vec<String> = Vec::new();
    for ((scope, host, port), own) in &claims {
        let mut all = own.clone();
        if scope != "*" {
            all.extend(claims.get(&("*".to_owned(), host.clone(), *port)).into_iter().flatten().cloned());
        }
        let protocols: BTreeSet<&str> = all.iter().map(|(protocol, _)| protocol.as_str()).collect();
        if protocols.len() < 2 {
            continue;
        }
        let names: BTreeSet<String> = all.iter().map(|(_, object)| object.full_name()).collect();
        let (names, protocols) = (join(names.iter().map(String::as_str)), join(protocols.into_iter()));
        for (_, object) in &all {
            if reported.contains(&object.full_name()) {
                continue;
            }
            reported.push(object.full_name());
            let message = format!(
                "Multiple ServiceEntries ({names}) define the same host {host:?} and port {port} with conflicting protocols ({protocols})."
            );
            let fix = "give the port one protocol in all of them";
            found.push(Finding::new("IST0177", Level::Warning, object, "metadata.name", message).fix(fix));
        }
    }
}

fn join<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
