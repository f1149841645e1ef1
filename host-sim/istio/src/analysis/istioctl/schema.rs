//! The webhook's refusals and warnings as findings, and fields that go away.

use super::warnings;
use crate::{
    analysis::{Finding, Level},
    manifest::node::Node,
    problem::Problem,
    resource::Resources,
};

/// Rules that the API server's schema holds and the webhook does not; istioctl is silent about them.
fn is_schema_rule(reason: &str) -> bool {
    let one_of = reason.starts_with("only one of")
        && reason.ends_with("can be set")
        && !reason.contains("targetRefs or workloadSelector");
    one_of
        || reason.starts_with("must have at most")
        || reason.ends_with("which Envoy refuses")
        || reason.ends_with("Envoy refuses it")
}

/// `IST0106` for what the webhook refuses, `SLU0001` for what no API server would have let in.
pub(super) fn refusals(problems: &[Problem]) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for problem in problems {
        if !problem.by_webhook || is_schema_rule(&problem.reason) {
            found.push(Finding::of_problem("SLU0001", Level::Error, problem, problem.reason.clone()));
            continue;
        }
        let message = format!("Schema validation error: {}", problem.reason);
        // istioctl has no place for these and says each once.
        if found.iter().all(|known| known.message != message || known.resource != problem.resource) {
            found.push(Finding::of_problem("IST0106", Level::Error, problem, message));
        }
    }
    found
}

/// `IST0133`: taken with a warning.
pub(super) fn warnings(resources: &Resources, found: &mut Vec<Finding>) {
    let mut problems = Vec::new();
    warnings::all(resources, &mut problems);
    for problem in &problems {
        let message = format!("Schema validation warning: {}", problem.reason);
        if found.iter().all(|known| known.message != message || known.resource != problem.resource) {
            found.push(Finding::of_problem("IST0133", Level::Warning, problem, message));
        }
    }
}

/// `IST0002`: fields and kinds that go away or are gone.
pub(super) fn deprecated(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        for (i, route) in object.spec.http.iter().enumerate() {
            let percent =
                route.fault.as_ref().and_then(|fault| fault.delay.as_ref()).is_some_and(|delay| delay.percent > 0);
            if percent {
                let message =
                    "Deprecated: HTTPRoute.fault.delay.percent is deprecated; use HTTPRoute.fault.delay.percentage";
                let field = format!("spec.http[{i}].fault.delay.percent");
                found.push(
                    Finding::new("IST0002", Level::Warning, object, &field, message)
                        .fix("write percentage: {value: …} in place of percent"),
                );
            }
        }
    }
    for object in &resources.others {
        let text = |path: &[&str]| at(&object.origin.root, path).and_then(Node::text).unwrap_or_default().to_owned();
        match object.origin.kind.as_ref() {
            "CustomResourceDefinition" => {
                let (group, kind) = (text(&["spec", "group"]), text(&["spec", "names", "kind"]));
                let removed =
                    matches!(kind.as_str(), "ClusterRbacConfig" | "RbacConfig" | "ServiceRole" | "ServiceRoleBinding");
                if group == "rbac.istio.io" && removed {
                    let message = format!("Deprecated: Custom resource type {group} {kind} is removed");
                    found.push(
                        Finding::new("IST0002", Level::Warning, object, "spec.names.kind", message).fix("delete it"),
                    );
                }
            }
            "Sidecar" if at(&object.origin.root, &["spec", "outboundTrafficPolicy", "egressProxy"]).is_some() => {
                let message = "Deprecated: OutboundTrafficPolicy.EgressProxy ignored";
                let field = "spec.outboundTrafficPolicy.egressProxy";
                found.push(
                    Finding::new("IST0002", Level::Warning, object, field, message).fix("delete it: it has no effect"),
                );
            }
            _ => {}
        }
    }
}

/// The node under a path of keys.
pub(super) fn at<'n>(root: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, key| node.get(key))
}
