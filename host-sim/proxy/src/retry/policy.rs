//! A route's retry policy, compiled.

use std::time::Duration;

use policy::header::HeaderMatcher;

use super::on::RetryOn;
use crate::route::error::{Errors, Path};
use crate::route::lower;

/// When and how a request is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The conditions.
    pub on: RetryOn,
    /// How often at most, the first try not counted.
    pub num_retries: u32,
    /// What one try may take; `None` for as long as the request may.
    pub per_try_timeout: Option<Duration>,
    /// How long a try may go without a sign of life from the origin once the request is complete; `None` for ever.
    pub per_try_idle_timeout: Option<Duration>,
    /// The first back-off is a draw below this.
    pub base_interval: Duration,
    /// Later ones double up to this.
    pub max_interval: Duration,
    /// Statuses for `retriable-status-codes`.
    pub status_codes: Vec<u16>,
    /// Headers of the answer for `retriable-headers`.
    pub response_headers: Vec<HeaderMatcher>,
    /// If there are any, one of them must match the request, or nothing is retried.
    pub request_headers: Vec<HeaderMatcher>,
    /// Avoid the hosts tried before.
    pub avoid_previous_hosts: bool,
    /// Leave out the priorities tried before, once after so many tries.
    pub avoid_previous_priorities: Option<u32>,
    /// How many times a host is picked anew to find one that may be used; Envoy's default is 1.
    pub host_selection_attempts: u32,
    /// Headers of the answer that say how long to wait.
    pub reset_headers: Vec<ResetHeader>,
    /// The longest such wait that is believed.
    pub reset_max_interval: Duration,
}

/// A header that says when to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetHeader {
    /// Its name, in lower case.
    pub name: String,
    /// Its value is seconds since 1970 instead of seconds from now.
    pub unix_timestamp: bool,
}

const DEFAULT_BASE: Duration = Duration::from_millis(25);
const DEFAULT_RESET_MAX: Duration = Duration::from_secs(300);

impl RetryPolicy {
    pub(crate) fn compile(policy: &xds::RetryPolicy, at: &Path<'_>, errors: &mut Errors) -> RetryPolicy {
        errors.unsupported(at, "retry_options_predicates", !policy.retry_options_predicates.is_empty());
        let back_off = policy.retry_back_off.as_ref();
        let base = back_off.and_then(|back_off| back_off.base_interval).map_or(DEFAULT_BASE, |base| base.0);
        let base = base.max(Duration::from_millis(1));
        let max = back_off.and_then(|back_off| back_off.max_interval).map(|max| max.0);
        if max.is_some_and(|max| max < base) {
            errors
                .refuse(&at.field("retry_back_off"), "max_interval must be greater than or equal to the base_interval");
        }
        let limited = policy.rate_limited_retry_back_off.as_ref();
        let mut header = |matchers: &[xds::HeaderMatcher], field: &str| {
            let compiled =
                matchers.iter().enumerate().filter_map(|(n, one)| lower::header(one, &at.item(field, n), errors));
            compiled.collect::<Vec<_>>()
        };
        let response_headers = header(&policy.retriable_headers, "retriable_headers");
        let request_headers = header(&policy.retriable_request_headers, "retriable_request_headers");
        RetryPolicy {
            on: RetryOn::parse(&policy.retry_on),
            num_retries: policy.num_retries.unwrap_or(1),
            per_try_timeout: positive(policy.per_try_timeout),
            per_try_idle_timeout: positive(policy.per_try_idle_timeout),
            base_interval: base,
            max_interval: max.unwrap_or(base.saturating_mul(10)),
            status_codes: policy.retriable_status_codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect(),
            response_headers,
            request_headers,
            avoid_previous_hosts: previous_hosts(policy, at, errors),
            avoid_previous_priorities: previous_priorities(policy, at, errors),
            host_selection_attempts: u32::try_from(policy.host_selection_retry_max_attempts.0)
                .unwrap_or_default()
                .max(1),
            reset_headers: limited.map(reset_headers).unwrap_or_default(),
            reset_max_interval: limited
                .and_then(|limited| limited.max_interval)
                .map_or(DEFAULT_RESET_MAX, |interval| interval.0),
        }
    }
}

fn positive(timeout: Option<xds::Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero())
}

fn previous_priorities(policy: &xds::RetryPolicy, at: &Path<'_>, errors: &mut Errors) -> Option<u32> {
    let extension = policy.retry_priority.as_ref()?;
    let at = at.field("retry_priority");
    if extension.name != "envoy.retry_priorities.previous_priorities" {
        errors.refuse(&at, format_args!("\"{}\" is not supported; previous_priorities is", extension.name));
        return None;
    }
    let frequency = extension.typed_config.as_ref().and_then(|config| config.fields().get("update_frequency"));
    match frequency.and_then(serde_json::Value::as_u64).map(u32::try_from) {
        Some(Ok(frequency @ 1..)) => Some(frequency),
        _ => {
            errors.refuse(&at, "update_frequency must be more than 0");
            None
        }
    }
}

fn previous_hosts(policy: &xds::RetryPolicy, at: &Path<'_>, errors: &mut Errors) -> bool {
    let known = |extension: &xds::TypedExtensionConfig| extension.name == "envoy.retry_host_predicates.previous_hosts";
    for (n, extension) in policy.retry_host_predicate.iter().enumerate().filter(|(_, extension)| !known(extension)) {
        let at = at.item("retry_host_predicate", n);
        errors.refuse(&at, format_args!("\"{}\" is not supported; previous_hosts is", extension.name));
    }
    policy.retry_host_predicate.iter().any(known)
}

fn reset_headers(limited: &xds::RateLimitedRetryBackOff) -> Vec<ResetHeader> {
    let header = |header: &xds::ResetHeader| ResetHeader {
        name: header.name.to_ascii_lowercase(),
        unix_timestamp: header.format == "UNIX_TIMESTAMP",
    };
    limited.reset_headers.iter().map(header).collect()
}
