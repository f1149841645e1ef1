//! What is known of a stream while it runs: all that a `%…%` variable may ask.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::cluster::Locality;
use crate::edge::{ConnectionInfo, Protocol};
use crate::local_reply::Flags;

/// One look at a stream: its headers so far, its connection, its progress.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The request as it stands.
    pub request: &'a [(Bytes, Bytes)],
    /// The answer as it stands, once there is one.
    pub response: Option<&'a [(Bytes, Bytes)]>,
    /// The answer's trailers, once there are some.
    pub trailers: Option<&'a [(Bytes, Bytes)]>,
    /// The client's connection.
    pub connection: &'a ConnectionInfo,
    /// The stream's progress.
    pub stream: &'a StreamInfo,
    /// The body of an answer of the gateway's own, while its form is still to be found.
    pub local_reply: &'a [u8],
}

impl<'a> Facts<'a> {
    /// A request, as long as there is no answer.
    pub fn of_request(request: &'a [(Bytes, Bytes)], connection: &'a ConnectionInfo, stream: &'a StreamInfo) -> Self {
        Facts { request, response: None, trailers: None, connection, stream, local_reply: &[] }
    }
}

/// The progress of one stream. Whoever runs the stream fills it in as things happen.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// The stream's random number; it also drives weighted clusters and mirrors.
    pub id: u64,
    /// Wall clock at the first byte, since 1970.
    pub start: Duration,
    /// The client Envoy trusts, after `x-forwarded-for`. Absent: the direct peer.
    pub remote: Option<SocketAddr>,
    /// Last byte of the request received, since `start`.
    pub request_complete: Option<Duration>,
    /// First byte of the upstream's answer, since `start`.
    pub first_upstream_rx: Option<Duration>,
    /// Last byte sent to the client, since `start`.
    pub last_downstream_tx: Option<Duration>,
    /// How long it has been going on when this was last noted, since `start`.
    pub elapsed: Option<Duration>,
    /// The stream is over, since `start`.
    pub complete: Option<Duration>,
    /// The status sent to the client.
    pub response_code: Option<u16>,
    /// Why that status: `via_upstream`, `route_not_found`, …; nothing before there is one. What a module answers may have none, which is an empty text.
    pub details: Option<Cow<'static, str>>,
    /// Why the connection was closed, if the gateway closed it.
    pub termination_details: Cow<'static, str>,
    /// Why the answer is not (only) the upstream's.
    pub flags: Flags,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// There is a route.
    pub is_routed: bool,
    /// The route's name, empty if it has none.
    pub route_name: Arc<str>,
    /// The virtual host's name.
    pub virtual_host: Arc<str>,
    /// The upstream half.
    pub upstream: Upstream,
    /// What filters left for others, by namespace.
    pub dynamic_metadata: BTreeMap<String, Map<String, Value>>,
    /// What filters left for the log, by name.
    pub filter_state: BTreeMap<String, Bytes>,
    /// The route's metadata.
    pub route_metadata: Option<Arc<xds::Metadata>>,
    /// The virtual host's metadata.
    pub virtual_host_metadata: Option<Arc<xds::Metadata>>,
}

/// The upstream half of a stream.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// The cluster's name.
    pub cluster: Option<Arc<str>>,
    /// The cluster's name in stats (`alt_stat_name`), where it differs.
    pub cluster_stat_name: Option<Arc<str>>,
    /// The endpoint chosen last.
    pub host: Option<SocketAddr>,
    /// The endpoint's host name, where it has one.
    pub hostname: Option<Arc<str>>,
    /// Our side of the connection to it.
    pub local: Option<SocketAddr>,
    /// What is spoken with it.
    pub protocol: Option<Protocol>,
    /// Tries so far, the first included.
    pub attempts: u32,
    /// Why the connection could not be made.
    pub transport_failure: Cow<'static, str>,
    /// The cluster's metadata.
    pub cluster_metadata: Option<Arc<xds::Metadata>>,
    /// The endpoint's metadata.
    pub host_metadata: Option<Arc<xds::Metadata>>,
    /// The endpoint's neighbourhood.
    pub locality: Option<Arc<Locality>>,
    /// The endpoint's workload, as Istio describes it: `name;namespace;service;revision;cluster`.
    pub workload: Option<Arc<str>>,
    /// The TLS version with the endpoint.
    pub tls_version: Option<Arc<str>>,
}
