//! `envoy.config.core.v3` and `envoy.type.v3`: the pieces every other message is made of.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::json::{Any, Duration};

message!(Address { socket_address: Option<SocketAddress>, pipe: Option<Value>, envoy_internal_address: Option<Value> });
message!(SocketAddress {
    protocol: Option<String>, address: String, port_value: Option<u32>, named_port: Option<String>, resolver_name: String,
    ipv4_compat: bool,
});
message!(CidrRange { address_prefix: String, prefix_len: Option<u32> });
message!(Locality { region: String, zone: String, sub_zone: String });
message!(Node {
    id: String, cluster: String, metadata: Option<Value>, dynamic_parameters: Option<Value>, locality: Option<Locality>,
    user_agent_name: String, user_agent_version: Option<String>, user_agent_build_version: Option<Value>,
    extensions: Vec<Value>, client_features: Vec<String>, listening_addresses: Vec<Address>,
});
message!(Metadata { filter_metadata: BTreeMap<String, Map<String, Value>>, typed_filter_metadata: BTreeMap<String, Any> });
message!(HeaderValue { key: String, value: String, raw_value: Option<String> });
message!(HeaderValueOption {
    header: Option<HeaderValue>, append: Option<bool>, append_action: HeaderAppendAction, keep_empty_value: bool,
});
enumeration!(HeaderAppendAction {
    AppendIfExistsOrAdd = "APPEND_IF_EXISTS_OR_ADD",
    AddIfAbsent = "ADD_IF_ABSENT",
    OverwriteIfExistsOrAdd = "OVERWRITE_IF_EXISTS_OR_ADD",
    OverwriteIfExists = "OVERWRITE_IF_EXISTS",
});
message!(DataSource {
    filename: Option<String>,
    /// base64, as protobuf's JSON has bytes.
    inline_bytes: Option<String>,
    inline_string: Option<String>, environment_variable: Option<String>, watched_directory: Option<Value>,
});
message!(AsyncDataSource { local: Option<DataSource>, remote: Option<Value> });
message!(FractionalPercent { numerator: u32, denominator: DenominatorType });
enumeration!(DenominatorType { Hundred = "HUNDRED", TenThousand = "TEN_THOUSAND", Million = "MILLION" });

impl FractionalPercent {
    /// The denominator as a number.
    pub fn denominator_value(&self) -> u64 {
        match self.denominator {
            DenominatorType::Hundred => 100,
            DenominatorType::TenThousand => 10_000,
            DenominatorType::Million => 1_000_000,
        }
    }
}

message!(RuntimeFractionalPercent { default_value: Option<FractionalPercent>, runtime_key: String });
message!(Percent { value: f64 });
message!(RuntimeDouble { default_value: f64, runtime_key: String });
message!(TypedExtensionConfig { name: String, typed_config: Option<Any> });
message!(ConfigSource {
    path: Option<String>, path_config_source: Option<Value>, api_config_source: Option<Value>, ads: Option<Value>,
    self_config as "self": Option<Value>, initial_fetch_timeout: Option<Duration>, resource_api_version: Option<String>,
    authorities: Vec<Value>,
});
message!(BackoffStrategy { base_interval: Option<Duration>, max_interval: Option<Duration> });
message!(SubstitutionFormatString {
    text_format: Option<String>, json_format: Option<Value>, text_format_source: Option<DataSource>,
    omit_empty_values: bool, content_type: String, formatters: Vec<Value>, json_format_options: Option<Value>,
});
message!(HttpStatus { code: StatusCode });

/// `envoy.type.v3.StatusCode`: a number or a name such as `TooManyRequests`; 0 is unset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StatusCode(pub u16);

