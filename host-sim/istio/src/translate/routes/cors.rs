//! CORS policies, as configuration of the CORS filter on one route.

use xds::{CorsPolicy, PerFilterConfig, RuntimeFractionalPercent, StringMatcher};

use super::{action::hundredths, matching};
use crate::resource::virtual_service::{self, UnmatchedPreflights};

pub(super) fn config(policy: &virtual_service::CorsPolicy) -> PerFilterConfig {
    let exact = |origin: &String| StringMatcher { exact: Some(origin.clone()), ..StringMatcher::default() };
    let origins = match policy.allow_origins.as_slice() {
        [] => policy.allow_origin.iter().map(exact).collect(),
        origins => origins.iter().map(matching::string).collect(),
    };
    PerFilterConfig::Cors(Box::new(CorsPolicy {
        allow_origin_string_match: origins,
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| (age.0 / 1_000_000_000).to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials,
        filter_enabled: Some(RuntimeFractionalPercent {
            default_value: Some(hundredths(100)),
            ..RuntimeFractionalPercent::default()
        }),
        forward_not_matching_preflights: Some(policy.unmatched_preflights != UnmatchedPreflights::Ignore),
        ..CorsPolicy::default()
    }))
}
