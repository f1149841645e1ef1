//! Conditions on headers: who may set them (`SLU0110`), who overwrites them (`SLU0111`), and how they are compared (`SLU0107`, `SLU0108`).

use std::collections::BTreeSet;

use super::{example, table::Table};
use crate::{
    analysis::{Finding, Level},
    manifest::node::{Node, Value},
    resource::{Resources, claim, virtual_service::StringMatch},
};

/// Headers that say what a client wants or is, and that no gateway strips.
const CLIENTS_OWN: [&str; 20] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "if-match",
    "if-none-match",
    "origin",
    "range",
    "referer",
    "te",
    "upgrade",
    "user-agent",
    "x-requested-with",
];

/// `SLU0110`: a header decides which rule takes a request, and nothing among the manifests removes what a client sends in it.
pub(super) fn steer(resources: &Resources, table: &Table<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    let order = table.order();
    for row in &table.rows {
        for (name, condition) in &row.matched.headers {
            let lower = name.to_lowercase();
            let owned = CLIENTS_OWN.contains(&lower.as_str())
                || lower.starts_with([':', '@'])
                || lower.starts_with("sec-")
                || lower.starts_with("x-forwarded-");
            if owned || is_handled(resources, &lower) {
                continue;
            }
            let Some(with) = table.samples(row).into_iter().next() else { continue };
            let mut without = with.clone();
            without.headers.remove(&lower);
            let steered = order.first_match(&with).is_some_and(|first| first.same_rule(row))
                && order
                    .first_match(&without)
                    .is_some_and(|other| !other.same_rule(row) && other.acts_differently(row));
            if !steered || !row.is_new(&mut seen) {
                continue;
            }
            let value = example::of(condition).into_iter().next().unwrap_or_default();
            let message = format!(
                "any client that sends {name}: {value} is taken by this rule: nothing in these manifests removes the header from requests"
            );
            let fix = format!(
                "let a filter set {name} for those who may have it and remove it otherwise (header-match does both), or match something a client cannot choose"
            );
            let field = format!("{}.headers.{name}", row.field);
            let mut finding = Finding::new("SLU0110", Level::Warning, row.object, &field, message).fix(fix);
            finding.witness = Some(table.witness(&with, row.taken()));
            found.push(finding);
        }
    }
}

/// A plugin or a patch speaks of the header: it sets or removes it, one may hope.
fn is_handled(resources: &Resources, name: &str) -> bool {
    let plugins = resources.wasm_plugins.iter().filter_map(|object| object.spec.plugin_config.as_ref());
    let extensions =
        resources.traffic_extensions.iter().filter_map(|object| object.spec.wasm.as_ref()?.plugin_config.as_ref());
    let patches = resources
        .envoy_filters
        .iter()
        .flat_map(|object| &object.spec.config_patches)
        .filter_map(|patch| patch.patch.value.as_ref());
    let destination = "x-sluice-destination";
    plugins
        .chain(extensions)
        .chain(patches)
        .any(|value| speaks_of(&value.0, name) || (name == destination && speaks_of(&value.0, "destinations")))
}

fn speaks_of(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Text(text) => text.to_lowercase().contains(name),
        Value::List(items) => items.iter().any(|item| speaks_of(item, name)),
        Value::Map(entries) => {
            entries.iter().any(|entry| entry.key.to_lowercase() == name || speaks_of(&entry.value, name))
        }
        _ => false,
    }
}

