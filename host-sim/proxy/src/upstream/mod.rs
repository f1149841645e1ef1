//! The way to an origin: endpoints of a cluster, their connections, and one attempt of a request on one of them.

mod attempt;
mod endpoint;
mod http1;
mod http2;
mod permit;
mod reset;
mod shared;

pub(crate) use attempt::{Attempt, Head};
pub(crate) use endpoint::{Endpoint, Http2Settings, Limits, Protocols, TlsTransport, Transport};
pub(crate) use permit::{Counted, UnderWay};
pub(crate) use reset::Broken;
pub(crate) use shared::Shared;
