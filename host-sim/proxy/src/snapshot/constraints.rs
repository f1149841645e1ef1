//! What Envoy asks of a configuration before it looks at what it means: names that must be there, one of several, what stands last. It refuses the whole
//! for any of it, and so is it refused here; each problem begins with its place.
//!
//! Source: the constraints in the protobuf files of Envoy's API, and its loaders; `tests/tests/bootstrap_refusals.rs` asks Envoy.

use std::collections::HashSet;

use xds::{DiscoveryType, HeaderValueOption, HttpFilterConfig, NetworkFilterConfig};

use crate::route::error::{Errors, Path};

/// All of them that are broken.
pub(super) fn broken(resources: &xds::StaticResources) -> Vec<String> {
    let mut problems = Vec::new();
    let names = resources.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    for (at, one) in resources.clusters.iter().enumerate() {
        problems.extend(found(|errors| cluster(one, &Path::Root.item("clusters", at), errors)));
    }
    for (at, one) in resources.listeners.iter().enumerate() {
        let found = found(|errors| listener(one, &names, errors));
        problems.extend(found.map(|problem| format!("listeners[{at}] \"{}\": {problem}", one.name)));
    }
    problems
}

fn found(look: impl FnOnce(&mut Errors)) -> impl Iterator<Item = String> {
    let mut errors = Errors::default();
    look(&mut errors);
    errors.into_result(()).err().into_iter().flatten().map(|error| error.to_string())
}

fn named(name: &str, at: &Path<'_>, field: &str, errors: &mut Errors) {
    if name.is_empty() {
        errors.refuse(&at.field(field), "must not be empty");
    }
}

