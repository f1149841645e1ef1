//! Envoy's runtime, as Istio's bootstrap sets it.

use serde_json::{Map, Value, json};
use xds::{LayeredRuntime, RuntimeLayer};

use super::Context;

/// Istio's flags, those of the mesh's `runtimeValues` over them; an empty value takes a flag away.
pub(crate) fn layers(context: &Context<'_>) -> LayeredRuntime {
    let mut flags: Map<String, Value> = [
        ("re2.max_program_size.error_level", Value::from("32768")),
        ("envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_deprecated_use_original_dst", true.into()),
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
            RuntimeLayer { name: "global config".to_owned(), static_layer: Some(Value::Object(flags)), ..RuntimeLayer::default() },
            RuntimeLayer { name: "admin".to_owned(), admin_layer: Some(json!({})), ..RuntimeLayer::default() },
        ],
    }
}
