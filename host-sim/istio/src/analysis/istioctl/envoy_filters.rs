//! EnvoyFilters: operations that are ignored, and patches relative to something that may not be there yet.

use crate::{
    analysis::{Finding, Level},
    manifest::node::Node,
    resource::{
        Resources,
        envoy_filter::{ApplyTo, ConfigPatch, Operation},
        object::Object,
    },
};

const RELATIVE: &str = "This EnvoyFilter does not have a priority and has a relative patch operation set which can cause the EnvoyFilter not to be applied. Using the INSERT_FIRST of ADD option or setting the priority may help in ensuring the EnvoyFilter is applied correctly.";
const RELATIVE_BY_VERSION: &str = "This EnvoyFilter does not have a priority and has a relative patch operation (NSTERT_BEFORE/AFTER, REPLACE, MERGE, DELETE) and proxyVersion set which can cause the EnvoyFilter not to be applied during an upgrade. Using the INSERT_FIRST or ADD option or setting the priority may help in ensuring the EnvoyFilter is applied correctly.";

/// `IST0151` to `IST0155`.
pub(super) fn operations(resources: &Resources, found: &mut Vec<Finding>) {
    // Names of filters that an earlier patch, in any EnvoyFilter, ties to a proxy version.
    let mut versioned: Vec<String> = Vec::new();
    for object in &resources.envoy_filters {
        for (i, patch) in object.spec.config_patches.iter().enumerate() {
            let name = patched_name(patch);
            if let Some((code, message, fix)) = fault(patch, object.spec.priority, versioned.contains(&name)) {
                push(found, object, code, &format!("spec.configPatches[{i}].patch.operation"), message, fix);
            }
            if patch.matches.proxy.as_ref().is_some_and(|proxy| !proxy.proxy_version.is_empty()) {
                versioned.push(name);
            }
        }
    }
}

fn push<T>(found: &mut Vec<Finding>, object: &Object<T>, code: &'static str, field: &str, message: &str, fix: &str) {
    let level = if matches!(code, "IST0151" | "IST0155") { Level::Warning } else { Level::Error };
    found.push(Finding::new(code, level, object, field, message).fix(fix));
}

fn fault(patch: &ConfigPatch, priority: i32, versioned: bool) -> Option<(&'static str, &'static str, &'static str)> {
    let of_routes = matches!(patch.apply_to, ApplyTo::RouteConfiguration | ApplyTo::HttpRoute);
    let relative = || {
        let fix = "set spec.priority, or use INSERT_FIRST or ADD";
        let (code, message) = if versioned { ("IST0155", RELATIVE_BY_VERSION) } else { ("IST0151", RELATIVE) };
        (priority == 0).then_some((code, message, fix))
    };
    match patch.patch.operation {
        Operation::Add if of_routes => Some((
            "IST0153",
            "The ADD operation will be ignored when applyTo is set to ROUTE_CONFIGURATION, or HTTP_ROUTE.",
            "use INSERT_FIRST or MERGE, or a VirtualService",
        )),
        Operation::Remove if of_routes => Some((
            "IST0154",
            "The REMOVE operation will be ignored when applyTo is set to ROUTE_CONFIGURATION, or HTTP_ROUTE.",
            "change the VirtualService that makes the route",
        )),
        Operation::Replace
            if !matches!(patch.apply_to, ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::VirtualHost) =>
        {
            Some(("IST0152", "The REPLACE operation is only valid for HTTP_FILTER and NETWORK_FILTER.", "use MERGE"))
        }
        Operation::Remove | Operation::Replace | Operation::InsertBefore | Operation::InsertAfter => relative(),
        _ => None,
    }
}

/// The filter a patch is about: the name in its value, else the network filter it matches.
fn patched_name(patch: &ConfigPatch) -> String {
    let Some(value) = &patch.patch.value else { return String::new() };
    if let Some(name) = value.0.get("name").and_then(Node::text) {
        return name.to_owned();
    }
    let chain = patch.matches.listener.as_ref().and_then(|listener| listener.filter_chain.as_ref());
    chain.and_then(|chain| chain.filter.as_ref()).map(|filter| filter.name.clone()).unwrap_or_default()
}
