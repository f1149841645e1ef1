//! The commands of a substitution format and what each prints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use policy::path::split_target;
use serde_json::{Map, Value};

use super::certificate::CertificateField;
use super::clock;
use super::facts::Facts;
use super::format::InvalidFormat;
use crate::headers;
use crate::local_reply::grpc_status_of;

/// One command, its arguments read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Header { of: Of, name: String, or: Option<String> },
    Path { query: bool, original: bool },
    QueryParam(String),
    Query,
    StartTime(String),
    Duration(Span),
    Plain(Plain),
    Address { of: AddressOf, part: AddressPart },
    Certificate(CertificateField),
    Metadata { of: MetadataOf, path: Vec<String> },
    FilterState { key: String, plain: bool },
    Environment(String),
}

/// Whose headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Request,
    Response,
    Trailers,
}

/// Which stretch of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Whole,
    Request,
    Response,
    ResponseTx,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressOf {
    Remote,
    DirectRemote,
    Local,
    DirectLocal,
    UpstreamRemote,
    UpstreamLocal,
}

/// Which part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressPart {
    Both,
    Ip,
    Port,
}

/// Whose metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetadataOf {
    Dynamic,
    Cluster,
    Host,
    Route,
    VirtualHost,
}

/// Commands without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Protocol,
    UpstreamProtocol,
    ResponseCode,
    ResponseCodeDetails,
    TerminationDetails,
    Flags,
    FlagsLong,
    BytesReceived,
    BytesSent,
    RouteName,
    VirtualClusterName,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamTransportFailure,
    UpstreamAttempts,
    UpstreamTlsVersion,
    ConnectionId,
    StreamId,
    Hostname,
    GrpcStatus,
    GrpcStatusNumber,
    UpstreamHostName {
        port: bool,
    },
    RequestHeadersBytes,
    ResponseHeadersBytes,
    LocalReplyBody,
    /// Of things this gateway never has: a trace, a fingerprint of a hello.
    Nothing,
}

const PLAIN: [(&str, Plain); 31] = [
    ("PROTOCOL", Plain::Protocol),
    ("UPSTREAM_PROTOCOL", Plain::UpstreamProtocol),
    ("RESPONSE_CODE", Plain::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Plain::ResponseCodeDetails),
    ("CONNECTION_TERMINATION_DETAILS", Plain::TerminationDetails),
    ("RESPONSE_FLAGS", Plain::Flags),
    ("RESPONSE_FLAGS_LONG", Plain::FlagsLong),
    ("BYTES_RECEIVED", Plain::BytesReceived),
    ("BYTES_SENT", Plain::BytesSent),
    ("ROUTE_NAME", Plain::RouteName),
    ("VIRTUAL_CLUSTER_NAME", Plain::VirtualClusterName),
    ("UPSTREAM_CLUSTER", Plain::UpstreamCluster),
    ("UPSTREAM_CLUSTER_RAW", Plain::UpstreamClusterRaw),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Plain::UpstreamTransportFailure),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Plain::UpstreamAttempts),
    ("UPSTREAM_TLS_VERSION", Plain::UpstreamTlsVersion),
    ("CONNECTION_ID", Plain::ConnectionId),
    ("STREAM_ID", Plain::StreamId),
    ("HOSTNAME", Plain::Hostname),
    ("GRPC_STATUS", Plain::GrpcStatus),
    ("GRPC_STATUS_NUMBER", Plain::GrpcStatusNumber),
    ("UPSTREAM_HOST_NAME", Plain::UpstreamHostName { port: true }),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", Plain::UpstreamHostName { port: false }),
    ("REQUEST_HEADERS_BYTES", Plain::RequestHeadersBytes),
    ("RESPONSE_HEADERS_BYTES", Plain::ResponseHeadersBytes),
    ("TRACE_ID", Plain::Nothing),
    ("SPAN_ID", Plain::Nothing),
    ("TLS_JA3_FINGERPRINT", Plain::Nothing),
    ("TLS_JA4_FINGERPRINT", Plain::Nothing),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", Plain::Nothing),
    ("LOCAL_REPLY_BODY", Plain::LocalReplyBody),
];

