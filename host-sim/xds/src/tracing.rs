//! Tracing: what a connection manager says of it, and `envoy.config.trace.v3`'s OpenTelemetry tracer.

use serde_json::Value;

use crate::json::Duration;
use crate::{GrpcService, HeaderValueOption, Percent, TypedExtensionConfig};

message!(
    /// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing`
    Tracing {
        client_sampling: Option<Percent>, random_sampling: Option<Percent>, overall_sampling: Option<Percent>, verbose: bool,
        max_path_tag_length: Option<u32>, custom_tags: Vec<CustomTag>, provider: Option<TracingProvider>,
        spawn_upstream_span: Option<bool>, operation: String, upstream_operation: String,
    }
);
message!(TracingProvider { name: String, typed_config: Option<TracerConfig> });
typed!(
    /// A tracer's configuration.
    TracerConfig { OpenTelemetry(OpenTelemetryConfig) = "envoy.config.trace.v3.OpenTelemetryConfig" }
);
message!(OpenTelemetryConfig {
    grpc_service: Option<GrpcService>, http_service: Option<HttpService>, service_name: String,
    resource_detectors: Vec<TypedExtensionConfig>, sampler: Option<TypedExtensionConfig>, max_cache_size: Option<u32>,
});
message!(HttpService {
    http_uri: Option<HttpUri>, request_headers_to_add: Vec<HeaderValueOption>, formatters: Vec<TypedExtensionConfig>,
});
message!(HttpUri { uri: String, cluster: String, timeout: Option<Duration> });
message!(
    /// `envoy.type.tracing.v3.CustomTag`
    CustomTag {
        tag: String, literal: Option<LiteralTag>, environment: Option<EnvironmentTag>, request_header: Option<HeaderTag>,
        metadata: Option<Value>, value: String,
    }
);
message!(LiteralTag { value: String });
message!(EnvironmentTag { name: String, default_value: String });
message!(HeaderTag { name: String, default_value: String });
