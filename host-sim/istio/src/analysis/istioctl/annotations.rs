//! Annotations on Kubernetes objects: those that stand on the wrong kind, and one that a label replaced.

use crate::{
    analysis::{Finding, Level},
    resource::{Resources, object::Object},
};

const INJECT: &str = "sidecar.istio.io/inject";

/// `IST0107`, `IST0135`.
pub(super) fn of_kubernetes(resources: &Resources, found: &mut Vec<Finding>) {
    resources.services.iter().for_each(|object| check(object, "Service", found));
    resources.pods.iter().for_each(|object| check(object, "Pod", found));
    let deployments = resources.workloads.iter().filter(|object| object.origin.kind.as_ref() == "Deployment");
    deployments.for_each(|object| check(object, "Deployment", found));
    let namespaces = resources.others.iter().filter(|object| object.origin.kind.as_ref() == "Namespace");
    namespaces.for_each(|object| check(object, "Namespace", found));
}

fn check<T>(object: &Object<T>, kind: &str, found: &mut Vec<Finding>) {
    for name in object.metadata.annotations.keys() {
        let field = format!("metadata.annotations[\"{name}\"]");
        if name == INJECT && !object.metadata.labels.contains_key(INJECT) {
            let message = format!(
                "Annotation {name:?} has been deprecated in favor of the \"{INJECT}\" label and may not work in future Istio versions."
            );
            found.push(Finding::new("IST0135", Level::Info, object, &field, message).fix("make it a label"));
        }
        if let Some(right) = home(name).filter(|right| *right != kind) {
            let message = format!("Misplaced annotation: {name} can only be applied to {right}");
            found.push(
                Finding::new("IST0107", Level::Warning, object, &field, message).fix(format!("put it on the {right}")),
            );
        }
    }
}

/// The kind an annotation belongs to, for those that belong to one.
fn home(name: &str) -> Option<&'static str> {
    match name {
        "networking.istio.io/exportTo" => Some("Service"),
        "proxy.istio.io/config" | "proxy.istio.io/overrides" | "inject.istio.io/templates" => Some("Pod"),
        name if name.starts_with("sidecar.istio.io/") || name.starts_with("traffic.sidecar.istio.io/") => Some("Pod"),
        _ => None,
    }
}
