//! Retry policies.

use xds::{RetryBackOff, RetryPolicy, TypedExtensionConfig};

use crate::{
    resource::{status::is_http_status, virtual_service::HttpRetry},
    translate::duration,
};

const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// Istio's default without a policy; none with `attempts: 0`. With consistent hashing a retry may go to the same endpoint.
pub(super) fn policy(policy: Option<&HttpRetry>, consistent_hash: bool) -> Option<RetryPolicy> {
    let mut out = RetryPolicy {
        num_retries: Some(2),
        retry_on: DEFAULT_RETRY_ON.to_owned(),
        host_selection_retry_max_attempts: xds::Int64(5),
        retry_host_predicate: if consistent_hash { Vec::new() } else { vec![previous_hosts()] },
        ..RetryPolicy::default()
    };
    let Some(policy) = policy else { return Some(out) };
    out.num_retries = Some(u32::try_from(policy.attempts).ok().filter(|attempts| *attempts > 0)?);
    if !policy.retry_on.is_empty() {
        (out.retry_on, out.retriable_status_codes) = conditions(&policy.retry_on);
    }
    out.per_try_timeout = policy.per_try_timeout.map(duration);
    if let Some(ignore_previous) = policy.retry_ignore_previous_hosts {
        out.retry_host_predicate = if ignore_previous { vec![previous_hosts()] } else { Vec::new() };
    }
    if policy.retry_remote_localities == Some(true) {
        out.retry_priority = Some(previous_priorities());
    }
    out.retry_back_off =
        policy.backoff.map(|base| RetryBackOff { base_interval: Some(duration(base)), ..RetryBackOff::default() });
    Some(out)
}

/// HTTP codes move to a list of their own, which needs `retriable-status-codes` among the rest.
fn conditions(retry_on: &str) -> (String, Vec<u32>) {
    let mut codes = Vec::new();
    let mut words = Vec::new();
    for word in retry_on.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word.parse() {
            Ok(code) if is_http_status(code) => codes.push(code),
            _ => words.push(word),
        }
    }
    let mut joined = words.join(",");
    if !codes.is_empty() && !joined.contains("retriable-status-codes") {
        joined.push_str(",retriable-status-codes");
    }
    (joined, codes)
}

fn previous_hosts() -> TypedExtensionConfig {
    const TYPE: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
    TypedExtensionConfig {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        typed_config: Some(xds::Any::new(TYPE, serde_json::Map::new())),
    }
}

fn previous_priorities() -> TypedExtensionConfig {
    const TYPE: &str = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";
    let fields = [("update_frequency".to_owned(), 2.into())].into_iter().collect();
    TypedExtensionConfig {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        typed_config: Some(xds::Any::new(TYPE, fields)),
    }
}

#[cfg(test)]
mod tests {
    use super::conditions;

    #[test]
    fn status_codes_go_to_their_own_list() {
        for (retry_on, words, codes) in [
            ("5xx", "5xx", vec![]),
            ("503", ",retriable-status-codes", vec![503]),
            ("reset, 503,gateway-error,500", "reset,gateway-error,retriable-status-codes", vec![503, 500]),
            ("retriable-status-codes,429", "retriable-status-codes", vec![429]),
            ("799", "799", vec![]),
        ] {
            assert_eq!(conditions(retry_on), (words.to_owned(), codes), "{retry_on}");
        }
    }
}
