//! What a client asks of tries and timeouts, before an origin that fails in a row of ways.

use super::talk::{Answer, Talk, Then, Way};
use super::{doors, fields, heads};
use crate::fuzz::dice::Dice;

/// Conditions of retries.
pub(super) const CONDITIONS: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "unavailable",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "nonsense",
    "",
];

/// Timeouts are short or so long that they do not matter: nothing is decided by a few milliseconds.
const ASKED: &[(&str, &[&str])] = &[
    ("x-envoy-max-retries", &["0", "1", "2", "5", "x", "", "-1", "99999999999", " 2", "2 "]),
    (
        "x-envoy-upstream-rq-timeout-ms",
        &["300", "0", "5000", "x", "", "-1", "300x", "0300", "99999999999999999999", "3e2"],
    ),
    ("x-envoy-upstream-rq-per-try-timeout-ms", &["150", "0", "5000", "x", "", "-1", "150x"]),
    ("x-envoy-upstream-rq-timeout-alt-response", &["1", "", "x", "0"]),
    // How long a stream may last is not asked in headers here: nothing short.
    ("x-envoy-upstream-stream-duration-ms", &["5000", "x"]),
    ("x-envoy-retriable-status-codes", &["404", "418,404", "x", "404, 418", "", "503"]),
    ("x-envoy-retriable-header-names", &["x-again", "X-Again", "x-other, x-again", ""]),
    ("x-envoy-expected-rq-timeout-ms", &["300", "x"]),
    ("x-envoy-attempt-count", &["5"]),
    ("x-envoy-is-timeout-retry", &["true"]),
    ("x-may", &["1", "2"]),
    ("grpc-timeout", &["300m", "5S", "0m", "x", "", "300000u", "99999999S", "123456789m"]),
    ("content-type", &["application/grpc", "text/plain"]),
    ("te", &["trailers"]),
    ("expect", &["100-continue"]),
];

/// A request that asks, and the origin's row of answers.
pub(super) fn talk(dice: &mut Dice, listener: u16) -> Talk {
    let method = dice.pick(&["GET", "GET", "GET", "POST", "HEAD"]);
    let path = match dice.below(12) {
        0 => doors::NOWHERE,
        1 => "/x",
        _ => dice.pick(doors::TRIES),
    };
    let mut said = vec![format!("{method} {path} HTTP/1.1\r\n").into_bytes(), b"host: a.example\r\n".to_vec()];
    if dice.chance(70) {
        let name = dice.pick(&["x-envoy-retry-on", "x-envoy-retry-on", "x-envoy-retry-grpc-on"]);
        let mut values = dice.some(CONDITIONS, 1, 3).join(dice.pick(&[",", ", ", " ,"]));
        if dice.chance(5) {
            values = values.to_uppercase();
        }
        said.push(fields::line(dice, name, &values));
    }
    for _ in 0..*dice.any(&[0, 1, 1, 2, 3]).unwrap_or(&0) {
        let (name, value) = fields::pick(dice, ASKED);
        said.push(fields::line(dice, &name, &value));
    }
    said.push(heads::key_line());
    if method == "POST" {
        let body = if dice.chance(20) { "b".repeat(50_000) } else { "hello".to_owned() };
        said.push(format!("content-length: {}\r\n", body.len()).into_bytes());
        said.extend([b"\r\n".to_vec(), body.into_bytes()]);
    } else {
        said.push(b"\r\n".to_vec());
    }
    let answers = (0..1 + dice.below(4)).map(|_| answer(dice)).collect();
    Talk { way: Way::Tries, listener, said, slowly: dice.chance(10), answers, alone: false }
}

fn answer(dice: &mut Dice) -> Answer {
    let answer = |pieces: Vec<&str>, then| Answer {
        early: false,
        pieces: pieces.into_iter().map(|piece| piece.as_bytes().to_vec()).collect(),
        slowly: false,
        then,
    };
    match dice.below(20) {
        0 => answer(vec![], Then::Resets),
        1 => answer(vec![], Then::Closes),
        2 => answer(vec![], Then::Keeps), // says nothing
        3 => answer(vec!["HTTP/1.1 200 OK\r\n"], Then::Closes),
        4 => answer(vec!["HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n", "ab"], Then::Closes),
        5 => answer(vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "ab"], Then::Closes),
        6 => answer(vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "ab"], Then::Keeps),
        7 => answer(vec!["junk\r\n\r\n"], Then::Closes),
        8 => answer(vec!["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"], Then::Closes),
        9 => Answer { early: true, ..answer(vec!["HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"], Then::Closes) },
        _ => {
            let codes = [200, 200, 404, 409, 418, 429, 500, 501, 502, 503, 503, 504, 511, 599];
            let status = dice.any(&codes).copied().unwrap_or(200);
            let extra = [
                "",
                "",
                "",
                "",
                "x-again: 1\r\n",
                "x-envoy-ratelimited: true\r\n",
                "grpc-status: 14\r\n",
                "grpc-status: 1\r\n",
                "grpc-status: 4\r\n",
                "grpc-status: 8\r\n",
                "grpc-status: 13\r\n",
                "grpc-status: x\r\n",
                "x-envoy-overloaded: true\r\n",
                "x-envoy-upstream-canary: 1\r\n",
                "content-type: application/grpc\r\n",
                "retry-after: 1\r\n",
            ];
            let head = format!("HTTP/1.1 {status} X\r\n{}content-length: 2\r\n\r\n", dice.pick(&extra));
            answer(vec![head.as_str(), "ok"], *dice.any(&[Then::Keeps, Then::Closes]).unwrap_or(&Then::Keeps))
        }
    }
}
