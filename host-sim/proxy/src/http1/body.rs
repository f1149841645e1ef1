//! A body's bytes out of a connection's: by length, by chunks, or until the end.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;

use super::fields::{HeadReader, fields};
use super::hardened::{self, LONGEST_EXTENSION};
use super::request::{BodyKind, has_controls};
use crate::headers::HeaderList;

/// What a decoder made of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Some of the body.
    Data(Bytes),
    /// What follows the last chunk; nothing comes after it.
    Trailers(HeaderList),
    /// Nothing more without more bytes.
    NeedMore,
    /// The body is complete; what is left in the buffer is the next message's.
    End,
}

/// The bytes are no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidBody {
    /// A size, a line's end or a trailer that is none.
    #[error("the body is not framed as its head says")]
    Malformed,
    /// Trailers with controls in them.
    #[error("the trailers have invalid characters")]
    Characters,
    /// What follows the last chunk is longer than a head may be.
    #[error("the trailers are longer than the limit")]
    TrailersTooLarge,
}

/// How chunks are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRules {
    /// `enable_trailers`: hand trailers on; else they are read and dropped.
    pub trailers: bool,
    /// Refuse what Envoy skips: bytes behind a chunk, long extensions, space behind a size.
    pub hardened: bool,
    /// How many bytes of trailers there may be: as many as of a head.
    pub trailer_bytes: usize,
}

impl Default for BodyRules {
    fn default() -> BodyRules {
        BodyRules { trailers: false, hardened: false, trailer_bytes: LONGEST_LINE }
    }
}

/// Reads one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyDecoder {
    state: State,
    rules: BodyRules,
    /// Trailers that are still to be handed out.
    held: Option<HeaderList>,
    /// The bytes are another protocol's.
    tunnel: bool,
    /// Finds the end of the trailers.
    reader: HeadReader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilEnd,
    ChunkSize,
    ChunkData(u64),
    /// Between a chunk's data and the next size: Envoy skips whatever stands there up to the line's end.
    ChunkEnd,
    Trailers,
    Done,
}

/// A chunk's size line is no longer than this; Envoy's default for a head, too.
const LONGEST_LINE: usize = 60 * 1024;
/// `max_headers_count` holds for trailers that are handed on, too.
const MOST_TRAILERS: usize = 100;

impl BodyDecoder {
    /// A decoder for a body framed like this.
    pub fn new(kind: BodyKind, rules: BodyRules) -> BodyDecoder {
        let state = match kind {
            BodyKind::None | BodyKind::Length(0) => State::Done,
            BodyKind::Length(length) => State::Length(length),
            BodyKind::Chunked => State::ChunkSize,
            BodyKind::Tunnel => State::UntilEnd,
        };
        BodyDecoder { state, rules, held: None, tunnel: kind == BodyKind::Tunnel, reader: HeadReader::of_responses() }
    }

    /// A body that ends with its connection.
    pub fn until_end() -> BodyDecoder {
        BodyDecoder { tunnel: false, ..BodyDecoder::new(BodyKind::Tunnel, BodyRules::default()) }
    }

