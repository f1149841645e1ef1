//! One route, compiled: its conditions and everything that is done for a request that meets them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use policy::redirect::Redirect;
use policy::regex::{Regex, Substitution};
use smallvec::SmallVec;

use super::filters::{Level, PerFilter};
use super::matching::{Fraction, RouteMatcher};
use super::trail::Origin;
use super::{RouterOptions, StreamLimit};
use crate::cluster::HashPolicy;
use crate::edge::ConnectionInfo;
use crate::header_ops::{Facts, Format, HeaderMutations, HeaderOps, StreamInfo};
use crate::headers::{self, HeaderList};
use crate::local_reply::{Author, BodyForm, LocalReply};
use crate::rate_limit::RateLimits;
use crate::retry::RetryPolicy;

/// One route.
#[derive(Debug)]
pub struct RouteEntry {
    /// The route's name; empty if it has none.
    pub name: Arc<str>,
    /// Where it was written.
    pub origin: Origin,
    /// Its virtual host.
    pub virtual_host: Arc<VirtualHostEntry>,
    /// Its conditions.
    pub matcher: RouteMatcher,
    /// What it does.
    pub action: Action,
    /// `decorator.operation`
    pub operation: Option<Arc<str>>,
    /// `decorator.propagate`: the next one down is told the operation.
    pub propagate: bool,
    /// Its metadata.
    pub metadata: Option<Arc<xds::Metadata>>,
    pub(super) request_ops: HeaderOps,
    pub(super) response_ops: HeaderOps,
    pub(super) filters: Level,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// Sends it on.
    Forward(Box<Forward>),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers it.
    Direct {
        /// The status.
        status: u16,
        /// The text.
        body: Bytes,
        /// What the text is made into.
        form: Option<BodyForm>,
    },
}

/// A virtual host, shared by its routes.
#[derive(Debug)]
pub struct VirtualHostEntry {
    /// Its name.
    pub name: Arc<str>,
    /// Its domains.
    pub domains: Vec<String>,
    /// When plaintext requests are sent to https.
    pub require_tls: RequireTls,
    /// Write `x-envoy-attempt-count` to requests.
    pub attempt_count_in_request: bool,
    /// Write `x-envoy-attempt-count` to answers.
    pub attempt_count_in_response: bool,
    /// Its rate limit actions.
    pub rate_limits: RateLimits,
    /// Its metadata.
    pub metadata: Option<Arc<xds::Metadata>>,
    /// The route configuration around it.
    pub config: Arc<ConfigEntry>,
    pub(super) request_ops: HeaderOps,
    pub(super) response_ops: HeaderOps,
    pub(super) filters: Level,
}

/// What holds for a whole route configuration.
#[derive(Debug)]
pub struct ConfigEntry {
    /// Its name.
    pub name: Arc<str>,
    pub(super) most_specific_wins: bool,
    pub(super) request_ops: HeaderOps,
    pub(super) response_ops: HeaderOps,
    pub(super) filters: Level,
}

/// When plaintext requests are sent to https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequireTls {
    /// Never.
    None,
    /// Unless they are internal.
    ExternalOnly,
    /// Always.
    All,
}

/// How a request is sent on.
#[derive(Debug)]
pub struct Forward {
    /// Where to.
    pub clusters: Clusters,
    /// The status when the cluster is not known.
    pub cluster_not_found: u16,
    /// What becomes of the path.
    pub path: PathRewrite,
    /// What becomes of the host.
    pub host: HostRewrite,
    /// Keep the old host in `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// From the end of the request to the end of the answer, retries included; `None` for ever. Envoy's default is 15 s.
    pub timeout: Option<Duration>,
    /// How long the stream may stay silent; `None` leaves it to the connection manager.
    pub idle_timeout: Option<Duration>,
    /// How long the stream may last.
    pub stream: StreamLimit,
    /// The most a gRPC request may ask for by `grpc-timeout`; zero for anything. `None`: `grpc-timeout` is not looked at.
    pub max_grpc_timeout: Option<Duration>,
    /// Taken off `grpc-timeout`.
    pub grpc_timeout_offset: Option<Duration>,
    /// Retries.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies of the request.
    pub mirrors: Vec<Mirror>,
    /// What a consistent hash is made of.
    pub hash: Vec<HashPolicy>,
    /// Rate limit actions.
    pub rate_limits: RateLimits,
    /// Take the virtual host's rate limit actions as well.
    pub include_virtual_host_rate_limits: bool,
    /// Upgrades this route allows (`true`) or refuses, by lower-case type; others are the connection manager's.
    pub upgrades: Vec<(String, bool)>,
    /// Uses the circuit breaker of priority HIGH.
    pub high_priority: bool,
}

