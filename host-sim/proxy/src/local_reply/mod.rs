//! Answers the gateway gives itself: status, body, response flags and the code details of the access log.
//!
//! Source: Envoy's `http/utility.cc` (`prepareLocalReply`), `stream_info/utility.cc` and `stream_info.h`.

mod mapping;

use std::borrow::Cow;

use bytes::Bytes;

use crate::headers::{self, HeaderList};
pub use mapping::BodyForm;
pub(crate) use mapping::Mapping;

/// Why an answer is not (only) the upstream's, as the access log's `%RESPONSE_FLAGS%` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are Envoy's; `short` and `long` say what each prints")]
pub enum Flag {
    FailedLocalHealthCheck,
    NoHealthyUpstream,
    UpstreamRequestTimeout,
    LocalReset,
    UpstreamRemoteReset,
    UpstreamConnectionFailure,
    UpstreamConnectionTermination,
    UpstreamOverflow,
    NoRouteFound,
    DelayInjected,
    FaultInjected,
    RateLimited,
    UnauthorizedExternalService,
    RateLimitServiceError,
    DownstreamConnectionTermination,
    UpstreamRetryLimitExceeded,
    StreamIdleTimeout,
    InvalidEnvoyRequestHeaders,
    DownstreamProtocolError,
    UpstreamMaxStreamDurationReached,
    DurationTimeout,
    UpstreamProtocolError,
    NoClusterFound,
    OverloadManager,
    DownstreamRemoteReset,
}

impl Flag {
    const ALL: [(Flag, &'static str, &'static str); 25] = [
        (Flag::FailedLocalHealthCheck, "LH", "FailedLocalHealthCheck"),
        (Flag::NoHealthyUpstream, "UH", "NoHealthyUpstream"),
        (Flag::UpstreamRequestTimeout, "UT", "UpstreamRequestTimeout"),
        (Flag::LocalReset, "LR", "LocalReset"),
        (Flag::UpstreamRemoteReset, "UR", "UpstreamRemoteReset"),
        (Flag::UpstreamConnectionFailure, "UF", "UpstreamConnectionFailure"),
        (Flag::UpstreamConnectionTermination, "UC", "UpstreamConnectionTermination"),
        (Flag::UpstreamOverflow, "UO", "UpstreamOverflow"),
        (Flag::NoRouteFound, "NR", "NoRouteFound"),
        (Flag::DelayInjected, "DI", "DelayInjected"),
        (Flag::FaultInjected, "FI", "FaultInjected"),
        (Flag::RateLimited, "RL", "RateLimited"),
        (Flag::UnauthorizedExternalService, "UAEX", "UnauthorizedExternalService"),
        (Flag::RateLimitServiceError, "RLSE", "RateLimitServiceError"),
        (Flag::DownstreamConnectionTermination, "DC", "DownstreamConnectionTermination"),
        (Flag::UpstreamRetryLimitExceeded, "URX", "UpstreamRetryLimitExceeded"),
        (Flag::StreamIdleTimeout, "SI", "StreamIdleTimeout"),
        (Flag::InvalidEnvoyRequestHeaders, "IH", "InvalidEnvoyRequestHeaders"),
        (Flag::DownstreamProtocolError, "DPE", "DownstreamProtocolError"),
        (Flag::UpstreamMaxStreamDurationReached, "UMSDR", "UpstreamMaxStreamDurationReached"),
        (Flag::DurationTimeout, "DT", "DurationTimeout"),
        (Flag::UpstreamProtocolError, "UPE", "UpstreamProtocolError"),
        (Flag::NoClusterFound, "NC", "NoClusterFound"),
        (Flag::OverloadManager, "OM", "OverloadManagerTerminated"),
        (Flag::DownstreamRemoteReset, "DR", "DownstreamRemoteReset"),
    ];

    pub(crate) fn bit(self) -> u32 {
        Self::ALL.iter().position(|(flag, ..)| *flag == self).and_then(|at| u32::try_from(at).ok()).unwrap_or_default()
    }

    /// The access log's abbreviation: `UF`.
    pub fn short(self) -> &'static str {
        Self::ALL.iter().find(|(flag, ..)| *flag == self).map_or("", |(_, short, _)| short)
    }

    /// The full name: `UpstreamConnectionFailure`.
    pub fn long(self) -> &'static str {
        Self::ALL.iter().find(|(flag, ..)| *flag == self).map_or("", |(.., long)| long)
    }
}