/// Commands that Envoy 1.40 knows and nobody carries out here.
const NOT_DONE: [&str; 46] = [
    "ACCESS_LOG_TYPE",
    "COALESCE",
    "COMMON_DURATION",
    "DOWNSTREAM_CX_RTT",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "EMIT_TIME",
    "FILTER_CHAIN_NAME",
    "REQUEST_TRAILER",
    "REQUEST_TX_DURATION",
    "RESPONSE_TRAILERS_BYTES",
    "ROUTE_RESOLUTION_COUNT",
    "START_TIME_LOCAL",
    "UNIQUE_ID",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_SERVER_NAME",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
];

const ADDRESSES: [(&str, AddressOf); 6] = [
    ("DOWNSTREAM_REMOTE", AddressOf::Remote),
    ("DOWNSTREAM_DIRECT_REMOTE", AddressOf::DirectRemote),
    ("DOWNSTREAM_LOCAL", AddressOf::Local),
    ("DOWNSTREAM_DIRECT_LOCAL", AddressOf::DirectLocal),
    ("UPSTREAM_REMOTE", AddressOf::UpstreamRemote),
    ("UPSTREAM_LOCAL", AddressOf::UpstreamLocal),
];

/// The names of gRPC's statuses, as Envoy writes them in CAMEL_STRING form.
const GRPC_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl Command {
    pub(crate) fn parse(name: &str, arguments: Option<&str>) -> Result<Command, InvalidFormat> {
        let wrong = |wants: &'static str| InvalidFormat::Arguments {
            command: name.to_owned(),
            arguments: arguments.unwrap_or_default().to_owned(),
            wants,
        };
        let header = |of| {
            let argument = arguments.filter(|a| !a.is_empty()).ok_or_else(|| wrong("a header's name belongs here"))?;
            let (main, or) = argument.split_once('?').map_or((argument, None), |(main, or)| (main, Some(or)));
            if or.is_some_and(|or| or.contains('?')) {
                return Err(wrong("at most one alternative, as in %REQ(X-A?X-B)%"));
            }
            Ok(Command::Header { of, name: header_name(main), or: or.map(header_name) })
        };
        let required = |wants| arguments.filter(|a| !a.is_empty()).map(str::to_owned).ok_or_else(|| wrong(wants));
        match name {
            "REQ" | "REQUEST_HEADER" => return header(Of::Request),
            "RESP" | "RESPONSE_HEADER" => return header(Of::Response),
            "TRAILER" | "RESPONSE_TRAILER" => return header(Of::Trailers),
            "REQ_WITHOUT_QUERY" => {
                return Ok(match header(Of::Request)? {
                    Command::Header { name, or, .. } if name == ":path" || or.as_deref() == Some(":path") => {
                        Command::Path { query: false, original: name == "x-envoy-original-path" }
                    }
                    other => other,
                });
            }
            "PATH" => {
                return path(arguments.unwrap_or_default())
                    .ok_or_else(|| wrong("WQ, NQ or DF, then PATH, ORIG or PATH_OR_ORIG"));
            }
            "QUERY_PARAM" => return required("a parameter's name belongs here").map(Command::QueryParam),
            "QUERY_PARAMS" => return Ok(Command::Query),
            "START_TIME" => {
                let format = arguments.filter(|a| !a.is_empty()).unwrap_or(clock::DEFAULT);
                return Ok(Command::StartTime(format.to_owned()));
            }
            "DURATION" | "ROUNDTRIP_DURATION" => return Ok(Command::Duration(Span::Whole)),
            "REQUEST_DURATION" => return Ok(Command::Duration(Span::Request)),
            "RESPONSE_DURATION" => return Ok(Command::Duration(Span::Response)),
            "RESPONSE_TX_DURATION" => return Ok(Command::Duration(Span::ResponseTx)),
            "DYNAMIC_METADATA" => {
                return metadata(MetadataOf::Dynamic, arguments).ok_or_else(|| wrong("NAMESPACE:KEY"));
            }
            "CLUSTER_METADATA" => {
                return metadata(MetadataOf::Cluster, arguments).ok_or_else(|| wrong("NAMESPACE:KEY"));
            }
            "UPSTREAM_METADATA" => return metadata(MetadataOf::Host, arguments).ok_or_else(|| wrong("NAMESPACE:KEY")),
            "METADATA" => return typed_metadata(arguments).ok_or_else(|| wrong("TYPE:NAMESPACE:KEY")),
            "FILTER_STATE" => {
                let key = required("a key belongs here")?;
                let (key, form) = key.split_once(':').unwrap_or((&key, "TYPED"));
                return Ok(Command::FilterState { key: key.to_owned(), plain: form == "PLAIN" });
            }
            "ENVIRONMENT" => return required("a variable's name belongs here").map(Command::Environment),
            _ => {}
        }
        if let Some(command) = Command::without_arguments(name) {
            return if arguments.is_some_and(|a| !a.is_empty()) {
                Err(wrong("it takes no arguments"))
            } else {
                Ok(command)
            };
        }
        let command = name.to_owned();
        Err(if NOT_DONE.contains(&name) {
            InvalidFormat::NotDone { command }
        } else {
            InvalidFormat::Unknown { command }
        })
    }

    fn without_arguments(name: &str) -> Option<Command> {
        if let Some((_, plain)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return Some(Command::Plain(*plain));
        }
        // `…_REMOTE_ADDRESS`, `…_REMOTE_ADDRESS_WITHOUT_PORT`, `…_REMOTE_PORT`
        for (suffix, part) in
            [("_ADDRESS_WITHOUT_PORT", AddressPart::Ip), ("_ADDRESS", AddressPart::Both), ("_PORT", AddressPart::Port)]
        {
            let stem = name.strip_suffix(suffix);
            if let Some((_, of)) = ADDRESSES.iter().find(|(known, _)| Some(*known) == stem) {
                return Some(Command::Address { of: *of, part });
            }
        }
        if name == "UPSTREAM_HOST" {
            return Some(Command::Address { of: AddressOf::UpstreamRemote, part: AddressPart::Both });
        }
        CertificateField::parse(name).map(Command::Certificate)
    }

    /// Prints the value; `false` if there is none.
    pub(crate) fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Command::Header { of, name, or } => {
                let list = match of {
                    Of::Request => Some(facts.request),
                    Of::Response => facts.response,
                    Of::Trailers => facts.trailers,
                };
                let find = |list: &[(Bytes, Bytes)], name: &str| headers::get(list, name).cloned();
                let value =
                    list.and_then(|list| find(list, name).or_else(|| or.as_deref().and_then(|or| find(list, or))));
                bytes(value.as_deref(), out)
            }
            Command::Path { query, original } => {
                let from = original.then(|| headers::get(facts.request, "x-envoy-original-path")).flatten();
                let target = from.or_else(|| headers::get(facts.request, ":path"));
                bytes(target.map(|target| if *query { target.as_ref() } else { split_target(target).0 }), out)
            }
            Command::QueryParam(name) => {
                let query = headers::get(facts.request, ":path").and_then(|target| split_target(target).1);
                bytes(query.and_then(|query| policy::query::first_value(query, name.as_bytes())), out)
            }
            Command::Query => {
                bytes(headers::get(facts.request, ":path").and_then(|target| split_target(target).1), out)
            }
            Command::StartTime(format) => text(&clock::strftime(format, facts.stream.start), out),
            Command::Duration(span) => span.of(facts).is_some_and(|span| text(&span.as_millis().to_string(), out)),
            Command::Plain(plain) => plain.write(facts, out),
            Command::Address { of, part } => of.find(facts).is_some_and(|address| part.write(address, out)),
            Command::Certificate(field) => field.write(facts.connection.tls.as_deref(), out),
            Command::Metadata { of, path } => of.find(facts, path).is_some_and(|value| json(&value, out)),
            // What modules set is an object of bytes, and is logged as one; also what they declared to be text.
            Command::FilterState { key, plain: false } if key.starts_with("wasm.") => {
                let value = facts.stream.filter_state.get(key).map(|value| STANDARD.encode(value));
                let object = |value| {
                    format!(r#"{{"@type":"type.googleapis.com/google.protobuf.BytesValue","value":"{value}"}}"#)
                };
                value.is_some_and(|value| text(&object(value), out))
            }
            Command::FilterState { key, .. } => {
                facts.stream.filter_state.get(key).is_some_and(|value| text(&String::from_utf8_lossy(value), out))
            }
            Command::Environment(name) => std::env::var(name).is_ok_and(|value| text(&value, out)),
        }
    }
}

