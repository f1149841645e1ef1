//! HTTP/1 messages as they came, in a form that does not depend on how their bytes were cut, on clocks or on who drew a number.

use std::sync::LazyLock;

use regex::Regex;

use super::fields::replaced;
use crate::latin1;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// To an origin.
    Request,
    /// To a client.
    Response,
}

/// A message with all of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// How many they are.
    pub(super) length: usize,
    /// The head as it stands, the body out of its chunks, then trailers.
    pub(super) text: String,
}

/// The length of a head, its empty line included.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4)
}

/// The first message, if all of it is there. An answer without a length never is.
pub(super) fn message(bytes: &[u8], side: Side) -> Option<Whole> {
    let length = head_length(bytes)?;
    let (head, rest) = bytes.split_at_checked(length)?;
    let head = latin1::decode(head);
    let whole = |body: usize, more: &[u8]| {
        Some(Whole { length: length + body, text: format!("{head}{}", latin1::decode(more)) })
    };
    let status = (side == Side::Response).then(|| head.split(' ').nth(1).unwrap_or_default().to_owned());
    let bodiless = status.is_some_and(|status| status.starts_with('1') || status == "204" || status == "304");
    let of_head = side == Side::Response && rest.starts_with(b"HTTP/1."); // the answer to HEAD
    if bodiless || of_head {
        return whole(0, b"");
    }
    let lower = head.to_ascii_lowercase();
    let value = |name: &str| lower.split("\r\n").find_map(|line| line.strip_prefix(name)).map(str::trim);
    if value("transfer-encoding:").is_some_and(|coding| coding.contains("chunked")) {
        let (body, used) = chunks(rest)?;
        return whole(used, &body);
    }
    match value("content-length:").map(str::parse::<usize>) {
        Some(Ok(length)) => whole(length, rest.get(..length)?),
        _ if side == Side::Request => whole(0, b""),
        _ => None,
    }
}

/// The body with its trailers, and how many bytes they were in chunks.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|part| part == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at += line + 2;
        if size == 0 {
            break;
        }
        body.extend(bytes.get(at..at.checked_add(size)?)?);
        at = at.checked_add(size + 2)?;
    }
    let rest = bytes.get(at..)?;
    if rest.starts_with(b"\r\n") {
        return Some((body, at + 2));
    }
    let end = head_length(rest)?;
    body.extend(b"(trailers) ");
    body.extend(rest.get(..end)?);
    Some((body, at + end))
}

/// Everything a client was told, message by message, line by line; what is not whole as far as it came.
pub(super) fn told(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |text: &str| lines.extend(text.split("\r\n").map(str::to_owned));
    while let Some(whole) = message(bytes, Side::Response) {
        add(&whole.text);
        bytes = bytes.get(whole.length..).unwrap_or_default();
    }
    if !bytes.is_empty() {
        add(&format!("(not whole) {}", unfinished(bytes)));
    }
    lines
}

/// A message that goes on: its chunks as far as they are whole, so that the seams do not show.
fn unfinished(bytes: &[u8]) -> String {
    let Some(length) = head_length(bytes) else { return latin1::decode(bytes) };
    let (head, mut rest) = bytes.split_at(length);
    let head = latin1::decode(head);
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return format!("{head}{}", latin1::decode(rest));
    }
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|part| part == b"\r\n") {
        let size = rest.get(..line).map(latin1::decode).and_then(|size| usize::from_str_radix(&size, 16).ok());
        let Some(chunk) = size.filter(|size| *size > 0).and_then(|size| rest.get(line + 2..line + 2 + size)) else {
            break;
        };
        body.extend(chunk);
        rest = rest.get(line + 4 + chunk.len()..).unwrap_or_default();
    }
    format!("{head}{}{}", latin1::decode(&body), latin1::decode(rest))
}

/// What is drawn, counted or measured, in words that are always the same.
pub(super) fn masked(text: &str, port: u16, key: &str) -> String {
    static DRAWN: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(drawn);
    // An id that a talk brings along is not drawn.
    let mut text = text.replace("01234567-89ab-4def", "BROUGHT-ALONG");
    for (rule, word) in DRAWN.iter() {
        text = rule.replace_all(&text, *word).into_owned();
    }
    let bytes = replaced(text.as_bytes(), port.to_string().as_bytes(), b"PORT!");
    let bytes = replaced(&bytes, key.as_bytes(), b"KEY");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test has them all")]
fn drawn() -> Vec<(Regex, &'static str)> {
    let rules = [
        ("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "UUID"),
        ("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} 20[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", "NOW"),
        ("(x-envoy-upstream-service-time: )[0-9]+", "${1}MS"),
    ];
    rules.into_iter().map(|(rule, word)| (Regex::new(rule).expect("a pattern"), word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_head_says() {
        let length = |bytes: &str, side| message(bytes.as_bytes(), side).map(|whole| whole.length);
        for (bytes, side, whole) in [
            ("GET / HTTP/1.1\r\n\r\n", Side::Request, Some(18)),
            ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nabc", Side::Request, Some(40)),
            ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\na", Side::Request, None),
            ("HTTP/1.1 200 OK\r\n\r\na", Side::Response, None),
            ("HTTP/1.1 204 OK\r\n\r\na", Side::Response, Some(19)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nHTTP/1.1 2", Side::Response, Some(38)),
        ] {
            assert_eq!(length(bytes, side), whole, "{bytes}");
        }
    }

    #[test]
    fn seams_do_not_show() {
        let text =
            |chunks: &str| told(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").as_bytes());
        assert_eq!(text("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), text("3\r\nabc\r\n0\r\n\r\n"));
        assert_eq!(text("2\r\nab\r\n1\r\nc\r\n"), text("3\r\nabc\r\n"));
        assert_ne!(text("3\r\nabc\r\n"), text("3\r\nabc\r\n0\r\n\r\n"));
        assert_eq!(text("1\r\na\r\n0\r\nx-t: 1\r\n\r\n").last().map(String::as_str), Some(""));
    }

    #[test]
    fn what_is_drawn_is_masked_and_what_was_brought_is_not() {
        for (text, shown) in [
            ("id=733a533a-a913-4735-af27-29ab8255b2cd", "id=UUID"),
            ("id=01234567-89ab-4def-8123-456789abcdef", "id=BROUGHT-ALONG-8123-456789abcdef"),
            ("date: Sat, 21 Nov 2026 08:10:41 GMT", "date: NOW"),
            ("date: Thu, 01 Jan 1970 00:00:00 GMT", "date: Thu, 01 Jan 1970 00:00:00 GMT"),
            ("host: a:40123 k0000001", "host: a:PORT! KEY"),
        ] {
            assert_eq!(masked(text, 40123, "k0000001"), shown);
        }
    }
}
