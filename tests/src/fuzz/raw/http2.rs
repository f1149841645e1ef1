//! HTTP/2 requests in frames: pseudo-headers and fields in any order and number, written without tables.
//!
//! Of the answer only the frames are read; what its head says stands in the access log.

use super::talk::{KEY, Talk, Way};
use super::{doors, fields};
use crate::fuzz::dice::Dice;

/// The name of a piece that is no field but some of the body.
pub(super) const DATA: &[u8] = b"!data";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA_FRAME: u8 = 0;
const HEADERS_FRAME: u8 = 1;
const RESET_FRAME: u8 = 3;
const GOAWAY_FRAME: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The stream of the request behind the talk.
const LAST: u32 = 3;

/// One request, more or less.
pub(super) fn talk(dice: &mut Dice, listener: u16) -> Talk {
    let prefixes: &[&[&str]] = &[doors::FORWARDS, doors::REDIRECTS, doors::DIRECT, &["/", "/x"], doors::TRIES];
    let method = dice.pick(&["GET", "GET", "GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "FOO", "get", "DELETE"]);
    // What `http` cannot carry is reset here.
    let carried = |path: String| {
        let quote = if path.contains('?') { '"' } else { '<' };
        path.replace(['<', '>', '`', '#', '\u{7f}', '\u{1}', ' ', '\t', quote], "-")
    };
    let path = match carried(fields::path(dice, prefixes)) {
        _ if dice.chance(4) => String::new(),
        path if path.starts_with('/') => path,
        path => format!("/{path}"),
    };
    let scheme = dice.pick(&["http", "http", "http", "http", "https", "HTTP", "ftp"]);
    let mut named = vec![(":method", method.to_owned()), (":scheme", scheme.to_owned()), (":path", path)];
    named.push((":authority", fields::host(dice).replace('%', "-")));
    if dice.chance(6) {
        let gone = dice.below(named.len());
        drop(named.remove(gone));
    }
    if dice.chance(3) {
        let twice = dice.any(&named).cloned();
        named.extend(twice);
    }
    if dice.chance(3) {
        named.push((dice.pick(&[":status", ":x", ":protocol"]), "200".to_owned()));
    }
    let mut said: Vec<Vec<u8>> = named.iter().map(|(name, value)| piece(name, value)).collect();
    if dice.chance(10) {
        said.push(piece("host", fields::host(dice)));
    }
    for _ in 0..*dice.any(&[0, 1, 1, 2, 2, 3, 5]).unwrap_or(&0) {
        let (name, value) = fields::pick(dice, fields::REQUEST);
        // A word about the connection spoils a request, and `expect` is answered by the codec here.
        let spoils = ["connection", "proxy-connection", "keep-alive", "upgrade", "te", "host", ""];
        if name == "expect" || spoils.contains(&name.as_str()) && dice.chance(90) {
            continue;
        }
        let name = if dice.chance(2) { name.to_uppercase() } else { name };
        // `http` keeps the copies of a field together.
        if !said.iter().any(|said| said.starts_with(format!("{name}\n").as_bytes())) {
            said.push(piece(&name, &value));
        }
    }
    if dice.chance(2) {
        said.rotate_left(1);
    }
    said.push(piece("x-key", KEY));
    if method == "POST" || dice.chance(6) {
        if dice.chance(40) {
            said.push(piece("content-length", dice.pick(&["5", "5", "x", "05"])));
        }
        said.push([DATA, b"\nhello"].concat());
    }
    Talk { way: Way::Http2, listener, said, slowly: dice.chance(10), answers: Vec::new(), alone: false }
}

fn piece(name: &str, value: &str) -> Vec<u8> {
    fields::bytes(&format!("{name}\n{value}"))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [length.get(1..).unwrap_or_default(), &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that no table is used for.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0], length(name.len()).as_slice(), name, length(value.len()).as_slice(), value].concat()
}

/// A length as HPACK writes one for a text without Huffman's code.
fn length(length: usize) -> Vec<u8> {
    let Some(mut more) = length.checked_sub(127) else { return vec![u8::try_from(length).unwrap_or_default()] };
    let mut bytes = vec![127];
    while more >= 128 {
        bytes.push(u8::try_from(more % 128 + 128).unwrap_or_default());
        more /= 128;
    }
    bytes.push(u8::try_from(more).unwrap_or_default());
    bytes
}

/// The frames of a talk's pieces; the body apart, which may come later.
pub(super) fn frames(said: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let split = |piece: &[u8]| {
        let at = piece.iter().position(|byte| *byte == b'\n').unwrap_or(piece.len());
        let (name, value) = piece.split_at(at);
        (name.to_vec(), value.get(1..).unwrap_or_default().to_vec())
    };
    let (data, fields): (Vec<_>, Vec<_>) = said.iter().map(|piece| split(piece)).partition(|(name, _)| name == DATA);
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    let end = if data.is_empty() { END_STREAM } else { 0 };
    let head = [PREFACE, &frame(HEADERS_FRAME, END_HEADERS | end, 1, &block)].concat();
    let last = data.len().saturating_sub(1);
    let body = data
        .iter()
        .enumerate()
        .flat_map(|(at, (_, value))| frame(DATA_FRAME, if at == last { END_STREAM } else { 0 }, 1, value));
    (head, body.collect())
}

/// The request behind the talk.
pub(super) fn last_request() -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/sentinel"), (":authority", "s.example")];
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect();
    frame(HEADERS_FRAME, END_HEADERS | END_STREAM, LAST, &block)
}

