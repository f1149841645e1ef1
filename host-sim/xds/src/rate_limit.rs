//! Rate limiting: route actions that make descriptors, and the local and global filters.

use serde_json::Value;

use crate::json::{Duration, Int64};
use crate::{
    GrpcService, HeaderMatcher, HeaderValueOption, HttpStatus, QueryParameterMatcher, RuntimeFractionalPercent,
    TokenBucket, TypedExtensionConfig,
};

message!(
    /// `envoy.config.route.v3.RateLimit`: one descriptor's actions.
    RateLimit {
        stage: Option<u32>, disable_key: String, actions: Vec<RateLimitAction>, limit: Option<Value>,
        hits_addend: Option<Value>, apply_on_stream_done: bool,
    }
);
message!(RateLimitAction {
    source_cluster: Option<Empty>, destination_cluster: Option<Empty>, request_headers: Option<RequestHeadersAction>,
    query_parameters: Option<QueryParametersAction>, remote_address: Option<Empty>, generic_key: Option<GenericKey>,
    header_value_match: Option<HeaderValueMatch>, dynamic_metadata: Option<Value>, metadata: Option<Value>,
    extension: Option<TypedExtensionConfig>, masked_remote_address: Option<MaskedRemoteAddress>,
    query_parameter_value_match: Option<QueryParameterValueMatch>,
});
message!(Empty {});
message!(RequestHeadersAction { header_name: String, descriptor_key: String, skip_if_absent: bool });
message!(QueryParametersAction { query_parameter_name: String, descriptor_key: String, skip_if_absent: bool });
message!(MaskedRemoteAddress { v4_prefix_mask_len: Option<u32>, v6_prefix_mask_len: Option<u32> });
message!(GenericKey { descriptor_value: String, default_value: String, descriptor_key: String });
message!(HeaderValueMatch {
    descriptor_key: String, descriptor_value: String, default_value: String, expect_match: Option<bool>,
    headers: Vec<HeaderMatcher>,
});
message!(QueryParameterValueMatch {
    descriptor_key: String, descriptor_value: String, default_value: String, expect_match: Option<bool>,
    query_parameters: Vec<QueryParameterMatcher>,
});

message!(
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`
    LocalRateLimit {
        stat_prefix: String, status: Option<HttpStatus>, token_bucket: Option<TokenBucket>,
        filter_enabled: Option<RuntimeFractionalPercent>, filter_enforced: Option<RuntimeFractionalPercent>,
        request_headers_to_add_when_not_enforced: Vec<HeaderValueOption>,
        response_headers_to_add: Vec<HeaderValueOption>, descriptors: Vec<LocalRateLimitDescriptor>, stage: u32,
        local_rate_limit_per_downstream_connection: bool, local_cluster_rate_limit: Option<Value>,
        enable_x_ratelimit_headers: XRateLimitHeadersRfcVersion, vh_rate_limits: VhRateLimitsOptions,
        always_consume_default_token_bucket: Option<bool>, rate_limited_as_resource_exhausted: bool,
        rate_limits: Vec<RateLimit>, max_dynamic_descriptors: Option<u32>,
    }
);
enumeration!(XRateLimitHeadersRfcVersion { Off = "OFF", DraftVersion03 = "DRAFT_VERSION_03" });
enumeration!(VhRateLimitsOptions { Override = "OVERRIDE", Include = "INCLUDE", Ignore = "IGNORE" });
message!(LocalRateLimitDescriptor {
    entries: Vec<RateLimitDescriptorEntry>, token_bucket: Option<TokenBucket>, shadow_mode: bool,
});
message!(RateLimitDescriptorEntry { key: String, value: String });

message!(
    /// `envoy.extensions.filters.http.ratelimit.v3.RateLimit`: asks a rate limit service.
    GlobalRateLimit {
        domain: String, stage: u32, request_type: String, timeout: Option<Duration>, failure_mode_deny: bool,
        rate_limited_as_resource_exhausted: bool, rate_limit_service: Option<RateLimitServiceConfig>,
        enable_x_ratelimit_headers: XRateLimitHeadersRfcVersion, disable_x_envoy_ratelimited_header: bool,
        rate_limited_status: Option<HttpStatus>, response_headers_to_add: Vec<HeaderValueOption>,
        status_on_error: Option<HttpStatus>, stat_prefix: String, filter_enabled: Option<RuntimeFractionalPercent>,
        filter_enforced: Option<RuntimeFractionalPercent>, failure_mode_deny_percent: Option<RuntimeFractionalPercent>,
        rate_limits: Vec<RateLimit>,
    }
);
message!(RateLimitServiceConfig { grpc_service: Option<GrpcService>, transport_api_version: String });
message!(
    /// `envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute`
    RateLimitPerRoute {
        vh_rate_limits: VhRateLimitsOptions, override_option: String, rate_limits: Vec<RateLimit>, domain: String,
    }
);
message!(HitsAddend { number: Option<Int64>, format: String });
