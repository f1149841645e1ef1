//! `envoy.config.cluster.v3` and `envoy.config.endpoint.v3`: clusters and where they are.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::json::{Duration, Int64};
use crate::{
    Address, ConfigSource, DropOverload, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions, Locality,
    Metadata, Percent, RoutingPriority, RuntimeDouble, TransportSocket, TypedExtensionConfig,
};

message!(Cluster {
    transport_socket_matches: Vec<TransportSocketMatch>, transport_socket_matcher: Option<Value>, name: String,
    alt_stat_name: String, r#type: Option<DiscoveryType>, cluster_type: Option<Value>,
    eds_cluster_config: Option<EdsClusterConfig>, connect_timeout: Option<Duration>,
    per_connection_buffer_limit_bytes: Option<u32>, lb_policy: LbPolicy,
    load_assignment: Option<ClusterLoadAssignment>, health_checks: Vec<Value>, max_requests_per_connection: Option<u32>,
    circuit_breakers: Option<CircuitBreakers>, upstream_http_protocol_options: Option<UpstreamHttpProtocolOptions>,
    common_http_protocol_options: Option<HttpProtocolOptions>, http_protocol_options: Option<Http1ProtocolOptions>,
    http2_protocol_options: Option<Http2ProtocolOptions>,
    typed_extension_protocol_options: BTreeMap<String, ExtensionProtocolOptions>, dns_refresh_rate: Option<Duration>,
    dns_jitter: Option<Duration>, dns_failure_refresh_rate: Option<Value>, respect_dns_ttl: bool,
    dns_lookup_family: DnsLookupFamily, dns_resolvers: Vec<Address>, use_tcp_for_dns_lookups: bool,
    dns_resolution_config: Option<Value>, typed_dns_resolver_config: Option<TypedExtensionConfig>,
    wait_for_warm_on_init: Option<bool>, outlier_detection: Option<OutlierDetection>, cleanup_interval: Option<Duration>,
    upstream_bind_config: Option<Value>, lb_subset_config: Option<Value>, ring_hash_lb_config: Option<RingHashLbConfig>,
    maglev_lb_config: Option<MaglevLbConfig>, original_dst_lb_config: Option<Value>,
    least_request_lb_config: Option<LeastRequestLbConfig>, round_robin_lb_config: Option<RoundRobinLbConfig>,
    common_lb_config: Option<CommonLbConfig>, transport_socket: Option<TransportSocket>, metadata: Option<Metadata>,
    protocol_selection: ClusterProtocolSelection, upstream_connection_options: Option<Value>,
    close_connections_on_host_health_failure: bool, ignore_health_on_host_removal: bool, filters: Vec<Value>,
    load_balancing_policy: Option<Value>, lrs_server: Option<Value>, lrs_report_endpoint_metrics: Vec<String>,
    track_timeout_budgets: bool, upstream_config: Option<TypedExtensionConfig>, track_cluster_stats: Option<Value>,
    preconnect_policy: Option<Value>, connection_pool_per_downstream_connection: bool,
});
enumeration!(DiscoveryType {
    Static = "STATIC", StrictDns = "STRICT_DNS", LogicalDns = "LOGICAL_DNS", Eds = "EDS", OriginalDst = "ORIGINAL_DST",
});
enumeration!(LbPolicy {
    RoundRobin = "ROUND_ROBIN", LeastRequest = "LEAST_REQUEST", RingHash = "RING_HASH", Random = "RANDOM",
    Maglev = "MAGLEV", ClusterProvided = "CLUSTER_PROVIDED", LoadBalancingPolicyConfig = "LOAD_BALANCING_POLICY_CONFIG",
});
enumeration!(DnsLookupFamily {
    Auto = "AUTO", V4Only = "V4_ONLY", V6Only = "V6_ONLY", V4Preferred = "V4_PREFERRED", All = "ALL",
});
enumeration!(ClusterProtocolSelection {
    UseConfiguredProtocol = "USE_CONFIGURED_PROTOCOL", UseDownstreamProtocol = "USE_DOWNSTREAM_PROTOCOL",
});
message!(TransportSocketMatch {
    name: String,
    /// Kept even when empty: an empty match takes every endpoint.
    r#match: Option<Map<String, Value>>,
    transport_socket: Option<TransportSocket>,
});
message!(EdsClusterConfig { eds_config: Option<ConfigSource>, service_name: String });
message!(RoundRobinLbConfig { slow_start_config: Option<Value> });
message!(LeastRequestLbConfig {
    choice_count: Option<u32>, active_request_bias: Option<RuntimeDouble>, slow_start_config: Option<Value>,
});
message!(RingHashLbConfig {
    minimum_ring_size: Option<Int64>, hash_function: RingHashFunction, maximum_ring_size: Option<Int64>,
});
enumeration!(RingHashFunction { XxHash = "XX_HASH", MurmurHash2 = "MURMUR_HASH_2" });
message!(MaglevLbConfig { table_size: Option<Int64> });
message!(CommonLbConfig {
    healthy_panic_threshold: Option<Percent>, zone_aware_lb_config: Option<Value>,
    locality_weighted_lb_config: Option<Value>, update_merge_window: Option<Duration>,
    ignore_new_hosts_until_first_hc: bool, close_connections_on_host_set_change: bool,
    consistent_hashing_lb_config: Option<Value>, override_host_status: Option<Value>,
});
message!(CircuitBreakers { thresholds: Vec<Thresholds>, per_host_thresholds: Vec<Thresholds> });
message!(Thresholds {
    priority: RoutingPriority, max_connections: Option<u32>, max_pending_requests: Option<u32>,
    max_requests: Option<u32>, max_retries: Option<u32>, retry_budget: Option<RetryBudget>, track_remaining: bool,
    max_connection_pools: Option<u32>,
});
message!(RetryBudget { budget_percent: Option<Percent>, min_retry_concurrency: Option<u32> });
message!(OutlierDetection {
    consecutive_5xx: Option<u32>, interval: Option<Duration>, base_ejection_time: Option<Duration>,
    max_ejection_percent: Option<u32>, enforcing_consecutive_5xx: Option<u32>, enforcing_success_rate: Option<u32>,
    success_rate_minimum_hosts: Option<u32>, success_rate_request_volume: Option<u32>,
    success_rate_stdev_factor: Option<u32>, consecutive_gateway_failure: Option<u32>,
    enforcing_consecutive_gateway_failure: Option<u32>, split_external_local_origin_errors: bool,
    consecutive_local_origin_failure: Option<u32>, enforcing_consecutive_local_origin_failure: Option<u32>,
    enforcing_local_origin_success_rate: Option<u32>, failure_percentage_threshold: Option<u32>,
    enforcing_failure_percentage: Option<u32>, enforcing_failure_percentage_local_origin: Option<u32>,
    failure_percentage_minimum_hosts: Option<u32>, failure_percentage_request_volume: Option<u32>,
    max_ejection_time: Option<Duration>, max_ejection_time_jitter: Option<Duration>,
    successful_active_health_check_uneject_host: Option<bool>, monitors: Vec<TypedExtensionConfig>,
    always_eject_one_host: Option<bool>,
});
message!(UpstreamHttpProtocolOptions { auto_sni: bool, auto_san_validation: bool, override_auto_sni_header: String });
typed!(
    /// Protocol options of a cluster, keyed by extension name.
    ExtensionProtocolOptions {
        Http(UpstreamHttpOptions) = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    }
);
message!(
    /// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`
    UpstreamHttpOptions {
        common_http_protocol_options: Option<HttpProtocolOptions>,
        upstream_http_protocol_options: Option<UpstreamHttpProtocolOptions>,
        explicit_http_config: Option<HttpConfig>, use_downstream_protocol_config: Option<HttpConfig>,
        auto_config: Option<HttpConfig>, http_filters: Vec<Value>, header_validation_config: Option<Value>,
        outlier_detection: Option<Value>, request_mirror_policies: Vec<crate::RequestMirrorPolicy>,
        hash_policy: Vec<crate::HashPolicy>, retry_policy: Option<crate::RetryPolicy>,
    }
);
message!(HttpConfig {
    http_protocol_options: Option<Http1ProtocolOptions>, http2_protocol_options: Option<Http2ProtocolOptions>,
    http3_protocol_options: Option<Value>, alternate_protocols_cache_options: Option<Value>,
});
message!(ClusterLoadAssignment {
    cluster_name: String, endpoints: Vec<LocalityLbEndpoints>, named_endpoints: BTreeMap<String, Endpoint>,
    policy: Option<LoadAssignmentPolicy>,
});
message!(LoadAssignmentPolicy {
    drop_overloads: Vec<DropOverload>, overprovisioning_factor: Option<u32>, endpoint_stale_after: Option<Duration>,
    weighted_priority_health: bool,
});
message!(LocalityLbEndpoints {
    locality: Option<Locality>, metadata: Option<Metadata>, lb_endpoints: Vec<LbEndpoint>,
    load_balancer_endpoints: Option<Value>, leds_cluster_locality_config: Option<Value>,
    load_balancing_weight: Option<u32>, priority: u32, proximity: Option<u32>,
});
message!(LbEndpoint {
    endpoint: Option<Endpoint>, endpoint_name: Option<String>, health_status: HealthStatus, metadata: Option<Metadata>,
    load_balancing_weight: Option<u32>,
});
enumeration!(HealthStatus {
    Unknown = "UNKNOWN", Healthy = "HEALTHY", Unhealthy = "UNHEALTHY", Draining = "DRAINING", Timeout = "TIMEOUT",
    Degraded = "DEGRADED",
});
message!(Endpoint {
    address: Option<Address>, health_check_config: Option<Value>, hostname: String, additional_addresses: Vec<Value>,
});
