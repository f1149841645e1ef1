//! HTTP/1 requests as bytes: targets, hosts, fields, bodies and their framing, right and wrong.

use super::talk::{KEY, Talk, Way};
use super::{doors, fields};
use crate::fuzz::dice::Dice;

/// A line that tells the talk from others.
pub(super) fn key_line() -> Vec<u8> {
    format!("x-key: {KEY}\r\n").into_bytes()
}

/// One or two requests behind each other.
pub(super) fn talk(dice: &mut Dice, listener: u16) -> Talk {
    let mut said = request(dice);
    if dice.chance(15) {
        said.extend(request(dice));
    }
    Talk { way: Way::Heads, listener, said, slowly: dice.chance(20), answers: Vec::new(), alone: false }
}

fn request(dice: &mut Dice) -> Vec<Vec<u8>> {
    let prefixes: &[&[&str]] =
        &[doors::FORWARDS, doors::FORWARDS, doors::REDIRECTS, doors::DIRECT, &["/", "/x", doors::NOWHERE], &["/"]];
    let method = method(dice);
    let target = target(dice, method, prefixes);
    let version = if dice.chance(94) {
        "HTTP/1.1"
    } else {
        dice.pick(&["HTTP/1.0", "HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/2.0", ""])
    };
    let mut pieces = vec![fields::bytes(&format!("{method} {target} {version}\r\n"))];
    let hosts = *dice.any(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2]).unwrap_or(&1);
    for _ in 0..hosts {
        let host = fields::host(dice);
        pieces.push(fields::line(dice, "host", host));
    }
    for _ in 0..*dice.any(&[0, 1, 1, 2, 2, 3, 4, 6]).unwrap_or(&0) {
        let (name, value) = fields::pick(dice, fields::REQUEST);
        pieces.push(fields::line(dice, &name, &value));
        if dice.chance(10) {
            pieces.push(fields::line(dice, &name, &value));
        }
    }
    if dice.chance(2) {
        let count = 5 + dice.below(12);
        pieces.extend((0..count).map(|at| format!("x{at}: {at}\r\n").into_bytes()));
    }
    if dice.chance(1) {
        pieces.push(format!("x-long: {}\r\n", "l".repeat(7_000 + dice.below(2_000))).into_bytes());
    }
    let at = 1 + dice.below(pieces.len());
    pieces.insert(at, key_line());
    let may = !matches!(method, "GET" | "HEAD");
    if dice.chance(if may { 65 } else { 8 }) {
        pieces.extend(body(dice));
    } else {
        pieces.push(b"\r\n".to_vec());
    }
    pieces
}

fn method(dice: &mut Dice) -> &'static str {
    const METHODS: &[&str] =
        &["PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "FOO", "get", "CONNECT", "PRI", "PROPFIND", "G\u{7f}T"];
    match dice.below(100) {
        0..50 => "GET",
        50..75 => "POST",
        75..83 => "HEAD",
        83..88 => "CONNECT",
        _ => dice.pick(METHODS),
    }
}

