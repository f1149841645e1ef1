//! Route tables: for each route name the virtual hosts that its servers and the VirtualServices bound to them make.

mod action;
mod cors;
mod fault;
mod hash;
mod headers;
mod matching;
mod redirect;
mod retry;

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

pub(super) use matching::route_match;

use xds::{Decorator, Route, RouteConfiguration, TlsRequirementType, VirtualHost};

use super::{
    Context,
    gateways::BoundServer,
    rules::{BoundVirtualService, Place, Rule},
};
use crate::resource::{
    host,
    mesh::HeaderSwitch,
    virtual_service::{Destination, HttpMatch},
};

/// Istio raises Envoy's limit of 4 KiB.
const MAX_DIRECT_RESPONSE_BODY: u32 = 1024 * 1024;

/// The route tables of all HTTP servers, by name.
pub(crate) fn tables(context: &Context<'_>) -> BTreeMap<String, RouteConfiguration> {
    let tables = context.gateways.by_route_name.iter().filter(|(name, _)| !name.is_empty());
    tables.map(|(name, servers)| (name.clone(), table(context, name, servers))).collect()
}

fn table(context: &Context<'_>, name: &str, servers: &[BoundServer<'_>]) -> RouteConfiguration {
    let mut hosts = Hosts::default();
    for server in servers {
        hosts.add_server(context, server);
    }
    let fallback_port = servers.first().map_or(0, |bound| bound.server.port.number);
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts.finish(fallback_port),
        validate_clusters: Some(false),
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: Some(MAX_DIRECT_RESPONSE_BODY),
        ..RouteConfiguration::default()
    }
}

/// Virtual hosts under construction. Routes of one VirtualService are one run, shared by all hosts that it binds.
#[derive(Default)]
struct Hosts {
    hosts: Vec<Host>,
    /// The place of each by its domain.
    places: HashMap<String, usize>,
    /// The run of a VirtualService on a Gateway, by their names.
    known: BTreeMap<(String, String), Rc<Vec<Route>>>,
}

struct Host {
    domain: String,
    port: u32,
    runs: Vec<Rc<Vec<Route>>>,
    require_tls: bool,
    /// The upstream is told which attempt it sees.
    count_attempts: bool,
}

impl Hosts {
    fn add_server(&mut self, context: &Context<'_>, bound: &BoundServer<'_>) {
        let redirects = bound.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
        let port = bound.server.port.number;
        let gateway = bound.gateway.full_name();
        for service in context.virtual_services_of(&gateway) {
            let own = host::hosts_for_namespace(&bound.hosts, &service.object.metadata.namespace);
            let shared = host::intersection(&own, &service.hosts);
            if shared.is_empty() {
                continue;
            }
            let maker =
                VirtualServiceRoutes { context, service, gateway: &gateway, port, is_tls: bound.server.tls.is_some() };
            let Some(run) = self.run(&maker) else { continue };
            for host in shared {
                let host = self.host(context, &host.to_lowercase(), port);
                host.runs.push(run.clone());
                host.require_tls |= redirects;
            }
        }
        if redirects {
            for host in &bound.hosts {
                self.host(context, &host.to_lowercase(), port).require_tls = true;
            }
        }
    }

    /// `None` when no rule applies here.
    fn run(&mut self, maker: &VirtualServiceRoutes<'_, '_>) -> Option<Rc<Vec<Route>>> {
        let key = (maker.gateway.to_owned(), maker.service.object.full_name());
        if let Some(run) = self.known.get(&key) {
            return Some(run.clone());
        }
        let routes = maker.build();
        if routes.is_empty() {
            return None;
        }
        let run = Rc::new(routes);
        self.known.insert(key, run.clone());
        Some(run)
    }

