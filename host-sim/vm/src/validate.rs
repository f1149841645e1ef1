//! What a module may write in hardened fidelity: nothing that could change how a message is framed, split or read by the next hop.

use crate::{
    abi::MapType,
    headers::{self, HeaderList},
    outcome::LocalReply,
};

/// The write is not one a careful host lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Headers that say where a message ends. They are the host's.
const FRAMING: &[&[u8]] = &[
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
];

/// A single value, by `add` or `replace`.
pub(crate) fn write(map: MapType, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    field(map, name, value)?;
    if FRAMING.contains(&name) { Err(Refused) } else { Ok(()) }
}

/// Removing framing headers is what a filter that edits a body does; removing what a message cannot do without is refused.
pub(crate) fn removal(map: MapType, name: &[u8]) -> Result<(), Refused> {
    match map {
        MapType::RequestHeaders | MapType::ResponseHeaders if name.starts_with(b":") => Err(Refused),
        _ if name == b"transfer-encoding" => Err(Refused),
        _ => Ok(()),
    }
}

/// A whole map, by `set_header_map_pairs`: every field must do, pseudo-headers stay complete, framing headers stay as they were or go.
pub(crate) fn replacement(map: MapType, before: &HeaderList, after: &HeaderList) -> Result<(), Refused> {
    for (name, value) in after {
        field(map, name, value)?;
        if FRAMING.contains(&name.as_ref()) && headers::first(before, name) != Some(value) {
            return Err(Refused);
        }
    }
    let kept =
        |(name, _): &(bytes::Bytes, bytes::Bytes)| !name.starts_with(b":") || headers::first(after, name).is_some();
    if before.iter().all(kept) { Ok(()) } else { Err(Refused) }
}

/// A module's own answer: a final status, and headers that are fields.
pub(crate) fn reply(reply: &mut LocalReply) -> Result<(), Refused> {
    if !(200..=599).contains(&reply.status) {
        reply.status = 500;
    }
    reply
        .headers
        .iter()
        .filter(|(name, _)| name != ":status")
        .try_for_each(|(name, value)| write(MapType::ResponseHeaders, name, value))
}

fn field(map: MapType, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Refused);
    }
    let good = match (map, name) {
        (MapType::RequestHeaders, b":method") => is_token(value),
        (MapType::RequestHeaders, b":path") => is_target(value),
        (MapType::RequestHeaders, b":authority") => {
            !value.is_empty()
                && value.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'\\'))
        }
        (MapType::RequestHeaders, b":scheme") => matches!(value, b"http" | b"https"),
        (MapType::ResponseHeaders, b":status") => matches!(value, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']),
        (_, name) => is_token(name),
    };
    if good { Ok(()) } else { Err(Refused) }
}

/// RFC 9110 `token`.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// A request target in origin form (or `*`): it ends where it is written to end.
fn is_target(text: &[u8]) -> bool {
    (text.starts_with(b"/") || text == b"*") && text.iter().all(|byte| *byte > b' ' && *byte != 0x7f && *byte != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const REQUEST: MapType = MapType::RequestHeaders;

    #[test]
    fn nothing_written_can_split_a_message() {
        for (name, value) in [
            ("x-a", "b\r\nx-b: c"),
            ("x-a", "b\nc"),
            ("x-a", "b\0c"),
            ("x a", "b"),
            ("x-a:", "b"),
            ("", "b"),
            ("x-a\r\n", "b"),
        ] {
            assert_eq!(write(REQUEST, name.as_bytes(), value.as_bytes()), Err(Refused), "{name:?}: {value:?}");
        }
        for (name, value) in [("x-a", ""), ("x-a", "caf\u{e9}"), ("x-a", "a\tb"), ("cookie", "a=b; c=d")] {
            assert_eq!(write(REQUEST, name.as_bytes(), value.as_bytes()), Ok(()), "{name:?}: {value:?}");
        }
    }

    #[test]
    fn the_request_line_stays_a_request_line() {
        for (name, value) in [
            (":method", "G T"),
            (":method", ""),
            (":path", "/a HTTP/1.1\r\nx: y"),
            (":path", "a"),
            (":path", ""),
            (":path", "/a b"),
            (":path", "/#f"),
            (":authority", "a b"),
            (":authority", "a/b"),
            (":scheme", "gopher"),
            (":new", "x"),
        ] {
            assert_eq!(write(REQUEST, name.as_bytes(), value.as_bytes()), Err(Refused), "{name}: {value:?}");
        }
        for (name, value) in
            [(":method", "PURGE"), (":path", "/a?b=%20"), (":authority", "a.example:8080"), (":scheme", "https")]
        {
            assert_eq!(write(REQUEST, name.as_bytes(), value.as_bytes()), Ok(()), "{name}: {value:?}");
        }
    }

    #[test]
    fn framing_belongs_to_the_host_but_a_body_editor_may_drop_the_length() {
        for name in ["content-length", "transfer-encoding", "connection", "upgrade", "te"] {
            assert_eq!(write(REQUEST, name.as_bytes(), b"5"), Err(Refused), "{name}");
        }
        assert_eq!(removal(REQUEST, b"content-length"), Ok(()));
        assert_eq!(removal(REQUEST, b":path"), Err(Refused));
    }

    #[test]
    fn a_status_is_one_a_final_answer_has() {
        for (status, good) in
            [("200", true), ("599", true), ("100", false), ("0", false), ("99999", false), ("600", false)]
        {
            assert_eq!(write(MapType::ResponseHeaders, b":status", status.as_bytes()).is_ok(), good, "{status}");
        }
    }

    #[test]
    fn a_replaced_map_keeps_its_pseudo_headers_and_its_framing() {
        let list = |pairs: &[(&'static str, &'static str)]| -> HeaderList {
            pairs
                .iter()
                .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
                .collect()
        };
        let before = list(&[(":method", "GET"), (":path", "/"), ("content-length", "3")]);
        let allowed = |pairs| replacement(REQUEST, &before, &list(pairs)).is_ok();
        assert!(allowed(&[(":method", "PUT"), (":path", "/x"), ("content-length", "3"), ("x-a", "b")]));
        assert!(allowed(&[(":method", "GET"), (":path", "/")]));
        assert!(!allowed(&[(":method", "GET")]));
        assert!(!allowed(&[(":method", "GET"), (":path", "/"), ("content-length", "4")]));
    }
}
