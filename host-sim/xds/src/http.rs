//! `envoy.extensions.filters.network.http_connection_manager.v3`: the HTTP connection manager.

use serde_json::Value;

use crate::http_filters::HttpFilterConfig;
use crate::json::Duration;
use crate::{
    ConfigSource, DataSource, HeaderValueOption, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
    RouteConfiguration, SubstitutionFormatString, Tracing, TypedExtensionConfig,
};

message!(HttpConnectionManager {
    codec_type: CodecType, stat_prefix: String, rds: Option<Rds>, route_config: Option<RouteConfiguration>,
    scoped_routes: Option<Value>, http_filters: Vec<HttpFilter>, add_user_agent: Option<bool>, tracing: Option<Tracing>,
    common_http_protocol_options: Option<HttpProtocolOptions>, http1_safe_max_connection_duration: bool,
    http_protocol_options: Option<Http1ProtocolOptions>, http2_protocol_options: Option<Http2ProtocolOptions>,
    http3_protocol_options: Option<Value>, server_name: String,
    server_header_transformation: ServerHeaderTransformation, scheme_header_transformation: Option<Value>,
    max_request_headers_kb: Option<u32>, stream_idle_timeout: Option<Duration>, stream_flush_timeout: Option<Duration>,
    request_timeout: Option<Duration>, request_headers_timeout: Option<Duration>, drain_timeout: Option<Duration>,
    delayed_close_timeout: Option<Duration>, access_log: Vec<Value>, access_log_flush_interval: Option<Duration>,
    flush_access_log_on_new_request: bool, access_log_options: Option<Value>, use_remote_address: Option<bool>,
    xff_num_trusted_hops: u32, original_ip_detection_extensions: Vec<TypedExtensionConfig>,
    early_header_mutation_extensions: Vec<TypedExtensionConfig>, internal_address_config: Option<InternalAddressConfig>,
    skip_xff_append: bool, via: String, generate_request_id: Option<bool>, preserve_external_request_id: bool,
    always_set_request_id_in_response: bool, forward_client_cert_details: ForwardClientCertDetails,
    set_current_client_cert_details: Option<SetCurrentClientCertDetails>, forward_client_cert_matcher: Option<Value>,
    proxy_100_continue: bool, represent_ipv4_remote_address_as_ipv4_mapped_ipv6: bool,
    upgrade_configs: Vec<HcmUpgradeConfig>, normalize_path: Option<bool>, merge_slashes: bool,
    path_with_escaped_slashes_action: PathWithEscapedSlashesAction, request_id_extension: Option<RequestIdExtension>,
    local_reply_config: Option<LocalReplyConfig>, strip_matching_host_port: bool, strip_any_host_port: Option<bool>,
    stream_error_on_invalid_http_message: Option<bool>, path_normalization_options: Option<Value>,
    strip_trailing_host_dot: bool, proxy_status_config: Option<Value>,
    typed_header_validation_config: Option<TypedExtensionConfig>, append_x_forwarded_port: bool,
    append_local_overload: bool, add_proxy_protocol_connection_state: Option<bool>, forward_proto_config: Option<Value>,
});
enumeration!(CodecType { Auto = "AUTO", Http1 = "HTTP1", Http2 = "HTTP2", Http3 = "HTTP3" });
enumeration!(ServerHeaderTransformation {
    Overwrite = "OVERWRITE", AppendIfAbsent = "APPEND_IF_ABSENT", PassThrough = "PASS_THROUGH",
});
enumeration!(ForwardClientCertDetails {
    Sanitize = "SANITIZE", ForwardOnly = "FORWARD_ONLY", AppendForward = "APPEND_FORWARD", SanitizeSet = "SANITIZE_SET",
    AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
});
message!(SetCurrentClientCertDetails { subject: Option<bool>, cert: bool, chain: bool, dns: bool, uri: bool });
enumeration!(PathWithEscapedSlashesAction {
    ImplementationSpecificDefault = "IMPLEMENTATION_SPECIFIC_DEFAULT", KeepUnchanged = "KEEP_UNCHANGED",
    RejectRequest = "REJECT_REQUEST", UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
    UnescapeAndForward = "UNESCAPE_AND_FORWARD",
});
message!(InternalAddressConfig { unix_sockets: bool, cidr_ranges: Vec<crate::CidrRange> });
message!(HcmUpgradeConfig { upgrade_type: String, filters: Vec<HttpFilter>, enabled: Option<bool> });
message!(RequestIdExtension { typed_config: Option<crate::Any> });
message!(LocalReplyConfig { mappers: Vec<ResponseMapper>, body_format: Option<SubstitutionFormatString> });
message!(ResponseMapper {
    /// An access log filter.
    filter: Option<Value>, status_code: Option<u32>, body: Option<DataSource>,
    body_format_override: Option<SubstitutionFormatString>, headers_to_add: Vec<HeaderValueOption>,
});
message!(Rds { config_source: Option<ConfigSource>, route_config_name: String });
message!(HttpFilter {
    name: String, typed_config: Option<HttpFilterConfig>, config_discovery: Option<Value>, is_optional: bool,
    disabled: bool,
});
