//! Listening, and what comes before HTTP: sockets, the choice of a filter chain, TLS.

mod accept;
mod sockets;
mod tcp;

pub(crate) use accept::accept;
pub(crate) use sockets::bind;