    /// Nothing more will come.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Does the end of the connection end this body?
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::UntilEnd
    }

    /// Is this an answer that ends with its connection?
    pub fn ends_an_answer(&self) -> bool {
        self.state == State::UntilEnd && !self.tunnel
    }

    /// Hands these trailers out once more, before the end.
    pub fn put_back(&mut self, trailers: HeaderList) {
        self.state = State::Trailers;
        self.held = Some(trailers);
    }

    /// Takes what it can off the front of `buffer`.
    ///
    /// # Errors
    /// A chunk size, line end or trailer that Envoy refuses.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, InvalidBody> {
        if let Some(trailers) = self.held.take() {
            self.state = State::Done;
            return Ok(Decoded::Trailers(trailers));
        }
        loop {
            match self.state {
                State::Done => return Ok(Decoded::End),
                _ if buffer.is_empty() => return Ok(Decoded::NeedMore),
                State::UntilEnd => return Ok(Decoded::Data(buffer.split().freeze())),
                State::Length(left) => {
                    let (data, left) = take(buffer, left);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkData(left) => {
                    let (data, left) = take(buffer, left);
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkSize => match line(buffer)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(line) => {
                        self.state = match chunk_size(&line, self.rules.hardened)? {
                            0 => State::Trailers,
                            size => State::ChunkData(size),
                        }
                    }
                },
                State::ChunkEnd if self.rules.hardened => match line(buffer)? {
                    None if matches!(buffer.as_ref(), b"\r" | b"") => return Ok(Decoded::NeedMore),
                    Some(line) if line == b"\r\n"[..] => self.state = State::ChunkSize,
                    _ => return Err(InvalidBody::Malformed),
                },
                State::ChunkEnd => {
                    let end = memchr(b'\n', buffer);
                    buffer.advance(end.map_or(buffer.len(), |at| at + 1));
                    if end.is_some() {
                        self.state = State::ChunkSize;
                    }
                }
                State::Trailers => {
                    let Some(trailers) = self.trailers(buffer)? else { return Ok(Decoded::NeedMore) };
                    self.state = State::Done;
                    if self.rules.trailers && !trailers.is_empty() {
                        return Ok(Decoded::Trailers(trailers));
                    }
                }
            }
        }
    }

    /// All of them, once their end is there. They are held to what a head is held to, wanted or not.
    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Option<HeaderList>, InvalidBody> {
        let none = match buffer.as_ref() {
            [b'\r'] => return Ok(None),
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        if none > 0 {
            buffer.advance(none);
            return Ok(Some(HeaderList::new()));
        }
        let block = self.reader.take(buffer, self.rules.trailer_bytes).map_err(|_| InvalidBody::TrailersTooLarge)?;
        let Some(block) = block else { return Ok(None) };
        let mut list = HeaderList::new();
        let controls = has_controls(&block);
        fields(&block, &mut list)
            .map_err(|_| if controls { InvalidBody::Characters } else { InvalidBody::Malformed })?;
        let refused = self.rules.hardened && !hardened::accepts_fields(&block);
        let many = self.rules.trailers && list.len() > MOST_TRAILERS;
        if refused || many { Err(InvalidBody::Malformed) } else { Ok(Some(list)) }
    }
}

fn take(buffer: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    let data = buffer.split_to(length).freeze();
    (data, left.saturating_sub(u64::try_from(length).unwrap_or(left)))
}

fn line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, InvalidBody> {
    match memchr(b'\n', buffer) {
        Some(at) => Ok(Some(buffer.split_to(at + 1))),
        None if buffer.len() > LONGEST_LINE => Err(InvalidBody::Malformed),
        None => Ok(None),
    }
}

