//! The HTTP connection manager of a gateway listener, with its chain of filters.

use serde_json::Map;
use xds::{
    Any, ForwardClientCertDetails, GrpcStats, HcmUpgradeConfig, HeadersWithUnderscoresAction, Http1ProtocolOptions,
    HttpConnectionManager, HttpFilter, HttpFilterConfig, PathWithEscapedSlashesAction, RequestIdExtension, Router,
    ServerHeaderTransformation, SetCurrentClientCertDetails,
};

use super::{Context, clusters::preserve_case_format, duration, extensions};
use crate::resource::{
    mesh::{
        self, ConnectionSettings, EscapedSlashesAction, HeaderSwitch, Normalization, ProxyHeaders, UnderscoresAction,
    },
    protocol::Protocol,
};

/// For one server port. The route table is put in by the caller.
pub(crate) fn build(context: &Context<'_>, stat_prefix: &str, port: u32, protocol: Protocol) -> HttpConnectionManager {
    let headers = context.proxy_headers();
    let topology = context.proxy_config().and_then(|config| config.gateway_topology.as_ref());
    let server = headers.and_then(|headers| headers.server.as_ref());
    let switched = |switch: Option<&HeaderSwitch>| switch.is_some_and(HeaderSwitch::is_disabled);
    let forward =
        forward_client_cert(topology.map(|topology| topology.forward_client_cert_details).unwrap_or_default());
    let sets_details =
        matches!(forward, ForwardClientCertDetails::AppendForward | ForwardClientCertDetails::SanitizeSet);
    let preserve = headers.is_some_and(ProxyHeaders::keep_http1_case);
    let mut manager = HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        http_filters: filters(context, port, protocol),
        http_protocol_options: Some(Http1ProtocolOptions {
            header_key_format: preserve.then(preserve_case_format),
            ..Http1ProtocolOptions::default()
        }),
        server_name: match server {
            Some(server) if server.is_disabled() => String::new(),
            Some(server) if !server.value.is_empty() => server.value.clone(),
            _ => "istio-envoy".to_owned(),
        },
        server_header_transformation: match switched(server) {
            true => ServerHeaderTransformation::PassThrough,
            false => ServerHeaderTransformation::Overwrite,
        },
        stream_idle_timeout: Some(xds::Duration::default()),
        use_remote_address: Some(true),
        xff_num_trusted_hops: topology.map_or(0, |topology| topology.num_trusted_proxies),
        generate_request_id: switched(headers.and_then(|headers| headers.request_id.as_ref())).then_some(false),
        forward_client_cert_details: forward,
        set_current_client_cert_details: sets_details.then(|| SetCurrentClientCertDetails {
            subject: Some(true),
            cert: true,
            dns: true,
            uri: true,
            ..SetCurrentClientCertDetails::default()
        }),
        proxy_100_continue: true,
        upgrade_configs: vec![HcmUpgradeConfig { upgrade_type: "websocket".to_owned(), ..HcmUpgradeConfig::default() }],
        request_id_extension: Some(request_id_extension()),
        append_x_forwarded_port: headers
            .and_then(|headers| headers.x_forwarded_port.as_ref())
            .is_some_and(HeaderSwitch::is_enabled),
        ..HttpConnectionManager::default()
    };
    normalization(context, &mut manager);
    if let Some(settings) = context.proxy_config().and_then(|config| config.connection_settings.as_ref()) {
        connection_settings(&mut manager, &settings.with_profile());
    }
    manager
}

fn request_id_extension() -> RequestIdExtension {
    const UUID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";
    let fields: Map<_, _> = [("use_request_id_for_trace_sampling".to_owned(), true.into())].into_iter().collect();
    RequestIdExtension { typed_config: Some(Any::new(UUID, fields)) }
}

fn forward_client_cert(details: mesh::ForwardClientCertDetails) -> ForwardClientCertDetails {
    match details {
        mesh::ForwardClientCertDetails::Undefined | mesh::ForwardClientCertDetails::SanitizeSet => {
            ForwardClientCertDetails::SanitizeSet
        }
        mesh::ForwardClientCertDetails::Sanitize => ForwardClientCertDetails::Sanitize,
        mesh::ForwardClientCertDetails::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        mesh::ForwardClientCertDetails::AppendForward => ForwardClientCertDetails::AppendForward,
        mesh::ForwardClientCertDetails::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    }
}

/// BASE unless MeshConfig says otherwise.
fn normalization(context: &Context<'_>, manager: &mut HttpConnectionManager) {
    let level = context.resources.mesh.path_normalization.as_ref().map(|path| path.normalization).unwrap_or_default();
    manager.normalize_path = Some(level != Normalization::None);
    manager.merge_slashes = matches!(level, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes);
    manager.path_with_escaped_slashes_action = match level {
        Normalization::DecodeAndMergeSlashes => PathWithEscapedSlashesAction::UnescapeAndForward,
        _ => PathWithEscapedSlashesAction::KeepUnchanged,
    };
}

