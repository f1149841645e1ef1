//! The way to an origin: endpoints of a cluster, their connections, and one attempt of a request on one of them.

mod attempt;
mod endpoint;
mod http1;
mod http2;
mod reset;

pub(crate) use attempt::{Attempt, Head, Outline};
pub(crate) use endpoint::{Counted, Endpoint, Http2Settings, Protocols};
pub(crate) use reset::Broken;
