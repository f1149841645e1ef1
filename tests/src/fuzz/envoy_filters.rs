//! EnvoyFilters: the filters we run and the edges of the connection manager, patched in.

use serde_json::{Value, json};

use super::dice::Dice;

/// At most a few, in some worlds.
pub(super) fn resources(dice: &mut Dice) -> Vec<Value> {
    if !dice.chance(35) {
        return Vec::new();
    }
    let all: &[fn(&mut Dice) -> Vec<Value>] = &[
        local_rate_limit,
        header_mutation,
        fault,
        connection_manager,
        virtual_host,
        route,
        route_configuration,
        cluster,
    ];
    let mut made = Vec::new();
    for (at, patches) in all.iter().enumerate() {
        if dice.chance(25) {
            made.push(json!({
                "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
                "metadata": {"name": format!("ef{at}"), "namespace": "istio-system"},
                "spec": {"workloadSelector": {"labels": {"istio": "ingressgateway"}}, "configPatches": patches(dice)},
            }));
        }
    }
    made
}

fn patch(apply_to: &str, matched: Value, operation: &str, value: Value) -> Value {
    let mut matches = json!({"context": "GATEWAY"});
    if let (Some(all), Some(own)) = (matches.as_object_mut(), matched.as_object()) {
        all.extend(own.clone());
    }
    json!({"applyTo": apply_to, "match": matches, "patch": {"operation": operation, "value": value}})
}

fn http_filter(dice: &mut Dice, name: &str, config: Value) -> Value {
    let router = json!({"listener": {"filterChain": {"filter": {
        "name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": "envoy.filters.http.router"},
    }}}});
    let (matched, operation) = if dice.chance(70) { (router, "INSERT_BEFORE") } else { (json!({}), "INSERT_FIRST") };
    patch("HTTP_FILTER", matched, operation, json!({"name": name, "typed_config": config}))
}

fn always(percent: u32) -> Value {
    json!({"default_value": {"numerator": percent, "denominator": "HUNDRED"}, "runtime_key": "x"})
}

fn bucket(dice: &mut Dice) -> Value {
    json!({"max_tokens": 1 + dice.below(3), "tokens_per_fill": 1, "fill_interval": "3600s"})
}

