//! Fields of Envoy's configuration that change answers, that the model reads, and that nobody here acts on: set, they are refused by name.
//!
//! Fields that only move statistics, memory or the shape of the work (`virtual_clusters`, `track_cluster_stats`, `drain_timeout`,
//! `preconnect_policy` …) are taken and have no effect. So has `header_key_format`: how names are spelt on the wire matters to no rule.

/// What is set in a connection manager and not done.
pub(super) fn of_manager(hcm: &xds::HttpConnectionManager) -> Vec<&'static str> {
    let http1 = hcm.http_protocol_options.as_ref();
    let http2 = hcm.http2_protocol_options.as_ref();
    set(&[
        ("scheme_header_transformation", hcm.scheme_header_transformation.is_some()),
        ("forward_client_cert_matcher", hcm.forward_client_cert_matcher.is_some()),
        ("forward_proto_config", hcm.forward_proto_config.is_some()),
        ("stream_error_on_invalid_http_message", hcm.stream_error_on_invalid_http_message == Some(true)),
        ("path_normalization_options", hcm.path_normalization_options.is_some()),
        ("proxy_status_config", hcm.proxy_status_config.is_some()),
        ("typed_header_validation_config", hcm.typed_header_validation_config.is_some()),
        ("http_protocol_options.allow_chunked_length", http1.is_some_and(|http1| http1.allow_chunked_length)),
        ("http_protocol_options.allow_custom_methods", http1.is_some_and(|http1| http1.allow_custom_methods)),
        (
            "http_protocol_options.override_stream_error_on_invalid_http_message",
            http1.is_some_and(|http1| http1.override_stream_error_on_invalid_http_message == Some(true)),
        ),
        (
            "http2_protocol_options.override_stream_error_on_invalid_http_message",
            http2.is_some_and(|http2| http2.override_stream_error_on_invalid_http_message == Some(true)),
        ),
        (
            "http2_protocol_options.stream_error_on_invalid_http_messaging",
            http2.is_some_and(|http2| http2.stream_error_on_invalid_http_messaging),
        ),
    ])
}

/// What is set in a cluster and not done.
pub(super) fn of_cluster(cluster: &xds::Cluster) -> Vec<&'static str> {
    let policy = cluster.load_assignment.as_ref().and_then(|assignment| assignment.policy.as_ref());
    let common = cluster.common_lb_config.as_ref();
    set(&[
        ("transport_socket_matcher", cluster.transport_socket_matcher.is_some()),
        ("cluster_type", cluster.cluster_type.is_some()),
        ("health_checks", !cluster.health_checks.is_empty()),
        ("upstream_bind_config", cluster.upstream_bind_config.is_some()),
        ("upstream_config", cluster.upstream_config.is_some()),
        ("filters", !cluster.filters.is_empty()),
        ("load_assignment.policy.drop_overloads", policy.is_some_and(|policy| !policy.drop_overloads.is_empty())),
        ("common_lb_config.override_host_status", common.is_some_and(|common| common.override_host_status.is_some())),
    ])
}

/// What is set in a listener and not done.
pub(super) fn of_listener(listener: &xds::Listener) -> Vec<&'static str> {
    set(&[
        ("additional_addresses", !listener.additional_addresses.is_empty()),
        ("fcds_config", listener.fcds_config.is_some()),
        ("filter_chain_matcher", listener.filter_chain_matcher.is_some()),
        ("use_original_dst", listener.use_original_dst == Some(true)),
        ("deprecated_v1", listener.deprecated_v1.is_some()),
        ("transparent", listener.transparent == Some(true)),
        ("udp_listener_config", listener.udp_listener_config.is_some()),
        ("api_listener", listener.api_listener.is_some()),
        ("internal_listener", listener.internal_listener.is_some()),
        ("bind_to_port", listener.bind_to_port == Some(false)),
    ])
}

/// What is set in a filter chain and not done.
pub(super) fn of_filter_chain(chain: &xds::FilterChain) -> Vec<&'static str> {
    set(&[("use_proxy_proto", chain.use_proxy_proto == Some(true))])
}

/// What is set in a TCP proxy and not done.
pub(super) fn of_tcp_proxy(proxy: &xds::TcpProxy) -> Vec<&'static str> {
    let weighted = proxy.weighted_clusters.iter().flat_map(|all| &all.clusters);
    set(&[
        ("on_demand", proxy.on_demand.is_some()),
        ("metadata_match", proxy.metadata_match.is_some()),
        ("weighted_clusters.clusters[].metadata_match", weighted.into_iter().any(|one| one.metadata_match.is_some())),
        ("tunneling_config", proxy.tunneling_config.is_some()),
        ("hash_policy: other than source_ip", proxy.hash_policy.iter().any(|policy| policy.get("source_ip").is_none())),
        ("max_connect_attempts", proxy.max_connect_attempts.is_some_and(|most| most > 1)),
        ("upstream_connect_mode", proxy.upstream_connect_mode.as_deref().is_some_and(|mode| mode != "IMMEDIATE")),
    ])
}

/// How that is said.
pub(super) fn not_supported(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| format!("{field}: not supported")).collect()
}

fn set(rows: &[(&'static str, bool)]) -> Vec<&'static str> {
    rows.iter().filter(|(_, set)| *set).map(|(field, _)| *field).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_changes_answers_and_is_not_done_is_named() {
        let manager = |json| of_manager(&serde_json::from_value(json).unwrap());
        for (json, expected) in [
            (json!({}), None),
            (json!({"drain_timeout": "1s", "stream_error_on_invalid_http_message": false}), None),
            (json!({"forward_proto_config": {}}), Some("forward_proto_config")),
            (
                json!({"http_protocol_options": {"allow_custom_methods": true}}),
                Some("http_protocol_options.allow_custom_methods"),
            ),
            (
                json!({"http2_protocol_options": {"override_stream_error_on_invalid_http_message": true}}),
                Some("http2_protocol_options.override_stream_error_on_invalid_http_message"),
            ),
        ] {
            assert_eq!(manager(json.clone()), expected.into_iter().collect::<Vec<_>>(), "{json}");
        }
        let listener = |json| of_listener(&serde_json::from_value(json).unwrap());
        assert_eq!(listener(json!({"bind_to_port": true, "reuse_port": true})), Vec::<&str>::new());
        assert_eq!(listener(json!({"bind_to_port": false, "api_listener": {}})), ["api_listener", "bind_to_port"]);
        let tcp = |json| of_tcp_proxy(&serde_json::from_value(json).unwrap());
        assert_eq!(tcp(json!({"hash_policy": [{"source_ip": {}}], "max_connect_attempts": 1})), Vec::<&str>::new());
        assert_eq!(tcp(json!({"tunneling_config": {}})), ["tunneling_config"]);
        let cluster = |json| of_cluster(&serde_json::from_value(json).unwrap());
        for (json, expected) in [
            (json!({"name": "c", "common_lb_config": {}, "respect_dns_ttl": true}), None),
            (json!({"name": "c", "health_checks": [{"timeout": "1s"}]}), Some("health_checks")),
            (json!({"name": "c", "cluster_type": {"name": "x"}}), Some("cluster_type")),
            (
                json!({"name": "c", "load_assignment": {"policy": {"drop_overloads": [{"category": "x"}]}}}),
                Some("load_assignment.policy.drop_overloads"),
            ),
        ] {
            assert_eq!(cluster(json.clone()), expected.into_iter().collect::<Vec<_>>(), "{json}");
        }
    }
}