/// Where a route sends requests.
#[derive(Debug)]
pub enum Clusters {
    /// To this cluster.
    One(Arc<str>),
    /// To the cluster this request header names.
    Header(String),
    /// To one of several.
    Weighted(Weighted),
}

/// Several clusters and how they share the requests.
#[derive(Debug)]
pub struct Weighted {
    pub(super) entries: Vec<WeightedEntry>,
    pub(super) weights: Vec<u32>,
    /// A request header whose number takes the place of the draw.
    pub(super) header: Option<String>,
}

/// One of several clusters.
#[derive(Debug)]
pub struct WeightedEntry {
    pub(super) cluster: Arc<str>,
    /// The cluster is what this request header names.
    pub(super) cluster_header: Option<String>,
    pub(super) host: Option<Bytes>,
    pub(super) request_ops: HeaderOps,
    pub(super) response_ops: HeaderOps,
    pub(super) filters: Level,
}

/// The cluster a request goes to, and which of several entries said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The cluster's name; empty when a header should have named it and did not.
    pub cluster: Arc<str>,
    pub(super) weighted: Option<usize>,
}

/// A copy of the request for another cluster.
#[derive(Debug)]
pub struct Mirror {
    pub(super) cluster: Arc<str>,
    pub(super) cluster_header: Option<String>,
    pub(super) share: Fraction,
    pub(super) keep_host: bool,
    pub(super) host: Option<Bytes>,
    pub(super) mutations: HeaderMutations,
    /// `trace_sampled`: the copy's receiver is to record what it does, where the request's own does.
    pub traced: bool,
}

/// What becomes of the path.
#[derive(Debug)]
pub enum PathRewrite {
    /// It stays.
    Keep,
    /// The part the route matched becomes this.
    Matched(Bytes),
    /// Every match becomes this.
    Regex(Regex, Substitution),
    /// All of it becomes this.
    Whole(Format),
    /// What the template's names stood for goes into another template.
    Template(policy::template::Filling),
}

/// What becomes of the host.
#[derive(Debug)]
pub enum HostRewrite {
    /// It stays.
    Keep,
    /// This one.
    Literal(Bytes),
    /// What this request header says.
    Header(String),
    /// What a regular expression makes of the path.
    PathRegex(Regex, Substitution),
    /// What a format makes of the request.
    Format(Format),
    /// The endpoint's name, once it is chosen: see [`RouteEntry::host_of_endpoint`].
    Endpoint,
}

impl Clusters {
    /// Every cluster with its weight; a header that names one stands as `{header NAME}`.
    pub fn destinations(&self) -> Vec<(String, u32)> {
        let named = |header: &str| format!("{{header {header}}}");
        match self {
            Clusters::One(cluster) => vec![(cluster.to_string(), 100)],
            Clusters::Header(header) => vec![(named(header), 100)],
            Clusters::Weighted(weighted) => {
                let name = |entry: &WeightedEntry| {
                    entry.cluster_header.as_deref().map_or_else(|| entry.cluster.to_string(), named)
                };
                weighted.entries.iter().map(name).zip(weighted.weights.iter().copied()).collect()
            }
        }
    }
}

impl RouteEntry {
    /// How the request is sent on, if it is.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }

    /// One filter's configuration: the most specific level that has one. `destination` once it is chosen.
    pub fn per_filter<'r>(&'r self, filter: &'r str, destination: Option<&Destination>) -> Option<&'r PerFilter> {
        self.per_filter_levels(filter, destination).next()
    }

