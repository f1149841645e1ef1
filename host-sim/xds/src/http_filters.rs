//! The HTTP filters we run, their configuration on the connection manager and per route.

use serde_json::Value;

use crate::json::Duration;
use crate::{
    CorsPolicy, FractionalPercent, GlobalRateLimit, HeaderMatcher, HeaderValueOption, LocalRateLimit,
    RateLimitPerRoute, RegexMatcher, StringMatcher, Wasm,
};

typed!(
    /// An HTTP filter's configuration on the connection manager.
    HttpFilterConfig {
        Wasm(Wasm) = "envoy.extensions.filters.http.wasm.v3.Wasm",
        Fault(HttpFault) = "envoy.extensions.filters.http.fault.v3.HTTPFault",
        Cors(Cors) = "envoy.extensions.filters.http.cors.v3.Cors",
        Router(Router) = "envoy.extensions.filters.http.router.v3.Router",
        LocalRateLimit(LocalRateLimit) = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        RateLimit(GlobalRateLimit) = "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
        HeaderMutation(HeaderMutationFilter) = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        GrpcWeb(GrpcWeb) = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
        GrpcStats(GrpcStats) = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    }
);
typed!(
    /// A filter's configuration on a route, virtual host, weighted cluster or route configuration, keyed by filter name.
    PerFilterConfig {
        Fault(HttpFault) = "envoy.extensions.filters.http.fault.v3.HTTPFault",
        Cors(CorsPolicy) = "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        LocalRateLimit(LocalRateLimit) = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        RateLimit(RateLimitPerRoute) = "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
        HeaderMutation(HeaderMutationPerRoute) = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        FilterConfig(FilterConfig) = "envoy.config.route.v3.FilterConfig",
    }
);
message!(
    /// `envoy.config.route.v3.FilterConfig`: switches a filter off, or wraps its configuration.
    FilterConfig { config: Option<crate::Any>, is_optional: bool, disabled: bool }
);
message!(Cors {});
message!(GrpcWeb {});
message!(Router {
    dynamic_stats: Option<bool>, start_child_span: bool, upstream_log: Vec<Value>, upstream_log_options: Option<Value>,
    suppress_envoy_headers: bool, strict_check_headers: Vec<String>, respect_expected_rq_timeout: bool,
    suppress_grpc_request_failure_code_stats: bool, upstream_http_filters: Vec<Value>,
    reject_connect_request_early_data: Option<bool>,
});
message!(GrpcStats {
    stats_for_all_methods: Option<bool>, individual_method_stats_allowlist: Option<Value>, emit_filter_state: bool,
    enable_upstream_stats: bool, replace_dots_in_grpc_service_name: bool,
});
message!(
    /// `envoy.extensions.filters.http.fault.v3.HTTPFault`
    HttpFault {
        delay: Option<FaultDelay>, abort: Option<FaultAbort>, upstream_cluster: String, headers: Vec<HeaderMatcher>,
        downstream_nodes: Vec<String>, max_active_faults: Option<u32>, response_rate_limit: Option<FaultRateLimit>,
        delay_percent_runtime: String, abort_percent_runtime: String, delay_duration_runtime: String,
        abort_http_status_runtime: String, max_active_faults_runtime: String,
        response_rate_limit_percent_runtime: String, abort_grpc_status_runtime: String,
        disable_downstream_cluster_stats: bool, filter_metadata: Option<Value>,
    }
);
message!(
    /// A message that says all it has to say by being there.
    NoFields {}
);
message!(FaultDelay {
    fixed_delay: Option<Duration>, header_delay: Option<NoFields>, percentage: Option<FractionalPercent>,
});
message!(FaultAbort {
    http_status: Option<u32>, grpc_status: Option<u32>, header_abort: Option<NoFields>,
    percentage: Option<FractionalPercent>,
});
message!(FaultRateLimit {
    fixed_limit: Option<FaultFixedLimit>, header_limit: Option<NoFields>, percentage: Option<FractionalPercent>,
});
message!(FaultFixedLimit { limit_kbps: crate::Int64 });
message!(
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`
    HeaderMutationFilter { mutations: Option<Mutations>, most_specific_header_mutations_wins: bool }
);
message!(HeaderMutationPerRoute { mutations: Option<Mutations> });
message!(Mutations {
    request_mutations: Vec<HeaderMutation>, query_parameter_mutations: Vec<Value>,
    response_mutations: Vec<HeaderMutation>, response_trailers_mutations: Vec<HeaderMutation>,
    request_trailers_mutations: Vec<HeaderMutation>,
});
message!(
    /// `envoy.config.common.mutation_rules.v3.HeaderMutation`
    HeaderMutation {
        remove: Option<String>, append: Option<HeaderValueOption>, remove_on_match: Option<RemoveOnMatch>,
    }
);
message!(RemoveOnMatch { key_matcher: Option<StringMatcher> });
message!(HeaderMutationRules {
    allow_all_routing: Option<bool>, allow_envoy: Option<bool>, disallow_system: Option<bool>,
    disallow_all: Option<bool>, allow_expression: Option<RegexMatcher>, disallow_expression: Option<RegexMatcher>,
    disallow_is_error: Option<bool>,
});