/// Lower case; `host` is Envoy's alias of `:authority`.
fn header_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower == "host" { ":authority".to_owned() } else { lower }
}

/// `%PATH(NQ:ORIG)%`
fn path(arguments: &str) -> Option<Command> {
    let mut words = arguments.split(':');
    let query = match words.next().unwrap_or_default() {
        "" | "WQ" | "DF" => true,
        "NQ" => false,
        _ => return None,
    };
    let original = match words.next().unwrap_or_default() {
        "" | "ORIG" | "ORIG_OR_PATH" | "PATH_OR_ORIG" => true,
        "PATH" => false,
        _ => return None,
    };
    words.next().is_none().then_some(Command::Path { query, original })
}

fn metadata(of: MetadataOf, arguments: Option<&str>) -> Option<Command> {
    let path: Vec<String> = arguments.filter(|a| !a.is_empty())?.split(':').map(str::to_owned).collect();
    Some(Command::Metadata { of, path })
}

fn typed_metadata(arguments: Option<&str>) -> Option<Command> {
    let (kind, rest) = arguments?.split_once(':')?;
    let of = match kind {
        "DYNAMIC" => MetadataOf::Dynamic,
        "CLUSTER" => MetadataOf::Cluster,
        "UPSTREAM_HOST" => MetadataOf::Host,
        "ROUTE" => MetadataOf::Route,
        "VIRTUAL_HOST" => MetadataOf::VirtualHost,
        _ => return None,
    };
    metadata(of, Some(rest))
}

