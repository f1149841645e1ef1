//! Listening, and what comes before HTTP: sockets, the PROXY protocol, the choice of a filter chain, TLS.

mod accept;
mod proxy_protocol;
mod sockets;
mod tcp;

pub(crate) use accept::accept;
pub(crate) use proxy_protocol::ProxyProtocol;
pub(crate) use sockets::bind;
