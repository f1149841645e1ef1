//! Header fields that proxies care about, with values right and wrong, and the ways in which a line may be written.

use super::talk::PORT;
use crate::fuzz::dice::Dice;
use crate::latin1;

type Field = (&'static str, &'static [&'static str]);

/// Hosts of requests.
pub(super) const HOSTS: &[&str] = &[
    "a.example",
    "b.example",
    "B.Example",
    "b.example:80",
    "b.example:@PORT@",
    "x.c.example",
    "c.example",
    "a.example:80",
    "a.example:443",
    "a.example:@PORT@",
    "a.example:",
    "a.example:x",
    "a.example.",
    "b.example.:80",
    "[::1]",
    "[::1]:80",
    "[::1]:@PORT@",
    "1.2.3.4",
    "a.example:080",
    "b.example.:@PORT@",
    "a..",
    "_",
    "a_b",
    "a%41",
    "a.example:99999",
    "",
];

/// What a client sends.
pub(super) const REQUEST: &[Field] = &[
    (
        "x-forwarded-for",
        &[
            "1.2.3.4",
            "1.2.3.4, 5.6.7.8",
            "10.0.0.1",
            "garbage",
            "",
            "1.2.3.4:80",
            "::1",
            "[::1]:80",
            "1.2.3.4,",
            "  ,  ",
            "127.0.0.1",
            "1.2.3.4, 10.0.0.1, 9.9.9.9",
            "256.1.1.1",
            "1.2.3.4 , 2.2.2.2",
            "1.2.3.4,10.0.0.1",
            "unknown, 1.2.3.4",
            "1.2.3",
            "10.0.0.1, x",
            ", 1.2.3.4",
            "::ffff:10.0.0.1",
            "01.2.3.4",
        ],
    ),
    ("x-forwarded-proto", &["http", "https", "HTTPS", "ftp", "", "http,https", "ws", "http "]),
    ("x-forwarded-host", &["evil.example", "", "a, b"]),
    ("x-forwarded-port", &["1234", "0", "x", "", "80,81"]),
    ("x-forwarded-client-cert", &["By=a;Hash=b", "", "By=a;Hash=b,By=c"]),
    (
        "x-request-id",
        &["mine", "01234567-89ab-4def-8123-456789abcdef", "01234567-89ab-9def-8123-456789abcdef", "", "a b"],
    ),
    ("x-envoy-external-address", &["9.9.9.9", "x"]),
    ("x-envoy-internal", &["true", "false", ""]),
    ("x-envoy-original-path", &["/was", ""]),
    ("x-envoy-original-host", &["was"]),
    ("x-envoy-attempt-count", &["7", "x"]),
    ("x-envoy-expected-rq-timeout-ms", &["20000", "x"]),
    ("x-envoy-upstream-rq-timeout-ms", &["0", "5000", "x", "-1", " 5000", "5000x", "99999999999999999999"]),
    ("x-envoy-upstream-rq-per-try-timeout-ms", &["5000", "x"]),
    ("x-envoy-upstream-rq-timeout-alt-response", &["1"]),
    ("x-envoy-upstream-stream-duration-ms", &["5000", "x"]),
    ("x-envoy-upstream-alt-stat-name", &["x"]),
    ("x-envoy-max-retries", &["3", "x"]),
    ("x-envoy-retry-on", &["5xx", "x"]),
    ("x-envoy-retry-grpc-on", &["cancelled"]),
    ("x-envoy-retriable-status-codes", &["404"]),
    ("x-envoy-retriable-header-names", &["x-again"]),
    ("x-envoy-is-timeout-retry", &["true"]),
    ("x-envoy-decorator-operation", &["op"]),
    ("x-envoy-force-trace", &["1"]),
    ("x-envoy-ip-tags", &["a"]),
    ("x-envoy-downstream-service-cluster", &["c", ""]),
    ("x-envoy-downstream-service-node", &["n"]),
    ("x-envoy-peer-metadata", &["x"]),
    ("x-envoy-peer-metadata-id", &["x"]),
    ("x-envoy-original-dst-host", &["1.2.3.4:80"]),
    ("x-envoy-degraded", &["x"]),
    ("x-envoy-nothing-known", &["x"]),
    (
        "connection",
        &[
            "close",
            "keep-alive",
            "Close",
            "close, te",
            "upgrade",
            "Upgrade",
            "x-a",
            "x-a, close",
            "te",
            "keep-alive, close",
            "",
            "transfer-encoding",
            "host",
            "x-forwarded-for",
            "x-forwarded-proto",
            "content-length",
            "cookie",
            "upgrade, http2-settings",
            "te, x-a",
            "close,close",
            "closed",
            ":path",
            "x-forwarded-host,te",
            "keep-alive, Upgrade",
            "te,x-envoy-internal",
        ],
    ),
    ("proxy-connection", &["close", "keep-alive", "Keep-Alive"]),
    ("keep-alive", &["timeout=5", ""]),
    ("te", &["trailers", "gzip", "trailers, gzip;q=1", "", "Trailers", "trailers;q=0.5", "gzip, trailers"]),
    ("trailer", &["x-t", ""]),
    ("upgrade", &["websocket", "h2c", "foo", "WebSocket", "websocket, h2c", "TLS/1.2", "", "FOO", "h2c, websocket"]),
    ("http2-settings", &["AAMAAABkAAQAAP__", "x"]),
    ("expect", &["100-continue", "100-Continue", "x", "", "100-continue, x"]),
    (
        "content-type",
        &[
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "text/plain",
            "",
            "application/grpc;x",
            "Application/grpc",
        ],
    ),
    ("grpc-timeout", &["5S", "9000m", "x", "", "99999999S", "0n", "1H", "999999999S", "5s", "-1S", "5000000u"]),
    ("user-agent", &["curl/8", ""]),
    ("cookie", &["a=b", "a=b; c=d", "", "a"]),
    (
        "referer",
        &[
            "http://a/",
            "x",
            "https://u:p@a/b#f",
            "",
            "http://a/#",
            "ftp://a/",
            "//a/b",
            "http:///x",
            "https://a?b",
            "http://a b/",
            "/a",
        ],
    ),
    ("origin", &["http://a", "null"]),
    ("via", &["1.1 somebody", ""]),
    ("server", &["x"]),
    ("date", &["x"]),
    ("traceparent", &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-bad"]),
    ("tracestate", &["a=b"]),
    ("x-b3-sampled", &["1"]),
    ("x-client-trace-id", &["x"]),
    ("x-ot-span-context", &["x"]),
    ("x-host", &["other.example", "", "other.example:80"]),
    ("x_under", &["1", ""]),
    (
        "x-a",
        &[
            "\u{ff}\u{e9}",
            "  spaced  ",
            "tab\there",
            "",
            "a,b",
            "\u{1}",
            "a\u{0}b",
            "\u{7f}",
            "\u{a0}x\u{a0}",
            "%REQ(:PATH)%",
        ],
    ),
    ("x-b", &["1", "2"]),
    ("accept-encoding", &["gzip"]),
    ("accept", &["*/*", "text/html"]),
    ("authorization", &["Bearer x"]),
    ("content-encoding", &["gzip"]),
    ("if-none-match", &["*"]),
    ("max-forwards", &["0"]),
    ("host", &["b.example", "a.example", ""]),
    (":path", &["/d0"]),
    (":authority", &["b.example"]),
    ("", &["x"]),
    ("x y", &["1"]),
    ("x(", &["1"]),
    ("x-\u{e9}", &["1"]),
];

/// What an origin sends.
pub(super) const RESPONSE: &[Field] = &[
    (
        "connection",
        &[
            "close",
            "keep-alive",
            "x-a",
            "x-a, close",
            "Close",
            "upgrade",
            "",
            "content-length",
            "transfer-encoding",
            "set-cookie, te",
            "location",
        ],
    ),
    ("proxy-connection", &["close", "keep-alive"]),
    ("keep-alive", &["timeout=5"]),
    ("upgrade", &["websocket", "h2c", ""]),
    ("trailer", &["x-t"]),
    ("te", &["trailers"]),
    ("server", &["nginx", ""]),
    ("date", &["Thu, 01 Jan 1970 00:00:00 GMT", "x"]),
    ("via", &["1.1 them", ""]),
    ("content-type", &["text/html", "application/grpc", "application/grpc+proto", "", "x"]),
    ("grpc-status", &["0", "14", "x", "", "-1", "99"]),
    ("grpc-message", &["no", ""]),
    ("location", &["/a", "http://b/", ""]),
    ("set-cookie", &["a=b", "c=d; Path=/", ""]),
    ("x-envoy-upstream-service-time", &["7", "x"]),
    ("x-envoy-upstream-canary", &["true"]),
    ("x-envoy-immediate-health-check-fail", &["1"]),
    ("x-envoy-overloaded", &["true"]),
    ("x-envoy-ratelimited", &["true"]),
    ("x-envoy-degraded", &["1"]),
    ("x-envoy-attempt-count", &["9"]),
    ("x-envoy-decorator-operation", &["op"]),
    ("x-envoy-upstream-healthchecked-cluster", &["c"]),
    ("x-request-id", &["theirs"]),
    ("x-shown", &["theirs"]),
    ("x_under", &["1"]),
    ("x-a", &["\u{ff}", "  spaced  ", "tab\there", "", "a\u{0}b", "\u{1}", "\u{7f}"]),
    ("x-a", &["1", "2"]),
    ("x-b", &["1"]),
    ("vary", &["origin"]),
    ("cache-control", &["no-store"]),
    ("content-encoding", &["gzip"]),
    ("content-range", &["bytes 0-1/2"]),
    ("strict-transport-security", &["max-age=1"]),
    ("alt-svc", &["h3=\":443\""]),
    (":status", &["404"]),
    ("host", &["x"]),
    ("", &["x"]),
    ("x y", &["1"]),
    ("x(", &["1"]),
    ("x-\u{e9}", &["1"]),
];

/// A field of a table with one of its values.
pub(super) fn pick(dice: &mut Dice, table: &[Field]) -> (String, String) {
    let (name, values) = dice.any(table).copied().unwrap_or_default();
    (name.to_owned(), dice.pick(values).to_owned())
}

/// The bytes that a text stands for; what stands for none is left out.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    text.chars().filter_map(|c| latin1::encode(&c.to_string()).ok()).flatten().collect()
}

/// A field as a line, most often written as usual.
pub(super) fn line(dice: &mut Dice, name: &str, value: &str) -> Vec<u8> {
    let name = match dice.below(12) {
        0 => name.to_uppercase(),
        1 => capitals(name),
        _ => name.to_owned(),
    };
    let text = match dice.below(120) {
        0 => format!("{name}:{value}\n"),
        1 => format!("{name} : {value}\r\n"),
        2 => format!("{name}: {value}\r\n folded\r\n"),
        3 => format!(" {name}: {value}\r\n"),
        4 => format!("{name}\r\n"),
        5 => format!("{name}: {value}\r\r\n"),
        6..16 => format!("{name}:{value}\r\n"),
        16..20 => format!("{name}: \t {value} \t\r\n"),
        _ => format!("{name}: {value}\r\n"),
    };
    bytes(&text)
}

fn capitals(name: &str) -> String {
    let word =
        |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect::<String>();
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// A host of a request, most often an ordinary one.
pub(super) fn host(dice: &mut Dice) -> &'static str {
    if dice.chance(45) { "a.example" } else { dice.pick(HOSTS) }
}

/// A path below one of the routes.
pub(super) fn path(dice: &mut Dice, prefixes: &[&[&'static str]]) -> String {
    const PIECES: &[&str] = &[
        "/", "a", "b", "/a", "/b", "//", "/./", "/../", "/..", "/.", "..", ".", "%2F", "%2f", "%5C", "%5c", "\\",
        "%2e", "%2E%2e", "%00", "%41", "%7e", "%zz", "%", "%2", "\"", "<", ">", "`", "{", "}", "|", "^", "#f", "?",
        "?q=1", "&", "=", "%25", "%252e", "%252F", ";p=1", "*", "@", ":", "+", "%20", "a.b", "~", "!", "'", "$", "[",
        "]", "%3f", "%23", "..;", "...", ",", "%C3%A9", "%c0%af", "\u{7f}", "\u{1}", " ", "\t", "%0a", "%2F%2F", "A",
        "%2f..%2f",
    ];
    let table = dice.any(prefixes).copied().unwrap_or(&["/"]);
    let mut path = dice.pick(table).to_owned();
    for _ in 0..*dice.any(&[0, 0, 1, 1, 2, 3, 5]).unwrap_or(&0) {
        path.push_str(dice.pick(PIECES));
    }
    if dice.chance(4) {
        path = path.replacen('/', dice.pick(&["//", "/./", "\\", "", "/%2e/", "/x/../"]), 1);
    }
    path
}

/// What a connection that names this listener's port says.
pub(super) fn with_port(bytes: &[u8], port: u16) -> Vec<u8> {
    replaced(bytes, PORT.as_bytes(), port.to_string().as_bytes())
}

/// Every `from` becomes `to`.
pub(super) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        out.extend(rest.get(..at).unwrap_or_default());
        out.extend(to);
        rest = rest.get(at + from.len()..).unwrap_or_default();
    }
    out.extend(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_gets_its_port() {
        assert_eq!(with_port(b"a:@PORT@ @PORT@", 80), b"a:80 80");
        assert_eq!(with_port(b"a", 80), b"a");
    }
}
