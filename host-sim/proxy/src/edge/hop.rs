//! Hop-by-hop headers of HTTP/1.1: what `Connection` nominates, `TE`, and upgrades.
//!
//! Source: Envoy's `http/http1/codec_impl.cc` and `Utility::sanitizeConnectionHeader`.

use bytes::Bytes;

use crate::headers::{self, HeaderList};

/// Ten or more tokens in `Connection` are refused.
const MAX_NOMINATED: usize = 10;
/// A nominated `TE` of this size or more is refused.
const MAX_TE: usize = 256;

/// `Connection` names something it must not, or too much: 400, and the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Connection header nominates what it must not")]
pub struct ConnectionRejected;

/// The protocol a request asks to switch to: it has both `Upgrade` and an `upgrade` token in `Connection`.
pub fn upgrade(headers: &[(Bytes, Bytes)]) -> Option<&Bytes> {
    let upgrade = headers::get(headers, "upgrade")?;
    let connection = headers::get(headers, "connection")?;
    tokens(connection).any(|token| token.eq_ignore_ascii_case(b"upgrade")).then_some(upgrade)
}

/// What an HTTP/1.1 codec does about `Connection` before anything else sees the request: an upgrade to h2c is ignored,
/// another upgrade leaves everything as it is, otherwise the nominated headers go.
pub fn sanitize_connection(headers: &mut HeaderList) -> Result<(), ConnectionRejected> {
    if !headers::has(headers, "connection") {
        return Ok(());
    }
    match upgrade(headers) {
        Some(protocol) if protocol.eq_ignore_ascii_case(b"h2c") => ignore_h2c(headers),
        Some(_) => return Ok(()),
        None => {}
    }
    let Some(connection) = headers::get(headers, "connection").cloned() else { return Ok(()) };
    let nominated: Vec<Vec<u8>> = connection
        .split(|&b| b == b',')
        .map(|token| token.trim_ascii().to_ascii_lowercase())
        .filter(|token| !token.is_empty())
        .collect();
    if nominated.len() >= MAX_NOMINATED {
        return Err(ConnectionRejected);
    }
    for name in &nominated {
        match name.as_slice() {
            b"close" | b"keep-alive" | b"upgrade" | b"http2-settings" | b"connection" => {}
            b"x-forwarded-for" | b"x-forwarded-host" | b"x-forwarded-proto" | [b':', ..] => {
                return Err(ConnectionRejected);
            }
            b"te" => {
                if headers::get(headers, "te").is_some_and(|te| te.len() >= MAX_TE) {
                    return Err(ConnectionRejected);
                }
                sanitize_te(headers);
            }
            b"host" => {
                headers::remove(headers, b":authority");
            }
            name => {
                headers::remove(headers, name);
            }
        }
    }
    Ok(())
}

fn ignore_h2c(headers: &mut HeaderList) {
    headers::remove(headers, b"upgrade");
    headers::remove(headers, b"http2-settings");
    let Some(connection) = headers::get(headers, "connection") else { return };
    let kept: Vec<&[u8]> = tokens(connection)
        .filter(|token| !token.eq_ignore_ascii_case(b"upgrade") && !token.eq_ignore_ascii_case(b"http2-settings"))
        .collect();
    let kept = Bytes::from(kept.join(&b','));
    if kept.is_empty() {
        headers::remove(headers, b"connection");
    } else {
        headers::set_slot(headers, "connection", kept);
    }
}

/// `TE` stays only as `trailers`, or empty.
pub fn sanitize_te(headers: &mut HeaderList) {
    let Some(te) = headers::get(headers, "te") else { return };
    if te == "trailers" || te.is_empty() {
        return;
    }
    if tokens(te).any(|token| token == b"trailers") {
        headers::set_slot(headers, "te", Bytes::from_static(b"trailers"));
    } else {
        headers::remove(headers, b"te");
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Does an HTTP/1.1 request of this method without a body and without a length go out with `content-length: 0`?
pub fn announces_empty_body(method: &[u8]) -> bool {
    !matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> HeaderList {
        pairs
            .iter()
            .map(|(k, v)| (Bytes::copy_from_slice(k.as_bytes()), Bytes::copy_from_slice(v.as_bytes())))
            .collect()
    }

    fn check(before: &[(&str, &str)], after: Option<&[(&str, &str)]>) {
        let mut headers = list(before);
        let verdict = sanitize_connection(&mut headers);
        match after {
            Some(after) => assert_eq!((verdict, headers), (Ok(()), list(after)), "{before:?}"),
            None => assert_eq!(verdict, Err(ConnectionRejected), "{before:?}"),
        }
    }

    #[test]
    fn nominated_headers_go() {
        check(
            &[("connection", "keep-alive, X-Foo"), ("x-foo", "1"), ("x-bar", "2")],
            Some(&[("connection", "keep-alive, X-Foo"), ("x-bar", "2")]),
        );
        check(&[("connection", "content-length"), ("content-length", "0")], Some(&[("connection", "content-length")]));
        check(&[("connection", "close")], Some(&[("connection", "close")]));
    }

    #[test]
    fn some_must_not_be_nominated_and_nine_are_the_most() {
        for bad in ["x-forwarded-for", "a, X-Forwarded-Proto", ":path", "a,b,c,d,e,f,g,h,i,j"] {
            check(&[("connection", bad)], None);
        }
        check(&[("connection", "a,b,c,d,e,f,g,h,i")], Some(&[("connection", "a,b,c,d,e,f,g,h,i")]));
    }

    #[test]
    fn te_is_trailers_or_nothing() {
        for (te, kept) in [
            ("trailers", true),
            ("gzip, trailers", true),
            ("gzip", false),
            ("Trailers", false),
            ("trailers;q=1", false),
        ] {
            let mut headers = list(&[("te", te)]);
            sanitize_te(&mut headers);
            assert_eq!(headers, if kept { list(&[("te", "trailers")]) } else { vec![] }, "{te}");
        }
        check(&[("connection", "te"), ("te", "gzip, trailers")], Some(&[("connection", "te"), ("te", "trailers")]));
    }

    #[test]
    fn h2c_is_ignored_and_another_upgrade_left_alone() {
        check(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "x")], Some(&[]));
        let websocket = [("connection", "upgrade, x-foo"), ("upgrade", "websocket"), ("x-foo", "1")];
        check(&websocket, Some(&websocket));
        assert_eq!(upgrade(&list(&websocket)), Some(&Bytes::from_static(b"websocket")));
        assert_eq!(upgrade(&list(&[("upgrade", "websocket")])), None);
    }
}
