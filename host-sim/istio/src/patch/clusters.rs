//! Patches on clusters.

use serde_json::Value;
use xds::Cluster;

use super::{
    Patch, Patches,
    list::{self, name},
    merge,
};
use crate::{
    problem::Problem,
    resource::envoy_filter::{ApplyTo, Operation},
};

/// Patches clusters in place, then appends those that are added.
pub(crate) fn apply(patches: &Patches<'_>, clusters: &mut Vec<Cluster>, problems: &mut Vec<Problem>) {
    if !patches.any_of(&[ApplyTo::Cluster]) {
        return;
    }
    let mut patched = Vec::new();
    for cluster in clusters.drain(..) {
        let concerned =
            patches.of(ApplyTo::Cluster).any(|patch| patch.operation != Operation::Add && fits(&cluster.name, patch));
        match concerned.then(|| serde_json::to_value(&cluster)) {
            Some(Ok(value)) => {
                patched.extend(patch_one(patches, &cluster.name, value).map(|value| reread(patches, value)))
            }
            _ => patched.push(Ok(cluster)),
        }
    }
    let added = patches.of(ApplyTo::Cluster).filter(|patch| patch.operation == Operation::Add);
    patched.extend(added.map(|patch| reread(patches, patch.value.clone())));
    for result in patched {
        match result {
            Ok(cluster) => clusters.push(cluster),
            Err(problem) => problems.extend(problem.map(|problem| *problem)),
        }
    }
}

fn reread(patches: &Patches<'_>, value: Value) -> Result<Cluster, Option<Box<Problem>>> {
    serde_json::from_value(value).map_err(|error| {
        let patch = patches.of(ApplyTo::Cluster).last();
        patch.map(|patch| {
            Box::new(patch.problem(format!("the patched cluster is not a configuration Envoy knows: {error}")))
        })
    })
}

/// `None` when the cluster is removed.
fn patch_one(patches: &Patches<'_>, cluster: &str, mut value: Value) -> Option<Value> {
    for patch in patches.of(ApplyTo::Cluster).filter(|patch| fits(cluster, patch)) {
        match patch.operation {
            Operation::Remove => return None,
            _ if patch.is_merge() && !merge_transport_socket(&mut value, patch) => patch.merge_into(&mut value),
            _ => {}
        }
    }
    Some(value)
}

fn fits(cluster: &str, patch: &Patch<'_>) -> bool {
    let Some(wanted) = &patch.matches.cluster else { return true };
    if !wanted.name.is_empty() {
        return wanted.name == cluster;
    }
    let parts: Vec<&str> = cluster.split('|').collect();
    let (port, subset, host) = match parts.as_slice() {
        [_, port, subset, host] => (port.parse().unwrap_or(0), *subset, *host),
        _ => (0, "", ""),
    };
    (wanted.subset.is_empty() || wanted.subset == subset)
        && (wanted.service.is_empty() || wanted.service == host)
        && (wanted.port_number == 0 || wanted.port_number == port)
}

/// A patch that brings a transport socket changes nothing else: it is merged with the cluster's of the same name, or takes its place.
fn merge_transport_socket(cluster: &mut Value, patch: &Patch<'_>) -> bool {
    let Some(new) = patch.value.get("transport_socket") else { return false };
    let by_match =
        cluster.get_mut("transport_socket_matches").and_then(Value::as_array_mut).filter(|matches| !matches.is_empty());
    let own = match by_match {
        // A socket beside matches would not be valid; without one of its name the patch is dropped.
        Some(matches) => match matches
            .iter_mut()
            .filter_map(|own| own.get_mut("transport_socket"))
            .find(|own| name(own) == name(new))
        {
            Some(own) => Some(own),
            None => return true,
        },
        None => cluster.get_mut("transport_socket").filter(|own| name(own) == name(new)),
    };
    match own {
        Some(own) => {
            if let (Some(own), Some(new)) = (own.get_mut("typed_config"), new.get("typed_config")) {
                merge::merge_any(own, new);
            }
        }
        None => list::set(cluster, "transport_socket", new.clone()),
    }
    true
}