/// `SLU0107`: a condition on the whole `cookie` header fails as soon as there is a second cookie.
pub(super) fn cookies(table: &Table<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for row in &table.rows {
        let Some((name, condition)) = row.matched.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        else {
            continue;
        };
        let Some(sample) = table.samples(row).into_iter().next() else { continue };
        let Some(value) = sample.headers.get("cookie").cloned() else { continue };
        let among_others = format!("a=1; {value}; b=2");
        if example::fits(condition, &among_others) || !row.is_new(&mut seen) {
            continue;
        }
        let mut with_others = sample;
        with_others.headers.insert("cookie".to_owned(), among_others);
        let message = format!(
            "matches the cookie {value:?} only where it is the sole one: a browser sends all its cookies in one header"
        );
        let fix =
            "use a regex such as \"^(.*;\\\\s*)?name=value(;.*)?$\", or the filters' cookies: {name: {exact: value}}";
        let mut finding =
            Finding::new("SLU0107", Level::Warning, row.object, &format!("{}.headers.{name}", row.field), message)
                .fix(fix);
        finding.witness = Some(table.witness(&with_others, row.not_taken()));
        found.push(finding);
    }
}

/// `SLU0108`: an exact authority is compared byte by byte, port and case included.
pub(super) fn authorities(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        for (i, route) in object.spec.http.iter().enumerate() {
            for (j, matched) in route.matches.iter().enumerate() {
                let Some(exact) = matched.authority.as_ref().and_then(|authority| authority.exact.as_ref()) else {
                    continue;
                };
                let field = format!("spec.http[{i}].match[{j}].authority.exact");
                let (message, fix) = if exact.bytes().any(|b| b.is_ascii_uppercase()) {
                    let message = format!(
                        "compared byte by byte: clients send {:?}, which is not {exact:?}",
                        exact.to_lowercase()
                    );
                    (message, "write it in lower case".to_owned())
                } else if !exact.contains(':') && !exact.is_empty() {
                    let message = format!("a client that sends a port, {exact}:8080, does not match {exact:?}");
                    (
                        message,
                        format!(
                            "use regex: \"{}(:[0-9]+)?\", or a VirtualService of its own for the host",
                            exact.replace('.', r"\\.")
                        ),
                    )
                } else {
                    continue;
                };
                found.push(Finding::new("SLU0108", Level::Info, object, &field, message).fix(fix));
            }
        }
    }
}

/// `SLU0111`: headers that the gateway writes or removes before any rule sees them.
pub(super) fn owned_by_the_proxy(resources: &Resources, found: &mut Vec<Finding>) {
    for object in
        resources.virtual_services.iter().filter(|object| object.spec.gateways.iter().any(|gateway| gateway != "mesh"))
    {
        for (i, route) in object.spec.http.iter().enumerate() {
            for (j, matched) in route.matches.iter().enumerate() {
                for (name, condition) in &matched.headers {
                    if let Some(reason) = written_by_the_gateway(&name.to_lowercase(), condition) {
                        let field = format!("spec.http[{i}].match[{j}].headers.{name}");
                        let fix = "match a header that the gateway leaves alone, or the client's address in a filter (clientIp)";
                        found.push(Finding::new("SLU0111", Level::Warning, object, &field, reason).fix(fix));
                    }
                }
            }
        }
    }
}

fn written_by_the_gateway(name: &str, condition: &StringMatch) -> Option<String> {
    if claim::path(name).is_some() {
        return None;
    }
    match name {
        "x-forwarded-for" if condition.exact.is_some() => {
            Some("the gateway appends the address of its peer to x-forwarded-for before it looks for a rule: an exact value never matches".to_owned())
        }
        "x-request-id" if condition.exact.is_some() => {
            Some("the gateway writes a fresh x-request-id before it looks for a rule: an exact value never matches".to_owned())
        }
        "x-envoy-internal" | "x-envoy-external-address" | "x-envoy-upstream-rq-timeout-ms" | "x-envoy-upstream-rq-per-try-timeout-ms"
        | "x-envoy-expected-rq-timeout-ms" | "x-envoy-max-retries" | "x-envoy-retry-on" | "x-envoy-retry-grpc-on" | "x-envoy-decorator-operation"
        | "x-envoy-force-trace" | "x-envoy-ip-tags" | "x-envoy-hedge-on-per-try-timeout" => {
            Some(format!("the gateway removes or overwrites {name} of outside requests before it looks for a rule"))
        }
        _ => None,
    }
}
