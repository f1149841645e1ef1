//! The decision: virtual host, rule, destination.

use std::sync::Arc;

use bytes::Bytes;
use policy::split;

use super::entry::{Action, Clusters, Destination, RequireTls, RouteEntry, VirtualHostEntry, Weighted};
use super::matching::Shown;
use super::trail::{RuleStep, SplitStep, Trail, VirtualHostStep};
use super::{RouteTable, VirtualHost, split_port};
use crate::edge::ConnectionInfo;
use crate::headers;
use crate::local_reply::{Author, LocalReply};

/// A request, as far as routing looks at it.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// Its headers, after the edge has been over them.
    pub headers: &'a [(Bytes, Bytes)],
    /// The stream's random number: for shares of a route, weighted clusters and mirrors. It stays the same when a route is chosen anew.
    pub random: u64,
    /// The connection it came on.
    pub connection: &'a ConnectionInfo,
}

/// What is to be done with a request.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Send it on.
    Forward(Arc<RouteEntry>, Destination),
    /// Send the client elsewhere: [`RouteEntry::reply`] says where.
    Redirect(Arc<RouteEntry>),
    /// Answer: [`RouteEntry::reply`] is the answer.
    Direct(Arc<RouteEntry>),
    /// Send the client to https: [`ssl_redirect`].
    SslRedirect(Arc<VirtualHostEntry>),
    /// No route: [`LocalReply::route_not_found`]. The virtual host, if one was found.
    NotFound(Option<Arc<VirtualHostEntry>>),
}

impl Decision {
    /// The route, if one was found.
    pub fn route(&self) -> Option<&Arc<RouteEntry>> {
        match self {
            Decision::Forward(route, _) | Decision::Redirect(route) | Decision::Direct(route) => Some(route),
            Decision::SslRedirect(_) | Decision::NotFound(_) => None,
        }
    }

    /// The destination, if the request is sent on.
    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Decision::Forward(_, destination) => Some(destination),
            _ => None,
        }
    }
}

/// 301 to the same URI under https.
pub fn ssl_redirect(request: &[(Bytes, Bytes)]) -> LocalReply {
    let field = |name| headers::get(request, name).map(AsRef::as_ref).unwrap_or_default();
    let location = [b"https://", field(":authority"), field(":path")].concat();
    LocalReply::new(301, "direct_response").by(Author::Route).header("location", location)
}

/// Who wants to know what was tried.
trait Witness {
    fn host(&mut self, host: &[u8], table: &RouteTable, found: Option<&VirtualHost>);
    /// The route that takes the request.
    fn select<'h>(&mut self, host: &'h VirtualHost, shown: &Shown<'_>) -> Option<&'h Arc<RouteEntry>>;
    fn split(&mut self, weighted: &Weighted, draw: u64, why: Why<'_>, chosen: usize);
}

/// What a weighted draw was made from.
#[derive(Debug, Clone, Copy)]
enum Why<'w> {
    Random,
    Header(&'w str),
}

impl RouteTable {
    /// Decides about a request.
    pub fn decide(&self, head: &RequestHead<'_>) -> Decision {
        self.decide_before(head, &mut Nobody)
    }

    /// The same decision with its trail.
    pub fn explain(&self, head: &RequestHead<'_>) -> (Decision, Trail) {
        let mut trail = Trail::default();
        let decision = self.decide_before(head, &mut trail);
        if matches!(decision, Decision::NotFound(_)) {
            trail.why_not = Some(trail.classify());
        }
        (decision, trail)
    }