fn cluster(cluster: &xds::Cluster, at: &Path<'_>, errors: &mut Errors) {
    named(&cluster.name, at, "name", errors);
    if cluster.connect_timeout.is_some_and(|timeout| timeout.0.is_zero()) {
        errors.refuse(&at.field("connect_timeout"), "must be more than 0s");
    }
    let Some(assignment) = &cluster.load_assignment else { return };
    let at = at.field("load_assignment");
    named(&assignment.cluster_name, &at, "cluster_name", errors);
    let resolves = matches!(cluster.r#type, Some(DiscoveryType::StrictDns | DiscoveryType::LogicalDns));
    if resolves || cluster.cluster_type.is_some() {
        return;
    }
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let sockets = endpoints.filter_map(|one| one.endpoint.as_ref()?.address.as_ref()?.socket_address.as_ref());
    for socket in sockets.filter(|socket| socket.address.parse::<std::net::IpAddr>().is_err()) {
        let address = &socket.address;
        let why = "only a STRICT_DNS or LOGICAL_DNS cluster resolves names";
        errors.refuse(&at, format_args!("malformed IP address \"{address}\": {why}"));
    }
}

fn listener(listener: &xds::Listener, clusters: &HashSet<&str>, errors: &mut Errors) {
    let chainless = listener.filter_chains.is_empty() && listener.default_filter_chain.is_none();
    if chainless && listener.api_listener.is_none() {
        errors.refuse(&Path::Root.field("filter_chains"), "a listener needs one");
    }
    for (n, one) in listener.filter_chains.iter().enumerate() {
        chain(one, clusters, &Path::Root.item("filter_chains", n), errors);
    }
    if let Some(one) = &listener.default_filter_chain {
        chain(one, clusters, &Path::Root.field("default_filter_chain"), errors);
    }
}

/// Where the first filter is that must be the last and is not.
fn too_early<T>(filters: &[T], is_last: impl Fn(&T) -> bool) -> Option<usize> {
    filters.iter().position(is_last).filter(|at| at + 1 < filters.len())
}

fn chain(chain: &xds::FilterChain, clusters: &HashSet<&str>, at: &Path<'_>, errors: &mut Errors) {
    let ends = |filter: &xds::NetworkFilter| {
        matches!(
            filter.typed_config,
            Some(NetworkFilterConfig::HttpConnectionManager(_) | NetworkFilterConfig::TcpProxy(_))
        )
    };
    if let Some(n) = too_early(&chain.filters, ends) {
        errors.refuse(&at.item("filters", n), "takes all there is: it must be the last filter");
    }
    for (n, filter) in chain.filters.iter().enumerate() {
        let at = at.item("filters", n);
        named(&filter.name, &at, "name", errors);
        if let Some(NetworkFilterConfig::HttpConnectionManager(one)) = &filter.typed_config {
            manager(one, clusters, &at, errors);
        }
    }
}

fn manager(manager: &xds::HttpConnectionManager, clusters: &HashSet<&str>, at: &Path<'_>, errors: &mut Errors) {
    named(&manager.stat_prefix, at, "stat_prefix", errors);
    let router = |filter: &xds::HttpFilter| matches!(filter.typed_config, Some(HttpFilterConfig::Router(_)));
    if let Some(n) = too_early(&manager.http_filters, router) {
        errors.refuse(&at.item("http_filters", n), "is the router: it must be the last filter");
    }
    for (n, filter) in manager.http_filters.iter().enumerate() {
        named(&filter.name, &at.item("http_filters", n), "name", errors);
    }
    if let Some(one) = &manager.route_config {
        routes(one, clusters, &at.field("route_config"), errors);
    }
}

fn routes(routes: &xds::RouteConfiguration, clusters: &HashSet<&str>, at: &Path<'_>, errors: &mut Errors) {
    let known = (routes.validate_clusters != Some(false)).then_some(clusters);
    headers(&routes.request_headers_to_add, &routes.response_headers_to_add, at, errors);
    mirrors(&routes.request_mirror_policies, known, at, errors);
    for (n, host) in routes.virtual_hosts.iter().enumerate() {
        let at = at.item("virtual_hosts", n);
        named(&host.name, &at, "name", errors);
        if host.domains.is_empty() {
            errors.refuse(&at.field("domains"), "a virtual host needs one");
        }
        headers(&host.request_headers_to_add, &host.response_headers_to_add, &at, errors);
        mirrors(&host.request_mirror_policies, known, &at, errors);
        for (n, one) in host.routes.iter().enumerate() {
            route(one, known, &at.item("routes", n), errors);
        }
    }
}

fn route(route: &xds::Route, known: Option<&HashSet<&str>>, at: &Path<'_>, errors: &mut Errors) {
    if route.r#match.runtime_fraction.as_ref().is_some_and(|fraction| fraction.default_value.is_none()) {
        errors.refuse(&at.field("match.runtime_fraction.default_value"), "is required");
    }
    let actions = [route.route.is_some(), route.redirect.is_some(), route.direct_response.is_some()];
    if actions.iter().filter(|action| **action).count() > 1 {
        errors.refuse(&at.field("action"), "only one of route, redirect and direct_response can be set");
    }
    headers(&route.request_headers_to_add, &route.response_headers_to_add, at, errors);
    if route.redirect.as_ref().is_some_and(|one| one.https_redirect.is_some() && one.scheme_redirect.is_some()) {
        errors.refuse(&at.field("redirect"), "only one of https_redirect and scheme_redirect can be set");
    }
    let Some(action) = &route.route else { return };
    let at = at.field("route");
    if let Some(cluster) = &action.cluster {
        named(cluster, &at, "cluster", errors);
        is_known(cluster, known, &at, "cluster", errors);
    }
    for (n, one) in action.weighted_clusters.iter().flat_map(|weighted| &weighted.clusters).enumerate() {
        let at = at.item("weighted_clusters.clusters", n);
        is_known(&one.name, known, &at, "name", errors);
        headers(&one.request_headers_to_add, &one.response_headers_to_add, &at, errors);
    }
    mirrors(&action.request_mirror_policies, known, &at, errors);
}

fn mirrors(mirrors: &[xds::RequestMirrorPolicy], known: Option<&HashSet<&str>>, at: &Path<'_>, errors: &mut Errors) {
    for (n, mirror) in mirrors.iter().enumerate() {
        let at = at.item("request_mirror_policies", n);
        if mirror.cluster.is_empty() && mirror.cluster_header.is_empty() {
            errors.refuse(&at.field("cluster"), "a mirror needs cluster or cluster_header");
        }
        is_known(&mirror.cluster, known, &at, "cluster", errors);
    }
}

/// Envoy looks for the clusters of routes that come with their listener, unless told not to.
fn is_known(cluster: &str, known: Option<&HashSet<&str>>, at: &Path<'_>, field: &str, errors: &mut Errors) {
    if !cluster.is_empty() && known.is_some_and(|known| !known.contains(cluster)) {
        let why = format_args!("unknown cluster \"{cluster}\"; `validate_clusters: false` lets it pass");
        errors.refuse(&at.field(field), why);
    }
}

fn headers(request: &[HeaderValueOption], response: &[HeaderValueOption], at: &Path<'_>, errors: &mut Errors) {
    for (field, list) in [("request_headers_to_add", request), ("response_headers_to_add", response)] {
        for (n, option) in list.iter().enumerate() {
            let value = option.header.as_ref().map_or("", |header| header.value.as_str());
            if value.contains(['\0', '\r', '\n']) {
                errors.refuse(&at.item(field, n).field("header.value"), "must not hold CR, LF or NUL");
            }
        }
    }
}