/// What a gateway's frames say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// Of the talk's stream, in order; data in one piece.
    pub(super) lines: Vec<String>,
    /// Its body.
    pub(super) data: Vec<u8>,
    /// It is over.
    over: bool,
    /// The request behind it was answered.
    last: bool,
}

impl Frames {
    /// Both requests are over, and the connection goes on.
    pub(super) fn both(&self) -> bool {
        self.over && self.last
    }
}

/// Reads the whole frames there are.
pub(super) fn read(mut bytes: &[u8]) -> Frames {
    let mut frames = Frames::default();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        let Some((payload, after)) = rest.split_at_checked(length) else { break };
        bytes = after;
        let ended = if flags & END_STREAM != 0 { " end" } else { "" };
        frames.over |= u32::from_be_bytes(stream) == 1
            && (kind == RESET_FRAME || matches!(kind, HEADERS_FRAME | DATA_FRAME) && !ended.is_empty());
        match (kind, u32::from_be_bytes(stream)) {
            (HEADERS_FRAME, 1) => frames.lines.push(format!("head{ended}")),
            (DATA_FRAME, 1) => {
                frames.data.extend(payload);
                if !ended.is_empty() {
                    frames.lines.push("data end".to_owned());
                }
            }
            (RESET_FRAME, 1) => frames.lines.push(format!("reset {payload:?}")),
            (GOAWAY_FRAME, _) => frames.lines.push(format!("goaway {:?}", payload.get(4..8).unwrap_or_default())),
            (HEADERS_FRAME | DATA_FRAME, LAST) => frames.last |= !ended.is_empty(),
            _ => {}
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_length_in_front() {
        assert_eq!(field(b"a", b"bc"), b"\0\x01a\x02bc");
        assert_eq!(length(126), [126]);
        assert_eq!(length(127), [127, 0]);
        assert_eq!(length(300), [127, 173, 1]);
    }

    #[test]
    fn frames_are_read_by_stream() {
        let bytes = [
            frame(HEADERS_FRAME, END_HEADERS, 1, b"x"),
            frame(DATA_FRAME, 0, 1, b"ab"),
            frame(4, 0, 0, b""),
            frame(DATA_FRAME, END_STREAM, 1, b"c"),
            frame(HEADERS_FRAME, END_HEADERS | END_STREAM, LAST, b"x"),
            b"\0\0\x09".to_vec(),
        ]
        .concat();
        let lines = vec!["head".to_owned(), "data end".to_owned()];
        assert_eq!(read(&bytes), Frames { lines, data: b"abc".to_vec(), over: true, last: true });
    }
}