fn connection_settings(manager: &mut HttpConnectionManager, settings: &ConnectionSettings) {
    let unsigned = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    let underscores = match settings.http_headers_with_underscores_action {
        UnderscoresAction::Unspecified => None,
        UnderscoresAction::Allow => Some(HeadersWithUnderscoresAction::Allow),
        UnderscoresAction::RejectRequest => Some(HeadersWithUnderscoresAction::RejectRequest),
        UnderscoresAction::DropHeader => Some(HeadersWithUnderscoresAction::DropHeader),
    };
    let times = [settings.http_idle_timeout, settings.http_max_connection_duration, settings.http_max_stream_duration];
    if times.iter().any(Option::is_some) || underscores.is_some() {
        let common = manager.common_http_protocol_options.get_or_insert_default();
        common.idle_timeout = settings.http_idle_timeout.map(duration);
        common.max_connection_duration = settings.http_max_connection_duration.map(duration);
        common.max_stream_duration = settings.http_max_stream_duration.map(duration);
        common.headers_with_underscores_action = underscores.unwrap_or_default();
    }
    manager.stream_idle_timeout = settings.http_stream_idle_timeout.map(duration).or(manager.stream_idle_timeout);
    manager.request_timeout = settings.http_request_timeout.map(duration);
    manager.request_headers_timeout = settings.http_request_headers_timeout.map(duration);
    manager.drain_timeout = settings.http_drain_timeout.map(duration);
    let streams = unsigned(settings.http_max_concurrent_streams);
    let stream_window = unsigned(settings.http2_initial_stream_window_size);
    let connection_window = unsigned(settings.http2_initial_connection_window_size);
    if streams.or(stream_window).or(connection_window).is_some() {
        let http2 = manager.http2_protocol_options.get_or_insert_default();
        http2.max_concurrent_streams = streams;
        http2.initial_stream_window_size = stream_window;
        http2.initial_connection_window_size = connection_window;
    }
    if let Some(merge) = settings.http_merge_slashes {
        manager.merge_slashes = merge;
    }
    manager.path_with_escaped_slashes_action = match settings.http_path_with_escaped_slashes_action {
        EscapedSlashesAction::Unspecified => manager.path_with_escaped_slashes_action,
        EscapedSlashesAction::KeepUnchanged => PathWithEscapedSlashesAction::KeepUnchanged,
        EscapedSlashesAction::RejectRequest => PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashesAction::UnescapeAndRedirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        EscapedSlashesAction::UnescapeAndForward => PathWithEscapedSlashesAction::UnescapeAndForward,
    };
}

/// Filters that only Istio's build of Envoy has. They stand in the chain while EnvoyFilters are applied, which may name them, and are taken out
/// then: none of them changes an answer.
const ISTIO_ONLY: [(&str, &str); 2] = [
    ("istio.metadata_exchange", "io.istio.http.peer_metadata.Config"),
    ("istio.alpn", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"),
];

/// Takes the filters out that only Istio's build of Envoy has.
pub(crate) fn drop_istio_filters(listeners: &mut [xds::Listener]) {
    for filter in
        listeners.iter_mut().flat_map(|listener| &mut listener.filter_chains).flat_map(|chain| &mut chain.filters)
    {
        if let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &mut filter.typed_config {
            manager.http_filters.retain(|filter| ISTIO_ONLY.iter().all(|(name, _)| filter.name != *name));
        }
    }
}

/// Extensions by phase between Istio's own filters, the router last.
fn filters(context: &Context<'_>, port: u32, protocol: Protocol) -> Vec<HttpFilter> {
    let own = |name: &str, config: HttpFilterConfig| HttpFilter {
        name: name.to_owned(),
        typed_config: Some(config),
        ..HttpFilter::default()
    };
    let istio = |(name, config): (&str, &str)| own(name, HttpFilterConfig::Other(Any::new(config, Map::new())));
    let mut filters = vec![istio(ISTIO_ONLY[0])];
    filters.extend(extensions::http_filters(context, port));
    if protocol == Protocol::GrpcWeb {
        filters.push(own("envoy.filters.http.grpc_web", HttpFilterConfig::GrpcWeb(Box::default())));
    }
    let grpc_stats = GrpcStats { emit_filter_state: true, stats_for_all_methods: Some(false), ..GrpcStats::default() };
    filters.push(own("envoy.filters.http.grpc_stats", HttpFilterConfig::GrpcStats(Box::new(grpc_stats))));
    filters.push(istio(ISTIO_ONLY[1]));
    filters.push(own("envoy.filters.http.fault", HttpFilterConfig::Fault(Box::default())));
    filters.push(own("envoy.filters.http.cors", HttpFilterConfig::Cors(Box::default())));
    let suppress = context
        .proxy_headers()
        .and_then(|headers| headers.envoy_debug_headers.as_ref())
        .is_some_and(HeaderSwitch::is_disabled);
    let router = Router { suppress_envoy_headers: suppress, ..Router::default() };
    filters.push(own("envoy.filters.http.router", HttpFilterConfig::Router(Box::new(router))));
    filters
}