const STATUS_NAMES: [(&str, u16); 60] = [
    ("Empty", 0),
    ("Continue", 100),
    ("OK", 200),
    ("Created", 201),
    ("Accepted", 202),
    ("NonAuthoritativeInformation", 203),
    ("NoContent", 204),
    ("ResetContent", 205),
    ("PartialContent", 206),
    ("MultiStatus", 207),
    ("AlreadyReported", 208),
    ("IMUsed", 226),
    ("MultipleChoices", 300),
    ("MovedPermanently", 301),
    ("Found", 302),
    ("SeeOther", 303),
    ("NotModified", 304),
    ("UseProxy", 305),
    ("TemporaryRedirect", 307),
    ("PermanentRedirect", 308),
    ("BadRequest", 400),
    ("Unauthorized", 401),
    ("PaymentRequired", 402),
    ("Forbidden", 403),
    ("NotFound", 404),
    ("MethodNotAllowed", 405),
    ("NotAcceptable", 406),
    ("ProxyAuthenticationRequired", 407),
    ("RequestTimeout", 408),
    ("Conflict", 409),
    ("Gone", 410),
    ("LengthRequired", 411),
    ("PreconditionFailed", 412),
    ("PayloadTooLarge", 413),
    ("URITooLong", 414),
    ("UnsupportedMediaType", 415),
    ("RangeNotSatisfiable", 416),
    ("ExpectationFailed", 417),
    ("MisdirectedRequest", 421),
    ("UnprocessableEntity", 422),
    ("Locked", 423),
    ("FailedDependency", 424),
    ("UpgradeRequired", 426),
    ("PreconditionRequired", 428),
    ("TooManyRequests", 429),
    ("RequestHeaderFieldsTooLarge", 431),
    ("InternalServerError", 500),
    ("NotImplemented", 501),
    ("BadGateway", 502),
    ("ServiceUnavailable", 503),
    ("GatewayTimeout", 504),
    ("HTTPVersionNotSupported", 505),
    ("VariantAlsoNegotiates", 506),
    ("InsufficientStorage", 507),
    ("LoopDetected", 508),
    ("NotExtended", 510),
    ("NetworkAuthenticationRequired", 511),
    ("SwitchingProtocols", 101),
    ("Processing", 102),
    ("EarlyHints", 103),
];

impl serde::Serialize for StatusCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match STATUS_NAMES.iter().find(|(_, code)| *code == self.0) {
            Some((name, _)) => serializer.serialize_str(name),
            None => serializer.serialize_u16(self.0),
        }
    }
}

impl<'de> serde::Deserialize<'de> for StatusCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
            Value::String(text) => STATUS_NAMES.iter().find(|(name, _)| *name == text).map(|(_, code)| *code),
            _ => None,
        };
        code.map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected an HTTP status, such as 503 or \"TooManyRequests\""))
    }
}

message!(TokenBucket { max_tokens: u32, tokens_per_fill: Option<u32>, fill_interval: Option<Duration> });
message!(GrpcService {
    envoy_grpc: Option<EnvoyGrpc>, google_grpc: Option<Value>, timeout: Option<Duration>,
    initial_metadata: Vec<HeaderValue>, retry_policy: Option<Value>,
});
message!(EnvoyGrpc {
    cluster_name: String, authority: String, retry_policy: Option<Value>, max_receive_message_length: Option<u32>,
    skip_envoy_headers: bool,
});
message!(HttpProtocolOptions {
    idle_timeout: Option<Duration>, max_connection_duration: Option<Duration>, max_headers_count: Option<u32>,
    max_response_headers_kb: Option<u32>, max_stream_duration: Option<Duration>,
    headers_with_underscores_action: HeadersWithUnderscoresAction, max_requests_per_connection: Option<u32>,
});
enumeration!(HeadersWithUnderscoresAction {
    Allow = "ALLOW", RejectRequest = "REJECT_REQUEST", DropHeader = "DROP_HEADER",
});
message!(Http1ProtocolOptions {
    allow_absolute_url: Option<bool>, accept_http_10: bool, default_host_for_http_10: String,
    header_key_format: Option<Value>, enable_trailers: bool, allow_chunked_length: bool,
    override_stream_error_on_invalid_http_message: Option<bool>, send_fully_qualified_url: bool,
    use_balsa_parser: Option<bool>, allow_custom_methods: bool, ignore_http_11_upgrade: Vec<crate::StringMatcher>,
});
message!(Http2ProtocolOptions {
    hpack_table_size: Option<u32>, max_concurrent_streams: Option<u32>, initial_stream_window_size: Option<u32>,
    initial_connection_window_size: Option<u32>, allow_connect: bool, allow_metadata: bool,
    max_outbound_frames: Option<u32>, max_outbound_control_frames: Option<u32>,
    max_consecutive_inbound_frames_with_empty_payload: Option<u32>, max_inbound_priority_frames_per_stream: Option<u32>,
    max_inbound_window_update_frames_per_data_frame_sent: Option<u32>, stream_error_on_invalid_http_messaging: bool,
    override_stream_error_on_invalid_http_message: Option<bool>, custom_settings_parameters: Vec<Value>,
    connection_keepalive: Option<Value>, use_oghttp2_codec: Option<bool>, max_metadata_size: Option<Value>,
    enable_huffman_encoding: Option<bool>,
});
