//! The request target: origin form, asterisk, absolute form, authority form.

use bytes::Bytes;

use super::bytes_allowed::{ABSOLUTE_HOST, BRACKETED_HOST, TARGET, USER};

/// What a target says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `/a?b`, or `*` with OPTIONS: the path, as it stands. With CONNECT whatever is no authority.
    Path(Bytes),
    /// `http://host/a?b#c`: what it says goes before the `host` header. User information is dropped.
    Absolute { https: bool, authority: Bytes, path: Bytes },
    /// `host:port`, with CONNECT.
    Authority(Bytes),
}

/// Does Envoy's parser take it? It looks at bytes, not at sense.
///
/// Source: `isUrlValid` in Envoy's `http/http1/balsa_parser.cc`.
pub(super) fn is_parsed(target: &[u8], method: &[u8]) -> bool {
    match target.first() {
        None => false,
        Some(b'/' | b'*') => TARGET.all(target),
        Some(_) if method == b"CONNECT" => is_host_and_path(target),
        Some(_) => {
            let scheme = target.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            let rest = target.get(scheme..).and_then(|rest| rest.strip_prefix(b"://"));
            scheme > 0 && rest.is_some_and(is_host_and_path)
        }
    }
}

fn is_host_and_path(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(text.len());
    let (host, path) = text.split_at_checked(end).unwrap_or_default();
    let no_twin = !host.windows(2).any(|pair| pair == b"@@");
    no_twin && host.iter().all(|byte| USER.has(*byte) || matches!(byte, b'@' | b'[' | b']')) && TARGET.all(path)
}

/// Reads a target; `None` where Envoy answers 400.
pub(super) fn parse(target: &Bytes, method: &[u8]) -> Option<Target> {
    if !TARGET.all(target) {
        return None;
    }
    match (target.first()?, method) {
        // Envoy's parser takes anything here, and finds out later whether it is an authority.
        (_, b"CONNECT") => Some(match host_and_port(target) {
            Some((_, port)) if !port.is_empty() => Target::Authority(target.clone()),
            _ => Target::Path(target.clone()),
        }),
        (b'/', _) | (b'*', b"OPTIONS") => Some(Target::Path(target.clone())),
        _ => absolute(target),
    }
}

fn absolute(target: &Bytes) -> Option<Target> {
    let (scheme, authority, rest) = apart(target)?;
    let https = scheme.eq_ignore_ascii_case(b"https");
    if !https && !scheme.eq_ignore_ascii_case(b"http") {
        return None;
    }
    let path = match rest.first() {
        None => Bytes::from_static(b"/"),
        Some(b'#') => return None,
        Some(_) => rest,
    };
    Some(Target::Absolute { https, authority, path })
}

/// Scheme, authority and what follows, if the authority is one.
fn apart(target: &Bytes) -> Option<(Bytes, Bytes, Bytes)> {
    let colon = target.iter().position(|&byte| byte == b':')?;
    if !target.slice(colon..).starts_with(b"://") {
        return None;
    }
    let rest = target.slice(colon + 3..);
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    Some((target.slice(..colon), authority(&rest.slice(..end))?, rest.slice(end..)))
}

/// A target that would be one if its scheme were spoken here.
pub(super) fn names_a_host_by_another_scheme(target: &Bytes) -> bool {
    apart(target)
        .is_some_and(|(scheme, ..)| !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https"))
}

/// `host` or `host:port`, behind any user information.
fn authority(text: &Bytes) -> Option<Bytes> {
    let start = text.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at + 1);
    let user = text.get(..start.saturating_sub(1)).unwrap_or_default();
    let text = text.slice(start..);
    (USER.all(user) && host_and_port(&text).is_some()).then_some(text)
}