impl Span {
    fn of(self, facts: &Facts<'_>) -> Option<Duration> {
        let stream = facts.stream;
        match self {
            Span::Whole => stream.complete.or(stream.elapsed),
            Span::Request => stream.request_complete,
            Span::Response => stream.first_upstream_rx,
            Span::ResponseTx => stream.last_downstream_tx?.checked_sub(stream.first_upstream_rx?),
        }
    }
}

impl AddressOf {
    fn find(self, facts: &Facts<'_>) -> Option<SocketAddr> {
        match self {
            AddressOf::Remote => Some(facts.stream.remote.unwrap_or(facts.connection.remote)),
            AddressOf::DirectRemote => Some(facts.connection.relay.map_or(facts.connection.remote, |relay| relay.peer)),
            AddressOf::Local => Some(facts.connection.local),
            AddressOf::DirectLocal => Some(facts.connection.relay.map_or(facts.connection.local, |relay| relay.local)),
            AddressOf::UpstreamRemote => facts.stream.upstream.host,
            AddressOf::UpstreamLocal => facts.stream.upstream.local,
        }
    }
}

impl AddressPart {
    fn write(self, address: SocketAddr, out: &mut Vec<u8>) -> bool {
        match self {
            AddressPart::Both => text(&address.to_string(), out),
            AddressPart::Ip => text(&address.ip().to_string(), out),
            AddressPart::Port => text(&address.port().to_string(), out),
        }
    }
}

impl MetadataOf {
    fn find(self, facts: &Facts<'_>, path: &[String]) -> Option<Value> {
        let stream = facts.stream;
        let (namespace, keys) = path.split_first()?;
        let fields: &Map<String, Value> = match self {
            MetadataOf::Dynamic => stream.dynamic_metadata.get(namespace)?,
            MetadataOf::Cluster => filter_metadata(&stream.upstream.cluster_metadata, namespace)?,
            MetadataOf::Host => filter_metadata(&stream.upstream.host_metadata, namespace)?,
            MetadataOf::Route => filter_metadata(&stream.route_metadata, namespace)?,
            MetadataOf::VirtualHost => filter_metadata(&stream.virtual_host_metadata, namespace)?,
        };
        let Some((first, deeper)) = keys.split_first() else { return Some(Value::Object(fields.clone())) };
        deeper.iter().try_fold(fields.get(first)?, |value, key| value.get(key)).cloned()
    }
}

fn filter_metadata<'m>(metadata: &'m Option<Arc<xds::Metadata>>, namespace: &str) -> Option<&'m Map<String, Value>> {
    metadata.as_ref()?.filter_metadata.get(namespace)
}