/// Hexadecimal digits, white space, an extension nobody reads, CR LF.
fn chunk_size(line: &[u8], hardened: bool) -> Result<u64, InvalidBody> {
    let line = line.strip_suffix(b"\r\n").ok_or(InvalidBody::Malformed)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(InvalidBody::Malformed)?;
    if digits.is_empty() || !matches!(rest.first(), None | Some(b' ' | b'\t' | b';')) || rest.contains(&b'\r') {
        return Err(InvalidBody::Malformed);
    }
    if hardened && (rest.len() > LONGEST_EXTENSION || matches!(rest.first(), Some(b' ' | b'\t'))) {
        return Err(InvalidBody::Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| InvalidBody::Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| InvalidBody::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything decoded when the bytes arrive cut in two at `cut`; the rest is what was left over.
    fn decode(kind: BodyKind, bytes: &[u8], cut: usize) -> Result<(Vec<u8>, bool, Vec<u8>), InvalidBody> {
        decode_by(BodyRules::default(), kind, bytes, cut)
    }

    fn decode_by(
        rules: BodyRules,
        kind: BodyKind,
        bytes: &[u8],
        cut: usize,
    ) -> Result<(Vec<u8>, bool, Vec<u8>), InvalidBody> {
        let (mut decoder, mut buffer, mut out) = (BodyDecoder::new(kind, rules), BytesMut::new(), Vec::new());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            buffer.extend_from_slice(piece);
            while let Decoded::Data(data) = decoder.decode(&mut buffer)? {
                out.extend_from_slice(&data);
            }
        }
        Ok((out, decoder.is_done(), buffer.to_vec()))
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_body() {
        for (kind, bytes, body, rest) in [
            (BodyKind::Length(3), &b"abcGET"[..], "abc", "GET"),
            (BodyKind::None, b"GET", "", "GET"),
            (BodyKind::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET", "abc", "GET"),
            (BodyKind::Chunked, b"A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", "0123456789x", ""),
            (BodyKind::Chunked, b"3;a=b\r\nabc\r\n0;x\r\n\r\n", "abc", ""),
            (BodyKind::Chunked, b"3 \t;a\x01\r\nabc\r\n0\r\n\r\n", "abc", ""),
            (BodyKind::Chunked, b"00000000000000000003\r\nabcXX\r\n0\r\n\r\n", "abc", ""),
            (BodyKind::Chunked, b"3\r\nabc\n0\r\n\r\n", "abc", ""),
            (BodyKind::Chunked, b"3\r\nabc\r\n0\r\nt: v\r\nu: w\r\n\r\n", "abc", ""),
            (BodyKind::Chunked, b"3\r\nabc\r\n0\r\nt: v\r\n w\r\n\r\nGET", "abc", "GET"),
            (BodyKind::Chunked, b"3\r\nabc\r\n0\r\n\nGET", "abc", "GET"),
        ] {
            for cut in 0..=bytes.len() {
                let got = decode(kind, bytes, cut).unwrap();
                assert_eq!(got, (body.as_bytes().to_vec(), true, rest.as_bytes().to_vec()), "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_envoy_refuses_is_refused() {
        for bytes in [
            &b"3\nabc\n0\n\n"[..],
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"10000000000000003\r\nabc\r\n",
            b"g\r\n",
            b"3x\r\nabc\r\n",
            b"3;a\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n0\r\nt v\r\n\r\n",
            b"3\r\nabc\r\n0\r\nt w: v\r\n\r\n",
            b"3\r\nabc\r\n0\r\n: v\r\n\r\n",
            b"3\r\nabc\r\n0\r\n t: v\r\n\r\n",
        ] {
            assert_eq!(decode(BodyKind::Chunked, bytes, bytes.len()), Err(InvalidBody::Malformed), "{bytes:?}");
        }
        let controls = b"3\r\nabc\r\n0\r\nt: \x01\r\n\r\n";
        assert_eq!(decode(BodyKind::Chunked, controls, controls.len()), Err(InvalidBody::Characters));
    }

    #[test]
    fn trailers_are_no_longer_than_a_head() {
        for (length, ended, expected) in [
            (LONGEST_LINE - 9, true, Ok(())),
            (LONGEST_LINE, true, Err(InvalidBody::TrailersTooLarge)),
            (LONGEST_LINE, false, Err(InvalidBody::TrailersTooLarge)),
        ] {
            let end = if ended { "\r\n\r\n" } else { "" };
            let body = format!("0\r\nt: {}{end}", "v".repeat(length));
            let got = decode(BodyKind::Chunked, body.as_bytes(), body.len());
            assert_eq!(got.map(|_| ()), expected, "{length} {ended}");
        }
    }

    #[test]
    fn a_tunnel_ends_with_its_connection() {
        let mut decoder = BodyDecoder::new(BodyKind::Tunnel, BodyRules::default());
        assert_eq!(decoder.decode(&mut BytesMut::from("abc")), Ok(Decoded::Data("abc".into())));
        assert!(decoder.ends_with_connection() && !decoder.is_done());
    }

    #[test]
    fn trailers_are_handed_on_where_they_are_wanted_in_any_split() {
        let bytes = b"3\r\nabc\r\n0\r\nT: v \r\nu:w\r\n\r\nGET";
        let rules = BodyRules { trailers: true, ..BodyRules::default() };
        for cut in 0..=bytes.len() {
            let (mut decoder, mut buffer) = (BodyDecoder::new(BodyKind::Chunked, rules), BytesMut::new());
            let mut found = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                buffer.extend_from_slice(piece);
                loop {
                    match decoder.decode(&mut buffer).unwrap() {
                        Decoded::Trailers(list) => found.extend(list),
                        Decoded::Data(_) => {}
                        Decoded::NeedMore | Decoded::End => break,
                    }
                }
            }
            assert_eq!(found, [("t".into(), "v".into()), ("u".into(), "w".into())], "cut at {cut}");
            assert_eq!(buffer, "GET");
        }
    }

    #[test]
    fn hardened_refuses_what_envoy_skips_in_any_split() {
        let rules = BodyRules { hardened: true, ..BodyRules::default() };
        let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(LONGEST_EXTENSION));
        for (bytes, accepted) in [
            (&b"3;a=b\r\nabc\r\n0\r\n\r\n"[..], true),
            (b"3\r\nabcXX\r\n0\r\n\r\n", false),
            (b"3\r\nabc\n0\r\n\r\n", false),
            (b"3 \r\nabc\r\n0\r\n\r\n", false),
            (long.as_bytes(), false),
        ] {
            for cut in 0..=bytes.len() {
                let got = decode_by(rules, BodyKind::Chunked, bytes, cut);
                assert_eq!(got.is_ok_and(|(_, done, _)| done), accepted, "{bytes:?} cut at {cut}");
            }
        }
    }
}
