//! The retries of one request: whether to try again, and when.
//!
//! Source: Envoy's `router/retry_state_impl.cc` and `common/backoff_strategy.cc`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::on::RetryOn;
use super::policy::RetryPolicy;
use crate::headers::{self, HeaderList};
use crate::local_reply::Reset;

/// What is left of one request's retries.
#[derive(Debug, Clone)]
pub struct RetryState {
    policy: Arc<RetryPolicy>,
    on: RetryOn,
    remaining: u32,
    more_status_codes: Vec<u16>,
    more_header_names: Vec<Bytes>,
    next_interval: Duration,
}

/// Should this try be repeated?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No condition holds; what came is the answer.
    No,
    /// Yes, after this pause.
    Retry(Duration),
    /// A condition holds, but the retries are used up: flag URX.
    LimitExceeded,
    /// A condition holds, but the cluster's retry circuit is open.
    Overflow,
}

/// How a try ended.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// With an answer whose head is this.
    Headers(&'a [(Bytes, Bytes)]),
    /// Without one. `sent` says whether the request's head went out.
    Reset {
        /// How.
        reset: Reset,
        /// The request's head went out.
        sent: bool,
    },
    /// By the per-try timeout.
    PerTryTimeout,
}

/// What a request asks for retries with.
const ASKING: [&[u8]; 5] = [
    b"x-envoy-retry-on",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-max-retries",
    b"x-envoy-retriable-header-names",
    b"x-envoy-retriable-status-codes",
];

impl RetryState {
    /// The retries of a request about to be sent; takes the `x-envoy-retry-*` headers away, which may ask for more than the policy.
    ///
    /// `None` when nothing would be retried whatever happens.
    pub fn new(policy: Option<&Arc<RetryPolicy>>, request: &mut HeaderList) -> Option<RetryState> {
        let take = |request: &mut HeaderList, name: &str| {
            let value = headers::get(request, name).cloned();
            if value.is_some() {
                headers::remove(request, name.as_bytes());
            }
            value
        };
        // The usual request has none of them.
        let asked = request.iter().any(|(name, _)| name.starts_with(b"x-envoy-") && ASKING.contains(&name.as_ref()));
        let mut from = |name| if asked { take(request, name) } else { None };
        let on = from("x-envoy-retry-on");
        let grpc_on = from("x-envoy-retry-grpc-on");
        let max = from("x-envoy-max-retries");
        let header_names = from("x-envoy-retriable-header-names");
        let status_codes = from("x-envoy-retriable-status-codes");
        if on.is_none() && grpc_on.is_none() && policy.is_none_or(|policy| policy.on.is_empty()) {
            return None;
        }
        let policy = policy.cloned().unwrap_or_else(|| Arc::new(RetryPolicy::none()));
        let parse =
            |value: &Option<Bytes>| value.as_deref().map_or(RetryOn::NONE, |value| RetryOn::parse(&text(value)));
        // A policy names conditions of both kinds; each header those of its own.
        let mut on = policy.on.or(parse(&on).of_http()).or(parse(&grpc_on).of_grpc());
        let fits =
            policy.request_headers.is_empty() || policy.request_headers.iter().any(|header| header.matches(request));
        if !fits {
            on = RetryOn::NONE;
        }
        // Envoy reads 64 bits and keeps 32.
        let max = max.filter(|_| !on.is_empty()).and_then(|max| text(&max).parse::<u64>().ok());
        let max = max.and_then(|max| u32::try_from(max & u64::from(u32::MAX)).ok());
        Some(RetryState {
            on,
            remaining: max.unwrap_or(policy.num_retries),
            more_status_codes: list(&status_codes).filter_map(|code| code.parse().ok()).collect(),
            more_header_names: list(&header_names).map(|name| Bytes::from(name.to_ascii_lowercase())).collect(),
            next_interval: policy.base_interval,
            policy,
        })
    }

    /// The policy behind it.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// Decides about a try that ended. `room` says whether the cluster's retry circuit is closed; `random` draws the pause; `now` is the wall clock
    /// since 1970, for answers that say when to come again.
    pub fn decide(&mut self, ended: Ended<'_>, room: bool, random: u64, now: Duration) -> Verdict {
        if !self.would_retry(ended) {
            return Verdict::No;
        }
        if self.remaining == 0 {
            return Verdict::LimitExceeded;
        }
        self.remaining = self.remaining.saturating_sub(1);
        if !room {
            return Verdict::Overflow;
        }
        let told = match ended {
            Ended::Headers(response) => self.told_interval(response, now),
            _ => None,
        };
        Verdict::Retry(told.map_or_else(|| self.back_off(random), |interval| lower_bound(interval, random)))
    }

