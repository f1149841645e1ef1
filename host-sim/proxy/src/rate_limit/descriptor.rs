//! Descriptors: what a route's rate limit actions make of a request.
//!
//! Source: Envoy's `router/router_ratelimit.cc`. An action that yields nothing drops its whole descriptor.

use std::net::IpAddr;

use bytes::Bytes;
use policy::header::{self, HeaderMatcher};
use policy::path::split_target;
use policy::query::QueryMatcher;

use crate::headers;
use crate::route::error::{Errors, Path};
use crate::route::lower;

/// Keys and values, in order.
pub type Descriptor = Vec<(Bytes, Bytes)>;

/// The actions of one route or virtual host: one descriptor each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateLimits(Vec<RateLimit>);

#[derive(Debug, Clone, PartialEq)]
struct RateLimit {
    stage: u32,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq)]
enum Action {
    SourceCluster,
    DestinationCluster,
    RemoteAddress,
    MaskedRemoteAddress { v4: u8, v6: u8 },
    Header { name: String, key: Bytes, skip_if_absent: bool },
    Query { name: String, key: Bytes, skip_if_absent: bool },
    Constant { key: Bytes, value: Bytes },
    HeaderMatch { key: Bytes, value: Bytes, expect: bool, headers: Vec<HeaderMatcher> },
    QueryMatch { key: Bytes, value: Bytes, expect: bool, parameters: Vec<QueryMatcher> },
}

/// What descriptors are made of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The request's headers.
    pub request: &'a [(Bytes, Bytes)],
    /// The client we believe.
    pub client: IpAddr,
    /// The gateway's own cluster name (`node.cluster`).
    pub source_cluster: &'a str,
    /// The cluster the route chose.
    pub destination_cluster: &'a str,
}

impl RateLimits {
    pub(crate) fn compile(limits: &[xds::RateLimit], at: &Path<'_>, errors: &mut Errors) -> RateLimits {
        let limits = limits.iter().enumerate().map(|(n, limit)| {
            let at = at.item("rate_limits", n);
            errors.unsupported(&at, "limit", limit.limit.is_some());
            errors.unsupported(&at, "hits_addend", limit.hits_addend.is_some());
            errors.unsupported(&at, "apply_on_stream_done", limit.apply_on_stream_done);
            let actions = limit.actions.iter().enumerate();
            let actions =
                actions.filter_map(|(n, action)| Action::compile(action, &at.item("actions", n), errors)).collect();
            RateLimit { stage: limit.stage.unwrap_or_default(), actions }
        });
        RateLimits(limits.collect())
    }

    /// No actions at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The descriptors of a request at a stage, in order.
    pub fn descriptors<'r>(&'r self, stage: u32, subject: &'r Subject<'_>) -> impl Iterator<Item = Descriptor> + 'r {
        let limits = self.0.iter().filter(move |limit| limit.stage == stage);
        limits.filter_map(|limit| {
            let entries = limit.actions.iter().map(|action| action.entry(subject));
            // An entry that is absent on purpose leaves the others; one that is missing takes the descriptor with it.
            let entries: Option<Vec<Option<(Bytes, Bytes)>>> = entries.collect();
            let entries: Descriptor = entries?.into_iter().flatten().collect();
            (!entries.is_empty()).then_some(entries)
        })
    }
}

