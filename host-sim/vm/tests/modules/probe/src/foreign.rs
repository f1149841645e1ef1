//! Foreign functions with arguments that mean something: signatures, expressions, declared properties, filter state.

use crate::{abi::*, report};

/// The result code, and what was given back.
fn foreign(name: &str, arguments: &[u8]) -> (u32, Vec<u8>) {
    reset();
    let (name, arguments) = (at(name.as_bytes()), at(arguments));
    // SAFETY: pointers and lengths of live slices.
    let code = unsafe { proxy_call_foreign_function(name.0, name.1, arguments.0, arguments.1, word(0), word(1)) };
    (code, if code == 0 { given() } else { Vec::new() })
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A protobuf message of fields that are bytes.
fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        varint(&mut out, number << 3 | 2);
        varint(&mut out, value.len() as u64);
        out.extend(*value);
    }
    out
}

fn with_numbers(mut message: Vec<u8>, numbers: &[(u64, u64)]) -> Vec<u8> {
    for (number, value) in numbers {
        varint(&mut message, number << 3);
        varint(&mut message, *value);
    }
    message
}

/// The bytes of a field of an answer.
fn field(mut message: &[u8], wanted: u8) -> Vec<u8> {
    while let [key, rest @ ..] = message {
        if key & 7 == 0 {
            message = &rest[1..];
            continue;
        }
        let (mut len, mut used) = (0usize, 0);
        loop {
            len |= usize::from(rest[used] & 0x7f) << (7 * used);
            used += 1;
            if rest[used - 1] & 0x80 == 0 {
                break;
            }
        }
        if key >> 3 == wanted {
            return rest[used..used + len].to_vec();
        }
        message = &rest[used + len..];
    }
    Vec::new()
}

const KEYS: &str = include_str!("keys.txt");

fn pem(name: &str) -> String {
    let section = KEYS.split("# ").find_map(|part| part.strip_prefix(name)?.strip_prefix('\n'));
    section.unwrap_or_default().to_owned()
}

