//! Requests aimed at the rules of a world: most satisfy some rule, then a few things about them are changed.

use serde_json::Value;

use super::{dice::Dice, words};
use crate::case::{Send, Tls, Version};

/// As many requests as asked for.
pub(super) fn aimed(dice: &mut Dice, resources: &[Value], count: usize) -> Vec<Send> {
    let rules = rules(resources);
    let ports = ports(resources);
    (0..count).map(|_| request(dice, &rules, &ports)).collect()
}

/// A rule's entry with the hosts of its VirtualService.
struct Target<'w> {
    hosts: Vec<&'w str>,
    entry: Option<&'w Value>,
    rule: &'w Value,
}

fn rules(resources: &[Value]) -> Vec<Target<'_>> {
    let mut targets = Vec::new();
    for object in resources.iter().filter(|object| object.get("kind") == Some(&Value::from("VirtualService"))) {
        let Some(spec) = object.get("spec") else { continue };
        let hosts = || texts(spec.get("hosts"));
        for rule in list(spec.get("http")) {
            let entries = list(rule.get("match"));
            targets.extend(entries.iter().map(|entry| Target { hosts: hosts(), entry: Some(entry), rule }));
            if entries.is_empty() {
                targets.push(Target { hosts: hosts(), entry: None, rule });
            }
        }
    }
    targets
}

/// Ports that are listened on, and whether with TLS.
fn ports(resources: &[Value]) -> Vec<(u16, bool)> {
    let gateways = resources.iter().filter(|object| object.get("kind") == Some(&Value::from("Gateway")));
    let servers = gateways.flat_map(|object| list(object.pointer("/spec/servers")));
    servers
        .filter_map(|server| {
            let port = server.pointer("/port/number")?.as_u64()?;
            Some((u16::try_from(port).ok()?, server.pointer("/tls/mode").is_some()))
        })
        .collect()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}

