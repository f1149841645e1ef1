//! The filter chain of a connection manager: request heads and bodies go down it, answers come up it in reverse order.

mod callout;
mod chain;
mod config;
mod grpc;
mod mailbox;
mod mirror;
mod ratelimit;
pub(crate) mod router;
mod steps;
mod try_span;
mod try_timers;
mod upload;
mod wasm;

pub(crate) use chain::{Chain, Filter, Kind, Stop};
pub(crate) use config::{ChainError, FilterConfig, FilterKind, compile};
pub(crate) use mailbox::Word;
pub(crate) use steps::module_reply;
pub(crate) use upload::Upload;
pub(crate) use wasm::{Loader, Plugin, WasmConfig};
