//! Envoy's configuration, the part we speak: bootstrap, listener, connection manager, route, cluster, endpoint, TLS, and the
//! configuration of each HTTP filter we run.
//!
//! A struct is a protobuf message, a field is a protobuf field, both under Envoy's own names, in the JSON mapping that
//! `envoy -c` reads and the admin's `config_dump` prints. The members of a `oneof` are separate `Option` fields; well-known
//! wrappers (`UInt32Value`, `BoolValue`) and messages are `Option`; plain proto3 scalars are plain and absent when they hold
//! their default. An unknown field is refused by name.
//!
//! Absent from this crate: behaviour. Nothing here decides, defaults, validates across fields or opens anything: `istio`
//! writes these values, `proxy` compiles them. Fields that Envoy has and nobody here acts on are kept as JSON values, so
//! that a live gateway's configuration survives a round trip.
#![allow(
    missing_docs,
    reason = "every field is the protobuf field of the same name, documented in Envoy's API reference"
)]

#[macro_use]
mod json;
mod bootstrap;
mod cluster;
mod core;
mod http;
mod http_filters;
mod listener;
mod matcher;
mod rate_limit;
mod route;
mod tls;
mod tracing;
mod wasm;

pub use bootstrap::*;
pub use cluster::*;
pub use core::*;
pub use http::*;
pub use http_filters::*;
pub use json::{Any, Duration, Int64, InvalidDuration, snake_case_keys};
pub use listener::*;
pub use matcher::*;
pub use rate_limit::*;
pub use route::*;
pub use tls::*;
pub use tracing::*;
pub use wasm::*;
