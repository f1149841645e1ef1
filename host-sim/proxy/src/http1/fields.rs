//! From the bytes of a connection to the lines of a head: where it ends, its first line, its fields.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;

use super::bytes_allowed::{NAME, VALUE};
use crate::headers::HeaderList;

/// How large a head may be, and how strictly it is read.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes, first line included. `max_request_headers_kb`, Envoy's default is 60 KiB.
    pub bytes: usize,
    /// Header lines. `max_headers_count`, Envoy's default is 100.
    pub count: usize,
    /// Refuse what Envoy repairs; the list is in the documents.
    pub hardened: bool,
    /// What becomes of names with underscores.
    pub underscores: Underscores,
    /// `allow_absolute_url`
    pub absolute_targets: bool,
    /// `accept_http_10`: versions other than 1.1 are taken for 1.0.
    pub http10: bool,
}

/// `headers_with_underscores_action`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They are names like others.
    #[default]
    Allow,
    /// The request is refused.
    Reject,
    /// The header is left out.
    Drop,
}

impl Underscores {
    /// Leaves out what is to be left out; says whether the request may go on.
    pub fn pass(self, list: &mut HeaderList) -> bool {
        let has_underscore = |name: &Bytes| memchr(b'_', name).is_some();
        match self {
            Underscores::Allow => true,
            Underscores::Reject => !list.iter().any(|(name, _)| has_underscore(name)),
            Underscores::Drop => {
                list.retain(|(name, _)| !has_underscore(name));
                true
            }
        }
    }
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits {
            bytes: 60 * 1024,
            count: 100,
            hardened: false,
            underscores: Underscores::Allow,
            absolute_targets: true,
            http10: false,
        }
    }
}

/// The head is longer than [`HeadLimits::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the head is longer than the limit")]
pub struct HeadTooLong;

/// Finds the end of a head in a buffer that grows; never looks at a byte twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadReader {
    scanned: usize,
    keeps_blank: bool,
}

impl HeadReader {
    /// For responses: nothing may stand before them.
    pub fn of_responses() -> HeadReader {
        HeadReader { scanned: 0, keeps_blank: true }
    }

    /// Takes a whole head off the front of `buffer`, the blank line included; `None` until there is one. Empty lines before
    /// a request are dropped; a response has none.
    ///
    /// # Errors
    /// The head is longer than `limit` bytes, complete or not.
    pub fn take(&mut self, buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, HeadTooLong> {
        if self.scanned == 0 && !self.keeps_blank {
            let blank = buffer.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
            buffer.advance(blank);
        }
        match self.end(buffer) {
            Some(end) if end > limit => Err(HeadTooLong),
            Some(end) => {
                self.scanned = 0;
                Ok(Some(buffer.split_to(end).freeze()))
            }
            None if buffer.len() > limit => Err(HeadTooLong),
            None => Ok(None),
        }
    }

    /// Has a head begun?
    pub fn has_begun(&self) -> bool {
        self.scanned > 0
    }

    /// The length of the head: up to and with the first empty line, which may end in LF alone.
    fn end(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut at = self.scanned;
        while let Some(found) = buffer.get(at..).and_then(|rest| memchr(b'\n', rest)) {
            let after = at + found + 1;
            match (buffer.get(after), buffer.get(after + 1)) {
                (Some(b'\n'), _) => return Some(after + 1),
                (Some(b'\r'), Some(b'\n')) => return Some(after + 2),
                // Not known yet: look at this line's end again when there is more.
                (None, _) | (Some(b'\r'), None) => {
                    self.scanned = at + found;
                    return None;
                }
                _ => at = after,
            }
        }
        self.scanned = buffer.len();
        None
    }
}

/// A head's first line, without its end, and the rest.
pub(super) fn first_line(head: &Bytes) -> (Bytes, Bytes) {
    let end = memchr(b'\n', head).unwrap_or(head.len());
    (head.slice(..end), head.slice(head.len().min(end + 1)..))
}

/// Why a field line is no field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InvalidField {
    /// No colon, a name that is no token, or a continuation where nothing was begun.
    Name,
    /// A control byte in the value.
    Value,
}

/// The fields of a head: names in lower case, values trimmed, continuation lines joined and CR taken out as Envoy does.
pub(super) fn fields(lines: &Bytes, out: &mut HeaderList) -> Result<(), InvalidField> {
    let mut at = 0;
    while let Some(line) = lines.get(at..).filter(|rest| !is_end(rest)) {
        let length = logical_line(line);
        out.push(field(lines, at..at + length)?);
        at += length;
    }
    Ok(())
}

fn is_end(rest: &[u8]) -> bool {
    matches!(rest, [] | [b'\n', ..] | [b'\r', b'\n', ..])
}

/// The line up to and with its LF, and the continuation lines behind it.
fn logical_line(rest: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let line = rest.get(length..).unwrap_or_default();
        length += memchr(b'\n', line).map_or(line.len(), |at| at + 1);
        if !matches!(rest.get(length), Some(b' ' | b'\t')) {
            return length;
        }
    }
}