fn request(dice: &mut Dice, rules: &[Target<'_>], ports: &[(u16, bool)]) -> Send {
    let target = dice.any(rules).filter(|_| dice_likes(dice));
    let mut send = Send {
        method: if dice.chance(75) { "GET".into() } else { dice.pick(words::METHODS).into() },
        path: "/".into(),
        headers: Vec::new(),
        body: String::new(),
        port: 80,
        version: Version::Http11,
        tls: None,
        repeat: None,
        settle_ms: 0,
    };
    let mut host = host(dice, target);
    match target.and_then(|target| target.entry) {
        Some(entry) => satisfy(dice, entry, &mut send, &mut host),
        None => send.path = any_path(dice),
    }
    port(dice, ports, &mut send, &host);
    send.headers.insert(0, ("host".into(), host));
    if let Some(rule) = target.map(|target| target.rule) {
        about(dice, rule, &mut send);
    }
    noise(dice, &mut send);
    change(dice, &mut send);
    body(dice, &mut send);
    send
}

fn dice_likes(dice: &mut Dice) -> bool {
    dice.chance(90)
}

fn host(dice: &mut Dice, target: Option<&Target<'_>>) -> String {
    let named = target.and_then(|target| dice.any(&target.hosts).copied());
    match named.filter(|_| dice.chance(85)) {
        Some("*") | None => dice.pick(words::ASKED_HOSTS).into(),
        Some(host) => match host.strip_prefix('*') {
            Some(suffix) => format!("{}{suffix}", dice.pick(&["w", "a", "B", "x.y", "shop"])),
            None => host.to_owned(),
        },
    }
}

fn port(dice: &mut Dice, ports: &[(u16, bool)], send: &mut Send, host: &str) {
    let others: Vec<_> = ports.iter().filter(|(port, _)| *port != 80).collect();
    let Some((port, tls)) = dice.any(&others).filter(|_| dice_likes_other(dice)) else { return version(dice, send) };
    send.port = *port;
    if *tls {
        let name = host.split(':').next().unwrap_or_default().to_lowercase();
        let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_name = name.split('.').all(label) && name.parse::<std::net::IpAddr>().is_err();
        let sni = (is_name && dice.chance(90)).then_some(name);
        let client = dice.maybe(40, |dice| dice.pick(&["client", "client", "stranger"]).to_owned());
        send.tls = Some(Tls { sni, client });
    }
    version(dice, send);
}

fn dice_likes_other(dice: &mut Dice) -> bool {
    dice.chance(45)
}

fn version(dice: &mut Dice, send: &mut Send) {
    send.version = match dice.below(100) {
        0..=9 => Version::Http2,
        10..=11 => Version::Http10,
        _ => Version::Http11,
    };
}

/// Makes the request one that the entry takes, as far as that is easy.
fn satisfy(dice: &mut Dice, entry: &Value, send: &mut Send, host: &mut String) {
    let text = |dice: &mut Dice, condition: &Value, paths: bool| -> String {
        if let Some(exact) = condition.get("exact").and_then(Value::as_str) {
            return exact.to_owned();
        }
        if let Some(prefix) = condition.get("prefix").and_then(Value::as_str) {
            let tails: &[&str] = if paths { &["", "/", "/x", "x", "/a/b", "/.", "//"] } else { &["", "x", ",y"] };
            return format!("{prefix}{}", dice.pick(tails));
        }
        let table = if paths { words::PATH_REGEXES } else { words::VALUE_REGEXES };
        let regex = condition.get("regex").and_then(Value::as_str);
        let samples =
            table.iter().find(|(pattern, _)| Some(*pattern) == regex).map_or(words::VALUES, |(_, samples)| samples);
        if regex.is_none() { dice.pick(words::VALUES).to_owned() } else { dice.pick(samples).to_owned() }
    };
    send.path = match entry.get("uri") {
        Some(uri) => text(dice, uri, true),
        None => any_path(dice),
    };
    if let Some(method) = entry.get("method").filter(|_| dice_likes(dice)) {
        send.method = match method.get("prefix") {
            Some(_) => "POST".into(),
            None => method.get("exact").and_then(Value::as_str).unwrap_or("HEAD").to_owned(),
        };
    }
    if let Some(authority) = entry.get("authority") {
        *host = text(dice, authority, false);
    }
    let map = |field: &str| entry.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, condition) in map("headers") {
        send.headers.push((name, text(dice, &condition, false)));
    }
    for (name, condition) in map("withoutHeaders") {
        if dice.chance(35) {
            send.headers.push((name, text(dice, &condition, false)));
        }
    }
    let mut query: Vec<String> = map("queryParams")
        .into_iter()
        .map(|(name, condition)| format!("{name}={}", text(dice, &condition, false).replace(' ', "%20")))
        .collect();
    if dice.chance(15) {
        query.insert(
            dice.below(query.len() + 1),
            dice.pick(&["debug", "v=1", "v", "a=b&c", "V=%74est", "q=/../x", "x=?", "&", "v=test"]).to_owned(),
        );
    }
    if !query.is_empty() {
        let mark = if send.path.contains('?') { '&' } else { '?' };
        send.path = format!("{}{mark}{}", send.path, query.join("&"));
    }
}

fn any_path(dice: &mut Dice) -> String {
    let mut path = String::new();
    for _ in 0..dice.below(4) {
        path.push('/');
        path.push_str(dice.pick(words::SEGMENTS));
    }
    if path.is_empty() { "/".into() } else { path }
}

