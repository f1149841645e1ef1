//! Envoy's half of the gateway: configuration in, a running gateway out.

pub mod cluster;
pub mod cors;
pub mod edge;
pub mod fault;
pub mod header_ops;
pub mod headers;
pub mod local_reply;
pub mod rate_limit;
pub mod retry;
pub mod route;
pub mod stats;
