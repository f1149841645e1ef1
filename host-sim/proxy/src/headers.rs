//! The header list every part of the gateway works on, and Envoy's rules for reading and changing one.
//!
//! Envoy keeps some well-known headers in slots that hold one value: a second copy is joined to the first with a comma.
//! All others keep their copies. Which ones do was measured on Envoy 1.40 by sending every name twice.

use bytes::{BufMut, Bytes, BytesMut};

/// Lower-case names, pseudo-headers first, copies in order.
pub type HeaderList = Vec<(Bytes, Bytes)>;

/// Which of Envoy's slot tables applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A request's headers.
    Request,
    /// A response's headers.
    Response,
}

/// Slots of both sides. Sorted.
const COMMON: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-request-id",
];

/// Slots of a request. Sorted.
const REQUEST: [&str; 53] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "content-encoding",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "referer",
    "te",
    "user-agent",
    "x-client-trace-id",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-is-timeout-retry",
    "x-envoy-max-retries",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    ":authority",
    ":method",
    ":path",
    ":scheme",
];

/// Slots of a response. Sorted.
const RESPONSE: [&str; 27] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "content-encoding",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "location",
    "proxy-status",
    "server",
    "vary",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-canary",
    "x-envoy-upstream-healthchecked-cluster",
    "x-envoy-upstream-service-time",
    ":status",
];

/// Does this name hold a single value on this side?
pub fn is_slot(side: Side, name: &[u8]) -> bool {
    let in_table = |table: &[&str]| table.iter().any(|slot| slot.as_bytes() == name);
    // Nearly every private header leaves here: the slots are few, and a length tells most strangers apart.
    match side {
        _ if name.len() < 2 => false,
        Side::Request => in_table(&COMMON) || in_table(&REQUEST),
        Side::Response => in_table(&COMMON) || in_table(&RESPONSE),
    }
}

/// The first copy.
pub fn get<'h>(headers: &'h [(Bytes, Bytes)], name: &str) -> Option<&'h Bytes> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Is it a request to be connected to somebody?
pub fn is_connect(headers: &[(Bytes, Bytes)]) -> bool {
    get(headers, ":method").is_some_and(|method| method == "CONNECT")
}

/// An answer's status, if it is one.
pub fn status(headers: &[(Bytes, Bytes)]) -> Option<u16> {
    std::str::from_utf8(get(headers, ":status")?).ok()?.parse().ok()
}

/// Is there any copy?
pub fn has(headers: &[(Bytes, Bytes)], name: &str) -> bool {
    get(headers, name).is_some()
}

