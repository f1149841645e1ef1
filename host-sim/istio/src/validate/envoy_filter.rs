//! `EnvoyFilter`, as far as its own shape goes; whether a patch's value is a message Envoy knows shows when it is applied.

use super::Check;
use crate::{
    problem::Problem,
    resource::{
        envoy_filter::{ApplyTo, ConfigMatch, ConfigPatch, EnvoyFilter, Operation, PatchContext},
        object::Object,
    },
};

const CONNECTION_MANAGER: [&str; 2] =
    ["envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"];

/// What the webhook refuses of an EnvoyFilter.
pub(crate) fn check(object: &Object<EnvoyFilter>, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let spec = &object.spec;
    let mut check = Check { object, problems };
    let both = spec.workload_selector.is_some() && !spec.target_refs.is_empty();
    check.refuse_if(both, "spec", "only one of targetRefs or workloadSelector can be set");
    if let Some(selector) = &spec.workload_selector {
        check.selector("spec.workloadSelector.labels", &selector.labels);
    }
    for (i, patch) in spec.config_patches.iter().enumerate() {
        let path = format!("spec.configPatches[{i}]");
        if patch.matches.context != PatchContext::Waypoint {
            check.patch(&path, patch);
        }
        let replaced = matches!(patch.patch.operation, Operation::Add)
            && matches!(patch.apply_to, ApplyTo::RouteConfiguration | ApplyTo::HttpRoute);
        if replaced {
            let reason = "The ADD operation will be ignored when applyTo is set to ROUTE_CONFIGURATION, or HTTP_ROUTE.";
            warnings.push(object.problem(&format!("{path}.patch.operation"), reason));
        }
    }
}

impl Check<'_, EnvoyFilter> {
    fn patch(&mut self, path: &str, patch: &ConfigPatch) {
        if patch.apply_to == ApplyTo::Invalid {
            return self.refuse(path, "Envoy filter: missing applyTo");
        }
        if patch.patch.operation == Operation::Invalid {
            return self.refuse(&format!("{path}.patch"), "Envoy filter: missing patch operation");
        }
        if patch.patch.operation != Operation::Remove && patch.patch.value.is_none() {
            return self.refuse(&format!("{path}.patch"), "Envoy filter: missing patch value for non-remove operation");
        }
        if let Some(proxy) = patch.matches.proxy.as_ref().filter(|proxy| !proxy.proxy_version.is_empty())
            && super::pattern::regex(&proxy.proxy_version, "proxyVersion").is_err()
        {
            return self
                .refuse(&format!("{path}.match.proxy.proxyVersion"), "Envoy filter: invalid regex for proxy version");
        }
        self.match_fits(&format!("{path}.match"), patch);
    }

    fn match_fits(&mut self, path: &str, patch: &ConfigPatch) {
        let ConfigMatch { listener, route_configuration, cluster, .. } = &patch.matches;
        let given = [listener.is_some(), route_configuration.is_some(), cluster.is_some()];
        if given.iter().filter(|set| **set).count() > 1 {
            return self.refuse(path, "only one of listener, routeConfiguration, cluster can be set");
        }
        let any = given.contains(&true);
        match patch.apply_to {
            ApplyTo::Listener | ApplyTo::FilterChain | ApplyTo::NetworkFilter | ApplyTo::HttpFilter => {
                let reason = "Envoy filter: applyTo for listener class objects cannot have non listener match";
                self.refuse_if(any && listener.is_none(), path, reason);
                self.filter_match(path, patch);
            }
            ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
                let reason =
                    "Envoy filter: applyTo for http route class objects cannot have non route configuration match";
                self.refuse_if(any && route_configuration.is_none(), path, reason);
            }
            ApplyTo::Cluster => {
                let reason = "Envoy filter: applyTo for cluster class objects cannot have non cluster match";
                self.refuse_if(any && cluster.is_none(), path, reason);
            }
            _ => {}
        }
    }

    fn filter_match(&mut self, path: &str, patch: &ConfigPatch) {
        let chain = patch.matches.listener.as_ref().and_then(|listener| listener.filter_chain.as_ref());
        let Some(filter) = chain.and_then(|chain| chain.filter.as_ref()) else { return };
        let path = format!("{path}.listener.filterChain.filter");
        if filter.name.is_empty() {
            return self.refuse(&path, "Envoy filter: filter match has no name to match on");
        }
        let Some(sub_filter) = &filter.sub_filter else { return };
        if patch.apply_to != ApplyTo::HttpFilter {
            return self.refuse(&path, "Envoy filter: subfilter match can be used with applyTo HTTP_FILTER only");
        }
        if !CONNECTION_MANAGER.contains(&filter.name.as_str()) {
            let reason = format!("Envoy filter: subfilter match requires filter match with {}", CONNECTION_MANAGER[0]);
            return self.refuse(&path, reason);
        }
        self.refuse_if(sub_filter.name.is_empty(), &path, "Envoy filter: subfilter match has no name to match on");
    }
}
