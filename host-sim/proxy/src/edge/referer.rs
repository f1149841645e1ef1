//! `referer` is passed on when it is the only one and a URL or a relative reference, without a fragment and without a user; anything else goes.
//!
//! Source: `ConnectionManagerUtility::mutateRequestHeaders` and `Utility::isValidRefererValue`; which bytes are taken was asked of Envoy.

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
        (Some(only), None) => is_url(only) || is_relative(only),
        (Some(_), Some(_)) => false,
    }
}

/// `scheme://host:port/path?query`
fn is_url(text: &[u8]) -> bool {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let scheme = text.iter().take_while(|byte| is_scheme(byte)).count();
    let Some(rest) = text.get(scheme..).and_then(|rest| rest.strip_prefix(b"://")) else { return false };
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let Some((server, after)) = rest.split_at_checked(end) else { return false };
    let after = after.strip_suffix(b"#").unwrap_or(after);
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && is_server(server.strip_prefix(b"@").unwrap_or(server))
        && after.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

/// Of the bytes a URI may have behind its host; a colon only behind a slash, or it would end a scheme.
fn is_relative(text: &[u8]) -> bool {
    let taken = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(byte);
    let first = text.split(|byte| *byte == b'/').next().unwrap_or_default();
    text.iter().all(taken) && !first.contains(&b':')
}

/// `host:port`
fn is_server(server: &[u8]) -> bool {
    let (name, port) = match server.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']').and_then(|at| rest.split_at_checked(at));
            let Some((address, rest)) = end else { return false };
            let address = std::str::from_utf8(address).unwrap_or_default();
            return address.parse::<std::net::Ipv6Addr>().is_ok() && is_port(rest.get(1..).unwrap_or_default());
        }
        None => {
            let end = server.iter().position(|byte| *byte == b':').unwrap_or(server.len());
            server.split_at_checked(end).unwrap_or_default()
        }
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    !name.is_empty() && name.iter().all(is_name) && is_port(port)
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
    fn urls_and_relative_references_stay() {
        let urls = [
            "http://a",
            "https://a.example:80/x?y",
            "h1://a",
            "h+x://a",
            "http://[::1]:8080/",
            "http://a?q",
            "http://a/\"|<{}\\",
            "http://a/?q#",
            "http://@a",
            "http://a..b",
            "HTTP://A",
            "http://a:080/",
        ];
        let relative = ["", "1", "test", "/a", "//a", "a,b", "*", "?x", "a/b:c", "http//a", "~", "a%zz", "@a", "a;b"];
        for text in urls.iter().chain(&relative) {
            assert_eq!(left(&[text]), 1, "{text}");
        }
    }

    #[test]
    fn anything_else_goes() {
        let gone = [
            "a b",
            "http:",
            "http://",
            "http:///a",
            "http://a:x/",
            "http://a:65536",
            "http://a:",
            "http://a/ b",
            "http://a#z",
            "http://u@a",
            "http://u@v@a",
            "http://a_b/",
            "http://[a]/",
            "1h://a",
            "h_x://a",
            "a:b",
            ":80",
            "[::1]",
            "\u{e9}",
            "http://a/\u{e9}",
            "a|b",
            "\"q\"",
            "#f",
            "a#b",
        ];
        for text in gone {
            assert_eq!(left(&[text]), 0, "{text}");
        }
        assert_eq!(left(&["http://a", "http://a"]), 0, "two");
    }
}
