//! JSON Web Tokens: routing on claims that nobody checks, keys fetched from anywhere.

use super::{full_name, schema::at, selects};
use crate::{
    analysis::{Finding, Level},
    manifest::node::Node,
    resource::{Resources, claim, object::Object, policy::SecurityPolicy, virtual_service::VirtualService},
};

fn authentications(resources: &Resources) -> impl Iterator<Item = &Object<SecurityPolicy>> {
    resources.security_policies.iter().filter(|policy| policy.origin.kind.as_ref() == "RequestAuthentication")
}

/// `IST0175`: an istiod among the manifests that fetches keys from wherever a RequestAuthentication says.
pub(super) fn unrestricted_key_fetch(resources: &Resources, found: &mut Vec<Finding>) {
    const SHOWN: usize = 5;
    let names: Vec<_> = authentications(resources).map(Object::full_name).collect();
    if names.is_empty() {
        return;
    }
    let is_istiod = |object: &&Object<crate::resource::kubernetes::Workload>| {
        object.origin.kind.as_ref() == "Deployment"
            && object.metadata.labels.get("app").is_some_and(|app| app == "istiod")
    };
    for object in resources.workloads.iter().filter(is_istiod) {
        let containers =
            at(&object.origin.root, &["spec", "template", "spec", "containers"]).map_or(&[][..], Node::items);
        let mut env = containers.iter().flat_map(|container| container.get("env").map_or(&[][..], Node::items));
        let restricted = env.any(|variable| {
            variable.get("name").and_then(Node::text) == Some("BLOCKED_CIDRS_IN_JWKS_URIS")
                && variable.get("value").and_then(Node::text).is_some_and(|value| !value.is_empty())
        });
        if restricted {
            continue;
        }
        let listed = match names.get(..SHOWN).filter(|_| names.len() > SHOWN) {
            Some(first) => format!("{}, and {} more", first.join(", "), names.len().saturating_sub(SHOWN)),
            None => names.join(", "),
        };
        let message = format!(
            "BLOCKED_CIDRS_IN_JWKS_URIS is not configured but {} RequestAuthentication resource(s) exist ({listed}). Consider configuring it to restrict JWKS URI fetches to trusted networks.",
            names.len()
        );
        found.push(
            Finding::new("IST0175", Level::Warning, object, "spec.template.spec.containers", message)
                .fix("set BLOCKED_CIDRS_IN_JWKS_URIS in istiod's environment"),
        );
    }
}

/// `IST0149`: a rule looks at a claim, and no RequestAuthentication makes claims on the gateway's pods.
pub(super) fn claims_without_authentication(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        let Some((field, key)) = claim_of(&object.spec) else { continue };
        for name in object.spec.gateways.iter().filter(|name| *name != "mesh") {
            let full = full_name(name, &object.metadata.namespace);
            let Some(gateway) = resources.gateways.iter().find(|gateway| gateway.full_name() == full) else { continue };
            for pod in resources.pods.iter().filter(|pod| selects(&gateway.spec.selector, &pod.metadata.labels)) {
                let reaches = |policy: &Object<SecurityPolicy>| {
                    let near = policy.metadata.namespace == "istio-system"
                        || policy.metadata.namespace == pod.metadata.namespace;
                    near && policy
                        .spec
                        .selector
                        .as_ref()
                        .is_none_or(|selector| selects(&selector.match_labels, &pod.metadata.labels))
                };
                if authentications(resources).any(reaches) {
                    continue;
                }
                let message = format!(
                    "The virtual service uses the JWT claim based routing (key: {key}) but found no request authentication for the gateway ({full}) pod ({}). The request authentication must first be applied for the gateway pods to validate the JWT token and make the claims available for routing.",
                    pod.metadata.name
                );
                found.push(
                    Finding::new("IST0149", Level::Error, object, &field, message)
                        .fix("add a RequestAuthentication for the gateway's pods"),
                );
            }
        }
    }
}

/// The first condition on a claim, and its place.
pub(in crate::analysis) fn claim_of(spec: &VirtualService) -> Option<(String, String)> {
    for (i, route) in spec.http.iter().enumerate() {
        for (j, matched) in route.matches.iter().enumerate() {
            for (kind, conditions) in [("headers", &matched.headers), ("withoutHeaders", &matched.without_headers)] {
                if let Some(key) = conditions.keys().find(|key| claim::path(key).is_some()) {
                    return Some((format!("spec.http[{i}].match[{j}].{kind}"), key.clone()));
                }
            }
        }
    }
    None
}