    /// One filter's configurations, the most specific first.
    pub fn per_filter_levels<'r>(
        &'r self,
        filter: &'r str,
        destination: Option<&Destination>,
    ) -> impl DoubleEndedIterator<Item = &'r PerFilter> {
        let weighted = destination.and_then(|destination| self.weighted(destination)).map(|entry| &entry.filters);
        let host = &self.virtual_host;
        let levels: SmallVec<[&Level; 4]> =
            weighted.into_iter().chain([&self.filters, &host.filters, &host.config.filters]).collect();
        levels.into_iter().filter_map(move |level| level.get(filter))
    }

    pub(super) fn weighted(&self, destination: &Destination) -> Option<&WeightedEntry> {
        match &self.forward()?.clusters {
            Clusters::Weighted(weighted) => weighted.entries.get(destination.weighted?),
            _ => None,
        }
    }

    /// The blocks of header operations at and above the route, in the order in which they are done.
    fn blocks<'r>(&'r self, of: impl Fn(Block<'r>) -> &'r HeaderOps) -> [&'r HeaderOps; 3] {
        let host = &self.virtual_host;
        let (route, host, config) = (of(Block::Route(self)), of(Block::Host(host)), of(Block::Config(&host.config)));
        if self.virtual_host.config.most_specific_wins { [config, host, route] } else { [route, host, config] }
    }

    pub(super) fn apply_request_ops(&self, request: &mut HeaderList, connection: &ConnectionInfo, stream: &StreamInfo) {
        let blocks = self.blocks(|block| match block {
            Block::Route(route) => &route.request_ops,
            Block::Host(host) => &host.request_ops,
            Block::Config(config) => &config.request_ops,
        });
        for ops in blocks {
            ops.apply_to_request(request, connection, stream);
        }
    }

    /// Changes an answer's headers as the route, its virtual host and its configuration say. The gateway's own answers to a request with a
    /// route are changed as well; `%RESPONSE_CODE%` is not known yet in those, so `stream.response_code` is `None`.
    pub fn finalize_response(
        &self,
        destination: Option<&Destination>,
        response: &mut HeaderList,
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        stream: &StreamInfo,
    ) {
        if let Some(entry) = destination.and_then(|destination| self.weighted(destination)) {
            entry.response_ops.apply_to_response(response, request, connection, stream);
        }
        let blocks = self.blocks(|block| match block {
            Block::Route(route) => &route.response_ops,
            Block::Host(host) => &host.response_ops,
            Block::Config(config) => &config.response_ops,
        });
        for ops in blocks {
            ops.apply_to_response(response, request, connection, stream);
        }
    }

    /// The answer of a redirect or a direct response; `None` for a route that forwards. [`finalize_response`](Self::finalize_response) comes after.
    pub fn reply(&self, facts: &Facts<'_>) -> Option<LocalReply> {
        let request = facts.request;
        match &self.action {
            Action::Forward(_) => None,
            Action::Redirect(redirect) => {
                let location = self.location(redirect, request);
                let reply = LocalReply::new(redirect.code.status(), "direct_response").by(Author::Route);
                Some(reply.header("location", location))
            }
            Action::Direct { status, body, form } => {
                let body = match form {
                    Some(form) => form.render(&Facts { local_reply: body, ..*facts }),
                    None => body.clone(),
                };
                let reply = LocalReply::new(*status, "direct_response").by(Author::Route).body(body);
                // Envoy names the request's own URI where the status asks for a location.
                let located = *status == 201 || (300..400).contains(status);
                Some(if located { reply.header("location", self.location(&KEEP, request)) } else { reply })
            }
        }
    }

    /// What the body of a direct response is, where its format says so; it stands against header operations.
    pub(crate) fn content_type(&self) -> Option<&Bytes> {
        match &self.action {
            Action::Direct { form: Some(form), .. } => form.content_type(),
            _ => None,
        }
    }

    /// Writes the path that a redirect sends to into the request, for header operations and logs: Envoy rewrites it on its way.
    pub fn rewrite_redirected(&self, request: &mut HeaderList, options: RouterOptions) {
        let Action::Redirect(redirect) = &self.action else { return };
        let Some(old) = headers::get(request, ":path").cloned() else { return };
        let Some(new) = redirect.rewritten(&old, self.matcher.request.path.matched_len()) else { return };
        if !options.suppress_envoy_headers {
            headers::set_slot(request, "x-envoy-original-path", old);
        }
        headers::set_slot(request, ":path", Bytes::from(new));
    }

    fn location(&self, redirect: &Redirect, request: &[(Bytes, Bytes)]) -> Vec<u8> {
        let field = |name| headers::get(request, name).map(AsRef::as_ref).unwrap_or_default();
        // What an absolute target said stands, whatever the connection is.
        let scheme = headers::get(request, ":scheme").map(AsRef::as_ref).unwrap_or_else(|| field("x-forwarded-proto"));
        redirect.location(
            (scheme, field("x-forwarded-proto")),
            field(":authority"),
            field(":path"),
            self.matcher.request.path.matched_len(),
        )
    }

    /// Does this route allow an upgrade of this type? `None` leaves it to the connection manager.
    pub fn allows_upgrade(&self, kind: &[u8]) -> Option<bool> {
        let upgrades = &self.forward()?.upgrades;
        upgrades.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(kind)).map(|(_, enabled)| *enabled)
    }
}

enum Block<'r> {
    Route(&'r RouteEntry),
    Host(&'r VirtualHostEntry),
    Config(&'r ConfigEntry),
}

const KEEP: Redirect = Redirect {
    scheme: None,
    host: None,
    port: None,
    path: policy::redirect::RedirectPath::Keep,
    strip_query: false,
    code: policy::redirect::RedirectCode::MovedPermanently,
};