fn target(dice: &mut Dice, method: &str, prefixes: &[&[&'static str]]) -> String {
    if method == "CONNECT" && dice.chance(70) {
        return dice.pick(&["a.example:80", "b.example:443", "a.example:@PORT@", "1.2.3.4:80", "[::1]:80"]).to_owned();
    }
    let path = fields::path(dice, prefixes);
    match dice.below(100) {
        0..8 => {
            let scheme = dice.pick(&["http", "https", "HTTP", "ftp", "ws"]);
            let user = if dice.chance(10) { "u:p@" } else { "" };
            format!("{scheme}://{user}{}{path}", fields::host(dice))
        }
        8 => "*".to_owned(),
        _ => path,
    }
}

/// Framing, the empty line, and what follows it.
pub(super) fn body(dice: &mut Dice) -> Vec<Vec<u8>> {
    let text = match dice.below(12) {
        0 => String::new(),
        _ => "hello".to_owned(),
    };
    let length = |length: &str| fields::bytes(&format!("content-length: {length}\r\n"));
    let end = || b"\r\n".to_vec();
    let exact = text.len().to_string();
    match dice.below(20) {
        0 => vec![length("20000"), end(), "b".repeat(20_000).into_bytes()],
        1..6 => vec![length(&exact), end(), text.into_bytes()],
        6 => vec![length(&(text.len() + 3).to_string()), end(), text.into_bytes()],
        7 => vec![length(&(text.len() / 2).to_string()), end(), text.into_bytes()],
        8 => {
            let odd = [
                "x",
                "-1",
                "+5",
                "5,5",
                "5 ",
                "05",
                "",
                "5, 6",
                "99999999999999999999",
                "0x5",
                "5;x",
                "1e1",
                "4294967296",
            ];
            vec![length(dice.pick(&odd)), end(), text.into_bytes()]
        }
        9 => vec![length(&exact), length(dice.pick(&[exact.as_str(), "3"])), end(), text.into_bytes()],
        10 => {
            let mut pieces =
                vec![length(dice.pick(&["5", "0", "30"])), b"transfer-encoding: chunked\r\n".to_vec(), end()];
            pieces.extend(chunks(dice, &text));
            pieces
        }
        11 => {
            let odd = [
                "gzip",
                "identity",
                "gzip, chunked",
                "chunked, gzip",
                "Chunked",
                "chunked, chunked",
                "",
                "chunked;x",
                " chunked",
                "x",
                "chunked,",
                "identity, chunked",
            ];
            let coding = dice.pick(&odd);
            let mut pieces = vec![fields::bytes(&format!("transfer-encoding: {coding}\r\n")), end()];
            pieces.extend(chunks(dice, &text));
            pieces
        }
        12 => {
            let line = b"transfer-encoding: chunked\r\n".to_vec();
            let mut pieces = vec![line.clone(), line, end()];
            pieces.extend(chunks(dice, &text));
            pieces
        }
        _ => {
            let mut pieces = vec![b"transfer-encoding: chunked\r\n".to_vec(), end()];
            pieces.extend(chunks(dice, &text));
            pieces
        }
    }
}

/// A body in chunks, most often right.
pub(super) fn chunks(dice: &mut Dice, text: &str) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let (left, right) = text.split_at(if text.len() > 2 && dice.chance(40) { 2 } else { 0 });
    for part in [left, right].into_iter().filter(|part| !part.is_empty()) {
        let size = match dice.below(30) {
            0 => format!("{:X}", part.len()),
            1 => format!("00{:x}", part.len()),
            2 => format!("{:x};a=b", part.len()),
            3 => format!("{:x} ", part.len()),
            4 => format!("{:x};", part.len()),
            5 => dice
                .pick(&["x", "", "-1", "0x5", "5\t;a", " 5", "ffffffffffffffffff", "5;\u{1}", "5;\"a\"", "5,5"])
                .to_owned(),
            _ => format!("{:x}", part.len()),
        };
        let end = if dice.chance(97) { "\r\n" } else { dice.pick(&["\n", "", "x\r\n", "\r"]) };
        pieces.push(format!("{size}\r\n{part}{end}").into_bytes());
    }
    pieces.push(match dice.below(25) {
        0 => b"0\r\n".to_vec(),
        1 => b"0\n\n".to_vec(),
        2 => b"0;x\r\n".to_vec(),
        3 => b"000\r\n".to_vec(),
        4 => Vec::new(),
        _ => b"0\r\n".to_vec(),
    });
    if dice.chance(25) {
        let trailers = [
            "x-t: 1",
            "content-length: 3",
            "x-t: a\u{1}",
            "x y: 1",
            "x_t: 1",
            "transfer-encoding: x",
            ":path: /x",
            "x-t",
            "host: b",
            "X-T: 2",
        ];
        pieces.push(fields::bytes(&format!("{}\r\n", dice.pick(&trailers))));
    }
    pieces.push(b"\r\n".to_vec());
    pieces
}