impl Plain {
    fn write(self, facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
        let stream = facts.stream;
        match self {
            Plain::Protocol => text(facts.connection.protocol.as_str(), out),
            Plain::UpstreamProtocol => stream.upstream.protocol.is_some_and(|protocol| text(protocol.as_str(), out)),
            Plain::LocalReplyBody => bytes(Some(facts.local_reply), out),
            Plain::ResponseCode => text(&stream.response_code.unwrap_or_default().to_string(), out),
            Plain::ResponseCodeDetails => {
                let details =
                    stream.details.as_ref().map(|details| details.replace(|c: char| c.is_ascii_whitespace(), "_"));
                bytes(details.as_deref().map(str::as_bytes), out)
            }
            Plain::TerminationDetails => text(&stream.termination_details, out),
            Plain::Flags if stream.flags.is_empty() => text("-", out),
            Plain::Flags => text(&stream.flags.short(), out),
            Plain::FlagsLong if stream.flags.is_empty() => text("-", out),
            Plain::FlagsLong => text(&stream.flags.long(), out),
            Plain::BytesReceived => text(&stream.bytes_received.to_string(), out),
            Plain::BytesSent => text(&stream.bytes_sent.to_string(), out),
            Plain::RouteName => text(&stream.route_name, out),
            Plain::VirtualClusterName => false,
            Plain::UpstreamCluster => {
                let name = stream.upstream.cluster_stat_name.as_ref().or(stream.upstream.cluster.as_ref());
                name.is_some_and(|name| text(name, out))
            }
            Plain::UpstreamClusterRaw => stream.upstream.cluster.as_ref().is_some_and(|name| text(name, out)),
            Plain::UpstreamTransportFailure => text(&stream.upstream.transport_failure.replace(' ', "_"), out),
            Plain::UpstreamAttempts => text(&stream.upstream.attempts.to_string(), out),
            Plain::UpstreamTlsVersion => stream.upstream.tls_version.as_ref().is_some_and(|version| text(version, out)),
            Plain::ConnectionId => text(&facts.connection.id.to_string(), out),
            Plain::StreamId => bytes(headers::get(facts.request, "x-request-id").map(AsRef::as_ref), out),
            Plain::Hostname => text(&hostname(), out),
            Plain::GrpcStatus => grpc_status(facts).is_some_and(|status| {
                match usize::try_from(status).ok().and_then(|at| GRPC_NAMES.get(at)) {
                    Some(name) => text(name, out),
                    None => text(&status.to_string(), out),
                }
            }),
            Plain::UpstreamHostName { port } => {
                let own = stream.upstream.hostname.as_deref().filter(|name| !name.is_empty());
                match (own, stream.upstream.host) {
                    (Some(name), _) => text(if port { name } else { without_port(name) }, out),
                    (None, Some(address)) => {
                        let part = if port { AddressPart::Both } else { AddressPart::Ip };
                        part.write(address, out)
                    }
                    (None, None) => false,
                }
            }
            Plain::RequestHeadersBytes => text(&size(facts.request).to_string(), out),
            Plain::ResponseHeadersBytes => text(&facts.response.map_or(0, size).to_string(), out),
            Plain::Nothing => false,
            Plain::GrpcStatusNumber => grpc_status(facts).is_some_and(|status| text(&status.to_string(), out)),
        }
    }
}

/// How a gRPC call ended; none for what is none.
pub(crate) fn grpc_status(facts: &Facts<'_>) -> Option<i64> {
    if !crate::local_reply::is_grpc(facts.request) {
        return None;
    }
    let in_list = |list: Option<&[(Bytes, Bytes)]>| {
        headers::get(list?, "grpc-status").filter(|status| !status.is_empty()).cloned()
    };
    match in_list(facts.trailers).or_else(|| in_list(facts.response)) {
        Some(value) => Some(std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).unwrap_or(NO_STATUS)),
        // Where nobody said a status, the answer's own stands for one.
        None => facts.stream.response_code.map(|status| i64::from(grpc_status_of(status))),
    }
}

/// What stands for a status that is no number.
const NO_STATUS: i64 = -1;

/// Names and values, without the signs between them.
fn size(list: &[(Bytes, Bytes)]) -> usize {
    list.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => name,
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

fn text(value: &str, out: &mut Vec<u8>) -> bool {
    bytes(Some(value.as_bytes()), out) && !value.is_empty()
}

fn bytes(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

fn json(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::String(value) => bytes(Some(value.as_bytes()), out),
        Value::Null => false,
        value => text(&value.to_string(), out),
    }
}
