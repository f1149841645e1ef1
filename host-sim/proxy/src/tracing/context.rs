//! W3C trace context: `traceparent` and `tracestate`, read and written as Envoy does.
//!
//! The SDK's propagator is stricter: it turns away upper-case digits, version `ff` and flags of the future, which Envoy takes.

use bytes::{Bytes, BytesMut};
use opentelemetry::trace::{SpanId, TraceId};

use crate::headers::{self, HeaderList};

/// The span somebody else began, as far as its headers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
    /// `tracestate`, every copy, as it came.
    pub(super) state: Bytes,
}

/// What a request says of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Nothing: a trace begins here.
    Nothing,
    Parent(Parent),
    /// Something nobody can read: it is passed on untouched, and no span is made.
    Unreadable,
}

/// Reads the first `traceparent` and every `tracestate`.
pub(super) fn extract(request: &[(Bytes, Bytes)]) -> Incoming {
    match headers::get(request, "traceparent") {
        None => Incoming::Nothing,
        Some(value) => parent(value, request).map_or(Incoming::Unreadable, Incoming::Parent),
    }
}

fn parent(value: &[u8], request: &[(Bytes, Bytes)]) -> Option<Parent> {
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.split('-');
    let mut field = |length: usize| {
        fields.next().filter(|field| field.len() == length && field.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let (_version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    if fields.next().is_some() {
        return None;
    }
    let parent = Parent {
        trace: TraceId::from_hex(trace).ok()?,
        span: SpanId::from_hex(span).ok()?,
        sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        state: state(request),
    };
    (parent.trace != TraceId::INVALID && parent.span != SpanId::INVALID).then_some(parent)
}

fn state(request: &[(Bytes, Bytes)]) -> Bytes {
    let mut copies = headers::all(request, b"tracestate");
    let first = copies.next().cloned().unwrap_or_default();
    copies.fold(first, |all, copy| {
        let mut joined = BytesMut::from(all.as_ref());
        joined.extend_from_slice(b",");
        joined.extend_from_slice(copy);
        joined.freeze()
    })
}

/// Writes both headers, an empty `tracestate` too.
pub(super) fn inject(request: &mut HeaderList, trace: TraceId, span: SpanId, sampled: bool, state: &Bytes) {
    let value = format!("00-{trace}-{span}-{:02x}", u8::from(sampled));
    for (name, value) in [("traceparent", Bytes::from(value)), ("tracestate", state.clone())] {
        request.retain(|(known, _)| known != name);
        request.push((Bytes::from_static(name.as_bytes()), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn of(lines: &[(&'static str, String)]) -> HeaderList {
        lines.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from(value.clone()))).collect()
    }

    /// As Envoy 1.40 took them, one by one.
    #[test]
    fn a_traceparent_has_four_fields_of_hexadecimal_digits_and_no_more() {
        for (value, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-03"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-ff"), Some(true)),
            (format!("01-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("ff-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), Some(true)),
            (format!("01-{TRACE}-{SPAN}-01-extra"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-+{}-{SPAN}-01", &TRACE[1..]), None),
            (String::new(), None),
            ("garbage".to_owned(), None),
        ] {
            let read = match extract(&of(&[("traceparent", value.clone())])) {
                Incoming::Parent(parent) => Some(parent.sampled),
                Incoming::Unreadable => None,
                Incoming::Nothing => panic!("{value}: there is one"),
            };
            assert_eq!(read, sampled, "{value}");
        }
        assert_eq!(extract(&of(&[("tracestate", "a=1".to_owned())])), Incoming::Nothing);
    }

    #[test]
    fn both_headers_are_written_and_the_state_is_passed_on_as_it_came() {
        let copies = [
            ("traceparent", format!("00-{TRACE}-{SPAN}-01")),
            ("tracestate", "a=1".into()),
            ("tracestate", "b=2".into()),
        ];
        let mut request = of(&copies);
        let Incoming::Parent(parent) = extract(&request) else { panic!("a parent") };
        inject(&mut request, parent.trace, SpanId::from(7), false, &parent.state);
        let written =
            of(&[("traceparent", format!("00-{TRACE}-0000000000000007-00")), ("tracestate", "a=1,b=2".into())]);
        assert_eq!(request, written);
    }
}
