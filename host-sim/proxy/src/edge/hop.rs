//! Hop-by-hop headers of HTTP/1.1: `TE` and upgrades. What `Connection` nominates is the codec's (`http1/nominated.rs`).
//!
//! Source: Envoy's `Utility::isUpgrade` and `ConnectionManagerUtility::sanitizeTEHeader`.

use bytes::Bytes;

use crate::headers::{self, HeaderList};

/// The protocol a request asks to switch to: it has both `Upgrade` and an `upgrade` token in `Connection`.
pub fn upgrade(headers: &[(Bytes, Bytes)]) -> Option<&Bytes> {
    let upgrade = headers::get(headers, "upgrade")?;
    let connection = headers::get(headers, "connection")?;
    tokens(connection).any(|token| token.eq_ignore_ascii_case(b"upgrade")).then_some(upgrade)
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
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        let websocket = [("connection", "upgrade, x-foo"), ("upgrade", "websocket"), ("x-foo", "1")];
        assert_eq!(upgrade(&list(&websocket)), Some(&Bytes::from_static(b"websocket")));
        assert_eq!(upgrade(&list(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&list(&[("connection", "close"), ("upgrade", "websocket")])), None);
    }
}
