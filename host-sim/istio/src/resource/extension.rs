//! `WasmPlugin` and its successor `TrafficExtension`: proxy-wasm modules in the filter chain.

use std::collections::BTreeMap;

use super::destination_rule::WorkloadSelector;
use crate::manifest::decode::{Free, choices, messages};

messages! {
    /// `WasmPlugin.spec`.
    struct WasmPlugin {
        selector: Option<WorkloadSelector> = "selector",
        target_ref: Option<TargetRef> = "targetRef",
        target_refs: Vec<TargetRef> = "targetRefs",
        url: String = "url" required,
        sha256: String = "sha256",
        image_pull_policy: PullPolicy = "imagePullPolicy",
        image_pull_secret: String = "imagePullSecret",
        verification_key: String = "verificationKey",
        plugin_config: Option<Free> = "pluginConfig",
        plugin_name: String = "pluginName",
        phase: PluginPhase = "phase",
        priority: Option<i32> = "priority",
        fail_strategy: FailStrategy = "failStrategy",
        vm_config: Option<VmConfig> = "vmConfig",
        matches: Vec<TrafficSelector> = "match",
        kind: PluginType = "type",
    }

    /// `TrafficExtension.spec`.
    struct TrafficExtension {
        selector: Option<WorkloadSelector> = "selector",
        target_refs: Vec<TargetRef> = "targetRefs",
        phase: Phase = "phase",
        priority: Option<i32> = "priority",
        matches: Vec<TrafficSelector> = "match",
        wasm: Option<WasmConfig> = "wasm",
        lua: Option<LuaConfig> = "lua",
    }

    /// The module of a TrafficExtension.
    struct WasmConfig {
        url: String = "url" required,
        sha256: String = "sha256",
        image_pull_policy: PullPolicy = "imagePullPolicy",
        image_pull_secret: String = "imagePullSecret",
        verification_key: String = "verificationKey",
        plugin_config: Option<Free> = "pluginConfig",
        plugin_name: String = "pluginName",
        fail_strategy: FailStrategy = "failStrategy",
        vm_config: Option<VmConfig> = "vmConfig",
        kind: PluginType = "type",
    }

    /// A Lua script.
    struct LuaConfig {
        inline_code: String = "inlineCode" required,
    }

    /// The resource a policy is attached to.
    struct TargetRef {
        group: String = "group",
        kind: String = "kind" required,
        name: String = "name" required,
        namespace: String = "namespace",
    }

    /// Environment of the module.
    struct VmConfig {
        env: Vec<EnvVar> = "env",
    }

    /// One variable.
    struct EnvVar {
        name: String = "name" required,
        value: Option<String> = "value",
        value_from: EnvSource = "valueFrom",
    }

    /// Which traffic the plugin sees: a direction and ports, both must fit.
    struct TrafficSelector {
        mode: WorkloadMode = "mode",
        ports: Vec<SelectedPort> = "ports",
    }

    /// A port by number.
    struct SelectedPort {
        number: u32 = "number" required,
    }
}

choices! {
    /// Where in the chain a WasmPlugin stands.
    enum PluginPhase { Unspecified = "UNSPECIFIED_PHASE", Authn = "AUTHN", Authz = "AUTHZ", Stats = "STATS" }
    /// Where in the chain a TrafficExtension stands.
    enum Phase { Unspecified = "UNSPECIFIED", Authn = "AUTHN", Authz = "AUTHZ", Stats = "STATS" }
    /// What becomes of requests when the module fails.
    enum FailStrategy { FailClose = "FAIL_CLOSE", FailOpen = "FAIL_OPEN", FailReload = "FAIL_RELOAD" }
    /// When the image is pulled; of no effect here.
    enum PullPolicy { Unspecified = "UNSPECIFIED_POLICY", IfNotPresent = "IfNotPresent", Always = "Always" }
    /// HTTP or TCP.
    enum PluginType { Unspecified = "UNSPECIFIED_PLUGIN_TYPE", Http = "HTTP", Network = "NETWORK" }
    /// From the manifest or from the proxy's environment.
    enum EnvSource { Inline = "INLINE", Host = "HOST" }
    /// Direction; a gateway's listeners are clients.
    enum WorkloadMode { Undefined = "UNDEFINED", Client = "CLIENT", Server = "SERVER", ClientAndServer = "CLIENT_AND_SERVER" }
}

/// Labels a selector asks for; none when there is no selector.
pub(crate) fn selector_labels(selector: Option<&WorkloadSelector>) -> Option<&BTreeMap<String, String>> {
    selector.map(|selector| &selector.match_labels)
}
