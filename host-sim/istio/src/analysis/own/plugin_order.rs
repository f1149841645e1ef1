//! Which of two plugins comes first, and plugins that are patches.

use super::extensions::Plugin;
use crate::{
    analysis::{Finding, Level},
    resource::{
        Resources,
        envoy_filter::{ApplyTo, Operation},
        extension::Phase,
    },
};

/// `SLU0307`, `SLU0308`: which of two plugins comes first.
pub(super) fn order(plugins: &[Plugin<'_>], found: &mut Vec<Finding>) {
    for (i, later) in plugins.iter().enumerate() {
        for earlier in plugins.iter().take(i).filter(|earlier| meet(earlier, later)) {
            if earlier.phase == later.phase && earlier.priority == later.priority {
                let message = format!(
                    "stands in one phase with {} and has the same priority: which comes first is decided by age, which no file says",
                    earlier.object
                );
                found.push(
                    Finding::new("SLU0307", Level::Warning, &later.object, "spec.priority", message)
                        .fix("give each a priority; the higher one sees a request first"),
                );
            }
        }
    }
    let before = |a: &Plugin<'_>, b: &Plugin<'_>| {
        let rank = |plugin: &Plugin<'_>| match plugin.phase {
            Phase::Authn => 0,
            Phase::Authz => 1,
            Phase::Stats => 2,
            Phase::Unspecified => 3,
        };
        (rank(a), std::cmp::Reverse(a.priority.map_or(i64::MIN, i64::from)))
            < (rank(b), std::cmp::Reverse(b.priority.map_or(i64::MIN, i64::from)))
    };
    for first in plugins {
        for second in plugins.iter().filter(|second| meet(first, second) && before(first, second)) {
            let surprise = match (first.module(), second.module()) {
                ("uri-rewrite", "header-match" | "rate-limit" | "fault-inject" | "traffic-shift")
                    if looks_at_paths(second) =>
                {
                    Some((
                        "its rules match the path that a client sent, and what they see is the path that was rewritten",
                        "give it a higher priority than the rewrite",
                    ))
                }
                ("fault-inject", "rate-limit") => Some((
                    "requests that a fault has answered are never counted against the limit",
                    "give the limit a higher priority than the fault, as the suite does",
                )),
                _ => None,
            };
            if let Some((what, fix)) = surprise {
                let message = format!("comes after {}: {what}", first.object);
                found.push(Finding::new("SLU0308", Level::Warning, &second.object, "spec.priority", message).fix(fix));
            }
        }
    }
}

/// Both may stand in one chain.
fn meet(a: &Plugin<'_>, b: &Plugin<'_>) -> bool {
    let contradict = a.selector.iter().any(|(key, value)| b.selector.get(key).is_some_and(|other| other != value));
    !std::ptr::eq(a, b) && !contradict && a.object.to_string() != b.object.to_string()
}

fn looks_at_paths(plugin: &Plugin<'_>) -> bool {
    plugin.config.is_some_and(|config| {
        let text = config.json().to_string();
        text.contains("\"uri\"") || text.contains("\"path\"")
    })
}

/// `SLU0301` and `SLU0309` for EnvoyFilters: modules attached by patch, and patches that reach every proxy.
pub(super) fn patches(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.envoy_filters {
        let spec = &object.spec;
        let everywhere = spec.workload_selector.as_ref().is_none_or(|selector| selector.labels.is_empty())
            && spec.target_refs.is_empty();
        if everywhere {
            let whom = if object.metadata.namespace == resources.mesh.root_namespace() {
                "every proxy of the mesh"
            } else {
                "every proxy of its namespace"
            };
            let message = format!("has no workloadSelector: {whom} is patched");
            found.push(
                Finding::new("SLU0309", Level::Warning, object, "spec", message)
                    .fix("workloadSelector: {labels: {istio: ingressgateway}}"),
            );
        }
        for (i, patch) in spec.config_patches.iter().enumerate() {
            let Some(value) = patch
                .patch
                .value
                .as_ref()
                .filter(|_| patch.apply_to == ApplyTo::HttpFilter && patch.patch.operation != Operation::Remove)
            else {
                continue;
            };
            let typed = value.0.get("typed_config").or_else(|| value.0.get("typedConfig"));
            let config = typed.map(|typed| typed.get("value").unwrap_or(typed)).and_then(|typed| typed.get("config"));
            let Some(config) =
                config.filter(|config| config.get("vm_config").or_else(|| config.get("vmConfig")).is_some())
            else {
                continue;
            };
            let said = ["failure_policy", "failurePolicy", "fail_open", "failOpen"]
                .iter()
                .any(|key| config.get(key).is_some());
            if !said {
                let message = "does not say what becomes of requests when the module cannot be had or fails";
                let field = format!("spec.configPatches[{i}].patch.value.typed_config");
                found.push(
                    Finding::new("SLU0301", Level::Warning, object, &field, message)
                        .fix("failure_policy: FAIL_CLOSED, FAIL_OPEN or FAIL_RELOAD"),
                );
            }
        }
    }
}