    fn host(&mut self, context: &Context<'_>, domain: &str, port: u32) -> &mut Host {
        let index = self.places.get(domain).copied().unwrap_or(self.hosts.len());
        if index == self.hosts.len() {
            self.places.insert(domain.to_owned(), index);
            let headers = context.proxy_headers();
            let count_attempts =
                !headers.and_then(|headers| headers.attempt_count.as_ref()).is_some_and(HeaderSwitch::is_disabled);
            self.hosts.push(Host {
                domain: domain.to_owned(),
                port,
                runs: Vec::new(),
                require_tls: false,
                count_attempts,
            });
        }
        #[allow(clippy::indexing_slicing, reason = "the index was found or just filled")]
        &mut self.hosts[index]
    }

    /// Hosts with the same routes become one virtual host under the most specific name; the rest are sorted by name.
    fn finish(mut self, fallback_port: u32) -> Vec<VirtualHost> {
        if self.hosts.is_empty() {
            return vec![VirtualHost {
                name: host_port("blackhole", fallback_port),
                domains: vec!["*".into()],
                ..VirtualHost::default()
            }];
        }
        self.hosts.sort_by(|a, b| host::more_specific(&a.domain, &b.domain));
        let mut groups: Vec<(Host, Vec<String>)> = Vec::new();
        let mut last_with: HashMap<Vec<*const Vec<Route>>, usize> = HashMap::new();
        for host in self.hosts {
            let runs = host.runs.iter().map(Rc::as_ptr).collect();
            let same_routes = last_with.get(&runs).and_then(|at| groups.get_mut(*at));
            match same_routes.filter(|(first, _)| first.require_tls == host.require_tls) {
                Some((_, domains)) => domains.push(host.domain),
                None => {
                    last_with.insert(runs, groups.len());
                    let domains = vec![host.domain.clone()];
                    groups.push((host, domains));
                }
            }
        }
        // From here on hosts alone hold the runs, and the last one that does takes it.
        self.known.clear();
        let virtual_host = |(host, domains): (Host, Vec<String>)| VirtualHost {
            name: host_port(&host.domain, host.port),
            domains,
            routes: catch_alls_last(joined(host.runs)),
            require_tls: if host.require_tls { TlsRequirementType::All } else { TlsRequirementType::None },
            include_request_attempt_count: host.count_attempts,
            ..VirtualHost::default()
        };
        let mut finished: Vec<_> = groups.into_iter().map(virtual_host).collect();
        finished.sort_by(|a, b| a.name.cmp(&b.name));
        finished
    }
}

/// The runs one behind the other.
fn joined(runs: Vec<Rc<Vec<Route>>>) -> Vec<Route> {
    let mut runs = runs.into_iter().map(Rc::unwrap_or_clone);
    let mut routes = runs.next().unwrap_or_default();
    runs.for_each(|run| routes.extend(run));
    routes
}

