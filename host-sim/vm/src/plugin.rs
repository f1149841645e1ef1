//! What the gateway's configuration says about one plugin.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

/// One entry of Envoy's `envoy.extensions.wasm.v3.PluginConfig`, resolved.
#[derive(Clone, Debug, Default)]
pub struct PluginConfig {
    /// For logs, statistics and `plugin_name`; Istio writes `<namespace>.<name>`.
    pub name: String,
    /// Tells several plugins of one module apart; Istio's `pluginName`.
    pub root_id: String,
    /// The key space of shared data and queues. Istio leaves it empty, so all its plugins share one.
    pub vm_id: String,
    /// The file the module was read from, if it was one: for records of a run, nothing else.
    pub module_file: Option<String>,
    /// `vm_config.configuration`, as the bytes the module gets.
    pub vm_configuration: Bytes,
    /// `configuration`, as the bytes the module gets: a StringValue or BytesValue unwrapped, a Struct as raw protobuf.
    pub configuration: Bytes,
    /// Environment variables, seen through WASI. Envoy keeps them in a hash map, so their order says nothing.
    pub env: Vec<(String, String)>,
    /// What a request gets whose filter cannot answer.
    pub failure: FailurePolicy,
    /// `allow_on_headers_stop_iteration`: a pause in the headers callback lets body callbacks run.
    pub allow_on_headers_stop_iteration: bool,
    /// `capability_restriction_config.allowed_capabilities`; `None` restricts nothing.
    pub allowed_capabilities: Option<BTreeSet<String>>,
    /// How much of the machine the plugin may have.
    pub limits: Limits,
    /// How faithful to be where Envoy is unsafe.
    pub fidelity: Fidelity,
}

impl PluginConfig {
    /// May the module import or export this function?
    pub(crate) fn capability_allowed(&self, name: &str) -> bool {
        self.allowed_capabilities.as_ref().is_none_or(|allowed| allowed.contains(name))
    }
}

/// What a request gets when the plugin's VM is dead. Envoy's `failure_policy`, and the flag it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    /// 503 from the trap on, until the configuration changes. Also what an unset policy means.
    #[default]
    Closed,
    /// `failure_policy: FAIL_OPEN`: later requests pass unfiltered. The request that traps still gets 503: Envoy 1.40 does that.
    Open,
    /// The legacy `fail_open: true`: the request that traps passes too.
    LegacyOpen,
    /// A fresh VM, at the earliest `backoff` (plus up to half of it, by the dice) after the last was loaded; 503 until then.
    Reload {
        /// `reload_config.backoff.base_interval`; Envoy's default is one second.
        backoff: Duration,
    },
}

/// Bounds that hold in both fidelities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one VM, bytes. A growth beyond it fails; the VM lives.
    pub memory: usize,
    /// CPU time of one callback. Beyond it the call traps.
    pub deadline: Duration,
    /// CPU time of start-up: instantiation, `_initialize`, `proxy_on_vm_start` and `proxy_on_configure`, each.
    pub start_deadline: Duration,
    /// Lines of log in a second; what is beyond is counted and said in one line.
    pub log_lines_per_second: u32,
    /// Bytes of one line of log; the rest is cut.
    pub log_line_bytes: usize,
    /// http and gRPC calls under way at a time; one more answers "internal failure".
    pub callouts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 64 << 20,
            deadline: Duration::from_millis(50),
            start_deadline: Duration::from_secs(2),
            log_lines_per_second: 1000,
            log_line_bytes: 8 << 10,
            callouts: 1024,
        }
    }
}

/// Envoy's answers, or stricter ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// What production does, quirks included.
    #[default]
    Envoy,
    /// Stricter, by a published list: a trap costs one request, headers and paths a module writes are checked,
    /// a malformed pairs buffer is refused instead of emptying the map.
    Hardened,
}