    fn decide_before(&self, head: &RequestHead<'_>, witness: &mut impl Witness) -> Decision {
        let authority = headers::get(head.headers, ":authority").map(AsRef::as_ref);
        let host = authority.map(|authority| if self.ignore_port { split_port(authority).0 } else { authority });
        let found = host.map_or_else(|| self.hosts.only(), |host| self.hosts.find(host));
        let found = found.and_then(|at| self.virtual_hosts.get(at));
        let host = host.unwrap_or_default();
        witness.host(host, self, found);
        let Some(found) = found else { return Decision::NotFound(None) };
        if found.shared.redirects_to_https(head.headers) {
            return Decision::SslRedirect(found.shared.clone());
        }
        let tls = head.connection.tls.as_deref();
        let shown = Shown {
            request: policy::Request::new(head.headers),
            random: head.random,
            certificate_presented: tls.is_some_and(|tls| tls.peer.is_some()),
            certificate_validated: tls.is_some_and(|tls| tls.peer_validated),
        };
        let Some(route) = witness.select(found, &shown) else { return Decision::NotFound(Some(found.shared.clone())) };
        match &route.action {
            Action::Redirect(_) => Decision::Redirect(route.clone()),
            Action::Direct { .. } => Decision::Direct(route.clone()),
            Action::Forward(forward) => {
                let destination = forward.clusters.choose(head, witness);
                Decision::Forward(route.clone(), destination)
            }
        }
    }
}

impl VirtualHostEntry {
    fn redirects_to_https(&self, request: &[(Bytes, Bytes)]) -> bool {
        let plaintext = || headers::get(request, "x-forwarded-proto").is_some_and(|proto| proto != "https");
        let internal = || headers::get(request, "x-envoy-internal").is_some_and(|value| value == "true");
        match self.require_tls {
            RequireTls::None => false,
            RequireTls::All => plaintext(),
            RequireTls::ExternalOnly => plaintext() && !internal(),
        }
    }
}

impl RouteEntry {
    /// A request without a path, a CONNECT, is for routes that ask for CONNECT alone.
    fn takes(&self, shown: &Shown<'_>) -> bool {
        (self.matcher.connect || !shown.request.path.is_empty()) && self.matcher.matches(shown)
    }
}

impl Clusters {
    fn choose(&self, head: &RequestHead<'_>, witness: &mut impl Witness) -> Destination {
        match self {
            Clusters::One(cluster) => Destination { cluster: cluster.clone(), weighted: None },
            Clusters::Header(name) => Destination { cluster: named(head.headers, name), weighted: None },
            Clusters::Weighted(weighted) => {
                let (draw, why) = weighted.draw(head);
                let chosen = split::draw(&weighted.weights, draw).unwrap_or_default();
                witness.split(weighted, draw, why, chosen);
                let cluster = weighted.entries.get(chosen).map(|entry| match &entry.cluster_header {
                    Some(name) => named(head.headers, name),
                    None => entry.cluster.clone(),
                });
                Destination { cluster: cluster.unwrap_or_else(|| Arc::from("")), weighted: Some(chosen) }
            }
        }
    }
}

impl Weighted {
    fn draw(&self, head: &RequestHead<'_>) -> (u64, Why<'_>) {
        let number = |value: &Bytes| std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        let by_header = self.header.as_deref().and_then(|name| Some((name, headers::get(head.headers, name)?)));
        match by_header.and_then(|(name, value)| Some((number(value)?, name))) {
            Some((number, name)) => (number, Why::Header(name)),
            None => (head.random, Why::Random),
        }
    }
}

/// The cluster a header names; none if it is missing or not text.
fn named(request: &[(Bytes, Bytes)], name: &str) -> Arc<str> {
    let value = headers::get(request, name).and_then(|value| std::str::from_utf8(value).ok());
    Arc::from(value.unwrap_or_default())
}

/// Nobody asks: the index names the few routes worth trying.
struct Nobody;

impl Witness for Nobody {
    fn host(&mut self, _: &[u8], _: &RouteTable, _: Option<&VirtualHost>) {}

    fn select<'h>(&mut self, host: &'h VirtualHost, shown: &Shown<'_>) -> Option<&'h Arc<RouteEntry>> {
        let candidates = host.index.candidates(&shown.request);
        candidates.filter_map(|at| host.routes.get(at)).find(|route| route.takes(shown))
    }

    fn split(&mut self, _: &Weighted, _: u64, _: Why<'_>, _: usize) {}
}

/// Somebody asks: every route is tried in order, and says why not.
impl Witness for Trail {
    fn host(&mut self, host: &[u8], table: &RouteTable, found: Option<&VirtualHost>) {
        self.host = String::from_utf8_lossy(host).into_owned();
        match found {
            Some(VirtualHost { shared, .. }) => {
                self.virtual_host =
                    Some(VirtualHostStep { name: shared.name.to_string(), domains: shared.domains.clone() });
            }
            None => {
                let domains = table.virtual_hosts.iter().flat_map(|host| &host.shared.domains);
                self.known_domains = domains.cloned().collect();
            }
        }
    }

    fn select<'h>(&mut self, host: &'h VirtualHost, shown: &Shown<'_>) -> Option<&'h Arc<RouteEntry>> {
        for (n, route) in (1usize..).zip(&host.routes) {
            let matched = route.takes(shown);
            let first_failed = if matched { None } else { route.matcher.explain(shown).err() };
            let name = if route.name.is_empty() { format!("route {n}") } else { route.name.to_string() };
            self.rules.push(RuleStep { name, origin: route.origin.clone(), matched, first_failed });
            if matched {
                return Some(route);
            }
        }
        None
    }

    fn split(&mut self, weighted: &Weighted, draw: u64, why: Why<'_>, chosen: usize) {
        let clusters: Vec<String> = weighted.entries.iter().map(|entry| entry.cluster.to_string()).collect();
        let total: u64 = weighted.weights.iter().copied().map(u64::from).sum();
        self.split = Some(SplitStep {
            choice: clusters.get(chosen).cloned().unwrap_or_default(),
            clusters,
            weights: weighted.weights.clone(),
            bucket: draw.checked_rem(total).unwrap_or_default(),
            why: match why {
                Why::Random => "the stream's random number".to_owned(),
                Why::Header(name) => format!("the number in header {name}"),
            },
        });
    }
}
