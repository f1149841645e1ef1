//! What `istioctl analyze` says: its analyzers, under its codes, with its severities and words.
//!
//! With files alone istioctl leaves out every analyzer that wants to see Services, Namespaces, Nodes, Pods or Secrets, for it cannot know which exist.
//! We do the same for [`Scope::Files`]; [`Scope::WholeCluster`] runs all of them on what the files hold.
//! Source: `pkg/config/analysis/analyzers` of Istio 1.32.

mod annotations;
mod destination_rules;
pub(super) mod destinations;
mod envoy_filter_warnings;
mod envoy_filters;
mod gateways;
mod mesh_hosts;
mod schema;
mod service_entries;
mod services;
mod telemetry;
pub(super) mod tokens;
mod unreachable;
mod warnings;
mod workloads;

use std::collections::BTreeMap;

use super::{Finding, Scope};
use crate::{Problem, resource::Resources};

/// All analyzers that run in `scope`.
pub(super) fn all(resources: &Resources, problems: &[Problem], scope: Scope) -> Vec<Finding> {
    let mut found = schema::refusals(problems);
    for analyzer in [
        schema::warnings,
        unreachable::rules,
        gateways::of_virtual_services,
        gateways::shared_certificates,
        destinations::subsets,
        destination_rules::unverified_servers,
        mesh_hosts::conflicts,
        service_entries::addresses,
        service_entries::conflicting_protocols,
        envoy_filters::operations,
        telemetry::providers,
        telemetry::without_selector,
        tokens::unrestricted_key_fetch,
        schema::deprecated,
    ] {
        analyzer(resources, &mut found);
    }
    if scope == Scope::WholeCluster {
        for analyzer in [
            annotations::of_kubernetes,
            destinations::hosts,
            destination_rules::selected_pods,
            gateways::selected_workloads,
            gateways::credentials,
            gateways::conflicts,
            services::port_names,
            services::of_deployments,
            workloads::user_ids,
            workloads::conditions,
            telemetry::selectors,
            tokens::claims_without_authentication,
        ] {
            analyzer(resources, &mut found);
        }
    }
    found
}

/// Kubernetes' equality selector: every label it asks for is there. An empty one takes everything.
fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A selector as Kubernetes prints it.
fn selector_text(selector: &BTreeMap<String, String>) -> String {
    selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// A Go slice of strings as `%v` prints it.
fn list_text(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

/// The part of the control plane itself, which istioctl leaves alone.
fn is_control_plane(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key("istio") || labels.get("release").is_some_and(|release| release == "istio")
}

/// `name` as a resource's name: `namespace/name`, or a name in `namespace`.
fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("{namespace}/{name}") }
}
