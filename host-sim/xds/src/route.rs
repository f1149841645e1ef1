//! `envoy.config.route.v3`: route configuration, virtual hosts, routes and what they do.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::http_filters::PerFilterConfig;
use crate::json::{Any, Duration, Int64};
use crate::{
    CookieMatcher, DataSource, FractionalPercent, HeaderMatcher, HeaderMutation, HeaderValueOption, Metadata,
    QueryParameterMatcher, RateLimit, RegexMatchAndSubstitute, RegexMatcher, RuntimeFractionalPercent,
    SubstitutionFormatString, TypedExtensionConfig,
};

message!(RouteConfiguration {
    name: String, virtual_hosts: Vec<VirtualHost>, vhds: Option<Value>, internal_only_headers: Vec<String>,
    response_headers_to_add: Vec<HeaderValueOption>, response_headers_to_remove: Vec<String>,
    request_headers_to_add: Vec<HeaderValueOption>, request_headers_to_remove: Vec<String>,
    most_specific_header_mutations_wins: bool, validate_clusters: Option<bool>,
    max_direct_response_body_size_bytes: Option<u32>, cluster_specifier_plugins: Vec<Value>,
    request_mirror_policies: Vec<RequestMirrorPolicy>, ignore_port_in_host_matching: bool,
    ignore_path_parameters_in_path_matching: bool, typed_per_filter_config: BTreeMap<String, PerFilterConfig>,
    metadata: Option<Metadata>, vhost_header: String,
});
message!(VirtualHost {
    name: String, domains: Vec<String>, routes: Vec<Route>, matcher: Option<Value>, require_tls: TlsRequirementType,
    virtual_clusters: Vec<Value>, rate_limits: Vec<RateLimit>, request_headers_to_add: Vec<HeaderValueOption>,
    request_headers_to_remove: Vec<String>, response_headers_to_add: Vec<HeaderValueOption>,
    response_headers_to_remove: Vec<String>, typed_per_filter_config: BTreeMap<String, PerFilterConfig>,
    include_request_attempt_count: bool, include_attempt_count_in_response: bool, retry_policy: Option<RetryPolicy>,
    retry_policy_typed_config: Option<Any>, hedge_policy: Option<Value>, include_is_timeout_retry_header: bool,
    per_request_buffer_limit_bytes: Option<u32>, request_body_buffer_limit: Option<Int64>,
    request_mirror_policies: Vec<RequestMirrorPolicy>, metadata: Option<Metadata>,
});
enumeration!(TlsRequirementType { None = "NONE", ExternalOnly = "EXTERNAL_ONLY", All = "ALL" });
// What a route does is boxed: there may be ten thousand of them, and they are moved about.
message!(Route {
    name: String, r#match: RouteMatch, route: Option<Box<RouteAction>>, redirect: Option<Box<RedirectAction>>,
    direct_response: Option<Box<DirectResponseAction>>, filter_action: Option<Value>, non_forwarding_action: Option<Value>,
    metadata: Option<Metadata>, decorator: Option<Decorator>,
    typed_per_filter_config: BTreeMap<String, PerFilterConfig>, request_headers_to_add: Vec<HeaderValueOption>,
    request_headers_to_remove: Vec<String>, response_headers_to_add: Vec<HeaderValueOption>,
    response_headers_to_remove: Vec<String>, tracing: Option<Value>, per_request_buffer_limit_bytes: Option<u32>,
    stat_prefix: String, request_body_buffer_limit: Option<Int64>,
});
message!(RouteMatch {
    prefix: Option<String>, path: Option<String>, safe_regex: Option<RegexMatcher>, connect_matcher: Option<Value>,
    path_separated_prefix: Option<String>, path_match_policy: Option<TypedExtensionConfig>, case_sensitive: Option<bool>,
    runtime_fraction: Option<RuntimeFractionalPercent>, headers: Vec<HeaderMatcher>,
    query_parameters: Vec<QueryParameterMatcher>, cookies: Vec<CookieMatcher>, grpc: Option<Value>,
    tls_context: Option<TlsContextMatchOptions>, dynamic_metadata: Vec<Value>, filter_state: Vec<Value>,
});
message!(TlsContextMatchOptions { presented: Option<bool>, validated: Option<bool> });
message!(RouteAction {
    cluster: Option<String>, cluster_header: Option<String>, weighted_clusters: Option<WeightedCluster>,
    cluster_specifier_plugin: Option<String>, inline_cluster_specifier_plugin: Option<Value>,
    cluster_not_found_response_code: ClusterNotFoundResponseCode, metadata_match: Option<Metadata>,
    prefix_rewrite: String, regex_rewrite: Option<RegexMatchAndSubstitute>,
    path_rewrite_policy: Option<TypedExtensionConfig>, path_rewrite: String, host_rewrite_literal: Option<String>,
    auto_host_rewrite: Option<bool>, host_rewrite_header: Option<String>,
    host_rewrite_path_regex: Option<RegexMatchAndSubstitute>, host_rewrite: Option<String>, append_x_forwarded_host: bool,
    timeout: Option<Duration>, idle_timeout: Option<Duration>, flush_timeout: Option<Duration>,
    early_data_policy: Option<TypedExtensionConfig>, retry_policy: Option<RetryPolicy>,
    retry_policy_typed_config: Option<Any>, request_mirror_policies: Vec<RequestMirrorPolicy>, priority: RoutingPriority,
    rate_limits: Vec<RateLimit>, include_vh_rate_limits: Option<bool>, hash_policy: Vec<HashPolicy>,
    max_grpc_timeout: Option<Duration>, grpc_timeout_offset: Option<Duration>, upgrade_configs: Vec<UpgradeConfig>,
    internal_redirect_policy: Option<Value>, internal_redirect_action: Option<String>,
    max_internal_redirects: Option<u32>, hedge_policy: Option<Value>, max_stream_duration: Option<MaxStreamDuration>,
});
enumeration!(ClusterNotFoundResponseCode {
    ServiceUnavailable = "SERVICE_UNAVAILABLE", NotFound = "NOT_FOUND", InternalServerError = "INTERNAL_SERVER_ERROR",
});
enumeration!(RoutingPriority { Default = "DEFAULT", High = "HIGH" });
message!(MaxStreamDuration {
    max_stream_duration: Option<Duration>, grpc_timeout_header_max: Option<Duration>,
    grpc_timeout_header_offset: Option<Duration>,
});
message!(WeightedCluster {
    clusters: Vec<ClusterWeight>, total_weight: Option<u32>, runtime_key_prefix: String, header_name: Option<String>,
    use_hash_policy: Option<bool>,
});
message!(ClusterWeight {
    name: String, cluster_header: String, weight: Option<u32>, metadata_match: Option<Metadata>,
    request_headers_to_add: Vec<HeaderValueOption>, request_headers_to_remove: Vec<String>,
    response_headers_to_add: Vec<HeaderValueOption>, response_headers_to_remove: Vec<String>,
    typed_per_filter_config: BTreeMap<String, PerFilterConfig>, host_rewrite_literal: Option<String>,
});
message!(RequestMirrorPolicy {
    cluster: String, cluster_header: String, runtime_fraction: Option<RuntimeFractionalPercent>,
    trace_sampled: Option<bool>, disable_shadow_host_suffix_append: bool,
    request_headers_mutations: Vec<HeaderMutation>, host_rewrite_literal: String,
});
message!(HashPolicy {
    header: Option<HashPolicyHeader>, cookie: Option<HashPolicyCookie>,
    connection_properties: Option<HashPolicyConnectionProperties>, query_parameter: Option<HashPolicyQueryParameter>,
    filter_state: Option<HashPolicyFilterState>, terminal: bool,
});
message!(HashPolicyHeader { header_name: String, regex_rewrite: Option<RegexMatchAndSubstitute> });
message!(HashPolicyCookie { name: String, ttl: Option<Duration>, path: String, attributes: Vec<CookieAttribute> });
message!(CookieAttribute { name: String, value: String });
message!(HashPolicyConnectionProperties { source_ip: bool });
message!(HashPolicyQueryParameter { name: String });
message!(HashPolicyFilterState { key: String });
message!(UpgradeConfig { upgrade_type: String, enabled: Option<bool>, connect_config: Option<Value> });
message!(RetryPolicy {
    retry_on: String, num_retries: Option<u32>, per_try_timeout: Option<Duration>, per_try_idle_timeout: Option<Duration>,
    retry_priority: Option<TypedExtensionConfig>, retry_host_predicate: Vec<TypedExtensionConfig>,
    retry_options_predicates: Vec<TypedExtensionConfig>, host_selection_retry_max_attempts: Int64,
    retriable_status_codes: Vec<u32>, retry_back_off: Option<RetryBackOff>,
    rate_limited_retry_back_off: Option<RateLimitedRetryBackOff>, retriable_headers: Vec<HeaderMatcher>,
    retriable_request_headers: Vec<HeaderMatcher>,
});
message!(RetryBackOff { base_interval: Option<Duration>, max_interval: Option<Duration> });
message!(RateLimitedRetryBackOff { reset_headers: Vec<ResetHeader>, max_interval: Option<Duration> });
message!(ResetHeader { name: String, format: String });
message!(RedirectAction {
    https_redirect: Option<bool>, scheme_redirect: Option<String>, host_redirect: String, port_redirect: u32,
    path_redirect: Option<String>, prefix_rewrite: Option<String>, regex_rewrite: Option<RegexMatchAndSubstitute>,
    response_code: RedirectResponseCode, strip_query: bool,
});
enumeration!(RedirectResponseCode {
    MovedPermanently = "MOVED_PERMANENTLY",
    Found = "FOUND",
    SeeOther = "SEE_OTHER",
    TemporaryRedirect = "TEMPORARY_REDIRECT",
    PermanentRedirect = "PERMANENT_REDIRECT",
});

impl RedirectResponseCode {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

message!(DirectResponseAction { status: u32, body: Option<DataSource>, body_format: Option<SubstitutionFormatString> });
message!(Decorator { operation: String, propagate: Option<bool> });
message!(
    /// `envoy.extensions.filters.http.cors.v3.CorsPolicy`, a per-filter configuration of `envoy.filters.http.cors`.
    CorsPolicy {
        allow_origin_string_match: Vec<crate::StringMatcher>, allow_methods: String, allow_headers: String,
        expose_headers: String, max_age: String, allow_credentials: Option<bool>,
        filter_enabled: Option<RuntimeFractionalPercent>, shadow_enabled: Option<RuntimeFractionalPercent>,
        allow_private_network_access: Option<bool>, forward_not_matching_preflights: Option<bool>,
    }
);
message!(DropOverload { category: String, drop_percentage: Option<FractionalPercent> });
