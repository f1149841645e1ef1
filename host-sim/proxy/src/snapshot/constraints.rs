//! What Envoy asks of a configuration before it looks at what it means: names that must be there, one of several, what stands last. It refuses the whole
//! for any of it, and so is it refused here; each problem begins with its place.
//!
//! Source: the constraints in the protobuf files of Envoy's API, and its loaders; `tests/tests/bootstrap_refusals.rs` asks Envoy.

use std::collections::HashSet;

use xds::{DiscoveryType, HeaderValueOption, HttpFilterConfig, NetworkFilterConfig};

/// All of them that are broken.
pub(super) fn broken(resources: &xds::StaticResources) -> Vec<String> {
    let mut found = Found::default();
    let names = resources.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    for (at, cluster) in resources.clusters.iter().enumerate() {
        found.within(&format!("clusters[{at}]"), |found| found.cluster(cluster));
    }
    for (at, listener) in resources.listeners.iter().enumerate() {
        found.within(&format!("listeners[{at}] \"{}\": ", listener.name), |found| found.listener(listener, &names));
    }
    found.problems
}

#[derive(Default)]
struct Found {
    place: String,
    problems: Vec<String>,
}

impl Found {
    fn within(&mut self, step: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.place.len();
        if !self.place.is_empty() && !self.place.ends_with(": ") {
            self.place.push('.');
        }
        self.place.push_str(step);
        inside(self);
        self.place.truncate(length);
    }

    fn each<T>(&mut self, field: &str, items: &[T], mut look: impl FnMut(&mut Self, &T)) {
        for (at, item) in items.iter().enumerate() {
            self.within(&format!("{field}[{at}]"), |found| look(found, item));
        }
    }

    fn refuse_if(&mut self, broken: bool, field: &str, why: &str) {
        if broken {
            self.within(field, |found| found.problems.push(format!("{}: {why}", found.place)));
        }
    }

    fn named(&mut self, field: &str, name: &str) {
        self.refuse_if(name.is_empty(), field, "must not be empty");
    }

    fn cluster(&mut self, cluster: &xds::Cluster) {
        self.named("name", &cluster.name);
        let none = cluster.connect_timeout.is_some_and(|timeout| timeout.0.is_zero());
        self.refuse_if(none, "connect_timeout", "must be more than 0s");
        let Some(assignment) = &cluster.load_assignment else { return };
        self.named("load_assignment.cluster_name", &assignment.cluster_name);
        let found_by_name = matches!(cluster.r#type, Some(DiscoveryType::StrictDns | DiscoveryType::LogicalDns))
            || cluster.cluster_type.is_some();
        for endpoint in assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints) {
            let socket =
                endpoint.endpoint.as_ref().and_then(|endpoint| endpoint.address.as_ref()?.socket_address.as_ref());
            if let Some(socket) =
                socket.filter(|socket| !found_by_name && socket.address.parse::<std::net::IpAddr>().is_err())
            {
                let why = format!(
                    "malformed IP address \"{}\": only a STRICT_DNS or LOGICAL_DNS cluster resolves names",
                    socket.address
                );
                self.refuse_if(true, "load_assignment", &why);
            }
        }
    }

    fn listener(&mut self, listener: &xds::Listener, clusters: &HashSet<&str>) {
        let chainless = listener.filter_chains.is_empty() && listener.default_filter_chain.is_none();
        self.refuse_if(chainless && listener.api_listener.is_none(), "filter_chains", "a listener needs one");
        self.each("filter_chains", &listener.filter_chains, |found, chain| found.chain(chain, clusters));
        if let Some(chain) = &listener.default_filter_chain {
            self.within("default_filter_chain", |found| found.chain(chain, clusters));
        }
    }

    fn chain(&mut self, chain: &xds::FilterChain, clusters: &HashSet<&str>) {
        let ends = |filter: &xds::NetworkFilter| {
            matches!(
                filter.typed_config,
                Some(NetworkFilterConfig::HttpConnectionManager(_) | NetworkFilterConfig::TcpProxy(_))
            )
        };
        let first_end = chain.filters.iter().position(ends);
        let more = first_end.is_some_and(|at| at + 1 < chain.filters.len());
        self.refuse_if(
            more,
            &format!("filters[{}]", first_end.unwrap_or_default()),
            "takes all there is: it must be the last filter",
        );
        self.each("filters", &chain.filters, |found, filter| {
            found.named("name", &filter.name);
            if let Some(NetworkFilterConfig::HttpConnectionManager(manager)) = &filter.typed_config {
                found.manager(manager, clusters);
            }
        });
    }

