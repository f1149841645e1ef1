//! Outlier detection.

use serde_json::{Value, json};
use xds::{Cluster, OutlierDetection, Percent, UpstreamHttpOptions};

use crate::{resource::destination_rule, translate::duration};

/// The presence of the block is what switches it on; judging by success rate stays off.
pub(super) fn apply(
    cluster: &mut Cluster,
    options: &mut UpstreamHttpOptions,
    outlier: Option<&destination_rule::OutlierDetection>,
) {
    let Some(outlier) = outlier else { return };
    let enforced = |count: u32| if count > 0 { 100 } else { 0 };
    let split = outlier.split_external_local_origin_errors;
    let local = outlier.consecutive_local_origin_failures.filter(|count| split && *count > 0);
    cluster.outlier_detection = Some(OutlierDetection {
        consecutive_5xx: outlier.consecutive_5xx_errors,
        enforcing_consecutive_5xx: outlier.consecutive_5xx_errors.map(enforced),
        consecutive_gateway_failure: outlier.consecutive_gateway_errors,
        enforcing_consecutive_gateway_failure: outlier.consecutive_gateway_errors.map(enforced),
        interval: outlier.interval.map(duration),
        base_ejection_time: outlier.base_ejection_time.map(duration),
        max_ejection_percent: u32::try_from(outlier.max_ejection_percent).ok().filter(|percent| *percent > 0),
        enforcing_success_rate: Some(0),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failure: local,
        enforcing_consecutive_local_origin_failure: local.map(|_| 100),
        enforcing_local_origin_success_rate: split.then_some(0),
        ..OutlierDetection::default()
    });
    if outlier.min_health_percent >= 0 {
        let config = cluster.common_lb_config.get_or_insert_default();
        config.healthy_panic_threshold = Some(Percent { value: f64::from(outlier.min_health_percent) });
    }
    if !outlier.http_error_codes.is_empty() {
        options.outlier_detection = Some(error_matcher(&outlier.http_error_codes));
    }
}

/// Only these codes count as failures.
fn error_matcher(codes: &[u32]) -> Value {
    let rule = |code: &u32| {
        let header = json!({"name": ":status", "string_match": {"exact": code.to_string()}});
        json!({"http_response_headers_match": {"headers": [header]}})
    };
    let rules: Vec<Value> = codes.iter().map(rule).collect();
    match rules.as_slice() {
        [only] => json!({"error_matcher": only}),
        _ => json!({"error_matcher": {"or_match": {"rules": rules}}}),
    }
}
