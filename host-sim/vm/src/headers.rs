//! Header lists, and the operations on them as Envoy's header map does them.

use bytes::{Bytes, BytesMut};

/// Headers in wire order: lower-case names, pseudo-headers first. The header type of the whole host side.
pub type HeaderList = Vec<(Bytes, Bytes)>;

/// The first value of `name`, which must be lower-case.
pub fn first<'a>(headers: &'a HeaderList, name: &[u8]) -> Option<&'a Bytes> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Sets `name` to one value: every copy is removed, and the new one is added where Envoy adds one.
pub fn set(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    remove(headers, &name);
    insert(headers, name, value);
}

/// Which of a message's maps a list is: each has headers of its own that hold one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum MapKind {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
}

impl MapKind {
    /// Does Envoy keep this header in a slot of its own (an "inline" header), where a second value is joined to the first?
    pub fn has_one_slot(self, name: &[u8]) -> bool {
        let slots = match self {
            MapKind::RequestHeaders => REQUEST_SLOTS,
            MapKind::ResponseHeaders => RESPONSE_SLOTS,
            MapKind::ResponseTrailers => TRAILER_SLOTS,
            MapKind::RequestTrailers => &[],
        };
        slots.binary_search(&name).is_ok()
    }
}

/// Adds a value of `name`. Headers with a slot of their own hold one value: a second is joined to it by `,`.
pub fn add(headers: &mut HeaderList, kind: MapKind, name: Bytes, value: Bytes) {
    if kind.has_one_slot(&name)
        && let Some((_, existing)) = headers.iter_mut().find(|(key, _)| *key == name)
    {
        join(existing, &value);
        return;
    }
    insert(headers, name, value);
}

/// Removes every copy of `name`; says whether there was one.
pub fn remove(headers: &mut HeaderList, name: &[u8]) -> bool {
    let before = headers.len();
    headers.retain(|(key, _)| key != name);
    headers.len() != before
}

/// The bytes of all names and values: what `proxy_get_header_map_size` answers.
pub fn byte_size(headers: &HeaderList) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// A pseudo-header goes behind the last one, anything else to the end.
fn insert(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    if name.starts_with(b":") {
        let at = headers.iter().position(|(key, _)| !key.starts_with(b":")).unwrap_or(headers.len());
        headers.insert(at, (name, value));
    } else {
        headers.push((name, value));
    }
}

fn join(existing: &mut Bytes, value: &Bytes) {
    if value.is_empty() {
        return;
    }
    if existing.is_empty() {
        *existing = value.clone();
        return;
    }
    let mut joined = BytesMut::with_capacity(existing.len() + 1 + value.len());
    joined.extend_from_slice(existing);
    joined.extend_from_slice(b",");
    joined.extend_from_slice(value);
    *existing = joined.freeze();
}

/// Sorted. What Envoy 1.40 joins in a request's head; the probe tries these names and others in the real thing.
const REQUEST_SLOTS: &[&[u8]] = &[
    b":authority",
    b":method",
    b":path",
    b":protocol",
    b":scheme",
    b"accept",
    b"accept-encoding",
    b"access-control-request-headers",
    b"access-control-request-method",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"grpc-accept-encoding",
    b"grpc-timeout",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"keep-alive",
    b"origin",
    b"pragma",
    b"proxy-connection",
    b"proxy-status",
    b"referer",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"user-agent",
    b"via",
    b"x-client-trace-id",
    b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-external-address",
    b"x-envoy-force-trace",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-internal",
    b"x-envoy-ip-tags",
    b"x-envoy-is-timeout-retry",
    b"x-envoy-max-retries",
    b"x-envoy-original-path",
    b"x-envoy-original-url",
    b"x-envoy-retriable-header-names",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-retry-on",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-stream-duration-ms",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-request-id",
];

/// Sorted. What Envoy 1.40 joins in a response's head.
const RESPONSE_SLOTS: &[&[u8]] = &[
    b":status",
    b"access-control-allow-credentials",
    b"access-control-allow-headers",
    b"access-control-allow-methods",
    b"access-control-allow-origin",
    b"access-control-expose-headers",
    b"access-control-max-age",
    b"age",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"date",
    b"etag",
    b"expires",
    b"grpc-message",
    b"grpc-status",
    b"keep-alive",
    b"last-modified",
    b"location",
    b"proxy-connection",
    b"proxy-status",
    b"server",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-envoy-degraded",
    b"x-envoy-immediate-health-check-fail",
    b"x-envoy-ratelimited",
    b"x-envoy-upstream-canary",
    b"x-envoy-upstream-healthchecked-cluster",
    b"x-envoy-upstream-service-time",
    b"x-request-id",
];

/// Sorted. What Envoy 1.40 joins in a response's trailers.
const TRAILER_SLOTS: &[&[u8]] = &[b"grpc-message", b"grpc-status"];

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&'static str, &'static str)]) -> HeaderList {
        pairs
            .iter()
            .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
            .collect()
    }

    #[track_caller]
    fn added(
        kind: MapKind,
        before: &[(&'static str, &'static str)],
        name: &'static str,
        value: &'static str,
        after: &[(&'static str, &'static str)],
    ) {
        let mut headers = list(before);
        add(&mut headers, kind, Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()));
        assert_eq!(headers, list(after));
    }

    #[test]
    fn the_tables_are_sorted_as_their_search_needs() {
        for table in [REQUEST_SLOTS, RESPONSE_SLOTS, TRAILER_SLOTS] {
            assert!(table.is_sorted());
        }
    }

    #[test]
    fn a_header_with_a_slot_holds_one_value_and_others_hold_many() {
        added(MapKind::RequestHeaders, &[("user-agent", "a")], "user-agent", "b", &[("user-agent", "a,b")]);
        added(MapKind::RequestHeaders, &[("user-agent", "")], "user-agent", "b", &[("user-agent", "b")]);
        added(MapKind::RequestHeaders, &[("user-agent", "a")], "user-agent", "", &[("user-agent", "a")]);
        added(MapKind::RequestHeaders, &[("x-a", "a")], "x-a", "b", &[("x-a", "a"), ("x-a", "b")]);
        added(MapKind::RequestHeaders, &[("cookie", "a")], "cookie", "b", &[("cookie", "a"), ("cookie", "b")]);
        added(
            MapKind::ResponseHeaders,
            &[("user-agent", "a")],
            "user-agent",
            "b",
            &[("user-agent", "a"), ("user-agent", "b")],
        );
        added(MapKind::ResponseHeaders, &[("vary", "a")], "vary", "b", &[("vary", "a,b")]);
    }

    #[test]
    fn pseudo_headers_stay_in_front() {
        added(
            MapKind::RequestHeaders,
            &[(":path", "/"), ("x-a", "a")],
            ":method",
            "GET",
            &[(":path", "/"), (":method", "GET"), ("x-a", "a")],
        );
    }

    #[test]
    fn setting_removes_every_copy_and_adds_behind() {
        let mut headers = list(&[("x-a", "1"), ("x-b", "2"), ("x-a", "3")]);
        set(&mut headers, Bytes::from_static(b"x-a"), Bytes::from_static(b"4"));
        assert_eq!(headers, list(&[("x-b", "2"), ("x-a", "4")]));
    }
}
