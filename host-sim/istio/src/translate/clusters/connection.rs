//! Connection pools: timeouts, circuit breakers, keep-alive, HTTP/2.

use serde_json::{Map, Value, json};
use xds::{
    CircuitBreakers, Cluster, Duration, Http1ProtocolOptions, Http2ProtocolOptions, HttpConfig, Percent, RetryBudget,
    Thresholds, UpstreamHttpOptions,
};

use super::{Maker, policy::Policy, speak_http2};
use crate::{
    resource::{
        destination_rule::{H2UpgradePolicy, HttpSettings, TcpKeepalive, TcpSettings},
        mesh::{MeshH2UpgradePolicy, ProxyHeaders},
    },
    translate::{Context, duration},
};

pub(super) fn mesh_connect_timeout(context: &Context<'_>) -> Duration {
    context.resources.mesh.connect_timeout.map_or(Duration::from_secs(10), duration)
}

pub(super) fn apply(
    maker: &Maker<'_, '_>,
    cluster: &mut Cluster,
    options: &mut UpstreamHttpOptions,
    policy: &Policy<'_>,
) {
    let http = policy.connection_pool.and_then(|pool| pool.http.as_ref());
    let tcp = policy.connection_pool.and_then(|pool| pool.tcp.as_ref());
    preserve_header_case(maker, options);
    if upgrades_to_http2(maker, http) {
        speak_http2(options);
    }
    cluster.connect_timeout =
        Some(tcp.and_then(|tcp| tcp.connect_timeout).map_or_else(|| mesh_connect_timeout(maker.context), duration));
    cluster.circuit_breakers =
        Some(CircuitBreakers { thresholds: vec![thresholds(http, tcp, policy)], ..CircuitBreakers::default() });
    cluster.upstream_connection_options = keepalive(
        maker
            .context
            .resources
            .mesh
            .tcp_keepalive
            .as_ref()
            .into_iter()
            .chain(tcp.and_then(|tcp| tcp.tcp_keepalive.as_ref())),
    );
    common_options(options, http, tcp);
    if let Some(http) = http {
        http2_options(options, http);
        if http.use_client_protocol {
            use_client_protocol(options);
        }
    }
}

fn preserve_header_case(maker: &Maker<'_, '_>, options: &mut UpstreamHttpOptions) {
    use crate::resource::protocol::Protocol;
    let headers = maker.context.proxy_headers();
    let preserve = headers.is_some_and(ProxyHeaders::keep_http1_case);
    let protocol = maker.port.protocol;
    if preserve && !protocol.is_http2() && (protocol.is_http() || protocol == Protocol::Unsupported) {
        let http1 =
            Http1ProtocolOptions { header_key_format: Some(preserve_case_format()), ..Http1ProtocolOptions::default() };
        options.explicit_http_config = Some(HttpConfig { http_protocol_options: Some(http1), ..HttpConfig::default() });
    }
}

/// `header_key_format` that keeps the spelling of names.
pub(crate) fn preserve_case_format() -> Value {
    let config = json!({"@type": "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"});
    json!({"stateful_formatter": {"name": "preserve_case", "typed_config": config}})
}

fn upgrades_to_http2(maker: &Maker<'_, '_>, http: Option<&HttpSettings>) -> bool {
    match http.map(|http| (http.use_client_protocol, http.h2_upgrade_policy)) {
        Some((true, _) | (_, H2UpgradePolicy::DoNotUpgrade)) => false,
        Some((_, H2UpgradePolicy::Upgrade)) => true,
        _ => {
            maker.port.protocol.is_http()
                && maker.context.resources.mesh.h2_upgrade_policy == MeshH2UpgradePolicy::Upgrade
        }
    }
}

/// Istio's defaults are no limits at all; 0 cannot be told from unset.
fn thresholds(http: Option<&HttpSettings>, tcp: Option<&TcpSettings>, policy: &Policy<'_>) -> Thresholds {
    let limit = |value: Option<i32>| {
        Some(value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(u32::MAX))
    };
    Thresholds {
        max_connections: limit(tcp.map(|tcp| tcp.max_connections)),
        max_pending_requests: limit(http.map(|http| http.http1_max_pending_requests)),
        max_requests: limit(http.map(|http| http.http2_max_requests)),
        max_retries: limit(http.map(|http| http.max_retries)),
        retry_budget: policy.retry_budget.map(|budget| RetryBudget {
            budget_percent: Some(Percent { value: budget.percent.unwrap_or(20.0) }),
            min_retry_concurrency: Some(if budget.min_retry_concurrency > 0 {
                budget.min_retry_concurrency
            } else {
                3
            }),
        }),
        ..Thresholds::default()
    }
}

/// Each setting that is given overrides the one before, field by field.
fn keepalive<'k>(settings: impl Iterator<Item = &'k TcpKeepalive>) -> Option<Value> {
    let mut merged: Option<Map<String, Value>> = None;
    for keepalive in settings {
        let fields = merged.get_or_insert_default();
        if keepalive.probes > 0 {
            fields.insert("keepalive_probes".into(), keepalive.probes.into());
        }
        for (name, time) in [("keepalive_time", keepalive.time), ("keepalive_interval", keepalive.interval)] {
            if let Some(time) = time {
                fields.insert(name.into(), (time.0 / 1_000_000_000).into());
            }
        }
    }
    merged.map(|fields| json!({"tcp_keepalive": fields}))
}

fn common_options(options: &mut UpstreamHttpOptions, http: Option<&HttpSettings>, tcp: Option<&TcpSettings>) {
    let idle_timeout = http.and_then(|http| http.idle_timeout).or_else(|| tcp.and_then(|tcp| tcp.idle_timeout));
    let max_connection_duration = tcp.and_then(|tcp| tcp.max_connection_duration);
    let positive = |value: i32| u32::try_from(value).ok().filter(|value| *value > 0);
    let max_requests_per_connection = http.and_then(|http| positive(http.max_requests_per_connection));
    let about_http2 = http.is_some_and(|http| http.max_concurrent_streams > 0 || http.http2_keep_alive.is_some());
    if idle_timeout.is_none()
        && max_connection_duration.is_none()
        && max_requests_per_connection.is_none()
        && !about_http2
    {
        return;
    }
    let common = options.common_http_protocol_options.get_or_insert_default();
    common.idle_timeout = idle_timeout.map(duration);
    common.max_connection_duration = max_connection_duration.map(duration);
    common.max_requests_per_connection = max_requests_per_connection;
}

fn http2_options(options: &mut UpstreamHttpOptions, http: &HttpSettings) {
    let Some(http2) = options.explicit_http_config.as_mut().and_then(|config| config.http2_protocol_options.as_mut())
    else {
        return;
    };
    http2.max_concurrent_streams = u32::try_from(http.max_concurrent_streams).ok().filter(|value| *value > 0);
    http2.connection_keepalive = http.http2_keep_alive.as_ref().map(|keepalive| {
        let text = |time: Option<crate::manifest::duration::Duration>| time.map(|time| duration(time).to_string());
        json!({"interval": text(keepalive.interval), "timeout": text(keepalive.timeout)})
    });
}

/// The upstream speaks what the client speaks.
fn use_client_protocol(options: &mut UpstreamHttpOptions) {
    let explicit = options.explicit_http_config.take();
    options.use_downstream_protocol_config = Some(HttpConfig {
        http_protocol_options: Some(explicit.and_then(|config| config.http_protocol_options).unwrap_or_default()),
        http2_protocol_options: Some(Http2ProtocolOptions::default()),
        ..HttpConfig::default()
    });
}
