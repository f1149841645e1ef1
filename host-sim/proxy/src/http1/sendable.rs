//! Whether a request may be sent to an origin: what filters and modules made of it is looked at once more, as it leaves.
//!
//! Source: Envoy's `HeaderUtility::checkRequiredRequestHeaders` and `checkValidRequestHeaders`; every row was measured on Envoy 1.40 with a module
//! that wrote the header. Answers are not looked at: there Envoy writes what it is given.

use bytes::Bytes;

use super::bytes_allowed::{NAME, VALUE};
use crate::headers;

/// Envoy's words for what keeps a request from being sent, over either protocol; `None` if nothing does.
pub fn unsendable(list: &[(Bytes, Bytes)]) -> Option<Vec<u8>> {
    let Some(method) = headers::get(list, ":method") else { return Some(b"missing required header: :method".to_vec()) };
    // Names that begin with a colon are the codec's own, and an empty name passes.
    let spoiled = list.iter().find_map(|(name, value)| {
        if !name.starts_with(b":") && !NAME.all(name) {
            return Some([b"invalid header name: ".as_slice(), &escaped(name)].concat());
        }
        (!VALUE.all(value)).then(|| [b"invalid header value for: ".as_slice(), name].concat())
    });
    let missing = match method.as_ref() {
        b"CONNECT" => (!headers::has(list, ":authority")).then_some(":authority"),
        _ => (!headers::has(list, ":path")).then_some(":path"),
    };
    let missing = missing.map(|name| [b"missing required header: ", name.as_bytes()].concat());
    missing.or(spoiled)
}

/// As a C string would be written, bytes beyond ASCII as they are.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' | b'\'' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], expected: Option<&str>) {
        let list: Vec<(Bytes, Bytes)> = [(":method", "GET"), (":path", "/"), (":authority", "a")]
            .iter()
            .filter(|(name, _)| !headers.iter().any(|(other, _)| other == name))
            .chain(headers.iter().filter(|(_, value)| *value != "(none)"))
            .map(|(name, value)| (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        let said = unsendable(&list).map(|said| String::from_utf8(said).unwrap());
        assert_eq!(said.as_deref(), expected, "{headers:?}");
    }

    #[test]
    fn controls_in_values_keep_a_request_back() {
        for value in ["a\r\nset-cookie: b", "a\0b", "a\nb", "a\x7fb", "a\x01b"] {
            check(&[("x-a", value)], Some("invalid header value for: x-a"));
        }
        for value in ["a\tb", " a", "a ", " ", "", "é"] {
            check(&[("x-a", value)], None);
        }
        check(&[(":path", "/a HTTP/1.1\r\nx: y")], Some("invalid header value for: :path"));
        check(&[(":authority", "a\r\nx: y")], Some("invalid header value for: :authority"));
        check(&[(":method", "G\r\nT")], Some("invalid header value for: :method"));
        check(&[(":path", "/a b")], None);
    }

    #[test]
    fn names_are_tokens() {
        check(&[("x-a\r\nset-cookie", "b")], Some("invalid header name: x-a\\r\\nset-cookie"));
        for name in ["x a", "x(a", "x:a", "xéa"] {
            check(&[(name, "b")], Some(&format!("invalid header name: {name}")));
        }
        for name in ["", "x_a", ":custom"] {
            check(&[(name, "b")], None);
        }
    }

    #[test]
    fn the_first_that_is_wrong_is_named() {
        check(&[("x b", "b"), ("x-a", "b\0")], Some("invalid header name: x b"));
        check(&[("x-a", "b\0"), ("x b", "b")], Some("invalid header value for: x-a"));
    }

    #[test]
    fn what_a_message_cannot_do_without_is_missed() {
        check(&[(":method", "(none)")], Some("missing required header: :method"));
        check(&[(":path", "(none)")], Some("missing required header: :path"));
        check(&[(":authority", "(none)")], None);
    }
}