/// `expect: 100-continue`: the client waits for a word before it sends its body.
pub fn expects_continue(headers: &[(Bytes, Bytes)]) -> bool {
    get(headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// Every copy, in order.
pub fn all<'h>(headers: &'h [(Bytes, Bytes)], name: &'h [u8]) -> impl Iterator<Item = &'h Bytes> {
    headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
}

/// Takes every copy away; says whether there was one.
pub fn remove(headers: &mut HeaderList, name: &[u8]) -> bool {
    let before = headers.len();
    headers.retain(|(key, _)| key != name);
    headers.len() != before
}

/// Writes one value into a slot, where it stands or at the end. Further copies go.
pub fn set_slot(headers: &mut HeaderList, name: &'static str, value: Bytes) {
    put(headers, Bytes::from_static(name.as_bytes()), value);
}

/// The same for a name that is not known at compile time.
pub fn put(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    let mut copies = headers.iter().enumerate().filter(|(_, (key, _))| key == &name).map(|(at, _)| at);
    let (first, more) = (copies.next(), copies.next().is_some());
    match first.and_then(|at| headers.get_mut(at)) {
        Some(entry) => entry.1 = value,
        None => insert(headers, name, value),
    }
    if more && let Some(first) = first {
        let mut at = 0usize;
        let name = headers.get(first).map(|(key, _)| key.clone()).unwrap_or_default();
        headers.retain(|(key, _)| {
            let keep = at <= first || key != &name;
            at = at.saturating_add(1);
            keep
        });
    }
}

/// Replaces every copy by one at the end (a pseudo-header: after the other pseudo-headers), as Envoy's overwriting header
/// operations do.
pub fn replace(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    remove(headers, &name);
    insert(headers, name, value);
}

/// Adds a copy; into a slot that is taken, by a comma.
pub fn append(headers: &mut HeaderList, side: Side, name: Bytes, value: Bytes) {
    if is_slot(side, &name)
        && let Some((_, there)) = headers.iter_mut().find(|(key, _)| key == &name)
    {
        *there = joined(there, &value);
    } else {
        insert(headers, name, value);
    }
}

fn insert(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    if name.first() == Some(&b':') {
        let at = headers.iter().position(|(key, _)| key.first() != Some(&b':')).unwrap_or(headers.len());
        headers.insert(at, (name, value));
    } else {
        headers.push((name, value));
    }
}

/// `a,b`; an empty side leaves the other as it is.
pub fn joined(a: &Bytes, b: &Bytes) -> Bytes {
    if b.is_empty() {
        return a.clone();
    }
    if a.is_empty() {
        return b.clone();
    }
    let mut both = BytesMut::with_capacity(a.len().saturating_add(b.len()).saturating_add(1));
    both.put_slice(a);
    both.put_u8(b',');
    both.put_slice(b);
    both.freeze()
}

/// Joins the copies of slot headers, as Envoy's codecs do while they read a head. Run once on what a peer sent.
pub fn join_slots(headers: &mut HeaderList, side: Side) {
    let mut at = 1usize;
    while at < headers.len() {
        let Some(first) = earlier_copy_of_slot(headers, side, at) else {
            at = at.saturating_add(1);
            continue;
        };
        let (_, value) = headers.remove(at);
        if let Some((_, there)) = headers.get_mut(first) {
            *there = joined(there, &value);
        }
    }
}

fn earlier_copy_of_slot(headers: &[(Bytes, Bytes)], side: Side, at: usize) -> Option<usize> {
    let (earlier, rest) = headers.split_at_checked(at)?;
    let name = rest.first()?.0.as_ref();
    // Names of one length mostly end differently, which costs less to see than that they are not the same.
    let is_copy = |key: &[u8]| key.len() == name.len() && key.last() == name.last() && key == name;
    earlier.iter().position(|(key, _)| is_copy(key)).filter(|_| is_slot(side, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> HeaderList {
        pairs
            .iter()
            .map(|(k, v)| (Bytes::copy_from_slice(k.as_bytes()), Bytes::copy_from_slice(v.as_bytes())))
            .collect()
    }

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_second_copy_of_a_slot_is_joined_and_of_another_header_kept() {
        let mut headers = list(&[
            ("user-agent", "a"),
            ("x-a", "1"),
            ("user-agent", "b"),
            ("x-a", "2"),
            ("cookie", "c"),
            ("cookie", "d"),
        ]);
        join_slots(&mut headers, Side::Request);
        assert_eq!(
            headers,
            list(&[("user-agent", "a,b"), ("x-a", "1"), ("x-a", "2"), ("cookie", "c"), ("cookie", "d")])
        );
    }

    #[test]
    fn joining_to_an_empty_value_adds_no_comma() {
        assert_eq!(joined(&bytes(""), &bytes("b")), "b");
        assert_eq!(joined(&bytes("a"), &bytes("")), "a");
        assert_eq!(joined(&bytes("a"), &bytes("b")), "a,b");
    }

    #[test]
    fn a_slot_depends_on_the_side() {
        for (name, request, response) in [
            ("location", false, true),
            ("etag", false, true),
            ("accept", true, false),
            ("via", true, true),
            ("x-a", false, false),
        ] {
            assert_eq!(is_slot(Side::Request, name.as_bytes()), request, "{name}");
            assert_eq!(is_slot(Side::Response, name.as_bytes()), response, "{name}");
        }
    }

    #[test]
    fn put_writes_in_place_and_replace_moves_to_the_end() {
        let mut headers = list(&[(":path", "/"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3")]);
        put(&mut headers, bytes("x-a"), bytes("9"));
        assert_eq!(headers, list(&[(":path", "/"), ("x-a", "9"), ("x-b", "2")]));
        replace(&mut headers, bytes("x-a"), bytes("8"));
        assert_eq!(headers, list(&[(":path", "/"), ("x-b", "2"), ("x-a", "8")]));
        replace(&mut headers, bytes(":scheme"), bytes("http"));
        assert_eq!(headers.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(), [":path", ":scheme", "x-b", "x-a"]);
    }

    #[test]
    fn append_follows_the_slot_rule() {
        let mut headers = list(&[("user-agent", "curl"), ("x-a", "1")]);
        append(&mut headers, Side::Request, bytes("user-agent"), bytes("R"));
        append(&mut headers, Side::Request, bytes("x-a"), bytes("2"));
        append(&mut headers, Side::Request, bytes("via"), bytes("me"));
        assert_eq!(headers, list(&[("user-agent", "curl,R"), ("x-a", "1"), ("x-a", "2"), ("via", "me")]));
    }
}