impl Action {
    fn compile(action: &xds::RateLimitAction, at: &Path<'_>, errors: &mut Errors) -> Option<Action> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let key = |text: &str, default: &str| bytes(if text.is_empty() { default } else { text });
        if action.source_cluster.is_some() {
            return Some(Action::SourceCluster);
        }
        if action.destination_cluster.is_some() {
            return Some(Action::DestinationCluster);
        }
        if action.remote_address.is_some() {
            return Some(Action::RemoteAddress);
        }
        if let Some(masked) = &action.masked_remote_address {
            let bits =
                |bits: Option<u32>, all: u8| bits.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(all).min(all);
            return Some(Action::MaskedRemoteAddress {
                v4: bits(masked.v4_prefix_mask_len, 32),
                v6: bits(masked.v6_prefix_mask_len, 128),
            });
        }
        if let Some(header) = &action.request_headers {
            let name = header.header_name.to_ascii_lowercase();
            let name = if name == "host" { ":authority".to_owned() } else { name };
            return Some(Action::Header {
                name,
                key: bytes(&header.descriptor_key),
                skip_if_absent: header.skip_if_absent,
            });
        }
        if let Some(query) = &action.query_parameters {
            let (name, key) = (query.query_parameter_name.clone(), bytes(&query.descriptor_key));
            return Some(Action::Query { name, key, skip_if_absent: query.skip_if_absent });
        }
        if let Some(generic) = &action.generic_key {
            return Some(Action::Constant {
                key: key(&generic.descriptor_key, "generic_key"),
                value: bytes(&generic.descriptor_value),
            });
        }
        if let Some(matching) = &action.header_value_match {
            let headers = matching.headers.iter().enumerate();
            let headers =
                headers.filter_map(|(n, header)| lower::header(header, &at.item("headers", n), errors)).collect();
            let (key, value) = (key(&matching.descriptor_key, "header_match"), bytes(&matching.descriptor_value));
            return Some(Action::HeaderMatch { key, value, expect: matching.expect_match.unwrap_or(true), headers });
        }
        if let Some(matching) = &action.query_parameter_value_match {
            let parameters = matching.query_parameters.iter().enumerate();
            let parameters =
                parameters.filter_map(|(n, one)| lower::query(one, &at.item("query_parameters", n), errors)).collect();
            let (key, value) = (key(&matching.descriptor_key, "query_match"), bytes(&matching.descriptor_value));
            return Some(Action::QueryMatch { key, value, expect: matching.expect_match.unwrap_or(true), parameters });
        }
        errors.refuse(at, "this kind of action is not supported");
        None
    }

    /// The entry; `Some(None)` to go on without one, `None` to drop the descriptor.
    fn entry(&self, subject: &Subject<'_>) -> Option<Option<(Bytes, Bytes)>> {
        let text = |text: String| Bytes::from(text);
        let entry = |key: &'static str, value: Bytes| Some(Some((Bytes::from_static(key.as_bytes()), value)));
        let or_skip = |value: Option<Bytes>, key: &Bytes, skip: bool| match value {
            Some(value) if !value.is_empty() => Some(Some((key.clone(), value))),
            Some(_) => None,
            None if skip => Some(None),
            None => None,
        };
        match self {
            Action::SourceCluster => entry("source_cluster", text(subject.source_cluster.to_owned())),
            Action::DestinationCluster => entry("destination_cluster", text(subject.destination_cluster.to_owned())),
            Action::RemoteAddress => entry("remote_address", text(subject.client.to_string())),
            Action::MaskedRemoteAddress { v4, v6 } => {
                let bits = if subject.client.is_ipv4() { *v4 } else { *v6 };
                entry("masked_remote_address", text(format!("{}/{bits}", policy::cidr::mask(subject.client, bits))))
            }
            Action::Header { name, key, skip_if_absent } => {
                or_skip(headers::get(subject.request, name).cloned(), key, *skip_if_absent)
            }
            Action::Query { name, key, skip_if_absent } => {
                let query = query(subject.request);
                let value = query.and_then(|query| policy::query::first_value(query, name.as_bytes()));
                or_skip(value.map(Bytes::copy_from_slice), key, *skip_if_absent)
            }
            Action::Constant { key, value } => Some(Some((key.clone(), value.clone()))),
            Action::HeaderMatch { key, value, expect, headers } => {
                let all = headers.iter().all(|matcher| matcher.matches(subject.request));
                (all == *expect).then(|| Some((key.clone(), value.clone())))
            }
            Action::QueryMatch { key, value, expect, parameters } => {
                let query = query(subject.request);
                let all = parameters.iter().all(|matcher| query.is_some_and(|query| matcher.matches(query)));
                (all == *expect).then(|| Some((key.clone(), value.clone())))
            }
        }
    }
}

fn query(request: &[(Bytes, Bytes)]) -> Option<&[u8]> {
    split_target(header::first(request, ":path")?).1
}
