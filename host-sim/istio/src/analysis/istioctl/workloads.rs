//! Pods and Deployments that run as the proxy's user, and conditions that say no.

use super::{is_control_plane, schema::at};
use crate::{
    analysis::{Finding, Level},
    manifest::node::{Node, Value},
    resource::{Resources, object::Object},
};

/// `IST0144`: the sidecar's traffic is told apart by its user.
pub(super) fn user_ids(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.pods {
        user_id(object, &["spec"], found);
    }
    for object in resources.workloads.iter().filter(|object| object.origin.kind.as_ref() == "Deployment") {
        user_id(object, &["spec", "template", "spec"], found);
    }
}

fn user_id<T>(object: &Object<T>, path: &[&str], found: &mut Vec<Finding>) {
    const PROXY: i64 = 1337;
    let Some(spec) = at(&object.origin.root, path).filter(|_| !is_control_plane(&object.metadata.labels)) else {
        return;
    };
    let is_proxys = |node: &Node| {
        at(node, &["securityContext", "runAsUser"]).is_some_and(|user| user.value == Value::Integer(PROXY))
    };
    let own = |container: &&Node| {
        !matches!(container.get("name").and_then(Node::text), Some("istio-proxy" | "istio-operator"))
    };
    let containers = spec.get("containers").map_or(&[][..], Node::items);
    if is_proxys(spec) || containers.iter().filter(own).any(is_proxys) {
        let message = "User ID (UID) 1337 is reserved for the sidecar proxy.";
        found
            .push(Finding::new("IST0144", Level::Warning, object, &path.join("."), message).fix("run as another user"));
    }
}

/// `IST0171`: a status condition of a live resource says no.
pub(super) fn conditions(resources: &Resources, found: &mut Vec<Finding>) {
    const WAYPOINT: &[&str] = &["istio.io/WaypointBound"];
    const POLICY: &[&str] = &["ZtunnelAccepted", "WaypointAccepted"];
    resources.services.iter().for_each(|object| negative(object, WAYPOINT, found));
    resources.service_entries.iter().for_each(|object| negative(object, WAYPOINT, found));
    resources.workload_entries.iter().for_each(|object| negative(object, WAYPOINT, found));
    let policies =
        resources.security_policies.iter().filter(|policy| policy.origin.kind.as_ref() == "AuthorizationPolicy");
    policies.for_each(|object| negative(object, POLICY, found));
}

fn negative<T>(object: &Object<T>, kinds: &[&str], found: &mut Vec<Finding>) {
    let conditions = at(&object.origin.root, &["status", "conditions"]).map_or(&[][..], Node::items);
    for (i, condition) in conditions.iter().enumerate() {
        let text = |key: &str| condition.get(key).and_then(Node::text).unwrap_or_default();
        let partly = text("type") == "WaypointAccepted" && text("reason") == "PartiallyInvalid";
        if kinds.contains(&text("type")) && (text("status") == "False" || partly) {
            let message = format!(
                "A condition with a negative status is present: type={}, reason={}, message={}.",
                text("type"),
                text("reason"),
                text("message")
            );
            found.push(Finding::new("IST0171", Level::Warning, object, &format!("status.conditions[{i}]"), message));
        }
    }
}
