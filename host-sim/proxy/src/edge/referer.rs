//! `referer` is passed on when there is one and it is an absolute URL; anything else goes.
//!
//! Source: `ConnectionManagerUtility::mutateRequestHeaders` and `Utility::Url::initialize`, which leans on node's `http_parser_parse_url`.

use bytes::Bytes;

use crate::headers::{self, HeaderList};

/// Takes a referer away that is no URL, or not the only one.
pub(super) fn sanitize(headers: &mut HeaderList) {
    if !passes(headers) {
        headers::remove(headers, b"referer");
    }
}

fn passes(headers: &[(Bytes, Bytes)]) -> bool {
    let mut all = headers::all(headers, b"referer");
    match (all.next(), all.next()) {
        (None, _) => true,
        (Some(only), None) => is_url(only),
        (Some(_), Some(_)) => false,
    }
}

fn is_url(text: &Bytes) -> bool {
    let scheme = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let Some(rest) = text.get(scheme..).and_then(|rest| rest.strip_prefix(b"://")) else { return false };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let Some((server, after)) = rest.split_at_checked(end) else { return false };
    scheme > 0 && is_server(server) && after.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// `user@host:port`
fn is_server(server: &[u8]) -> bool {
    let at = server.iter().position(|byte| *byte == b'@');
    let (user, host) = match at.and_then(|at| server.split_at_checked(at)) {
        Some((user, host)) => (user, host.get(1..).unwrap_or_default()),
        None => (&[][..], server),
    };
    let is_user = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()%;:&=+$,".contains(byte);
    if !user.iter().all(is_user) {
        return false;
    }
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|byte| *byte == b']').and_then(|at| rest.split_at_checked(at)) {
            Some((address, rest)) if address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)) => {
                (address, rest.get(1..).unwrap_or_default())
            }
            _ => return false,
        },
        None => {
            let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
            match host.split_at_checked(end) {
                Some((name, port)) if name.iter().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(b)) => {
                    (name, port)
                }
                _ => return false,
            }
        }
    };
    !name.is_empty() && is_port(port)
}

/// Nothing, or a colon and a number that a port can be.
fn is_port(port: &[u8]) -> bool {
    match port.split_first() {
        None => true,
        Some((b':', digits)) if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(values: &[&str]) -> usize {
        let line = |value: &&str| (Bytes::from_static(b"referer"), Bytes::copy_from_slice(value.as_bytes()));
        let mut headers: HeaderList = values.iter().map(line).collect();
        sanitize(&mut headers);
        headers.len()
    }

    #[test]
    fn an_absolute_url_stays() {
        for url in [
            "http://a",
            "https://a.example:80/x?y#z",
            "x://u:p@a/",
            "http://[::1]:8080/",
            "http://a?q",
            "h://a_b/\u{e9}",
        ] {
            assert_eq!(left(&[url]), 1, "{url}");
        }
    }

    #[test]
    fn anything_else_goes() {
        for text in [
            "",
            "1",
            "test",
            "/a",
            "a b",
            "http:",
            "http://",
            "http:///a",
            "http://a:x/",
            "http://a:99999",
            "http://a/ b",
            "h1://a",
            "http://a#z",
            "http://u@v@a",
        ] {
            assert_eq!(left(&[text]), 0, "{text}");
        }
        assert_eq!(left(&["http://a", "http://a"]), 0, "two");
    }
}
