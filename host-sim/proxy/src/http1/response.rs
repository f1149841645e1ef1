//! A response's head, as an upstream sent it.

use bytes::Bytes;
use thiserror::Error;

use super::fields::{fields, first_line};
use super::request::{has_controls, has_token, parse_length};
use super::{BodyDecoder, BodyKind, BodyRules};
use crate::edge;
use crate::headers::{self, HeaderList, Side};

/// What an upstream answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status: any number, of which Envoy keeps sixteen bits.
    pub status: u16,
    /// `:status` first.
    pub headers: HeaderList,
    /// How the body is framed.
    pub body: ResponseBody,
    /// The connection cannot carry another request.
    pub close: bool,
}

/// How a response's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseBody {
    /// It ends with its head.
    None,
    /// As a request's body.
    Framed(BodyKind),
    /// It ends with its connection.
    UntilEnd,
}

impl ResponseBody {
    /// A decoder for it.
    pub fn decoder(self, rules: BodyRules) -> BodyDecoder {
        match self {
            ResponseBody::None => BodyDecoder::new(BodyKind::None, rules),
            ResponseBody::Framed(kind) => BodyDecoder::new(kind, rules),
            ResponseBody::UntilEnd => BodyDecoder::until_end(),
        }
    }
}

/// What came is no HTTP/1 response: the request fails with "protocol error".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("protocol error")]
pub struct InvalidResponse;

/// Reads a whole head. `method` is the request's; `upgrading` when the request asked for another protocol.
///
/// # Errors
/// The head is malformed, or its framing is.
pub fn parse_response(head: &Bytes, method: &[u8], upgrading: bool) -> Result<ResponseHead, InvalidResponse> {
    let (line, rest) = first_line(head);
    let (status, is_1_1) = status_line(&line)?;
    let mut list = HeaderList::with_capacity(12);
    list.push((Bytes::from_static(b":status"), status_bytes(status)));
    fields(&rest, &mut list).map_err(|_| InvalidResponse)?;
    let framing = framing(&list, status)?;
    headers::join_slots(&mut list, Side::Response);
    let body = body(status, framing, &mut list, method, upgrading)?;
    let connection = headers::get(&list, "connection");
    let asked = |token| connection.is_some_and(|value| has_token(value, token));
    let close = asked(b"close") || !is_1_1 && !asked(b"keep-alive") || body == ResponseBody::UntilEnd;
    Ok(ResponseHead { status, headers: list, body, close })
}

/// Is the first line there, and none of an answer? Nobody waits for the rest then.
pub fn begins_badly(buffer: &[u8]) -> bool {
    let line = buffer.iter().position(|&byte| byte == b'\n').and_then(|end| buffer.get(..end));
    // Controls are found when the whole head is looked at.
    line.is_some_and(|line| !has_controls(line) && status_line(line).is_err())
}

/// Three digits as text, shared for the usual ones.
fn status_bytes(status: u16) -> Bytes {
    match status {
        200 => Bytes::from_static(b"200"),
        404 => Bytes::from_static(b"404"),
        503 => Bytes::from_static(b"503"),
        other => Bytes::from(other.to_string()),
    }
}

fn status_line(line: &[u8]) -> Result<(u16, bool), InvalidResponse> {
    if line.iter().any(|&byte| byte < b' ' && !matches!(byte, b'\t' | b'\r')) {
        return Err(InvalidResponse);
    }
    let mut words = line.split(|&byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty());
    let is_1_1 = match words.next() {
        Some(b"HTTP/1.1") => true,
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            false
        }
        _ => return Err(InvalidResponse),
    };
    match words.next() {
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            let number: Option<u64> = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            let status = number.and_then(|number| u16::try_from(number % (1 << 16)).ok());
            status.map(|status| (status, is_1_1)).ok_or(InvalidResponse)
        }
        _ => Err(InvalidResponse),
    }
}

fn framing(lines: &[(Bytes, Bytes)], status: u16) -> Result<Option<BodyKind>, InvalidResponse> {
    let mut length: Option<u64> = None;
    let mut chunked = None;
    for (name, value) in lines {
        match name.as_ref() {
            b"content-length" if length.is_some() => return Err(InvalidResponse),
            // Nobody reads the length of what has no body.
            b"content-length" if status == 304 => length = parse_length(value),
            b"content-length" => length = Some(parse_length(value).ok_or(InvalidResponse)?),
            b"transfer-encoding" => chunked = Some(chunked.is_none() && value.eq_ignore_ascii_case(b"chunked")),
            _ => {}
        }
    }
    match (chunked, length) {
        (Some(false), _) | (Some(_), Some(_)) => Err(InvalidResponse),
        (Some(true), None) => Ok(Some(BodyKind::Chunked)),
        (None, Some(length)) => Ok(Some(BodyKind::Length(length))),
        (None, None) => Ok(None),
    }
}

