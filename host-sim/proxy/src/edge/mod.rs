//! Header hygiene at the edge: what the connection manager takes from a request, adds to it and refuses, and the same for answers.
//!
//! [`request`] runs on every head before filters and routing, [`from_upstream`] on every head an upstream sends, [`response`] last on
//! every answer, the gateway's own included. What is added right before a request is sent on depends on its route: see
//! [`crate::route::RouteEntry::prepare`].

mod address;
mod config;
mod connection;
pub mod hop;
mod path;
mod referer;
mod request;
mod request_id;
mod response;
mod xfcc;

pub use config::{CertDetails, ClientCert, EdgeConfig, InvalidEdge, OwnName, ServerHeader, StripPort};
pub use connection::{ConnectionInfo, PeerCertificate, Protocol, Relay, TlsInfo};
pub use path::{EscapedSlashes, PathRules, PathVerdict};
pub use request::{Admitted, port_for_origins, request, scheme_for_origins};
pub use request_id::uuid;
pub use response::{from_upstream, interim, response};
