//! Telemetry: providers that are not named, and which of several holds.

use std::collections::BTreeMap;

use super::{list_text, schema::at, selector_text, selects};
use crate::{
    analysis::{Finding, Level},
    manifest::node::{Node, Value},
    resource::{Resources, object::Object},
};

fn all(resources: &Resources) -> impl Iterator<Item = &Object<()>> {
    resources.others.iter().filter(|object| object.origin.kind.as_ref() == "Telemetry")
}

/// `IST0157`: an access log without a provider writes nothing. Files do not say what the mesh's default is; Istio's own default is none.
pub(super) fn providers(resources: &Resources, found: &mut Vec<Finding>) {
    for object in all(resources) {
        let logs = at(&object.origin.root, &["spec", "accessLogging"]).map_or(&[][..], Node::items);
        let writes_nothing = |log: &&Node| {
            let disabled = log.get("disabled").is_some_and(|node| node.value == Value::Bool(true));
            !disabled && log.get("providers").is_none_or(|providers| providers.items().is_empty())
        };
        if logs.iter().any(|log| writes_nothing(&log)) {
            let (name, namespace) = (&object.metadata.name, &object.metadata.namespace);
            let message =
                format!("The Telemetry {name} in namespace {namespace:?} with empty providers will be ignored.");
            found.push(
                Finding::new("IST0157", Level::Warning, object, "spec.accessLogging", message)
                    .fix("add providers: [{name: envoy}]"),
            );
        }
    }
}

/// `IST0160`: two without a selector in one namespace.
pub(super) fn without_selector(resources: &Resources, found: &mut Vec<Finding>) {
    let mut by_namespace: BTreeMap<&str, Vec<&Object<()>>> = BTreeMap::new();
    for object in all(resources).filter(|object| at(&object.origin.root, &["spec", "selector"]).is_none()) {
        by_namespace.entry(&object.metadata.namespace).or_default().push(object);
    }
    for (namespace, objects) in by_namespace.into_iter().filter(|(_, objects)| objects.len() > 1) {
        let names: Vec<_> = objects.iter().map(|object| object.metadata.name.clone()).collect();
        for object in objects {
            let message = format!(
                "The Telemetries {} in namespace {namespace:?} have no workload selector, which can lead to undefined behavior.",
                list_text(&names)
            );
            found.push(
                Finding::new("IST0160", Level::Error, object, "metadata.name", message)
                    .fix("merge them, or give all but one a selector"),
            );
        }
    }
}

fn selector(object: &Object<()>) -> BTreeMap<String, String> {
    match at(&object.origin.root, &["spec", "selector", "matchLabels"]).map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            entries.iter().filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// `IST0101`, `IST0159`: a selector selects a pod, and no pod is selected twice.
pub(super) fn selectors(resources: &Resources, found: &mut Vec<Finding>) {
    let selecting: Vec<_> =
        all(resources).map(|object| (object, selector(object))).filter(|(_, labels)| !labels.is_empty()).collect();
    let selected =
        |object: &Object<()>, labels: &BTreeMap<String, String>, pod: &Object<crate::resource::kubernetes::Pod>| {
            pod.metadata.namespace == object.metadata.namespace && selects(labels, &pod.metadata.labels)
        };
    for (object, labels) in &selecting {
        if !resources.pods.iter().any(|pod| selected(object, labels, pod)) {
            let message = format!("Referenced selector not found: {:?}", selector_text(labels));
            found.push(
                Finding::new("IST0101", Level::Error, object, "spec.selector.matchLabels", message)
                    .fix("use labels that pods of this namespace have"),
            );
        }
    }
    for pod in &resources.pods {
        let of_pod: Vec<_> = selecting.iter().filter(|(object, labels)| selected(object, labels, pod)).collect();
        if of_pod.len() < 2 {
            continue;
        }
        let names: Vec<_> = of_pod.iter().map(|(object, _)| object.metadata.name.clone()).collect();
        for (object, _) in of_pod {
            let message = format!(
                "The Telemetries {} in namespace {:?} select the same workload pod {:?}, which can lead to undefined behavior.",
                list_text(&names),
                pod.metadata.namespace,
                pod.metadata.name
            );
            found.push(
                Finding::new("IST0159", Level::Error, object, "metadata.name", message)
                    .fix("merge them, or narrow the selectors"),
            );
        }
    }
}
