//! `envoy.config.bootstrap.v3`: what `envoy -c` loads.

use serde_json::Value;

use crate::json::Duration;
use crate::{Address, Cluster, Listener, Node, Secret};

message!(Bootstrap {
    node: Option<Node>, node_context_params: Vec<String>, static_resources: Option<StaticResources>,
    dynamic_resources: Option<Value>, cluster_manager: Option<Value>, hds_config: Option<Value>, flags_path: String,
    stats_sinks: Vec<Value>, deferred_stat_options: Option<Value>, stats_config: Option<Value>,
    stats_flush_interval: Option<Duration>, stats_flush_on_admin: Option<bool>, stats_eviction_interval: Option<Duration>,
    watchdog: Option<Value>, watchdogs: Option<Value>, tracing: Option<Value>, layered_runtime: Option<LayeredRuntime>,
    admin: Option<Admin>, overload_manager: Option<Value>, enable_dispatcher_stats: bool, header_prefix: String,
    stats_server_version_override: Option<Value>, use_tcp_for_dns_lookups: bool, dns_resolution_config: Option<Value>,
    typed_dns_resolver_config: Option<Value>, bootstrap_extensions: Vec<Value>, fatal_actions: Vec<Value>,
    config_sources: Vec<Value>, default_config_source: Option<Value>, default_socket_interface: String,
    certificate_provider_instances: Option<Value>, inline_headers: Vec<Value>, perf_tracing_file_path: String,
    default_regex_engine: Option<Value>, xds_delegate_extension: Option<Value>,
    xds_config_tracker_extension: Option<Value>, listener_manager: Option<Value>, application_log_config: Option<Value>,
    grpc_async_client_manager_config: Option<Value>, memory_allocator_manager: Option<Value>,
});
message!(StaticResources { listeners: Vec<Listener>, clusters: Vec<Cluster>, secrets: Vec<Secret> });
message!(Admin {
    access_log: Vec<Value>, access_log_path: String, profile_path: String, address: Option<Address>,
    socket_options: Vec<Value>, ignore_global_conn_limit: bool, allow_paths: Vec<Value>,
});
message!(LayeredRuntime { layers: Vec<RuntimeLayer> });
message!(RuntimeLayer {
    name: String, static_layer: Option<Value>, disk_layer: Option<Value>, admin_layer: Option<Value>,
    rtds_layer: Option<Value>,
});
