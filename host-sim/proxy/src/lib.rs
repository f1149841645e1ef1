//! Envoy's half of the gateway: configuration in, a running gateway out.

pub mod access_log;
pub mod cluster;
mod config_dump;
mod connection;
pub mod cors;
mod data_source;
pub mod edge;
pub mod explain;
pub mod fault;
mod gateway;
mod grpc_web;
pub mod header_ops;
pub mod headers;
pub mod http1;
mod http_filters;
mod listener;
pub mod local_reply;
mod process;
pub mod rate_limit;
pub mod retry;
pub mod route;
mod snapshot;
pub mod stats;
pub mod telemetry;
pub mod tls;
mod tracing;
mod upstream;
mod worker;

pub use gateway::{Drained, Gateway, GatewayConfig, StartError};
