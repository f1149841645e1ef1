//! `envoy.extensions.wasm.v3` and the HTTP filter that carries it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::Any;
use crate::{AsyncDataSource, BackoffStrategy};

message!(
    /// `envoy.extensions.filters.http.wasm.v3.Wasm`
    Wasm { config: Option<WasmPluginConfig> }
);
message!(
    /// `envoy.extensions.wasm.v3.PluginConfig`
    WasmPluginConfig {
        name: String, root_id: String, vm_config: Option<VmConfig>,
        /// Usually a `google.protobuf.StringValue` with the plugin's JSON in `value`.
        configuration: Option<Any>,
        fail_open: bool, failure_policy: FailurePolicy, reload_config: Option<ReloadConfig>,
        capability_restriction_config: Option<CapabilityRestrictionConfig>, allow_on_headers_stop_iteration: Option<bool>,
    }
);
enumeration!(FailurePolicy {
    Unspecified = "UNSPECIFIED", FailReload = "FAIL_RELOAD", FailClosed = "FAIL_CLOSED", FailOpen = "FAIL_OPEN",
});
message!(ReloadConfig { backoff: Option<BackoffStrategy> });
message!(CapabilityRestrictionConfig { allowed_capabilities: BTreeMap<String, Value> });
message!(VmConfig {
    vm_id: String, runtime: String, code: Option<AsyncDataSource>, configuration: Option<Any>, allow_precompiled: bool,
    nack_on_code_cache_miss: bool, environment_variables: Option<EnvironmentVariables>,
});
message!(EnvironmentVariables { host_env_keys: Vec<String>, key_values: BTreeMap<String, String> });

impl WasmPluginConfig {
    /// The bytes a module sees: the inside of a `StringValue`; none when the configuration is absent.
    pub fn configuration_string(&self) -> Option<&str> {
        string_value(self.configuration.as_ref())
    }
}

impl VmConfig {
    /// The bytes a module sees in `proxy_on_vm_start`.
    pub fn configuration_string(&self) -> Option<&str> {
        string_value(self.configuration.as_ref())
    }
}

fn string_value(any: Option<&Any>) -> Option<&str> {
    let any = any?;
    (any.type_name() == STRING_VALUE).then(|| any.fields().get("value").and_then(Value::as_str)).flatten()
}

/// `google.protobuf.StringValue`, the form in which Istio hands a plugin its JSON.
pub const STRING_VALUE: &str = "google.protobuf.StringValue";

/// A `google.protobuf.StringValue` as an Any.
pub fn string_value_any(text: impl Into<String>) -> Any {
    Any::new(STRING_VALUE, [("value".to_owned(), Value::String(text.into()))].into_iter().collect())
}
