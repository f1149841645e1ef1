//! Which fields of Envoy's messages exclude each other: setting one takes the others away.

/// Groups whose names mean a oneof wherever they occur.
const EVERYWHERE: [&[&str]; 24] = [
    &["route", "redirect", "direct_response", "filter_action", "non_forwarding_action"],
    &["prefix", "path", "safe_regex", "connect_matcher", "path_separated_prefix", "path_match_policy"],
    &["exact", "prefix", "suffix", "contains", "safe_regex", "custom"],
    &["cluster", "cluster_header", "weighted_clusters", "cluster_specifier_plugin", "inline_cluster_specifier_plugin"],
    &["host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header", "host_rewrite_path_regex"],
    &["https_redirect", "scheme_redirect"],
    &["rds", "route_config", "scoped_routes"],
    &["type", "cluster_type"],
    &[
        "ring_hash_lb_config",
        "maglev_lb_config",
        "original_dst_lb_config",
        "least_request_lb_config",
        "round_robin_lb_config",
    ],
    &["zone_aware_lb_config", "locality_weighted_lb_config"],
    &[
        "exact_match",
        "safe_regex_match",
        "range_match",
        "present_match",
        "prefix_match",
        "suffix_match",
        "contains_match",
        "string_match",
    ],
    &["filename", "inline_bytes", "inline_string", "environment_variable"],
    &["socket_address", "pipe", "envoy_internal_address"],
    &["port_value", "named_port"],
    &["fixed_delay", "header_delay"],
    &["http_status", "grpc_status", "header_abort"],
    &["fixed_limit", "header_limit"],
    &["header", "cookie", "connection_properties", "query_parameter", "filter_state"],
    &["typed_config", "config_discovery"],
    &["explicit_http_config", "use_downstream_protocol_config", "auto_config"],
    &["validation_context", "validation_context_sds_secret_config", "combined_validation_context"],
    &["local", "remote"],
    &["remove", "append", "remove_on_match"],
    &["path", "path_config_source", "api_config_source", "ads", "self"],
];

/// Groups that hold only inside of the named field.
const INSIDE: [(&str, &[&str]); 2] = [
    ("redirect", &["path_redirect", "prefix_rewrite", "regex_rewrite"]),
    ("explicit_http_config", &["http_protocol_options", "http2_protocol_options", "http3_protocol_options"]),
];

/// The fields that `field` excludes in a message that is the value of `parent`.
pub(super) fn excluded_by<'f>(parent: &'f str, field: &'f str) -> impl Iterator<Item = &'static str> + use<'f> {
    let everywhere = EVERYWHERE.iter().copied().filter(move |group| group.contains(&field));
    let inside =
        INSIDE.iter().filter(move |(place, group)| *place == parent && group.contains(&field)).map(|(_, group)| *group);
    everywhere.chain(inside).flatten().copied().filter(move |other| *other != field)
}

/// Scalars that are members of a oneof: set, even to zero, they replace.
pub(super) fn is_member(field: &str) -> bool {
    EVERYWHERE.iter().any(|group| group.contains(&field))
}
