//! A proxy-wasm host: a module goes in, callbacks come out. Answers are Envoy 1.40's.
//!
//! Synchronous and deterministic: clock, dice, log, clusters and what is known of a stream are handed in ([`World`], [`StreamInfo`]);
//! calls to the network, timers and streams that go on later come out as [`Event`]s. There is no socket and no async runtime in here.
//!
//! # How a gateway drives it
//!
//! One [`Engine`] and one [`Shared`] per process; per configuration a [`Module`] from [`Engine::load`]; per plugin and worker thread one [`Vm`] from [`Vm::start`]
//! (it is not `Send`; `Rc<RefCell<Vm>>` is what the worker's tasks share; never hold the borrow across an await).
//!
//! For a request, in the order of the chain, and for every filter of it as the request arrives:
//! [`Vm::create_stream`] asks the failure policy: filter it, leave the filter out, or answer [`LocalReply::wasm_failure`].
//! Then the callbacks as pieces of the stream come by: [`Vm::on_request_headers`], `_body`, `_trailers`, and in reverse order of the chain `on_response_…`.
//! At the end, for each filter that got an id, [`Vm::on_log`] in the order of the chain, and then [`Vm::on_done`] in that order.
//!
//! Header lists are moved in, and come back in [`Outcome::released`] when the filter is done with them. While a stream is paused the vm keeps what it holds.
//! After *every* entry into a `Vm` (`start`, `create_stream`, callbacks, ticks, answers) the gateway takes [`Vm::take_events`] and does what they say, in order:
//! that is how a paused stream goes on after a tick or a call's answer, and how calls are started.
//!
//! The policy for a dead VM is in here: the gateway only does what [`Admission`] and [`Verdict`] say.

mod abi;
mod after_call;
mod answers;
mod attributes;
mod cache;
mod callout;
mod check;
mod context;
mod deadline;
mod death;
mod engine;
mod exports;
mod expression;
mod failure;
mod filter;
mod filter_object;
mod filter_state;
mod foreign;
mod grpc_service;
mod guest;
pub mod headers;
mod hostcalls;
mod inspect;
mod instance;
mod log_gate;
pub mod metrics;
mod module;
mod outcome;
mod outline;
mod pairs;
mod plugin;
mod property;
mod protobuf;
mod queue;
mod replay;
mod script;
mod shared;
mod shared_data;
mod shared_vm;
mod signature;
mod start_error;
mod state;
mod ticker;
pub mod trace;
mod trace_log;
mod traced;
mod trap;
mod validate;
mod vm;
mod world;

pub use abi::{AbiVersion, Direction, LogLevel, Status};
pub use cache::Digest;
pub use check::{CheckError, check};
pub use engine::{Engine, EngineConfig, EngineError};
pub use exports::Callback;
pub use failure::ReloadStats;
pub use headers::HeaderList;
pub use inspect::{ExportSeen, ImportSeen, Inspection, Section, inspect};
pub use log_gate::LogLine;
pub use metrics::Metrics;
pub use module::{LoadError, Module};
pub use outcome::{
    Admission, CallId, Event, GrpcRequest, Hold, HttpCall, HttpCallResponse, LocalReply, LogMaps, Outcome, Released,
    StreamId, Verdict,
};
pub use plugin::{FailurePolicy, Fidelity, Limits, PluginConfig};
pub use property::Value;
pub use queue::{QueueId, Queues};
pub use replay::{Difference, ReplayError, replay};
pub use shared::{Quota, Shared};
pub use shared_data::{SharedData, Versioned, WriteError};
pub use shared_vm::{Home, SharedVms};
pub use start_error::StartError;
pub use trace::{Record, TraceSink};
pub use trace_log::{InvalidLine, RecordedRun, Run, TraceLog, read_trace};
pub use trap::{Frame, Trap, TrapReason};
pub use vm::Vm;
pub use world::{ClusterState, NoInfo, StreamInfo, World};