/// What the rule's action asks to be tried with.
fn about(dice: &mut Dice, rule: &Value, send: &mut Send) {
    let mut add = |name: &str, value: &str| send.headers.push((name.into(), value.into()));
    if rule.get("corsPolicy").is_some() && dice.chance(80) {
        add(
            "origin",
            dice.pick(&["https://a.example", "http://b.example", "https://evil", "null", "https://ab.example", ""]),
        );
        if dice.chance(60) {
            add("access-control-request-method", dice.pick(&["POST", "GET", ""]));
            if dice.chance(60) {
                add("access-control-request-headers", dice.pick(&["x-a", "x-a, x-b", ""]));
            }
            send.method = "OPTIONS".into();
        }
    } else if rule.get("retries").is_some() && dice.chance(75) {
        let statuses = ["503", "503,200", "500,503,200", "409,200", "429,200", "502,502,502,200", "404", "503,409,200"];
        add("x-origin-status", dice.pick(&statuses));
        if dice.chance(12) {
            add("x-origin-reset", "1");
        }
        if dice.chance(15) {
            add(
                "x-origin-headers",
                dice.pick(&[
                    "grpc-status=14",
                    "x-envoy-ratelimited=true",
                    "x-again=1",
                    "grpc-status=1",
                    "x-envoy-overloaded=1",
                ]),
            );
        }
        if dice.chance(10) {
            add("x-origin-delay-ms", "110");
        }
        if dice.chance(10) {
            add(
                dice.pick(&["x-envoy-retry-on", "x-envoy-max-retries", "x-envoy-retriable-status-codes"]),
                dice.pick(&["5xx", "3", "404"]),
            );
        }
    } else if rule.get("timeout").is_some() && dice.chance(40) {
        add("x-origin-delay-ms", dice.pick(&["20", "150"]));
    }
}

