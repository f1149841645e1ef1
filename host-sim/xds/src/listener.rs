//! `envoy.config.listener.v3`: listeners, filter chains, network filters.

use serde_json::Value;

use crate::json::Duration;
use crate::{Address, CidrRange, HttpConnectionManager, Metadata, TransportSocket};

message!(Listener {
    name: String, address: Option<Address>, additional_addresses: Vec<Value>, stat_prefix: String,
    filter_chains: Vec<FilterChain>, fcds_config: Option<Value>, filter_chain_matcher: Option<Value>,
    use_original_dst: Option<bool>, default_filter_chain: Option<FilterChain>,
    per_connection_buffer_limit_bytes: Option<u32>, metadata: Option<Metadata>, deprecated_v1: Option<Value>,
    drain_type: Option<String>, listener_filters: Vec<ListenerFilter>, listener_filters_timeout: Option<Duration>,
    continue_on_listener_filters_timeout: bool, transparent: Option<bool>, freebind: Option<bool>,
    socket_options: Vec<Value>, tcp_fast_open_queue_length: Option<u32>, traffic_direction: Option<String>,
    udp_listener_config: Option<Value>, api_listener: Option<Value>, connection_balance_config: Option<Value>,
    reuse_port: bool, enable_reuse_port: Option<bool>, access_log: Vec<Value>, tcp_backlog_size: Option<u32>,
    max_connections_to_accept_per_socket_event: Option<u32>, bind_to_port: Option<bool>,
    internal_listener: Option<Value>, enable_mptcp: bool, ignore_global_conn_limit: bool, bypass_overload_manager: bool,
    tcp_keepalive: Option<Value>,
});
message!(FilterChain {
    filter_chain_match: Option<FilterChainMatch>, filters: Vec<NetworkFilter>, use_proxy_proto: Option<bool>,
    metadata: Option<Metadata>, transport_socket: Option<TransportSocket>,
    transport_socket_connect_timeout: Option<Duration>, name: String,
});
message!(FilterChainMatch {
    destination_port: Option<u32>, prefix_ranges: Vec<CidrRange>, address_suffix: String, suffix_len: Option<u32>,
    direct_source_prefix_ranges: Vec<CidrRange>, source_type: Option<String>, source_prefix_ranges: Vec<CidrRange>,
    source_ports: Vec<u32>, server_names: Vec<String>, transport_protocol: String, application_protocols: Vec<String>,
});
message!(ListenerFilter {
    name: String, typed_config: Option<ListenerFilterConfig>, config_discovery: Option<Value>,
    filter_disabled: Option<Value>,
});
typed!(
    /// A listener filter's configuration.
    ListenerFilterConfig {
        ProxyProtocol(ProxyProtocol) = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        TlsInspector(TlsInspector) = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    }
);
message!(ProxyProtocol {
    rules: Vec<Value>, allow_requests_without_proxy_protocol: bool, pass_through_tlvs: Option<Value>,
    disallowed_versions: Vec<String>, stat_prefix: String, tlv_location: Option<String>,
});
message!(TlsInspector {
    enable_ja3_fingerprinting: Option<bool>, enable_ja4_fingerprinting: Option<bool>,
    initial_read_buffer_size: Option<u32>, close_connection_on_client_hello_parsing_errors: bool,
    max_client_hello_size: Option<u32>,
});
message!(NetworkFilter { name: String, typed_config: Option<NetworkFilterConfig>, config_discovery: Option<Value> });
typed!(
    /// A network filter's configuration.
    NetworkFilterConfig {
        HttpConnectionManager(HttpConnectionManager) =
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        TcpProxy(TcpProxy) = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    }
);
message!(TcpProxy {
    stat_prefix: String, cluster: Option<String>, weighted_clusters: Option<TcpWeightedCluster>, on_demand: Option<Value>,
    metadata_match: Option<Metadata>, idle_timeout: Option<Duration>, downstream_idle_timeout: Option<Duration>,
    upstream_idle_timeout: Option<Duration>, access_log: Vec<Value>, max_connect_attempts: Option<u32>,
    backoff_options: Option<Value>, hash_policy: Vec<Value>, tunneling_config: Option<Value>,
    max_downstream_connection_duration: Option<Duration>,
    max_downstream_connection_duration_jitter_percentage: Option<Value>, access_log_flush_interval: Option<Duration>,
    flush_access_log_on_connected: bool, access_log_options: Option<Value>, proxy_protocol_tlvs: Vec<Value>,
    upstream_connect_mode: Option<String>, max_early_data_bytes: Option<u32>,
});
message!(TcpWeightedCluster { clusters: Vec<TcpClusterWeight> });
message!(TcpClusterWeight { name: String, weight: u32, metadata_match: Option<Metadata> });
