//! What Istio's bootstrap sets for the whole proxy: Envoy's runtime, and the parts of statistics' names that become labels.

use serde_json::{Map, Value, json};
use xds::{LayeredRuntime, RuntimeLayer};

use super::Context;

/// Istio's flags, those of the mesh's `runtimeValues` over them; an empty value takes a flag away.
pub(crate) fn layers(context: &Context<'_>) -> LayeredRuntime {
    let mut flags: Map<String, Value> = [
        ("re2.max_program_size.error_level", Value::from("32768")),
        (
            "envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_deprecated_use_original_dst",
            true.into(),
        ),
        ("envoy.reloadable_features.http_reject_path_with_fragment", false.into()),
        ("envoy.reloadable_features.fixed_heap_use_allocated", true.into()),
        ("envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update", false.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for (name, value) in context.proxy_config().iter().flat_map(|config| &config.runtime_values) {
        match value.as_str() {
            "" => drop(flags.remove(name)),
            "true" | "false" => drop(flags.insert(name.clone(), (value == "true").into())),
            text => drop(flags.insert(name.clone(), text.into())),
        }
    }
    LayeredRuntime {
        layers: vec![
            RuntimeLayer {
                name: "global config".to_owned(),
                static_layer: Some(Value::Object(flags)),
                ..RuntimeLayer::default()
            },
            RuntimeLayer { name: "admin".to_owned(), admin_layer: Some(json!({})), ..RuntimeLayer::default() },
        ],
    }
}

/// Istio's names of labels, with the expression that finds each.
const LABELS: [(&str, &str); 16] = [
    ("cluster_name", r"^cluster(\.(.+);)"),
    ("http_conn_manager_prefix", r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)"),
    ("thread_name", r"^server(\.(.+))\.watchdog"),
    ("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    (
        "http_conn_manager_listener_prefix",
        r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)",
    ),
    ("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
    ("mongo_prefix", r"^mongo\.(.+?)\.(collection|cmd|cx_|op_|delays_|decoding_)(.*?)$"),
    ("cache", r"(cache\.(.+?)\.)"),
    ("component", r"(component\.(.+?)\.)"),
    ("tag", r"(tag\.(.+?);\.)"),
    ("wasm_filter", r"(wasm_filter\.(.+?)\.)"),
    ("authz_enforce_result", r"rbac(\.(allowed|denied))"),
    ("authz_dry_run_action", r"(\.istio_dry_run_(allow|deny)_)"),
    ("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
];

/// Istio's `stats_config`: its own labels in place of Envoy's.
pub(crate) fn labels() -> Value {
    let tags: Vec<_> = LABELS.iter().map(|(name, regex)| json!({"tag_name": name, "regex": regex})).collect();
    json!({"use_all_default_tags": false, "stats_tags": tags})
}
