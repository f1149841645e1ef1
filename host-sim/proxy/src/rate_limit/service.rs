//! The words spoken with a rate limit service: `envoy.service.ratelimit.v3`, as far as they are used here.
//!
//! Protobuf by hand: five messages of a few fields each do not pay for a code generator.

use bytes::{BufMut, Bytes, BytesMut};

use super::Descriptor;
use crate::headers::HeaderList;

/// The gRPC service.
pub(crate) const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// Its one method.
pub(crate) const METHOD: &str = "ShouldRateLimit";

/// What the service said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Some limit is exceeded.
    pub over_limit: bool,
    /// The state of the limit of each descriptor that has one.
    pub limits: Vec<Limit>,
    /// For the answer to the client.
    pub response_headers: HeaderList,
    /// For the request to the origin.
    pub request_headers: HeaderList,
    /// The body of a denial.
    pub body: Bytes,
}

/// One descriptor's limit and how much is left of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// How many requests in one unit of time.
    pub requests_per_unit: u64,
    /// The unit in seconds; 0 when unknown.
    pub window: u64,
    /// The limit's name, perhaps empty.
    pub name: String,
    /// How many are left.
    pub remaining: u64,
    /// Seconds until it is whole again.
    pub reset: u64,
}

/// What does not read as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// The request about these descriptors.
pub fn request(domain: &[u8], descriptors: &[Descriptor]) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, 1, domain);
    for descriptor in descriptors {
        let mut entries = BytesMut::new();
        for (key, value) in descriptor {
            let mut entry = BytesMut::new();
            put(&mut entry, 1, key);
            put(&mut entry, 2, value);
            put_message(&mut entries, 1, &entry);
        }
        put_message(&mut out, 2, &entries);
    }
    out.freeze()
}

impl Answer {
    /// Reads a response.
    ///
    /// # Errors
    /// Bytes that are no protobuf of this shape.
    pub fn read(message: &[u8]) -> Result<Answer, Unreadable> {
        let mut answer = Answer::default();
        each(message, |field, value| {
            match (field, value) {
                (1, Value::Number(code)) => answer.over_limit = code == 2,
                (2, Value::Bytes(status)) => answer.limits.extend(limit(status)?),
                (3, Value::Bytes(pair)) => answer.response_headers.push(header(pair)?),
                (4, Value::Bytes(pair)) => answer.request_headers.push(header(pair)?),
                (5, Value::Bytes(body)) => answer.body = Bytes::copy_from_slice(body),
                _ => {}
            }
            Ok(())
        })?;
        Ok(answer)
    }
}

/// A `DescriptorStatus`; `None` without a current limit.
fn limit(status: &[u8]) -> Result<Option<Limit>, Unreadable> {
    let (mut limit, mut has_limit) = (Limit::default(), false);
    each(status, |field, value| {
        match (field, value) {
            (2, Value::Bytes(current)) => {
                has_limit = true;
                each(current, |field, value| {
                    match (field, value) {
                        (1, Value::Number(requests)) => limit.requests_per_unit = requests,
                        (2, Value::Number(unit)) => limit.window = seconds(unit),
                        (3, Value::Bytes(name)) => limit.name = String::from_utf8_lossy(name).into_owned(),
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            (3, Value::Number(remaining)) => limit.remaining = remaining,
            (4, Value::Bytes(duration)) => each(duration, |field, value| {
                if let (1, Value::Number(seconds)) = (field, value) {
                    limit.reset = seconds;
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(has_limit.then_some(limit))
}

/// `RateLimit.Unit`
fn seconds(unit: u64) -> u64 {
    match unit {
        1 => 1,
        2 => 60,
        3 => 3_600,
        4 => 86_400,
        5 => 30 * 86_400,
        6 => 365 * 86_400,
        7 => 7 * 86_400,
        _ => 0,
    }
}

fn header(pair: &[u8]) -> Result<(Bytes, Bytes), Unreadable> {
    let (mut name, mut header_value) = (Bytes::new(), Bytes::new());
    each(pair, |field, value| {
        match (field, value) {
            (1, Value::Bytes(key)) => name = key.to_ascii_lowercase().into(),
            (2 | 3, Value::Bytes(value)) => header_value = Bytes::copy_from_slice(value),
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, header_value))
}

enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// Shows each field of a message.
fn each<'m>(
    mut message: &'m [u8],
    mut show: impl FnMut(u64, Value<'m>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => Value::Bytes(take(&mut message, 8)?),
            2 => {
                let length = varint(&mut message)?;
                Value::Bytes(take(&mut message, length)?)
            }
            5 => Value::Bytes(take(&mut message, 4)?),
            _ => return Err(Unreadable),
        };
        show(tag >> 3, value)?;
    }
    Ok(())
}

fn take<'m>(message: &mut &'m [u8], length: u64) -> Result<&'m [u8], Unreadable> {
    let length = usize::try_from(length).map_err(|_| Unreadable)?;
    let (taken, rest) = message.split_at_checked(length).ok_or(Unreadable)?;
    *message = rest;
    Ok(taken)
}

fn varint(message: &mut &[u8]) -> Result<u64, Unreadable> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or(Unreadable)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unreadable)
}

/// A text field; protobuf leaves empty ones out.
fn put(out: &mut BytesMut, field: u8, value: &[u8]) {
    if !value.is_empty() {
        put_message(out, field, value);
    }
}

fn put_message(out: &mut BytesMut, field: u8, value: &[u8]) {
    out.put_u8(field << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        out.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.put_u8(u8::try_from(length).unwrap_or_default());
    out.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_request_has_protobufs_bytes() {
        let descriptor = vec![(bytes("k"), bytes("v")), (bytes("e"), Bytes::new())];
        let expected = b"\x0a\x01d\x12\x0d\x0a\x06\x0a\x01k\x12\x01v\x0a\x03\x0a\x01e";
        assert_eq!(request(b"d", &[descriptor]), &expected[..]);
        let long = vec![(bytes("k"), bytes(&"x".repeat(200)))];
        assert_eq!(request(b"", &[long])[..4], [0x12, 0xd1, 0x01, 0x0a]);
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        // OVER_LIMIT; one status: OVER_LIMIT, 10 per MINUTE named "n", 3 left, reset in 42 s; a header each way; a body; an unknown field.
        let message = b"\x08\x02\x12\x11\x08\x02\x12\x07\x08\x0a\x10\x02\x1a\x01n\x18\x03\x22\x02\x08\x2a\
            \x1a\x06\x0a\x01A\x12\x01b\x22\x06\x0a\x01c\x1a\x01d\x2a\x02no\x7d\x00\x00\x00\x00";
        let limit = Limit { requests_per_unit: 10, window: 60, name: "n".into(), remaining: 3, reset: 42 };
        let expected = Answer {
            over_limit: true,
            limits: vec![limit],
            response_headers: vec![(bytes("a"), bytes("b"))],
            request_headers: vec![(bytes("c"), bytes("d"))],
            body: bytes("no"),
        };
        assert_eq!(Answer::read(message), Ok(expected));
        assert_eq!(Answer::read(b""), Ok(Answer::default()));
    }

    #[test]
    fn what_is_cut_short_is_no_answer() {
        for message in [&b"\x08"[..], b"\x12\x05\x08", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(Answer::read(message), Err(Unreadable), "{message:?}");
        }
    }
}