/// A set of flags, printed in the order in which they came, as in Envoy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    set: [Option<Flag>; MOST_FLAGS],
}

/// More than one request can gather.
const MOST_FLAGS: usize = 8;

impl Flags {
    /// No flag: `-`.
    pub const NONE: Flags = Flags { set: [None; MOST_FLAGS] };

    /// Adds one.
    pub fn insert(&mut self, flag: Flag) {
        if !self.contains(flag)
            && let Some(free) = self.set.iter_mut().find(|place| place.is_none())
        {
            *free = Some(flag);
        }
    }

    /// Is this one in it?
    pub fn contains(self, flag: Flag) -> bool {
        self.set.contains(&Some(flag))
    }

    /// No flag at all.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// The flags in the order in which they came.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        self.set.into_iter().flatten()
    }

    /// `DI,FI`, or nothing.
    pub fn short(self) -> String {
        self.iter().map(Flag::short).collect::<Vec<_>>().join(",")
    }

    /// `DelayInjected,FaultInjected`, or nothing.
    pub fn long(self) -> String {
        self.iter().map(Flag::long).collect::<Vec<_>>().join(",")
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Flags {
        let mut flags = Flags::NONE;
        flags.insert(flag);
        flags
    }
}

/// Who gives an answer: what its route and its client have to do with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Author {
    /// A filter, the router among them.
    #[default]
    Filter,
    /// The route: a redirect, a direct response.
    Route,
    /// The CORS filter, which writes an answer of its own: to Envoy no local reply, so no route adds to it and gRPC does not change it.
    Preflight,
    /// The connection manager's timers, and what it refuses. It knows nothing of tries.
    Manager,
    /// The HTTP/1 parser. Nor does this.
    Parser,
    /// The connection manager, where a path is to be asked for in its normal form.
    PathRedirect,
    /// An origin that does not switch protocols, quoted.
    Origin,
}

impl Author {
    /// Whose headers stand behind what the route says.
    pub(crate) fn is_quoted(self) -> bool {
        matches!(self, Author::PathRedirect | Author::Origin)
    }

    /// Who knows how many tries there were.
    pub(crate) fn knows_of_tries(self) -> bool {
        !matches!(self, Author::Manager | Author::Parser | Author::Origin)
    }
}

/// An answer the gateway gives itself, before it is made into headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status, before a gRPC request turns it into 200.
    pub status: u16,
    /// The text; empty for none.
    pub body: Bytes,
    /// Added to the answer, in order, before content-type and content-length.
    pub headers: HeaderList,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// What the access log's flags gain.
    pub flags: Flags,
    /// For a gRPC request; otherwise it follows from the status.
    pub grpc_status: Option<u32>,
    /// Who says it.
    pub author: Author,
    /// What its text is, where no header says so; absent: plain. In a box, for few have one.
    pub content_type: Option<Box<Bytes>>,
}

impl LocalReply {
    /// An answer without body or flags.
    pub fn new(status: u16, details: impl Into<Cow<'static, str>>) -> LocalReply {
        LocalReply {
            status,
            body: Bytes::new(),
            headers: Vec::new(),
            details: details.into(),
            flags: Flags::NONE,
            grpc_status: None,
            author: Author::default(),
            content_type: None,
        }
    }

    /// Said by this one.
    pub fn by(mut self, author: Author) -> LocalReply {
        self.author = author;
        self
    }

    /// With this text.
    pub fn body(mut self, body: impl Into<Bytes>) -> LocalReply {
        self.body = body.into();
        self
    }

    /// With this flag.
    pub fn flag(mut self, flag: Flag) -> LocalReply {
        self.flags.insert(flag);
        self
    }

    /// With this header.
    pub fn header(mut self, name: &'static str, value: impl Into<Bytes>) -> LocalReply {
        self.headers.push((Bytes::from_static(name.as_bytes()), value.into()));
        self
    }

    /// No route for the request.
    pub fn route_not_found() -> LocalReply {
        LocalReply::new(404, "route_not_found").flag(Flag::NoRouteFound)
    }

    /// The route names a cluster nobody knows. Envoy answers what the route says, 503 by default.
    pub fn cluster_not_found(status: u16) -> LocalReply {
        LocalReply::new(status, "cluster_not_found").flag(Flag::NoClusterFound)
    }