/// One field, its line's end included. Most are a token, a colon and printable bytes, which take one look at each byte.
pub(super) fn field(lines: &Bytes, at: Range<usize>) -> Result<(Bytes, Bytes), InvalidField> {
    let line = lines.get(at.clone()).unwrap_or_default();
    let colon = memchr(b':', line).filter(|&at| at > 0).ok_or(InvalidField::Name)?;
    let written = line.get(..colon).unwrap_or_default();
    let (mut token, mut upper) = (true, false);
    for &byte in written {
        token &= NAME.has(byte);
        upper |= byte.is_ascii_uppercase();
    }
    if !token {
        return Err(InvalidField::Name);
    }
    let name = lines.slice(at.start..at.start + colon);
    let name = if upper { Bytes::from(name.to_ascii_lowercase()) } else { name };
    let start = colon + 1;
    let rest = line.get(start..).unwrap_or_default();
    let leading = rest.iter().take_while(|&&byte| is_white(byte)).count();
    let trailing = rest.iter().skip(leading).rev().take_while(|&&byte| is_white(byte)).count();
    let value = lines.slice(at.start + start + leading..at.end - trailing);
    // Every byte is looked at: a loop without an early end is one the compiler makes many bytes at a time of.
    if value.iter().fold(true, |printable, &byte| printable & (byte >= b' ') & (byte != 0x7f)) {
        return Ok((name, value));
    }
    let value: Bytes = value.iter().copied().filter(|&byte| byte != b'\r' && byte != b'\n').collect();
    if VALUE.all(&value) { Ok((name, value)) } else { Err(InvalidField::Value) }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) fn trim(bytes: &Bytes, white: impl Fn(u8) -> bool) -> Bytes {
    let start = bytes.iter().take_while(|&&byte| white(byte)).count();
    let end = bytes.len() - bytes.iter().skip(start).rev().take_while(|&&byte| white(byte)).count();
    bytes.slice(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_underscores_pass_are_left_out_or_are_refused() {
        let list = || -> HeaderList {
            [("x_a", "1"), ("x-b", "a_b")]
                .map(|(name, value)| (Bytes::from(name), Bytes::from(value)))
                .into_iter()
                .collect()
        };
        for (action, passes, left) in
            [(Underscores::Allow, true, 2), (Underscores::Drop, true, 1), (Underscores::Reject, false, 2)]
        {
            let mut list = list();
            assert_eq!((action.pass(&mut list), list.len()), (passes, left), "{action:?}");
        }
        let mut clean: HeaderList = list().into_iter().skip(1).collect();
        assert!(Underscores::Reject.pass(&mut clean));
    }

    fn read(pieces: &[&[u8]]) -> Result<Option<Bytes>, HeadTooLong> {
        let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
        let mut last = Ok(None);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            last = reader.take(&mut buffer, 64);
            if last != Ok(None) {
                break;
            }
        }
        last
    }

    #[test]
    fn a_head_ends_at_the_first_empty_line_in_any_split() {
        for (bytes, length) in [
            (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\nrest"[..], 27),
            (b"GET / HTTP/1.1\nhost: a\n\nrest", 24),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\nrest", 26),
            (b"GET / HTTP/1.1\nhost: a\n\r\nrest", 25),
        ] {
            for cut in 0..bytes.len() {
                let (a, b) = bytes.split_at(cut);
                let head = read(&[a, b]).unwrap().unwrap();
                assert_eq!(head, &bytes[..length], "cut at {cut}");
            }
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_dropped() {
        assert_eq!(read(&[b"\r\n\n", b"GET /\n\n"]), Ok(Some(Bytes::from_static(b"GET /\n\n"))));
    }

    #[test]
    fn a_head_beyond_the_limit_is_refused_complete_or_not() {
        assert_eq!(read(&[&[b'a'; 65]]), Err(HeadTooLong));
        assert_eq!(read(&[&[b'a'; 64]]), Ok(None));
        let mut whole = vec![b'a'; 62];
        whole.extend_from_slice(b"\n\nrest");
        assert_eq!(read(&[&whole]).map(|head| head.map(|head| head.len())), Ok(Some(64)));
        whole.insert(0, b'a');
        assert_eq!(read(&[&whole]), Err(HeadTooLong));
    }

    #[test]
    fn a_field_is_a_token_a_colon_and_a_trimmed_value() {
        let name = Err(InvalidField::Name);
        let value = Err(InvalidField::Value);
        for (line, expected) in [
            (&b"X-A: B\r\n"[..], Ok(("x-a", &b"B"[..]))),
            (b"a:b\n", Ok(("a", b"b"))),
            (b"a: \t b \t \r\n", Ok(("a", b"b"))),
            (b"a:\r\n", Ok(("a", b""))),
            (b"a_b|c~: x\r\n", Ok(("a_b|c~", b"x"))),
            (b"a: caf\xe9\r\n", Ok(("a", b"caf\xe9"))),
            (b"a: b\r\n c\r\n", Ok(("a", b"b c"))),
            (b"a: b\r\n  c  \r\n   d\r\n", Ok(("a", b"b  c     d"))),
            (b"a:\r\n\tb\r\n", Ok(("a", b"b"))),
            (b"a: b\rc\r\n", Ok(("a", b"bc"))),
            (b"a: b\r\r\n", Ok(("a", b"b"))),
            (b" a: b\r\n", name),
            (b"a : b\r\n", name),
            (b": b\r\n", name),
            (b":path: b\r\n", name),
            (b"abc\r\n", name),
            (b"a(b: c\r\n", name),
            (b"a\xe9: c\r\n", name),
            (b"a: b\x00c\r\n", value),
            (b"a: b\x0bc\r\n", value),
            (b"a: b\x7fc\r\n", value),
        ] {
            let mut out = HeaderList::new();
            let got = fields(&Bytes::copy_from_slice(line), &mut out);
            let expected = expected.map(|(k, v)| vec![(Bytes::from_static(k.as_bytes()), Bytes::copy_from_slice(v))]);
            assert_eq!(got.map(|()| out), expected, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