fn der(name: &str) -> Vec<u8> {
    let text = pem(name);
    let (mut out, mut bits, mut have) = (Vec::new(), 0u32, 0);
    for letter in text.lines().filter(|line| !line.starts_with('-')).flat_map(str::bytes) {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(digit);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    out
}

fn shown((code, answer): (u32, Vec<u8>)) -> String {
    format!("{code} {}", String::from_utf8_lossy(&answer).escape_default())
}

const TEXT: &[u8] = b"a text to sign";

pub fn signatures(phase: &str) {
    let verify = |hash: &str, public: &str, signature: &[u8], text: &[u8]| {
        shown(foreign(
            "verify_signature",
            &message(&[(1, hash.as_bytes()), (5, pem(public).as_bytes()), (3, signature), (4, text)]),
        ))
    };
    for (kind, name) in [("rsa", "rsa"), ("p256", "p256"), ("p384", "p384"), ("p521", "p521"), ("ed", "ed")] {
        for hash in ["sha1", "sha224", "SHA256", "sha384", "sha512", "md5", ""] {
            let key = pem(&format!("{name} private"));
            let (code, answer) = foreign("sign", &message(&[(1, hash.as_bytes()), (4, key.as_bytes()), (3, TEXT)]));
            let signature = field(&answer, 2);
            let sum = if kind == "rsa" { signature.iter().map(|byte| u32::from(*byte)).sum::<u32>() } else { 0 };
            let public = format!("{name} public");
            report(
                phase,
                &format!("sign with {name} and {hash}"),
                format!(
                    "{code} {sum} {:?}; right {}; another text {}; cut {}",
                    String::from_utf8_lossy(&field(&answer, 3)),
                    verify(hash, &public, &signature, TEXT),
                    verify(hash, &public, &signature, b"another"),
                    verify(hash, &public, signature.get(1..).unwrap_or_default(), TEXT),
                ),
            );
        }
    }
    let signed = |pem_key: &str, der_key: &[u8]| {
        let (code, answer) =
            foreign("sign", &message(&[(1, b"sha256"), (2, der_key), (4, pem_key.as_bytes()), (3, TEXT)]));
        format!("{code} {} {:?}", !field(&answer, 2).is_empty(), String::from_utf8_lossy(&field(&answer, 3)))
    };
    let mut trailing = der("rsa private");
    trailing.extend(b"more");
    for (what, pem_key, der_key) in [
        ("no key", String::new(), vec![]),
        ("both forms", pem("rsa private"), der("rsa private")),
        ("der", String::new(), der("rsa private")),
        ("der and more", String::new(), trailing),
        ("der of a curve", String::new(), der("p256 private")),
        ("a public key", pem("rsa public"), vec![]),
        ("a public key as der", String::new(), der("rsa public")),
        ("rubbish", "rubbish".to_owned(), vec![]),
        ("rubbish as der", String::new(), b"rubbish".to_vec()),
        ("text before", format!("text\n{}", pem("rsa private")), vec![]),
        ("old rsa", pem("rsa old private"), vec![]),
        ("old p256", pem("p256 old private"), vec![]),
        ("old rsa as der", String::new(), der("rsa old private")),
    ] {
        report(phase, &format!("sign: {what}"), signed(&pem_key, &der_key));
    }
    let (_, answer) = foreign("sign", &message(&[(1, b"sha256"), (4, pem("rsa private").as_bytes()), (3, TEXT)]));
    let signature = field(&answer, 2);
    let verified = |pem_key: &str, der_key: &[u8]| {
        let arguments = message(&[(1, b"sha256"), (2, der_key), (5, pem_key.as_bytes()), (3, &signature), (4, TEXT)]);
        shown(foreign("verify_signature", &arguments))
    };
    let mut trailing = der("rsa public");
    trailing.extend(b"more");
    for (what, pem_key, der_key) in [
        ("no key", String::new(), vec![]),
        ("both forms", pem("rsa public"), der("rsa public")),
        ("der", String::new(), der("rsa public")),
        ("der and more", String::new(), trailing),
        ("another key", pem("p256 public"), vec![]),
        ("another key as der", String::new(), der("p521 public")),
        ("a private key", pem("rsa private"), vec![]),
        ("rubbish", "rubbish".to_owned(), vec![]),
        ("rubbish as der", String::new(), b"rubbish".to_vec()),
        ("bytes that are no text", String::new(), b"\xff\xfe".to_vec()),
    ] {
        report(phase, &format!("verify_signature: {what}"), verified(&pem_key, &der_key));
    }
    let no_utf8 = message(&[(1, b"sha\xff"), (5, pem("rsa public").as_bytes())]);
    report(phase, "verify_signature: a name that is no text", shown(foreign("verify_signature", &no_utf8)));
}

/// Each on its own: how making it, evaluating it and forgetting it ends.
const EXPRESSIONS: &[&str] = &[
    "",
    "1",
    "1 +",
    "1 + 1",
    "1u + 1u",
    "1.5 * 2.0",
    "7 / 2",
    "7 % 4",
    "-7 % 4",
    "1 / 0",
    "1.0 / 0.0",
    "9223372036854775807 + 1",
    "-9223372036854775808",
    "1 + 1.0",
    "1 == 1.0",
    "1 == 1u",
    "1 < 1.5",
    "1 == 'a'",
    "true && false",
    "true || 1 / 0 > 1",
    "1 / 0 > 1 || true",
    "false && 1 / 0 > 1",
    "!true",
    "!1",
    "true ? 1 : 2",
    "1 ? 1 : 2",
    "null",
    "null == null",
    "'text'",
    "b'bytes'",
    "b'\\xff'",
    "'a' + 'b'",
    "b'a' + b'b'",
    "'a' + b'b'",
    "'a' < 'b'",
    "[1, 2] + [3]",
    "[1, 2]",
    "['a', 'b']",
    "[]",
    "[1, 'a', true]",
    "{'a': 'b'}",
    "{'a': 1}.a",
    "{'a': 1}['a']",
    "{'a': 1}.b",
    "{'a': 1, 'a': 2}",
    "{}",
    "has({'a': 1}.a)",
    "has({'a': 1}.b)",
    "has(1)",
    "[1, 2][0]",
    "[1, 2][2]",
    "[1, 2][-1]",
    "2 in [1, 2]",
    "'a' in {'a': 1}",
    "size('text')",
    "'text'.size()",
    "size([1, 2])",
    "size({'a': 1})",
    "size(b'abc')",
    "size(1)",
    "'text'.contains('ex')",
    "'text'.startsWith('te')",
    "'text'.endsWith('xt')",
    "contains('text', 'ex')",
    "startsWith('text', 'te')",
    "endsWith('text', 'xt')",
    "matches('text', 'e.t')",
    "'text'.matches('^e')",
    "'text'.matches('(')",
    "'text'.matches('t{2000}')",
    "string(1)",
    "string(1.5)",
    "string(true)",
    "string(b'abc')",
    "string(b'\\xff')",
    "string(duration('90s'))",
    "string(timestamp('2024-01-02T03:04:05Z'))",
    "int('42')",
    "int('x')",
    "int(4.9)",
    "int(1e30)",
    "int(timestamp('2024-01-02T03:04:05Z'))",
    "uint(3)",
    "uint(-3)",
    "uint('7')",
    "double('1.5')",
    "double(3)",
    "bytes('abc')",
    "bool('true')",
    "bool('t')",
    "type(1)",
    "type(1) == int",
    "type('a') == string",
    "dyn(1)",
    "int",
    "duration('1h30m')",
    "duration('90s') > duration('1m')",
    "duration('90s').getMinutes()",
    "duration('nothing')",
    "timestamp('2024-01-02T03:04:05Z')",
    "timestamp('2024-01-02T03:04:05Z') + duration('1s')",
    "timestamp('2024-01-02T03:04:05Z').getFullYear()",
    "timestamp('2024-01-02T03:04:05Z').getMonth()",
    "timestamp('2024-01-02T03:04:05Z').getHours('America/New_York')",
    "timestamp('2024-01-02T03:04:05Z').getDayOfWeek()",
    "timestamp(0)",
    "timestamp('yesterday')",
    "[1, 2, 3].map(x, x * 2)",
    "[1, 2, 3].filter(x, x > 1)",
    "[1, 2, 3].all(x, x > 0)",
    "[1, 2, 3].exists(x, x > 2)",
    "[1, 2, 3].exists_one(x, x > 2)",
    "[1, 2, 3].map(x, x > 1, x * 2)",
    "{'a': 1}.map(k, k)",
    "1.map(x, x)",
    "'text'.map(x, x)",
    "nothing",
    "nothing(1)",
    "size()",
    "'a'.nothing()",
    "'a'.size(1)",
    "math.greatest(1, 2)",
    "'a'.lowerAscii()",
    "'a,b'.split(',')",
    "optional.of(1)",
    "[?1]",
    "{'a': 1}.?a",
    "now()",
    "google.rpc.Code{}",
    "request",
    "request.path",
    "request.url_path",
    "request.host",
    "request.method",
    "request.nothing",
    "request.path == '/expressions'",
    "request['path']",
    "request.headers['x-probe']",
    "request.headers['X-PROBE']",
    "request.headers['x-orig']",
    "request.headers['missing']",
    "request.headers['x-probe'] == 'expressions'",
    "'x-probe' in request.headers",
    "'missing' in request.headers",
    "has(request.headers.missing)",
    "has(request.path)",
    "has(request.nothing)",
    "size(request.headers) > 3",
    "request.headers.exists(h, h == 'x-probe')",
    "request.headers[request.method]",
    "request.path.startsWith('/exp') && request.method in ['GET', 'POST']",
    "size(request.path)",
    "request.protocol",
    "request.protocol == 'HTTP/1.1'",
    "request.size == 0",
    "request.time > timestamp('2020-01-01T00:00:00Z')",
    "connection.mtls",
    "!connection.mtls",
    "connection.nothing",
    "type(request)",
    "type(request.headers)",
    "response",
    "response.nothing",
    "source",
    "metadata",
    "metadata.filter_metadata",
    "plugin_name",
    "plugin_name + '!'",
    "plugin_root_id == 'probe-root'",
    "xds.node.id",
    "xds.node.id == 'probe-node'",
    "xds.nothing",
    "a_value",
    "a_value == b'some'",
    "a_value == 'some'",
    "size(a_value)",
    "a_text",
    "a_text == 'some'",
    "a_text + '!'",
    "filter_state['wasm.a_value']",
    "filter_state['wasm.a_text'] == 'some'",
    "filter_state['missing']",
    "wasm.a_value",
];

fn declare(name: &str, numbers: &[(u64, u64)]) -> u32 {
    foreign("declare_property", &with_numbers(message(&[(1, name.as_bytes())]), numbers)).0
}

fn set(path: &str, value: &str) -> u32 {
    let (path, value) = (at(path.as_bytes()), at(value.as_bytes()));
    // SAFETY: pointers and lengths of live slices.
    unsafe { proxy_set_property(path.0, path.1, value.0, value.1) }
}

fn property(path: &str) -> String {
    reset();
    let path = at(path.as_bytes());
    // SAFETY: as above.
    let code = unsafe { proxy_get_property(path.0, path.1, word(0), word(1)) };
    shown((code, if code == 0 { given() } else { Vec::new() }))
}

/// What the plugin declares for `properties` below.
pub fn declarations(phase: &str) {
    let codes = [
        declare("a_text", &[(3, 1)]),
        declare("a_once", &[(2, 1)]),
        declare("a_message", &[(3, 3)]),
        declare("of_connection", &[(5, 2)]),
        declare("of_request", &[(5, 1)]),
        declare("a_text", &[(3, 1)]),
        declare("strange", &[(3, 77), (5, 77)]),
    ];
    report(phase, "declare_property", format!("{codes:?}"));
}

/// Values as they were declared, and filter state of Envoy's own.
pub fn properties(phase: &str) {
    let before = [property("a_text"), property("of_connection"), property("of_request")];
    let codes = [
        set("a_text", "some"),
        set("a_text", "other"),
        set("a_once", "some"),
        set("a_once", "other"),
        set("a_message", "some"),
        set("of_connection", "some"),
        set("of_request", "some"),
        set("strange", "some"),
        set("not_utf8", "some"),
    ];
    let after = [
        "a_text",
        "a_once",
        "a_message",
        "a_message\0value",
        "of_connection",
        "strange",
        "filter_state\0wasm.a_once",
        "filter_state\0missing",
    ]
    .map(property);
    report(phase, "declared properties", format!("{before:?} {codes:?} {after:?}"));
    let mut line = String::new();
    for (key, values) in [
        ("envoy.string", &["some", ""][..]),
        ("envoy.hashable_string", &["some"]),
        ("envoy.network.upstream_server_name", &["a.example"]),
        ("envoy.network.upstream_subject_alt_names", &["a.example,b.example"]),
        ("envoy.network.application_protocols", &["h2,http/1.1"]),
        ("envoy.tcp_proxy.cluster", &["origin"]),
        ("envoy.tcp_proxy.disable_tunneling", &["true", "perhaps"]),
        ("envoy.upstream.dynamic_host", &["a.example"]),
        ("envoy.upstream.dynamic_port", &["80", "eighty", "99999", ""]),
        ("envoy.ratelimit.hits_addend", &["3", "three"]),
        ("envoy.network.transport_socket.original_dst_address", &["127.0.0.1:80", "nowhere"]),
        ("envoy.filters.listener.original_dst.local_ip", &["127.0.0.1:80", "nowhere"]),
        ("envoy.filters.listener.original_dst.remote_ip", &["127.0.0.1:80", "nowhere"]),
        ("envoy.network.ip", &["127.0.0.1", "nowhere"]),
        ("envoy.tcp_proxy.per_connection_idle_timeout_ms", &["100", "long"]),
        ("envoy.bool", &["true", "perhaps"]),
        ("envoy.network.network_namespace", &["some", ""]),
        ("envoy.network.transport_socket.http_11_proxy.info", &["a.example:80,127.0.0.1:3128", "some"]),
        ("envoy.router.debug_config", &["some"]),
        ("envoy.ai.model.request", &["some"]),
        ("envoy.nothing", &["some"]),
    ] {
        for value in values {
            let code = foreign("set_envoy_filter_state", &message(&[(1, key.as_bytes()), (2, value.as_bytes())])).0;
            line += &format!("{key}={value}: {code} {}; ", property(&format!("filter_state\0{key}")));
        }
    }
    report(phase, "set_envoy_filter_state", line);
}

pub fn expressions(phase: &str) {
    set("a_value", "some");
    set("a_text", "some");
    for text in EXPRESSIONS {
        let (made, token) = foreign("expr_create", text.as_bytes());
        let result = if made == 0 {
            let (code, value) = foreign("expr_evaluate", &token);
            let value = if value.len() > 200 { vec![] } else { value };
            format!("{} {}", shown((code, value)), foreign("expr_delete", &token).0)
        } else {
            String::new()
        };
        report(phase, &format!("expression {}", text.replace('|', "/")), format!("{made} {result}"));
    }
    let (_, token) = foreign("expr_create", b"request.path");
    let codes = [
        foreign("expr_delete", &token).0,
        foreign("expr_delete", &token).0,
        foreign("expr_evaluate", &token).0,
        foreign("expr_evaluate", b"abc").0,
        foreign("expr_evaluate", &[9, 9, 9, 9]).0,
        foreign("expr_delete", b"").0,
    ];
    let nested =
        |depth: usize| foreign("expr_create", format!("{}1{}", "(".repeat(depth), ")".repeat(depth)).as_bytes()).0;
    let long = |count: usize| foreign("expr_create", format!("1{}", " + 1".repeat(count)).as_bytes()).0;
    let turns = |count: usize| {
        let list = format!("[0{}]", ", 1".repeat(count - 1));
        let (code, token) = foreign("expr_create", format!("{list}.map(x, {list}.map(y, y)) == []").as_bytes());
        (code, foreign("expr_evaluate", &token).0)
    };
    let spaces = foreign("expr_create", format!("1{}", " ".repeat(100_000)).as_bytes()).0;
    report(
        phase,
        "expressions, bad and deep",
        format!(
            "{codes:?} {:?} {:?} {:?} {spaces}",
            [20, 28, 29, 30, 31, 32, 33, 40, 300].map(nested),
            [20, 33, 200].map(long),
            [10, 90, 101].map(turns),
        ),
    );
}