    /// A cluster without an endpoint that may be used.
    pub fn no_healthy_upstream() -> LocalReply {
        LocalReply::new(503, "no_healthy_upstream").body("no healthy upstream").flag(Flag::NoHealthyUpstream)
    }

    /// What filters made of the request cannot be sent; `said` is why.
    pub fn unsendable(said: Vec<u8>) -> LocalReply {
        let spelled = String::from_utf8_lossy(&said).replace(' ', "_");
        let details = format!("filter_removed_required_request_headers{{{spelled}}}");
        LocalReply::new(503, details).body(said).flag(Flag::DownstreamProtocolError)
    }

    /// The route's timeout ran out.
    pub fn upstream_timeout() -> LocalReply {
        LocalReply::new(504, "response_timeout").body("upstream request timeout").flag(Flag::UpstreamRequestTimeout)
    }

    /// One try took longer than the retry policy allows a try.
    pub fn per_try_timeout() -> LocalReply {
        let reply = LocalReply::new(504, "upstream_per_try_timeout").body("upstream request timeout");
        reply.flag(Flag::UpstreamRequestTimeout)
    }

    /// One try was silent for longer than the retry policy allows.
    pub fn per_try_idle_timeout() -> LocalReply {
        LocalReply { details: "upstream_per_try_idle_timeout".into(), ..LocalReply::per_try_timeout() }
    }

    /// A try lasted longer than it may; `complete` says that the whole request had come, so that the origin is late and not the client.
    pub fn max_stream_duration(complete: bool) -> LocalReply {
        let status = if complete { 504 } else { 408 };
        let reply = LocalReply::new(status, "upstream_max_stream_duration_reached");
        reply.body("upstream max stream duration reached").flag(Flag::UpstreamMaxStreamDurationReached)
    }

    /// The same where something of an answer was passed on already: only details tell.
    pub fn after_response_started(self) -> LocalReply {
        let details = self.details.replace("_before_response_started", "_after_response_started");
        LocalReply { details: details.into(), ..self }
    }

    /// The upstream stream ended before an answer began. `retried` says that this was not the first try. What the transport says shows in
    /// the details alone.
    pub fn upstream_reset(reason: Reset, transport_failure: &str, retried: bool) -> LocalReply {
        let retried = if retried { "retried and the latest " } else { "" };
        let body = format!(
            "upstream connect error or disconnect/reset before headers. {retried}reset reason: {}",
            reason.text()
        );
        let mut details = format!("upstream_reset_before_response_started{{{}", reason.text().replace(' ', "_"));
        if !transport_failure.is_empty() {
            details.push_str(&format!("|{}", transport_failure.replace(|c: char| c.is_ascii_whitespace(), "_")));
        }
        details.push('}');
        let status = if reason == Reset::ProtocolError { 502 } else { 503 };
        let reply = LocalReply::new(status, details).body(body).flag(reason.flag());
        if reason == Reset::Overflow { reply.header("x-envoy-overloaded", "true") } else { reply }
    }

    /// A drained or closed circuit: too many connections, requests or retries are under way.
    pub fn overflow() -> LocalReply {
        LocalReply::upstream_reset(Reset::Overflow, "", false)
    }

    /// Nothing moved on the stream for the idle timeout.
    pub fn stream_idle_timeout() -> LocalReply {
        let reply = LocalReply::new(408, "stream_idle_timeout").body("stream timeout").by(Author::Manager);
        reply.flag(Flag::StreamIdleTimeout)
    }

    /// The request took longer than the connection manager's `request_timeout`.
    pub fn request_timeout() -> LocalReply {
        LocalReply::new(408, "request_overall_timeout").body("request timeout").by(Author::Manager)
    }

    /// A body larger than a filter may buffer.
    pub fn payload_too_large() -> LocalReply {
        LocalReply::new(413, "request_payload_too_large").body("Payload Too Large")
    }

    /// An answer larger than a filter may buffer.
    pub fn response_too_large() -> LocalReply {
        LocalReply::new(500, "response_payload_too_large").body("Internal Server Error")
    }

    /// An upgrade nobody allowed.
    pub fn upgrade_refused() -> LocalReply {
        LocalReply::new(403, "upgrade_failed")
    }

    /// The path cannot be brought into its normal form.
    pub fn path_normalization_failed() -> LocalReply {
        LocalReply::new(400, "path_normalization_failed")
    }

