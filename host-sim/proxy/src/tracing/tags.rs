//! What Envoy says in a span: its tags, by name.

use std::net::SocketAddr;

use bytes::Bytes;
use opentelemetry::trace::SpanKind;

use super::{Outcome, Tracing};
use crate::header_ops::Facts;
use crate::headers::{self, HeaderList};
use crate::local_reply::is_grpc;

/// Names and values, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Tags(Vec<(String, String)>);

impl Tags {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    fn add_header(&mut self, name: &'static str, of: &[(Bytes, Bytes)], header: &str) {
        if let Some(value) = headers::get(of, header) {
            self.add(name, text(value));
        }
    }

    /// An error once is an error: the tag is there once.
    fn error(&mut self) {
        if !self.0.iter().any(|(name, _)| name == "error") {
            self.add("error", "true");
        }
    }

    /// `http.status_code`
    fn status(&self) -> Option<u16> {
        self.0.iter().find(|(name, _)| name == "http.status_code").and_then(|(_, value)| value.parse().ok())
    }

    /// Of a request and its answer.
    pub(super) fn of_request(facts: &Facts<'_>, tracing: &Tracing) -> Tags {
        let (request, info) = (facts.request, facts.stream);
        let mut tags = Tags::default();
        tags.add("node_id", &tracing.node.id);
        tags.add("zone", &tracing.node.zone);
        tags.add_header("guid:x-request-id", request, "x-request-id");
        tags.add("http.url", url(request, tracing.max_path));
        tags.add("http.method", or_dash(request, ":method"));
        tags.add("downstream_cluster", or_dash(request, "x-envoy-downstream-service-cluster"));
        tags.add("user_agent", or_dash(request, "user-agent"));
        tags.add("http.protocol", facts.connection.protocol.as_str());
        tags.add("peer.address", facts.connection.remote.ip().to_string());
        if is_grpc(request) {
            tags.add_header("grpc.path", request, ":path");
            tags.add_header("grpc.authority", request, ":authority");
            tags.add_header("grpc.content_type", request, "content-type");
            tags.add_header("grpc.timeout", request, "grpc-timeout");
        }
        tags.add_header("guid:x-client-trace-id", request, "x-client-trace-id");
        tags.add("request_size", info.bytes_received.to_string());
        tags.add("response_size", info.bytes_sent.to_string());
        tags.common(facts, tracing, info.response_code, &info.flags.short());
        tags.of_answer(&[facts.trailers, facts.response]);
        tags
    }

    /// How a gRPC call ended, from the first of these lists that says it.
    fn of_answer(&mut self, lists: &[Option<&[(Bytes, Bytes)]>]) {
        let mut lists = lists.iter().copied().flatten();
        if let Some(list) = lists.find(|list| headers::has(list, "grpc-status")) {
            self.add_header("grpc.status_code", list, "grpc-status");
            self.add_header("grpc.message", list, "grpc-message");
            if self.grpc_status().is_some_and(is_of_the_server) {
                self.error();
            }
        }
    }

    fn grpc_status(&self) -> Option<u32> {
        self.0.iter().find(|(name, _)| name == "grpc.status_code").and_then(|(_, value)| value.parse().ok())
    }

    /// Does the span's status say error? A server's span does for what a server did wrong, a client's for all that went wrong.
    pub(super) fn failed(&self, kind: &SpanKind) -> bool {
        let server = *kind == SpanKind::Server;
        self.status().is_some_and(|status| status >= if server { 500 } else { 400 })
            || self.grpc_status().is_some_and(|status| if server { breaks_a_server_span(status) } else { status != 0 })
    }

    /// Of one try at an origin.
    pub(super) fn of_try(facts: &Facts<'_>, tracing: &Tracing, one: &Try) -> Tags {
        let mut tags = Tags::default();
        if let Some(count) = one.attempt.checked_sub(1).filter(|count| *count > 0) {
            tags.add("retry.count", count.to_string());
        }
        let mut flags = String::new();
        match one.outcome {
            Outcome::Complete => {}
            Outcome::Canceled => tags.add("canceled", "true"),
            Outcome::Broken(reset) => {
                tags.error();
                tags.add("error.reason", reset.text());
                flags = reset.flag().short().to_owned();
            }
        }
        tags.add("http.protocol", one.protocol.unwrap_or("-"));
        tags.add("upstream_address", one.address.to_string());
        tags.add("peer.address", one.address.to_string());
        tags.common(facts, tracing, one.status, &flags);
        let trailers = if one.outcome == Outcome::Complete { facts.trailers } else { None };
        tags.of_answer(&[one.answer.as_deref(), trailers]);
        tags
    }

    fn common(&mut self, facts: &Facts<'_>, tracing: &Tracing, status: Option<u16>, flags: &str) {
        self.add("component", "proxy");
        let upstream = &facts.stream.upstream;
        if let Some(cluster) = &upstream.cluster {
            self.add("upstream_cluster", cluster.as_ref());
            self.add("upstream_cluster.name", upstream.cluster_stat_name.as_ref().unwrap_or(cluster).as_ref());
        }
        self.add("http.status_code", status.unwrap_or_default().to_string());
        self.add("response_flags", if flags.is_empty() { "-" } else { flags });
        for (name, value) in tracing.custom_tags.iter().filter_map(|tag| tag.of(facts.request)) {
            self.add(name, value);
        }
        if status.is_none_or(|status| status >= 500) {
            self.error();
        }
    }
}

impl IntoIterator for Tags {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// One try at an origin, when it is over.
#[derive(Debug, Clone)]
pub(crate) struct Try {
    /// 1 for the first.
    pub(crate) attempt: u32,
    pub(crate) address: SocketAddr,
    /// What was spoken, if it came to that.
    pub(crate) protocol: Option<&'static str>,
    pub(crate) status: Option<u16>,
    /// The head of a gRPC answer that says how the call ended.
    pub(crate) answer: Option<HeaderList>,
    pub(crate) outcome: Outcome,
}

/// gRPC statuses Envoy tags as errors: the others are the caller's own doing.
/// `addGrpcResponseTags` in Envoy's source/common/tracing/http_tracer_impl.cc.
fn is_of_the_server(status: u32) -> bool {
    matches!(status, 2 | 4 | 8 | 10 | 12 | 13 | 14 | 15)
}

/// gRPC statuses that make a SERVER span an error by OpenTelemetry's conventions, which Envoy's exporter follows.
fn breaks_a_server_span(status: u32) -> bool {
    matches!(status, 2 | 4 | 12 | 13 | 14 | 15)
}

fn or_dash(request: &[(Bytes, Bytes)], name: &str) -> String {
    headers::get(request, name).map_or_else(|| "-".to_owned(), |value| text(value))
}

/// As the client asked: its path before any rewrite, cut off after so many bytes.
fn url(request: &[(Bytes, Bytes)], longest: usize) -> String {
    let path = headers::get(request, "x-envoy-original-path").or_else(|| headers::get(request, ":path"));
    let Some(path) = path else { return String::new() };
    let path = path.get(..longest).unwrap_or(path);
    let of = |name: &str| headers::get(request, name).map(|value| text(value)).unwrap_or_default();
    format!("{}://{}{}", of("x-forwarded-proto"), of(":authority"), text(path))
}

pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