/// A host and what follows it: nothing, or a colon and a port.
fn host_and_port(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let port_at = match text.iter().rposition(|&byte| byte == b']') {
        Some(bracket) => bracket + 1,
        None => text.iter().position(|&byte| byte == b':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(port_at)?;
    let host_ok = match host {
        [] => false,
        [b'[', address @ .., b']'] => !address.is_empty() && BRACKETED_HOST.all(address),
        name => ABSOLUTE_HOST.all(name),
    };
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => {
            std::str::from_utf8(digits).ok()?.parse::<u16>().is_ok() && digits.first() != Some(&b'+')
        }
        _ => false,
    };
    (host_ok && port_ok).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absolute_of(authority: &'static str, path: &'static str) -> Option<Target> {
        Some(Target::Absolute { https: false, authority: authority.into(), path: path.into() })
    }

    #[test]
    fn the_parser_looks_at_bytes_and_not_at_sense() {
        for (method, target, parsed) in [
            ("GET", "/a?b#c", true),
            ("GET", "/caf\u{e9}", false),
            ("GET", "a", false),
            ("GET", "s://", true),
            ("GET", "http://a@b/", true),
            ("GET", "http://a@@b/", false),
            ("GET", "://b", false),
            ("GET", "", false),
            ("CONNECT", "a:80", true),
            ("CONNECT", "a<b", false),
        ] {
            assert_eq!(is_parsed(target.as_bytes(), method.as_bytes()), parsed, "{method} {target}");
        }
    }

    #[test]
    fn a_target_has_the_form_its_first_byte_and_method_say() {
        for (method, target, expected) in [
            ("GET", "/a<b>?c#d", Some(Target::Path("/a<b>?c#d".into()))),
            ("OPTIONS", "*", Some(Target::Path("*".into()))),
            ("GET", "*", None),
            ("GET", "a", None),
            ("GET", "", None),
            ("GET", "?x", None),
            ("GET", "/caf\u{e9}", None),
            ("GET", "http://b.example/x?y", absolute_of("b.example", "/x?y")),
            ("GET", "HTTP://b.example", absolute_of("b.example", "/")),
            ("GET", "http://b.example?x", absolute_of("b.example", "?x")),
            ("GET", "http://b.example/#f", absolute_of("b.example", "/#f")),
            ("GET", "http://b.example#f", None),
            ("GET", "http://a@b@c/", None),
            ("GET", "http://u[@b/", None),
            ("GET", "http://[1.2.3.4]/", absolute_of("[1.2.3.4]", "/")),
            ("GET", "http://[]/", None),
            ("CONNECT", "a.example", Some(Target::Path("a.example".into()))),
            ("CONNECT", "u@a.example:443", Some(Target::Path("u@a.example:443".into()))),
            ("CONNECT", "[::1]", Some(Target::Path("[::1]".into()))),
            ("CONNECT", "[::1]:443", Some(Target::Authority("[::1]:443".into()))),
            ("GET", "http://u:p@b.example:99/x", absolute_of("b.example:99", "/x")),
            ("GET", "http://[::1]:8080/", absolute_of("[::1]:8080", "/")),
            (
                "GET",
                "https://b.example/x",
                Some(Target::Absolute { https: true, authority: "b.example".into(), path: "/x".into() }),
            ),
            ("GET", "ftp://b.example/x", None),
            ("GET", "http:///x", None),
            ("GET", "http://", None),
            ("GET", "http:/x", None),
            ("GET", "http://a_b/x", None),
            ("GET", "http://a:z/x", None),
            ("CONNECT", "a.example:443", Some(Target::Authority("a.example:443".into()))),
            ("CONNECT", "/x", Some(Target::Path("/x".into()))),
            ("CONNECT", "http://a/b", Some(Target::Path("http://a/b".into()))),
            ("CONNECT", "\u{e4}:80", None),
            ("CONNECT", "", None),
        ] {
            assert_eq!(
                parse(&Bytes::copy_from_slice(target.as_bytes()), method.as_bytes()),
                expected,
                "{method} {target}"
            );
        }
    }
}