    /// `--fidelity hardened`: the route's rewrite yields a path that climbs, or names a host.
    pub fn rewrite_refused() -> LocalReply {
        LocalReply::new(400, "rewrite_refused")
    }

    /// What goes out for this request: `:status` first, then the added headers, then framing. The body is the second part.
    ///
    /// A gRPC request gets 200 with `grpc-status` and `grpc-message`; HEAD keeps the length and loses the body.
    pub fn encode(&self, request: &RequestKind) -> (HeaderList, Bytes) {
        let mut out: HeaderList = Vec::with_capacity(self.headers.len().saturating_add(4));
        out.push((Bytes::from_static(b":status"), Bytes::from(self.status.to_string())));
        out.extend(self.headers.iter().cloned());
        if request.grpc {
            self.encode_grpc(&mut out, request);
            return (out, Bytes::new());
        }
        headers::remove(&mut out, b"content-length");
        if self.body.is_empty() {
            headers::remove(&mut out, b"content-type");
            return (out, Bytes::new());
        }
        headers::set_slot(&mut out, "content-length", Bytes::from(self.body.len().to_string()));
        if !headers::has(&out, "content-type") {
            let own = self.content_type.as_deref().cloned();
            headers::set_slot(&mut out, "content-type", own.unwrap_or(Bytes::from_static(b"text/plain")));
        }
        (out, if request.head { Bytes::new() } else { self.body.clone() })
    }

    fn encode_grpc(&self, out: &mut HeaderList, request: &RequestKind) {
        headers::set_slot(out, ":status", Bytes::from_static(b"200"));
        headers::set_slot(out, "content-type", Bytes::from_static(b"application/grpc"));
        if headers::get(out, "grpc-status").is_none_or(Bytes::is_empty) {
            let status = self.grpc_status.unwrap_or_else(|| grpc_status_of(self.status));
            headers::set_slot(out, "grpc-status", Bytes::from(status.to_string()));
        }
        if !self.body.is_empty() && !request.head {
            // JSON has a line's end that a message has not.
            let json = self.content_type.as_deref().is_some_and(|own| own == "application/json");
            let text = self.body.strip_suffix(b"\n").filter(|_| json).unwrap_or(&self.body);
            headers::set_slot(out, "grpc-message", Bytes::from(percent_encode(text)));
        }
        headers::remove(out, b"content-length");
    }
}

/// What an answer's form depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestKind {
    /// `content-type: application/grpc` or `application/grpc+…`.
    pub grpc: bool,
    /// The method is HEAD.
    pub head: bool,
}

impl RequestKind {
    /// Reads the request's own headers.
    pub fn of(request: &[(Bytes, Bytes)]) -> RequestKind {
        let head = headers::get(request, ":method").is_some_and(|method| method == "HEAD");
        RequestKind { grpc: is_grpc(request), head }
    }
}

/// Does Envoy take these headers for gRPC?
pub fn is_grpc(headers: &[(Bytes, Bytes)]) -> bool {
    // CONNECT has no path.
    has_grpc_content_type(headers) && headers::has(headers, ":path")
}

/// `application/grpc` or `application/grpc+…`.
pub(crate) fn has_grpc_content_type(headers: &[(Bytes, Bytes)]) -> bool {
    let rest = headers::get(headers, "content-type").and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'+'))
}