fn body(
    status: u16,
    framing: Option<BodyKind>,
    list: &mut HeaderList,
    method: &[u8],
    upgrading: bool,
) -> Result<ResponseBody, InvalidResponse> {
    if status == 101 && upgrading && edge::hop::upgrade(list).is_some() {
        return Ok(ResponseBody::Framed(BodyKind::Tunnel));
    }
    if method == b"CONNECT" && (200..300).contains(&status) {
        return Ok(ResponseBody::Framed(BodyKind::Tunnel));
    }
    if status < 200 || status == 204 {
        return match framing {
            Some(BodyKind::Length(0)) => {
                headers::remove(list, b"content-length");
                Ok(ResponseBody::None)
            }
            Some(_) => Err(InvalidResponse),
            None if status < 100 && method != b"HEAD" => Ok(ResponseBody::UntilEnd),
            None => Ok(ResponseBody::None),
        };
    }
    if method == b"HEAD" || status == 304 {
        return Ok(ResponseBody::None);
    }
    Ok(match framing {
        Some(BodyKind::Length(0)) => ResponseBody::None,
        Some(kind) => ResponseBody::Framed(kind),
        None => ResponseBody::UntilEnd,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &str) -> Option<(u16, ResponseBody, bool)> {
        let head = Bytes::copy_from_slice(text.as_bytes());
        parse_response(&head, method.as_bytes(), false).ok().map(|head| (head.status, head.body, head.close))
    }

    #[test]
    fn a_response_s_end_is_found_from_status_method_and_framing() {
        let framed = ResponseBody::Framed;
        for (text, method, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", "GET", Some((200, framed(BodyKind::Length(3)), false))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", "HEAD", Some((200, ResponseBody::None, false))),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "GET",
                Some((200, framed(BodyKind::Chunked), false)),
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", "GET", Some((200, ResponseBody::UntilEnd, true))),
            ("HTTP/1.1 204\r\n\r\n", "GET", Some((204, ResponseBody::None, false))),
            ("HTTP/1.1 304 X\r\ncontent-length: 9\r\n\r\n", "GET", Some((304, ResponseBody::None, false))),
            (
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                "GET",
                Some((200, ResponseBody::None, true)),
            ),
            ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n", "GET", Some((200, framed(BodyKind::Length(3)), true))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", "GET", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n", "GET", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "GET", None),
            ("HTTP/1.1 101 X\r\n\r\n", "GET", Some((101, ResponseBody::None, false))),
            ("HTTP/1.1 101 X\r\ncontent-length: 5\r\n\r\n", "GET", None),
            ("HTTP/1.1 200 O\u{1}K\r\ncontent-length: 0\r\n\r\n", "GET", None),
            ("HTTP/1.1  200\tOK\r\ncontent-length: 0\r\n\r\n", "GET", Some((200, ResponseBody::None, false))),
            ("HTTP/2.0 200 X\r\ncontent-length: 0\r\n\r\n", "GET", Some((200, ResponseBody::None, true))),
            ("HTTP/1.1 1000 X\r\ncontent-length: 0\r\n\r\n", "GET", Some((1000, ResponseBody::None, false))),
            ("HTTP/1.1 20 X\r\n\r\n", "GET", Some((20, ResponseBody::UntilEnd, true))),
            ("HTTP/1.1 099 X\r\n\r\n", "GET", Some((99, ResponseBody::UntilEnd, true))),
            ("HTTP/1.1 65736 X\r\ncontent-length: 0\r\n\r\n", "GET", Some((200, ResponseBody::None, false))),
            ("HTTP/1.1 2x0 X\r\n\r\n", "GET", None),
            ("HTTP/1.1 -1 X\r\n\r\n", "GET", None),
            ("HTTP/1.1 99999999999999999999 X\r\n\r\n", "GET", None),
            ("http/1.1 200 X\r\n\r\n", "GET", None),
            ("hello\r\n\r\n", "GET", None),
        ] {
            assert_eq!(read(text, method), expected, "{text}");
        }
    }
}