/// `host:port`, an IPv6 address in brackets.
fn host_port(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Routes that take everything go to the end, in their order.
fn catch_alls_last(mut routes: Vec<Route>) -> Vec<Route> {
    let last: Vec<_> = routes.extract_if(.., |route| is_catch_all(route)).collect();
    routes.extend(last);
    routes
}

/// `prefix: /` or regex `.*` without any other condition.
fn is_catch_all(route: &Route) -> bool {
    let matched = &route.r#match;
    let any_path =
        matched.prefix.as_deref() == Some("/") || matched.safe_regex.as_ref().is_some_and(|regex| regex.regex == ".*");
    any_path && matched.headers.is_empty() && matched.query_parameters.is_empty() && matched.dynamic_metadata.is_empty()
}

/// The routes of one VirtualService on one port of one gateway.
struct VirtualServiceRoutes<'a, 'c> {
    context: &'c Context<'a>,
    service: &'c BoundVirtualService<'a>,
    gateway: &'c str,
    port: u32,
    is_tls: bool,
}

impl VirtualServiceRoutes<'_, '_> {
    /// One route per match entry, up to and including the first that takes everything: nothing after it could be reached.
    fn build(&self) -> Vec<Route> {
        let entries = self.service.http.iter().map(|rule| rule.route.matches.len().max(1));
        let mut routes: Vec<Route> = Vec::with_capacity(entries.sum());
        for rule in &self.service.http {
            if rule.route.matches.is_empty() {
                routes.push(self.route(rule, None, rule.place));
                return routes;
            }
            for (matched, place) in rule.route.matches.iter().zip(&rule.match_places) {
                if !self.applies(matched) {
                    continue;
                }
                let route = self.route(rule, Some(matched), *place);
                let last = is_catch_all(&route);
                routes.push(route);
                if last {
                    return routes;
                }
            }
        }
        routes
    }

    /// Conditions on where the route is for rather than on the request: port, gateway, source workload.
    fn applies(&self, matched: &HttpMatch) -> bool {
        let node = &self.context.node;
        if matched.port != 0 && matched.port != self.port {
            return false;
        }
        if !matched.gateways.is_empty() {
            return matched.gateways.iter().any(|gateway| gateway == self.gateway);
        }
        super::registry::is_subset(&matched.source_labels, &node.labels)
            && (matched.source_namespace.is_empty() || matched.source_namespace == node.namespace)
    }

    fn route(&self, rule: &Rule<'_>, matched: Option<&HttpMatch>, place: Place<'_>) -> Route {
        let http = &rule.route;
        let mut route = Route {
            name: match matched.filter(|matched| !matched.name.is_empty()) {
                Some(matched) => format!("{}.{}", http.name, matched.name),
                None => http.name.clone(),
            },
            r#match: matching::route_match(matched),
            metadata: Some(super::origin::metadata(rule, place)),
            stat_prefix: matched.map(|matched| matched.stat_prefix.clone()).unwrap_or_default(),
            ..Route::default()
        };
        let operations = http.headers.as_ref().map(headers::Operations::new).unwrap_or_default();
        operations.request.apply(&mut route.request_headers_to_add, &mut route.request_headers_to_remove);
        operations.response.apply(&mut route.response_headers_to_add, &mut route.response_headers_to_remove);
        if let Some(redirect) = &http.redirect {
            route.redirect = redirect::action(redirect, self.port, self.is_tls).map(Box::new);
        } else if let Some(response) = &http.direct_response {
            route.direct_response = Some(Box::new(redirect::direct_response(response)));
        } else {
            self.forward(&mut route, http, operations.authority);
        }
        route.decorator = Some(Decorator { operation: self.operation(&route), ..Decorator::default() });
        if let Some(fault) = &http.fault {
            route.typed_per_filter_config.insert("envoy.filters.http.fault".into(), fault::config(fault));
        }
        if let Some(policy) = &http.cors_policy {
            route.typed_per_filter_config.insert("envoy.filters.http.cors".into(), cors::config(policy));
        }
        route
    }

    /// The name that traces show: `host:port/path` of the one destination, else of the VirtualService.
    fn operation(&self, route: &Route) -> String {
        let matched = &route.r#match;
        let path = match (&matched.prefix, &matched.path, &matched.safe_regex) {
            (Some(prefix), _, _) => format!("{prefix}*"),
            (_, Some(path), _) => path.clone(),
            (_, _, Some(regex)) => regex.regex.clone(),
            _ => "/*".to_owned(),
        };
        let cluster = route.route.as_ref().and_then(|action| action.cluster.as_deref()).unwrap_or_default();
        let parts: Vec<_> = cluster.split('|').collect();
        match parts.as_slice() {
            [_, port, _, host] => format!("{host}:{port}{path}"),
            _ => format!("{}:{}{path}", self.service.object.metadata.name, self.port),
        }
    }

    /// `outbound|port|subset|host`; the port is the destination's, else the service's only one, else the listener's.
    fn cluster(&self, destination: &Destination) -> String {
        self.context.cluster_name(destination, self.port)
    }
}
