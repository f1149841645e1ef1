//! What a module can ask of the world outside its sandbox: clock, dice, log, clusters, and what is known of a stream.

use std::sync::Arc;

use bytes::Bytes;

use crate::{abi::LogLevel, property::Value, queue::QueueId};

/// The outside, as one plugin on one worker sees it.
///
/// Everything a run depends on comes through here, so the same answers give the same run.
pub trait World {
    /// Wall clock, nanoseconds since 1970.
    fn now(&mut self) -> u64;

    /// A clock that never goes back, nanoseconds since any fixed moment.
    fn monotonic(&mut self) -> u64;

    /// Fills `out` with dice.
    fn random(&mut self, out: &mut [u8]);

    /// The level below which lines are not wanted; what `proxy_get_log_level` answers.
    fn log_level(&self) -> LogLevel;

    /// One line for the log, already prefixed as Envoy does (`wasm log ns.name root: text`), bounded and escaped:
    /// it holds no control bytes.
    fn log(&mut self, level: LogLevel, line: &str);

    /// Whether a cluster of this name can be called.
    fn cluster(&self, name: &[u8]) -> ClusterState;

    /// An attribute that is known outside of streams too: Envoy has `["xds", "node", …]` there. `None` is "not found".
    fn attribute(&self, path: &[&[u8]]) -> Option<Value>;

    /// How another thread tells this plugin's worker that a queue it registered has something:
    /// the worker then calls [`Vm::on_queue_ready`](crate::Vm::on_queue_ready). Must not call back at once.
    fn queue_waker(&self) -> Arc<dyn Fn(QueueId) + Send + Sync>;
}

/// What is behind a cluster's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterState {
    /// There is no such cluster: the call answers "bad argument".
    Unknown,
    /// There is no endpoint to send to: Envoy answers "internal failure" at once and never calls back.
    NoEndpoint,
    /// It can be tried.
    Ready,
}

/// What the gateway knows of one stream beyond the header maps the vm holds itself.
///
/// One object per request, shared by all filters of its chain: what one filter sets, the others see.
pub trait StreamInfo {
    /// The attribute at `path`, for example `["source", "address"]` or `["xds", "cluster_name"]`; `None` is "not found".
    ///
    /// The vm answers from its own knowledge first and never asks for: `plugin_name`, `plugin_root_id`, `plugin_vm_id`, what `request.*` and `response.*` read from
    /// headers and trailers (`request.path`, `url_path`, `host`, `scheme`, `method`, `referer`, `useragent`, `id`, `query`, `headers`; `response.headers`, `trailers`).
    /// Everything else is the gateway's: `request.time|size|total_size|duration|protocol`, `response.code|code_details|flags|grpc_status|size|total_size|backend_latency`,
    /// `connection.*`, `connection_id`, `source.*`, `destination.*`, `upstream.*`, `metadata`, `filter_state`, `xds.*`.
    /// A root alone (`["request"]`) is [`Value::Opaque`]: Envoy finds it and cannot serialise it.
    fn attribute(&self, path: &[&[u8]]) -> Option<Value>;

    /// The filter state under `key` (`wasm.NAME` for what modules set by `proxy_set_property`).
    fn filter_state(&self, key: &[u8]) -> Option<Bytes>;

    /// Sets filter state for the rest of the stream.
    fn set_filter_state(&self, key: &[u8], value: Bytes);
}

/// A stream of which nothing is known: for tests and for checks outside a gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInfo;

impl StreamInfo for NoInfo {
    fn attribute(&self, _: &[&[u8]]) -> Option<Value> {
        None
    }

    fn filter_state(&self, _: &[u8]) -> Option<Bytes> {
        None
    }

    fn set_filter_state(&self, _: &[u8], _: Bytes) {}
}
