//! Fault injection: delays, aborts and slowed answers.
//!
//! Source: Envoy's `filters/http/fault/fault_filter.cc` and `common/fault/fault_config.cc`. The delay comes first; the draw for the abort is
//! made when it is over. How many faults run at once is counted by the caller, against [`Fault::max_active`].

use std::time::Duration;

use bytes::Bytes;
use policy::header::HeaderMatcher;

use crate::headers;
use crate::local_reply::{Flag, LocalReply};
use crate::route::error::{Errors, Path};
use crate::route::{Fraction, lower};

/// A fault configuration, compiled. A route's replaces the filter's as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fault {
    delay: Option<Rule<Duration>>,
    abort: Option<Rule<Abort>>,
    rate: Option<Rule<u64>>,
    upstream_cluster: String,
    headers: Vec<HeaderMatcher>,
    downstream_nodes: Vec<String>,
    max_active: Option<u32>,
}

/// One kind of fault: what, or what the request's headers say, and how often.
#[derive(Debug, Clone, PartialEq)]
struct Rule<T> {
    /// `None`: a header of the request says.
    fixed: Option<T>,
    share: Fraction,
}

/// How a request is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// With this HTTP status.
    Http(u16),
    /// With this gRPC status; plain requests get 200.
    Grpc(u32),
}

const DELAY: &str = "x-envoy-fault-delay-request";
const DELAY_SHARE: &str = "x-envoy-fault-delay-request-percentage";
const ABORT: &str = "x-envoy-fault-abort-request";
const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
const ABORT_SHARE: &str = "x-envoy-fault-abort-request-percentage";
const RATE: &str = "x-envoy-fault-throughput-response";
const RATE_SHARE: &str = "x-envoy-fault-throughput-response-percentage";
const NODE: &str = "x-envoy-downstream-service-node";

impl Fault {
    pub(crate) fn compile(fault: &xds::HttpFault, at: &Path<'_>, errors: &mut Errors) -> Fault {
        let share = |percent: Option<&xds::FractionalPercent>| percent.map_or(Fraction::NONE, Fraction::of);
        let headers = fault.headers.iter().enumerate();
        let headers = headers.filter_map(|(n, header)| lower::header(header, &at.item("headers", n), errors)).collect();
        if let Some(status) = fault.abort.as_ref().and_then(|abort| abort.http_status)
            && !(200..600).contains(&status)
        {
            errors
                .refuse(&at.field("abort"), format_args!("http_status must be from 200 to 599, this one is {status}"));
        }
        Fault {
            delay: fault.delay.as_ref().map(|delay| Rule {
                fixed: delay.fixed_delay.map(|delay| delay.0),
                share: share(delay.percentage.as_ref()),
            }),
            abort: fault
                .abort
                .as_ref()
                .map(|abort| Rule { fixed: fixed_abort(abort), share: share(abort.percentage.as_ref()) }),
            rate: fault.response_rate_limit.as_ref().map(|rate| Rule {
                fixed: rate.fixed_limit.as_ref().and_then(|limit| u64::try_from(limit.limit_kbps.0).ok()),
                share: share(rate.percentage.as_ref()),
            }),
            upstream_cluster: fault.upstream_cluster.clone(),
            headers,
            downstream_nodes: fault.downstream_nodes.clone(),
            max_active: fault.max_active_faults,
        }
    }

    /// Does this configuration concern the request at all? `cluster` is the one its route chose.
    pub fn applies(&self, request: &[(Bytes, Bytes)], cluster: Option<&str>) -> bool {
        let node = || {
            headers::get(request, NODE)
                .is_some_and(|node| self.downstream_nodes.iter().any(|one| node == one.as_bytes()))
        };
        (self.upstream_cluster.is_empty() || cluster == Some(self.upstream_cluster.as_str()))
            && (self.downstream_nodes.is_empty() || node())
            && self.headers.iter().all(|header| header.matches(request))
    }

    /// How many faults may run at once; the next request passes untouched.
    pub fn max_active(&self) -> Option<u32> {
        self.max_active
    }

    /// The pause before the request goes on, for this draw. Flag DI.
    pub fn delay(&self, request: &[(Bytes, Bytes)], random: u64) -> Option<Duration> {
        let rule = self.delay.as_ref().filter(|rule| rule.takes(request, DELAY_SHARE, random))?;
        let asked = || number(request, DELAY).map(Duration::from_millis);
        // Envoy counts in whole milliseconds.
        let delay = Duration::from_millis(u64::try_from(rule.fixed.or_else(asked)?.as_millis()).ok()?);
        (!delay.is_zero()).then_some(delay)
    }

    /// How the request is aborted, for this draw, made after the delay.
    pub fn abort(&self, request: &[(Bytes, Bytes)], random: u64) -> Option<Abort> {
        let rule = self.abort.as_ref().filter(|rule| rule.takes(request, ABORT_SHARE, random))?;
        rule.fixed.or_else(|| {
            let http = number(request, ABORT).and_then(|status| u16::try_from(status).ok());
            let grpc = || number(request, ABORT_GRPC).and_then(|status| u32::try_from(status).ok());
            http.filter(|status| (200..600).contains(status)).map(Abort::Http).or_else(|| grpc().map(Abort::Grpc))
        })
    }

    /// How fast the answer's body may flow, in bytes a second, for this draw.
    pub fn response_rate(&self, request: &[(Bytes, Bytes)], random: u64) -> Option<u64> {
        let rule = self.rate.as_ref().filter(|rule| rule.takes(request, RATE_SHARE, random))?;
        let asked = || number(request, RATE).filter(|kbps| *kbps > 0);
        rule.fixed.or_else(asked).map(|kbps| kbps.saturating_mul(1024))
    }
}

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Abort::Http(status) => write!(f, "status {status}"),
            Abort::Grpc(status) => write!(f, "gRPC status {status}"),
        }
    }
}

impl Abort {
    /// The answer.
    pub fn reply(self) -> LocalReply {
        let status = match self {
            Abort::Http(status) => status,
            Abort::Grpc(_) => 200,
        };
        let mut reply =
            LocalReply::new(status, "fault_filter_abort").body("fault filter abort").flag(Flag::FaultInjected);
        if let Abort::Grpc(status) = self {
            reply.grpc_status = Some(status);
        }
        reply
    }
}

fn fixed_abort(abort: &xds::FaultAbort) -> Option<Abort> {
    let http = abort.http_status.and_then(|status| u16::try_from(status).ok()).map(Abort::Http);
    http.or_else(|| abort.grpc_status.map(Abort::Grpc))
}

impl<T> Rule<T> {
    /// A rule steered by headers lets one of them lower its share.
    fn takes(&self, request: &[(Bytes, Bytes)], share_header: &str, random: u64) -> bool {
        let asked = if self.fixed.is_none() { number(request, share_header) } else { None };
        let numerator = asked.map_or(self.share.numerator, |asked| asked.min(self.share.numerator));
        Fraction { numerator, ..self.share }.takes(random)
    }
}

fn number(request: &[(Bytes, Bytes)], name: &str) -> Option<u64> {
    std::str::from_utf8(headers::get(request, name)?).ok()?.trim().parse().ok()
}
