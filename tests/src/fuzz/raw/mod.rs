//! Bytes that nobody would send, through host-sim and the real Envoy on one bootstrap: heads and bodies of clients, answers of origins, what is asked
//! of tries in headers, frames of HTTP/2.
//!
//! A seed names listeners with settings of their own and talks: what a client says over one connection, and what the origin answers. Whatever differs
//! (the client's bytes, how the connection ends, what the origin saw, the access log) is asked again until it is no accident, then made small.

mod allowances;
mod answers;
mod doors;
mod fields;
mod heads;
mod heard;
mod http2;
pub mod judge;
mod origin;
pub mod shrink;
pub mod talk;
mod tries;
