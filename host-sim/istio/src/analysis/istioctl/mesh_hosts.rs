//! `IST0109`: two VirtualServices of sidecars for one host; which of them holds is undefined.

use std::collections::BTreeMap;

use crate::{
    analysis::{Finding, Level},
    resource::{Resources, host, object::Object, virtual_service::VirtualService},
};

type ByHost<'r> = BTreeMap<(String, String), Vec<&'r Object<VirtualService>>>;

/// Each VirtualService once, with all that claim a host of it.
pub(super) fn conflicts(resources: &Resources, found: &mut Vec<Finding>) {
    let by_host = by_host(resources);
    let mut reported: Vec<String> = Vec::new();
    for ((scope, name), own) in &by_host {
        let mut all = own.clone();
        if scope != "*" {
            let public = by_host.iter().filter(|((scope, other), _)| scope == "*" && host::matches(name, other));
            all.extend(public.flat_map(|(_, objects)| objects));
        }
        if all.len() < 2 {
            continue;
        }
        let mut names: Vec<_> = all.iter().map(|object| object.full_name()).collect();
        names.sort();
        for object in all {
            if reported.contains(&object.full_name()) {
                continue;
            }
            reported.push(object.full_name());
            let message = format!(
                "The VirtualServices {} associated with mesh gateway define the same host {scope}/{name} which can lead to undefined behavior. This can be fixed by merging the conflicting VirtualServices into a single resource.",
                names.join(",")
            );
            let fix = "merge them, or bind this one to a Gateway alone";
            found.push(Finding::new("IST0109", Level::Error, object, "metadata.name", message).fix(fix));
        }
    }
}

fn by_host(resources: &Resources) -> ByHost<'_> {
    let mut by_host = ByHost::new();
    for object in &resources.virtual_services {
        let spec = &object.spec;
        let namespace = &object.metadata.namespace;
        if !spec.gateways.is_empty() && spec.gateways.iter().all(|gateway| gateway != "mesh") {
            continue;
        }
        let mut scopes = match spec.export_to.iter().any(|entry| entry == "*") || spec.export_to.is_empty() {
            true => vec!["*".to_owned()],
            false => spec
                .export_to
                .iter()
                .map(|entry| if entry == "." { namespace.clone() } else { entry.clone() })
                .collect(),
        };
        scopes.sort();
        scopes.dedup();
        for scope in scopes {
            for name in &spec.hosts {
                let full = if name.starts_with('*') {
                    name.clone()
                } else {
                    host::full_name(name, namespace, "cluster.local")
                };
                by_host.entry((scope.clone(), full)).or_default().push(object);
            }
        }
    }
    by_host
}
