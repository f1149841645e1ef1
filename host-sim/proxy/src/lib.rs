//! Envoy's half of the gateway: configuration in, a running gateway out.

pub mod edge;
pub mod header_ops;
pub mod headers;
pub mod local_reply;
pub mod stats;
