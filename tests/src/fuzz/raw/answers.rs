//! HTTP/1 answers of an origin as bytes: status lines, interim answers, framing that contradicts itself, bodies that are cut off, connections that end.

use super::talk::{Answer, Talk, Then, Way};
use super::{doors, fields, heads};
use crate::fuzz::dice::Dice;

/// An ordinary request before an answer that is none.
pub(super) fn talk(dice: &mut Dice, listener: u16) -> Talk {
    let alone = dice.chance(8);
    let path = if alone { doors::KEPT } else { dice.pick(&["/", "/x", "/f0", "/f1", "/t0", "/t1"]) };
    let method = dice.pick(&["GET", "GET", "GET", "GET", "GET", "POST", "POST", "HEAD", "HEAD", "OPTIONS"]);
    let mut said =
        vec![format!("{method} {path} HTTP/1.1\r\n").into_bytes(), b"host: a.example\r\n".to_vec(), heads::key_line()];
    let extra = [
        "",
        "",
        "",
        "",
        "",
        "te: trailers",
        "content-type: application/grpc",
        "connection: close",
        "upgrade: websocket\r\nconnection: upgrade",
        "expect: 100-continue",
        "x-envoy-retry-on: 5xx",
        "accept: */*",
        "upgrade: foo\r\nconnection: upgrade",
    ];
    for line in dice.pick(&extra).split("\r\n").filter(|line| !line.is_empty()) {
        said.push(format!("{line}\r\n").into_bytes());
    }
    if method == "POST" {
        said.extend([b"content-length: 5\r\n".to_vec(), b"\r\n".to_vec(), b"hello".to_vec()]);
    } else {
        said.push(b"\r\n".to_vec());
    }
    let mut answers = vec![answer(dice)];
    if alone {
        // The same connection may or may not be used for another.
        let again = said.clone();
        said.extend(again);
        answers.push(answer(dice));
        // Whether an end is seen before the second request is a race.
        answers.iter_mut().take(1).for_each(|answer| answer.then = Then::Keeps);
    }
    Talk { way: Way::Answers, listener, said, slowly: dice.chance(15), answers, alone }
}

/// One answer, more or less.
pub(super) fn answer(dice: &mut Dice) -> Answer {
    let mut pieces = Vec::new();
    for _ in 0..*dice.any(&[0, 0, 0, 0, 0, 0, 1, 1, 2]).unwrap_or(&0) {
        let line = dice.pick(&[
            "100 Continue",
            "100 Continue",
            "102 Processing",
            "103 Early Hints",
            "104 X",
            "101 Switching Protocols",
        ]);
        let fields = dice.pick(&["", "", "link: </a>\r\n", "content-length: 0\r\n", "connection: close\r\n"]);
        pieces.push(format!("HTTP/1.1 {line}\r\n{fields}\r\n").into_bytes());
    }
    pieces.push(fields::bytes(&format!("{}\r\n", status_line(dice))));
    for _ in 0..*dice.any(&[0, 0, 1, 1, 2, 3]).unwrap_or(&0) {
        let (name, value) = fields::pick(dice, fields::RESPONSE);
        pieces.push(fields::line(dice, &name, &value));
        if dice.chance(10) {
            pieces.push(fields::line(dice, &name, &value));
        }
    }
    pieces.extend(body(dice));
    if dice.chance(5) {
        pieces.push(
            dice.pick(&["junk", "\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "\n"]).as_bytes().to_vec(),
        );
    }
    if dice.chance(10) {
        pieces.truncate(dice.below(pieces.len() + 1));
    }
    Answer {
        early: dice.chance(20),
        pieces,
        slowly: dice.chance(20),
        then: *dice.any(&[Then::Keeps, Then::Keeps, Then::Closes, Then::Closes, Then::Resets]).unwrap_or(&Then::Keeps),
    }
}

fn status_line(dice: &mut Dice) -> String {
    const ODD: &[&str] = &[
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.0 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 99 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 999 X",
        "HTTP/1.1 1000 X",
        "HTTP/1.1 20 X",
        "HTTP/1.1 abc",
        "HTTP/2 200",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 200 \u{e9}",
        "\r\nHTTP/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1 200 OK\tx",
        "HTTP/1.1 0 X",
        "HTTP/1.1 -1 X",
        "HTTP/1.1 200OK",
        "HTTP/1.1 ",
        "HTTP/1.1",
        "",
        "junk",
        "HTTP/1.1 100 X",
        "HTTP/1.1 099 X",
        "HTTP/1.1 0200 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.10 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/2.0 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\u{1}",
        "HTTP/1.1 7 X",
        "HTTP/1.1 65736 X",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 199 X",
        "HTTP/1.1 102 X",
        "HTTP/1.1 103 X",
        "HTTP/1.1 101 X",
    ];
    match dice.below(100) {
        0..25 => dice.pick(ODD).to_owned(),
        25..60 => "HTTP/1.1 200 OK".to_owned(),
        _ => {
            let codes = [
                201, 202, 204, 204, 204, 205, 206, 301, 304, 304, 304, 400, 404, 408, 418, 426, 429, 500, 502, 503,
                503, 504,
            ];
            format!("HTTP/1.1 {} X", dice.any(&codes).copied().unwrap_or(200))
        }
    }
}

fn body(dice: &mut Dice) -> Vec<Vec<u8>> {
    match dice.below(10) {
        0 => vec![b"\r\n".to_vec(), b"to the end".to_vec()],
        1 => vec![b"\r\n".to_vec()],
        2..4 => vec![b"content-length: 0\r\n".to_vec(), b"\r\n".to_vec()],
        _ => heads::body(dice),
    }
}