fn local_rate_limit(dice: &mut Dice) -> Vec<Value> {
    const TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let mut config = json!({
        "@type": TYPE, "stat_prefix": "l", "token_bucket": {"max_tokens": 1000, "tokens_per_fill": 1, "fill_interval": "3600s"},
        "filter_enabled": always(100), "filter_enforced": always(if dice.chance(90) { 100 } else { 0 }),
        "response_headers_to_add": [{"header": {"key": "x-limited", "value": "yes"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "request_headers_to_add_when_not_enforced": [{"header": {"key": "x-over", "value": "yes"}}],
    });
    let mut descriptors = Vec::new();
    for value in ["gold", "test"] {
        descriptors.push(json!({"entries": [{"key": "tier", "value": value}], "token_bucket": bucket(dice)}));
    }
    if dice.chance(40) {
        descriptors.push(json!({"entries": [{"key": "path", "value": ""}], "token_bucket": bucket(dice)}));
    }
    if let Some(fields) = config.as_object_mut() {
        fields.insert("descriptors".into(), descriptors.into());
        if dice.chance(30) {
            fields.insert("status".into(), json!({"code": if dice.chance(50) { "ServiceUnavailable" } else { "OK" }}));
        }
        if dice.chance(30) {
            fields.insert("enable_x_ratelimit_headers".into(), json!("DRAFT_VERSION_03"));
        }
        if dice.chance(20) {
            fields.insert("always_consume_default_token_bucket".into(), json!(false));
        }
    }
    let tier = json!({"actions": [{"request_headers": {"header_name": "x-tier", "descriptor_key": "tier"}}]});
    let path = json!({"actions": [{"request_headers": {"header_name": ":path", "descriptor_key": "path"}}]});
    let matched = json!({"actions": [{"header_value_match": {
        "descriptor_key": "tier", "descriptor_value": "gold", "expect_match": dice.chance(70),
        "headers": [{"name": "x-env", "string_match": {"prefix": "t"}}],
    }}]});
    let generic = json!({"actions": [{"generic_key": {"descriptor_key": "tier", "descriptor_value": "test"}}]});
    let limits: Vec<Value> = [tier, path, matched, generic].into_iter().filter(|_| dice.chance(50)).collect();
    let apply_to = dice.pick(&["VIRTUAL_HOST", "HTTP_ROUTE"]);
    let value = if apply_to == "HTTP_ROUTE" {
        json!({"route": {"rate_limits": limits}})
    } else {
        json!({"rate_limits": limits})
    };
    vec![http_filter(dice, "envoy.filters.http.local_ratelimit", config), patch(apply_to, json!({}), "MERGE", value)]
}

fn mutations(dice: &mut Dice) -> Value {
    let action =
        dice.pick(&["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"]);
    let value = dice.pick(&["m", "%REQ(x-env)%", "%REQ(:PATH)%", "%PROTOCOL%"]);
    json!({
        "request_mutations": [
            {"remove": "x-tier"},
            {"append": {"header": {"key": dice.pick(&["x-env", "x-m", "x-user"]), "value": value}, "append_action": action}},
        ],
        "response_mutations": [
            {"append": {"header": {"key": dice.pick(&["x-origin", "x-m", "server"]), "value": "r"}, "append_action": action}},
        ],
    })
}

fn header_mutation(dice: &mut Dice) -> Vec<Value> {
    const TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    let config = json!({"@type": TYPE, "mutations": mutations(dice)});
    let mut patches = vec![http_filter(dice, "envoy.filters.http.header_mutation", config)];
    if dice.chance(40) {
        const ROUTE: &str =
            "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
        let own = json!({"typed_per_filter_config": {"envoy.filters.http.header_mutation": {"@type": ROUTE, "mutations": mutations(dice)}}});
        patches.push(patch(dice.pick(&["VIRTUAL_HOST", "HTTP_ROUTE"]), json!({}), "MERGE", own));
    }
    patches
}

fn fault(dice: &mut Dice) -> Vec<Value> {
    const TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let abort = if dice.chance(50) {
        json!({"header_abort": {}, "percentage": {"numerator": 100}})
    } else {
        json!({"http_status": 418, "percentage": {"numerator": 100}})
    };
    let config = json!({
        "@type": TYPE, "abort": abort,
        "headers": [{"name": "x-tier", "string_match": {"exact": dice.pick(&["gold", "test"])}}],
    });
    let mut patches = vec![http_filter(dice, "envoy.filters.http.fault.mine", config)];
    patches.truncate(1);
    patches
}

fn connection_manager(dice: &mut Dice) -> Vec<Value> {
    const TYPE: &str =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let choices = [
        json!({"server_name": "mine"}),
        json!({"server_header_transformation": "PASS_THROUGH"}),
        json!({"server_header_transformation": "APPEND_IF_ABSENT"}),
        json!({"preserve_external_request_id": true}),
        json!({"always_set_request_id_in_response": true}),
        json!({"use_remote_address": false}),
        json!({"skip_xff_append": true}),
        json!({"xff_num_trusted_hops": 1}),
        json!({"merge_slashes": true}),
        json!({"path_with_escaped_slashes_action": "REJECT_REQUEST"}),
        json!({"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"}),
        json!({"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}),
        json!({"strip_matching_host_port": true}),
        json!({"strip_any_host_port": true}),
        json!({"strip_trailing_host_dot": true}),
        json!({"via": "proxy"}),
        json!({"generate_request_id": false}),
        json!({"add_user_agent": true}),
        json!({"max_request_headers_kb": 8}),
        json!({"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}}),
        json!({"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}}),
        json!({"common_http_protocol_options": {"max_headers_count": 12}}),
        json!({"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}}),
        json!({"normalize_path": false}),
    ];
    let mut config = dice.any(&choices).cloned().unwrap_or_default();
    if let Some(fields) = config.as_object_mut() {
        fields.insert("@type".into(), TYPE.into());
    }
    let matched =
        json!({"listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}});
    vec![patch("NETWORK_FILTER", matched, "MERGE", json!({"typed_config": config}))]
}

fn header_option(dice: &mut Dice) -> Value {
    let key = dice.pick(&["x-a", "x-patched", "X-B", "user-agent"]);
    let value = dice.pick(&["p", "%REQ(x-env)%", "%ROUTE_NAME%", "%UPSTREAM_CLUSTER%", ""]);
    let action =
        dice.pick(&["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"]);
    json!([{"header": {"key": key, "value": value}, "append_action": action, "keep_empty_value": dice.chance(30)}])
}

fn head_changes(dice: &mut Dice) -> Value {
    json!({
        "request_headers_to_add": header_option(dice), "response_headers_to_add": header_option(dice),
        "request_headers_to_remove": dice.some(&["x-env", "x-a", "x-user"], 0, 2),
        "response_headers_to_remove": dice.some(&["x-a", "content-type"], 0, 1),
    })
}

fn virtual_host(dice: &mut Dice) -> Vec<Value> {
    let mut value = head_changes(dice);
    let extra = [
        json!({"include_request_attempt_count": true}),
        json!({"include_attempt_count_in_response": true}),
        json!({"require_tls": "EXTERNAL_ONLY"}),
        json!({"retry_policy": {"retry_on": "5xx", "num_retries": 1}}),
        json!({}),
    ];
    if let (Some(fields), Some(extra)) = (value.as_object_mut(), dice.any(&extra).and_then(Value::as_object)) {
        fields.extend(extra.clone());
    }
    vec![patch("VIRTUAL_HOST", json!({}), "MERGE", value)]
}

fn route(dice: &mut Dice) -> Vec<Value> {
    let extra = [
        json!({"route": {"append_x_forwarded_host": true, "host_rewrite_literal": "patched.example"}}),
        json!({"route": {"timeout": "5s", "priority": "HIGH"}}),
        json!({"route": {"cluster_not_found_response_code": "NOT_FOUND"}}),
        json!({"route": {"host_rewrite_header": "x-user"}}),
        json!({"route": {"retry_policy": {"retry_on": "retriable-headers", "num_retries": 1,
            "retriable_headers": [{"name": "x-again", "present_match": true}]}}}),
        json!({"route": {"hash_policy": [{"header": {"header_name": "x-user"}, "terminal": true}]}}),
        json!({}),
    ];
    let mut value = head_changes(dice);
    if let (Some(fields), Some(extra)) = (value.as_object_mut(), dice.any(&extra).and_then(Value::as_object)) {
        fields.extend(extra.clone());
    }
    let matched =
        if dice.chance(60) { json!({}) } else { json!({"routeConfiguration": {"vhost": {"route": {"name": "r1"}}}}) };
    vec![patch("HTTP_ROUTE", matched, "MERGE", value)]
}

fn route_configuration(dice: &mut Dice) -> Vec<Value> {
    let mut value = head_changes(dice);
    if let Some(fields) = value.as_object_mut() {
        if dice.chance(40) {
            fields.insert("most_specific_header_mutations_wins".into(), true.into());
        }
        if dice.chance(30) {
            fields.insert("internal_only_headers".into(), json!(["x-user"]));
        }
    }
    vec![patch("ROUTE_CONFIGURATION", json!({}), "MERGE", value)]
}

fn cluster(dice: &mut Dice) -> Vec<Value> {
    let value = dice
        .any(&[
            json!({"connect_timeout": "2s"}),
            json!({"lb_policy": "ROUND_ROBIN"}),
            json!({"lb_policy": "MAGLEV"}),
            json!({"circuit_breakers": {"thresholds": [{"max_retries": 5}]}}),
        ])
        .cloned()
        .unwrap_or_default();
    let matched =
        if dice.chance(50) { json!({}) } else { json!({"cluster": {"service": "shop.default.svc.cluster.local"}}) };
    vec![patch("CLUSTER", matched, "MERGE", value)]
}