/// The gRPC status Envoy makes of an HTTP status.
pub fn grpc_status_of(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// gRPC's encoding of `grpc-message`: everything but visible ASCII, and `%` and `~`, as `%XX`.
pub(crate) fn percent_encode(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if (b' '..b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// How an upstream stream ended before its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reset {
    /// This side could not open the connection: no address, no port, a refused TLS handshake of ours.
    LocalConnectionFailure,
    /// The other side refused the connection, or its TLS handshake failed.
    RemoteConnectionFailure,
    /// No connection within `connect_timeout`.
    ConnectionTimeout,
    /// The connection closed with the request under way.
    ConnectionTermination,
    /// This side gave the stream up.
    LocalReset,
    /// A circuit breaker is open.
    Overflow,
    /// RST_STREAM from the other side.
    RemoteReset,
    /// RST_STREAM with REFUSED_STREAM: nothing was processed.
    RemoteRefused,
    /// The other side broke the protocol.
    ProtocolError,
}

impl Reset {
    /// Envoy's words.
    pub fn text(self) -> &'static str {
        match self {
            Reset::LocalConnectionFailure => "local connection failure",
            Reset::RemoteConnectionFailure => "remote connection failure",
            Reset::ConnectionTimeout => "connection timeout",
            Reset::ConnectionTermination => "connection termination",
            Reset::LocalReset => "local reset",
            Reset::Overflow => "overflow",
            Reset::RemoteReset => "remote reset",
            Reset::RemoteRefused => "remote refused stream reset",
            Reset::ProtocolError => "protocol error",
        }
    }

    /// The flag the access log shows.
    pub fn flag(self) -> Flag {
        match self {
            Reset::LocalConnectionFailure | Reset::RemoteConnectionFailure | Reset::ConnectionTimeout => {
                Flag::UpstreamConnectionFailure
            }
            Reset::ConnectionTermination => Flag::UpstreamConnectionTermination,
            Reset::LocalReset => Flag::LocalReset,
            Reset::Overflow => Flag::UpstreamOverflow,
            Reset::RemoteReset | Reset::RemoteRefused => Flag::UpstreamRemoteReset,
            Reset::ProtocolError => Flag::UpstreamProtocolError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &HeaderList) -> Vec<(String, String)> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        headers.iter().map(|(k, v)| (text(k), text(v))).collect()
    }

    fn check(reply: &LocalReply, request: RequestKind, want: &[(&str, &str)], body: &str) {
        let (headers, sent) = reply.encode(&request);
        let want: Vec<_> = want.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs(&headers), want);
        assert_eq!(sent, body);
    }

    const PLAIN: RequestKind = RequestKind { grpc: false, head: false };
    const HEAD: RequestKind = RequestKind { grpc: false, head: true };
    const GRPC: RequestKind = RequestKind { grpc: true, head: false };

    #[test]
    fn a_body_brings_its_length_and_type() {
        let reply = LocalReply::no_healthy_upstream();
        check(
            &reply,
            PLAIN,
            &[(":status", "503"), ("content-length", "19"), ("content-type", "text/plain")],
            "no healthy upstream",
        );
        check(&reply, HEAD, &[(":status", "503"), ("content-length", "19"), ("content-type", "text/plain")], "");
    }

    #[test]
    fn a_type_that_was_set_stays_and_no_body_has_none() {
        let reply = LocalReply::new(200, "direct_response").header("content-type", "application/json");
        check(
            &reply.clone().body("{}"),
            PLAIN,
            &[(":status", "200"), ("content-type", "application/json"), ("content-length", "2")],
            "{}",
        );
        check(&reply, PLAIN, &[(":status", "200")], "");
    }

    #[test]
    fn grpc_gets_200_and_a_status() {
        let want = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "14"),
            ("grpc-message", "no healthy upstream"),
        ];
        check(&LocalReply::no_healthy_upstream(), GRPC, &want, "");
        let odd = LocalReply::new(400, "x").body("50%\n\u{e9}~");
        check(
            &odd,
            GRPC,
            &[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "13"),
                ("grpc-message", "50%25%0A%C3%A9%7E"),
            ],
            "",
        );
    }

    #[test]
    fn flags_print_in_the_order_in_which_they_came() {
        let mut flags = Flags::from(Flag::DelayInjected);
        flags.insert(Flag::FaultInjected);
        flags.insert(Flag::DelayInjected);
        assert_eq!(flags.short(), "DI,FI");
        assert_eq!(flags.long(), "DelayInjected,FaultInjected");
        assert_eq!(Flags::NONE.short(), "");
    }

    #[test]
    fn a_reset_names_its_reason_and_that_it_was_retried() {
        let body = |reply: LocalReply| String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(
            body(LocalReply::upstream_reset(Reset::ConnectionTermination, "", false)),
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
        );
        assert_eq!(
            body(LocalReply::upstream_reset(Reset::RemoteConnectionFailure, "", true)),
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure"
        );
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = vec![(Bytes::from_static(b"content-type"), Bytes::copy_from_slice(value.as_bytes()))];
            assert!(!is_grpc(&headers), "CONNECT, with {value}");
            headers.push((Bytes::from_static(b":path"), Bytes::from_static(b"/")));
            assert_eq!(is_grpc(&headers), is, "{value}");
        }
    }
}