    fn manager(&mut self, manager: &xds::HttpConnectionManager, clusters: &HashSet<&str>) {
        self.named("stat_prefix", &manager.stat_prefix);
        let router = |filter: &xds::HttpFilter| matches!(filter.typed_config, Some(HttpFilterConfig::Router(_)));
        let first = manager.http_filters.iter().position(router);
        let more = first.is_some_and(|at| at + 1 < manager.http_filters.len());
        self.refuse_if(
            more,
            &format!("http_filters[{}]", first.unwrap_or_default()),
            "is the router: it must be the last filter",
        );
        self.each("http_filters", &manager.http_filters, |found, filter| found.named("name", &filter.name));
        if let Some(routes) = &manager.route_config {
            self.within("route_config", |found| found.routes(routes, clusters));
        }
    }

    fn routes(&mut self, routes: &xds::RouteConfiguration, clusters: &HashSet<&str>) {
        let known = (routes.validate_clusters != Some(false)).then_some(clusters);
        self.headers(&routes.request_headers_to_add, &routes.response_headers_to_add);
        self.mirrors(&routes.request_mirror_policies, known);
        self.each("virtual_hosts", &routes.virtual_hosts, |found, host| {
            found.named("name", &host.name);
            found.refuse_if(host.domains.is_empty(), "domains", "a virtual host needs one");
            found.headers(&host.request_headers_to_add, &host.response_headers_to_add);
            found.mirrors(&host.request_mirror_policies, known);
            found.each("routes", &host.routes, |found, route| found.route(route, known));
        });
    }

    fn route(&mut self, route: &xds::Route, known: Option<&HashSet<&str>>) {
        let fraction = route.r#match.runtime_fraction.as_ref();
        let open = fraction.is_some_and(|fraction| fraction.default_value.is_none());
        self.refuse_if(open, "match.runtime_fraction.default_value", "is required");
        let actions = [route.route.is_some(), route.redirect.is_some(), route.direct_response.is_some()];
        let several = actions.iter().filter(|action| **action).count() > 1;
        self.refuse_if(several, "action", "only one of route, redirect and direct_response can be set");
        self.headers(&route.request_headers_to_add, &route.response_headers_to_add);
        if let Some(redirect) = &route.redirect {
            let two = redirect.https_redirect.is_some() && redirect.scheme_redirect.is_some();
            self.refuse_if(two, "redirect", "only one of https_redirect and scheme_redirect can be set");
        }
        let Some(action) = &route.route else { return };
        self.within("route", |found| {
            if let Some(cluster) = &action.cluster {
                found.named("cluster", cluster);
                found.known("cluster", cluster, known);
            }
            if let Some(weighted) = &action.weighted_clusters {
                found.each("weighted_clusters.clusters", &weighted.clusters, |found, one| {
                    found.known("name", &one.name, known);
                    found.headers(&one.request_headers_to_add, &one.response_headers_to_add);
                });
            }
            found.mirrors(&action.request_mirror_policies, known);
        });
    }

    fn mirrors(&mut self, mirrors: &[xds::RequestMirrorPolicy], known: Option<&HashSet<&str>>) {
        self.each("request_mirror_policies", mirrors, |found, mirror| {
            let nowhere = mirror.cluster.is_empty() && mirror.cluster_header.is_empty();
            found.refuse_if(nowhere, "cluster", "a mirror needs cluster or cluster_header");
            found.known("cluster", &mirror.cluster, known);
        });
    }

    /// Envoy looks for the clusters of routes that come with their listener, unless told not to.
    fn known(&mut self, field: &str, cluster: &str, known: Option<&HashSet<&str>>) {
        let missing = !cluster.is_empty() && known.is_some_and(|known| !known.contains(cluster));
        self.refuse_if(
            missing,
            field,
            &format!("unknown cluster \"{cluster}\"; `validate_clusters: false` lets it pass"),
        );
    }

    fn headers(&mut self, request: &[HeaderValueOption], response: &[HeaderValueOption]) {
        for (field, list) in [("request_headers_to_add", request), ("response_headers_to_add", response)] {
            self.each(field, list, |found, option| {
                let value = option.header.as_ref().map_or("", |header| header.value.as_str());
                found.refuse_if(value.contains(['\0', '\r', '\n']), "header.value", "must not hold CR, LF or NUL");
            });
        }
    }
}