    /// Does a condition hold, whatever the count?
    pub fn would_retry(&self, ended: Ended<'_>) -> bool {
        match ended {
            Ended::Headers(response) => self.headers(response),
            Ended::Reset { reset: Reset::Overflow, .. } => false,
            Ended::Reset { reset, sent } => self.reset(reset, sent),
            Ended::PerTryTimeout => self.reset(Reset::LocalReset, true),
        }
    }

    fn headers(&self, response: &[(Bytes, Bytes)]) -> bool {
        if headers::has(response, "x-envoy-ratelimited") {
            return self.on.any(RetryOn::RATE_LIMITED);
        }
        let status = headers::status(response).unwrap_or_default();
        let listed = || self.policy.status_codes.contains(&status) || self.more_status_codes.contains(&status);
        (self.on.any(RetryOn::SERVER_ERROR) && (500..600).contains(&status))
            || (self.on.any(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status))
            || (self.on.any(RetryOn::CONFLICT) && status == 409)
            || (self.on.any(RetryOn::STATUS_CODES) && listed())
            || (self.on.any(RetryOn::HEADERS) && self.has_listed_header(response))
            || grpc_status(response).is_some_and(|status| self.on.any(RetryOn::grpc(status)))
    }

    fn has_listed_header(&self, response: &[(Bytes, Bytes)]) -> bool {
        self.policy.response_headers.iter().any(|header| header.matches(response))
            || self.more_header_names.iter().any(|name| headers::all(response, name).next().is_some())
    }

    fn reset(&self, reset: Reset, sent: bool) -> bool {
        use Reset::{ConnectionTimeout, LocalConnectionFailure, RemoteConnectionFailure};
        let unconnected = matches!(reset, LocalConnectionFailure | RemoteConnectionFailure | ConnectionTimeout);
        self.on.any(RetryOn::RESET.or(RetryOn::SERVER_ERROR).or(RetryOn::GATEWAY_ERROR))
            || (self.on.any(RetryOn::RESET_BEFORE_REQUEST) && !sent)
            || (self.on.any(RetryOn::REFUSED_STREAM) && reset == Reset::RemoteRefused)
            || (self.on.any(RetryOn::CONNECT_FAILURE) && unconnected)
    }

    /// A draw below an interval that doubles from try to try.
    fn back_off(&mut self, random: u64) -> Duration {
        let interval = self.next_interval;
        let max = self.policy.max_interval;
        let doubled = interval.saturating_mul(2);
        self.next_interval = if doubled < max { doubled } else { max };
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.checked_rem(millis).unwrap_or_default())
    }

    /// What the answer itself says, if it is believed.
    fn told_interval(&self, response: &[(Bytes, Bytes)], now: Duration) -> Option<Duration> {
        self.policy.reset_headers.iter().find_map(|header| {
            let seconds = text(headers::get(response, &header.name)?).trim().parse::<u64>().ok()?;
            let interval = if header.unix_timestamp {
                Duration::from_secs(seconds).checked_sub(Duration::from_secs(now.as_secs()))?
            } else {
                Duration::from_secs(seconds)
            };
            (interval <= self.policy.reset_max_interval && interval > Duration::from_millis(1)).then_some(interval)
        })
    }
}

impl RetryPolicy {
    /// The policy of a route without one: nothing but what the request's headers ask for.
    fn none() -> RetryPolicy {
        let base_interval = Duration::from_millis(25);
        RetryPolicy {
            on: RetryOn::NONE,
            num_retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            base_interval,
            max_interval: base_interval.saturating_mul(10),
            status_codes: Vec::new(),
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            avoid_previous_hosts: false,
            avoid_previous_priorities: None,
            host_selection_attempts: 1,
            reset_headers: Vec::new(),
            reset_max_interval: Duration::from_secs(300),
        }
    }
}

/// From the interval to half as much again.
fn lower_bound(interval: Duration, random: u64) -> Duration {
    let half = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) >> 1;
    interval.saturating_add(Duration::from_millis(random.checked_rem(half).unwrap_or_default()))
}

fn grpc_status(response: &[(Bytes, Bytes)]) -> Option<i64> {
    text(headers::get(response, "grpc-status")?).parse().ok()
}

fn text(value: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(value)
}

fn list(value: &Option<Bytes>) -> impl Iterator<Item = String> {
    let text = value.as_deref().map(|value| text(value).into_owned()).unwrap_or_default();
    let words: Vec<String> =
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    words.into_iter()
}
