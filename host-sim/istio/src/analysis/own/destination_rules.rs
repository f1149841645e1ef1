//! DestinationRules: hosts that are no service, subsets without pods, two for one host.

use std::collections::BTreeSet;

use super::destinations::is_covered;
use crate::{
    analysis::{Finding, Level},
    resource::{Resources, destination_rule::DestinationRule, host, object::Object},
    translate::registry::{Registry, Service, is_subset},
};

/// `SLU0205` to `SLU0207`: DestinationRules.
pub(super) fn rules(resources: &Resources, found: &mut Vec<Finding>) {
    for (i, object) in resources.destination_rules.iter().enumerate() {
        let namespace = &object.metadata.namespace;
        let registry = Registry::new(resources, namespace);
        let full = host::full_name(&object.spec.host, namespace, resources.mesh.domain());
        let in_namespace = full
            .strip_suffix(&format!(".svc.{}", resources.mesh.domain()))
            .and_then(|rest| rest.rsplit_once('.'))
            .map(|(_, namespace)| namespace);
        let judged = in_namespace
            .is_none_or(|namespace| resources.services.iter().any(|service| service.metadata.namespace == namespace));
        match registry.get(&full) {
            Some(service) => subsets(resources, object, service, found),
            None if host::is_wildcard(&full)
                || is_covered(&registry, &full)
                || !judged
                || registry.services().is_empty() => {}
            None => {
                let message = format!("no service has the host {full}: the rule has no effect");
                let known = registry.services().iter().map(|service| service.host.as_str());
                let fix = match crate::manifest::suggest::nearest(&full, known) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => {
                        "name a Service or a host of a ServiceEntry; a name with a dot is taken as it is".to_owned()
                    }
                };
                found.push(Finding::new("SLU0205", Level::Warning, object, "spec.host", message).fix(fix));
            }
        }
        let same = |other: &&Object<_>| -> bool {
            let other: &Object<DestinationRule> = other;
            other.metadata.namespace == *namespace
                && host::full_name(&other.spec.host, namespace, resources.mesh.domain()) == full
                && other.spec.workload_selector == object.spec.workload_selector
        };
        if let Some(earlier) = resources.destination_rules.iter().take(i).find(same) {
            let message = format!(
                "{earlier} is for the same host: of their traffic policies, and of subsets with one name, the one created first holds, which no file says"
            );
            found.push(
                Finding::new("SLU0207", Level::Warning, object, "spec.host", message)
                    .fix("merge them into one DestinationRule"),
            );
        }
    }
}

fn subsets(resources: &Resources, object: &Object<DestinationRule>, service: &Service, found: &mut Vec<Finding>) {
    if service.selector.is_empty() || !service.is_kubernetes {
        return;
    }
    let pods = resources.pods.iter().map(|pod| (&pod.metadata.namespace, &pod.metadata.labels));
    let templates = resources.workloads.iter().map(|workload| (&workload.metadata.namespace, &workload.spec.labels));
    let behind: Vec<_> = pods
        .chain(templates)
        .filter(|(namespace, labels)| **namespace == service.namespace && is_subset(&service.selector, labels))
        .map(|(_, labels)| labels)
        .collect();
    if behind.is_empty() {
        return;
    }
    for (i, subset) in object.spec.subsets.iter().enumerate() {
        if behind.iter().any(|labels| is_subset(&subset.labels, labels)) {
            continue;
        }
        let wanted: Vec<_> = subset.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let message = format!(
            "no pod behind {} has the labels {}: requests for the subset {} get 503",
            service.host,
            wanted.join(","),
            subset.name
        );
        let keys: Vec<_> = subset
            .labels
            .keys()
            .map(|key| {
                let values: BTreeSet<_> =
                    behind.iter().filter_map(|labels| labels.get(key)).map(String::as_str).collect();
                format!("{key}: {}", values.into_iter().collect::<Vec<_>>().join(", "))
            })
            .collect();
        let fix = format!("its pods have {}", keys.join("; "));
        found.push(
            Finding::new("SLU0206", Level::Error, object, &format!("spec.subsets[{i}].labels"), message).fix(fix),
        );
    }
}