/// Headers that proxies care about, and steering of the origin.
fn noise(dice: &mut Dice, send: &mut Send) {
    const NOISE: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4, 10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "garbage"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1234"),
        ("x-forwarded-client-cert", "By=a;Hash=b"),
        ("x-request-id", "mine"),
        ("x-request-id", "01234567-89ab-4def-8123-456789abcdef"),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "9.9.9.9"),
        ("x-envoy-original-path", "/was"),
        ("x-envoy-original-host", "was"),
        ("x-envoy-attempt-count", "7"),
        ("x-envoy-upstream-rq-timeout-ms", "20"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "20"),
        ("x-envoy-expected-rq-timeout-ms", "20"),
        ("x-envoy-upstream-alt-stat-name", "x"),
        ("x-envoy-decorator-operation", "op"),
        ("x-envoy-force-trace", "1"),
        ("x-envoy-peer-metadata", "x"),
        ("x-envoy-downstream-service-cluster", "c"),
        ("x-envoy-fault-abort-request", "418"),
        ("x-envoy-fault-delay-request", "1"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
        ("connection", "close"),
        ("Connection", "keep-alive"),
        ("connection", "x-env, close"),
        ("connection", "x-user"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("te", "trailers"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("upgrade", "websocket"),
        ("trailer", "x-t"),
        ("via", "1.1 somebody"),
        ("expect", "100-continue"),
        ("content-type", "application/grpc"),
        ("content-type", "text/plain"),
        ("user-agent", "curl/8"),
        ("user-agent", ""),
        ("cookie", "sid=1; user=ann"),
        ("cookie", "user=\"bob\""),
        ("cookie", "a=b"),
        ("accept", "*/*"),
        ("authorization", "Bearer x"),
        ("grpc-timeout", "1S"),
        ("priority", "u=1"),
        ("x_under_score", "1"),
        ("X-Env", "Test"),
        ("x-env", "prod"),
        ("x-tier", "gold"),
        ("x-user", "ann"),
        ("x-a", "\u{ff}\u{e9}"),
        ("x-a", "  spaced  "),
        ("x-a", "tab\there"),
        ("x-a", ""),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-b3-sampled", "1"),
        ("x-origin-headers", "connection=close"),
        ("x-origin-headers", "server=nginx;x-b=o"),
        ("x-origin-headers", "x-envoy-upstream-service-time=7;vary=origin"),
        ("x-origin-headers", "transfer-encoding=identity"),
        ("x-origin-headers", "set-cookie=a=b;set-cookie=c=d"),
        ("x-origin-headers", "x-envoy-upstream-canary=true;x-envoy-immediate-health-check-fail=1"),
        ("x-origin-headers", "access-control-allow-origin=*;date=now"),
        ("x-origin-headers", "x-request-id=theirs;via=them;keep-alive=1"),
        ("x-origin-headers", "grpc-status=3;grpc-message=no;content-type=application/grpc"),
        ("x-origin-status", "404"),
        ("x-origin-status", "503"),
        ("x-origin-status", "204"),
        ("x-origin-status", "304"),
        ("x-origin-reset", "1"),
    ];
    let count = [0, 0, 0, 1, 1, 2, 3];
    for _ in 0..*dice.any(&count).unwrap_or(&0) {
        if let Some((name, value)) = dice.any(NOISE) {
            send.headers.push(((*name).into(), (*value).into()));
        }
    }
}

/// Small changes of what is about to be sent.
fn change(dice: &mut Dice, send: &mut Send) {
    if dice.chance(35) {
        send.path = changed_path(dice, &send.path);
    }
    if dice.chance(12) && send.headers.len() > 1 {
        let at = 1 + dice.below(send.headers.len() - 1);
        match dice.below(4) {
            0 => drop(send.headers.remove(at)),
            1 => send.headers.extend(send.headers.get(at).cloned()),
            2 => {
                let value = dice.pick(words::VALUES);
                let name = send.headers.get(at).map(|(name, _)| name.clone());
                send.headers.extend(name.map(|name| (name, value.to_owned())));
            }
            _ => {
                if let Some((name, _)) = send.headers.get_mut(at) {
                    *name = if dice.chance(50) { name.to_uppercase() } else { name.to_lowercase() };
                }
            }
        }
    }
    if dice.chance(6)
        && let Some((_, host)) = send.headers.first_mut()
    {
        *host = match dice.below(5) {
            0 => host.to_uppercase(),
            1 => format!("{host}:80"),
            2 => format!("{host}:99999"),
            3 => format!("{host}."),
            _ => format!("user@{host}"),
        };
    }
    if dice.chance(2) {
        send.method = dice.pick(&["FOO", "get", "TRACE", "CONNECT", "PROPFIND", "M-SEARCH", "LINK", ""]).into();
    }
}

fn changed_path(dice: &mut Dice, path: &str) -> String {
    let at = dice.below(path.len() + 1);
    let at = (0..=at).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
    let (before, after) = path.split_at(at);
    let middles = [
        "/", "//", "/.", "/..", "/./", "/../", "%2f", "%2F", "%2e", "%2E%2e", "%5c", "\\", "%", "%zz", "%00", "%61",
        "%41", ";p=1", "#f", "?", "?x", "&", "=", "+", "%20", "\u{e9}", "%c3%a9", "\"", "<", "~", "%7E", "A", "@", ":",
        "*", "|", "^", "{}", "%25", "%252e", "..;", "%3f", "%23", "...", "/.%2e/", "!", "'", "(", ",", "$",
    ];
    match dice.below(12) {
        0 => format!("http://shop.example{path}"),
        1 => format!("{path}/"),
        2 => path.to_uppercase(),
        3 => format!("https://other.com:8080{path}"),
        4 => path.chars().skip(1).collect(),
        _ => format!("{before}{}{after}", dice.pick(&middles)),
    }
}

fn body(dice: &mut Dice, send: &mut Send) {
    let may = !matches!(send.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    if !dice.chance(if may { 60 } else { 3 }) {
        return;
    }
    send.body = match dice.below(10) {
        0 => "x".repeat(70_000),
        1 => "\u{ff}\u{0}\r\n".into(),
        _ => "hello".into(),
    };
    if send.version == Version::Http11 && dice.chance(25) {
        send.headers.push(("transfer-encoding".into(), "chunked".into()));
        send.body = format!("{:x}\r\n{}\r\n0\r\n\r\n", send.body.chars().count(), send.body);
    }
}
