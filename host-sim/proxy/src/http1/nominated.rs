//! Headers named by `connection`: they belong to this hop and are taken away before anything looks at the request.
//!
//! Source: Envoy's `Utility::sanitizeConnectionHeader`.

use bytes::Bytes;

use crate::headers::{self, HeaderList};

const MOST_NOMINATED: usize = 10;
const LONGEST_TE: usize = 256;

/// Takes nominated headers away; false where Envoy refuses the request: too many, a forwarding header, a pseudo-header.
pub(super) fn remove(list: &mut HeaderList) -> bool {
    let Some(connection) = headers::get(list, "connection").cloned() else { return true };
    let tokens: Vec<Vec<u8>> = connection
        .split(|&byte| byte == b',')
        .filter(|token| !token.is_empty())
        .map(|token| token.trim_ascii().to_ascii_lowercase())
        .collect();
    if tokens.len() >= MOST_NOMINATED {
        return false;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for token in &tokens {
        match token.as_slice() {
            keep @ (b"close" | b"http2-settings" | b"keep-alive" | b"upgrade" | b"connection") => kept.push(keep),
            b"x-forwarded-for" | b"x-forwarded-host" | b"x-forwarded-proto" => return false,
            [b':', ..] => return false,
            b"te" => match headers::get(list, "te").cloned() {
                Some(te) if te.len() >= LONGEST_TE => return false,
                Some(te) if names_trailers(&te) => {
                    headers::set_slot(list, "te", Bytes::from_static(b"trailers"));
                    kept.push(b"te");
                }
                _ => drop(headers::remove(list, b"te")),
            },
            b"host" => drop(headers::remove(list, b":authority")),
            other => drop(headers::remove(list, other)),
        }
    }
    if kept.is_empty() {
        headers::remove(list, b"connection");
    } else if kept.len() != tokens.len() {
        headers::set_slot(list, "connection", Bytes::from(kept.join(&b',')));
    }
    true
}

/// By itself: with a weight it is another word.
fn names_trailers(te: &[u8]) -> bool {
    te.split(|&byte| byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[(&'static str, &'static str)]) -> Option<String> {
        let mut list: HeaderList =
            lines.iter().map(|(k, v)| (Bytes::from_static(k.as_bytes()), Bytes::from_static(v.as_bytes()))).collect();
        remove(&mut list).then(|| {
            let lines =
                list.iter().map(|(k, v)| format!("{}={}", String::from_utf8_lossy(k), String::from_utf8_lossy(v)));
            lines.collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn what_connection_names_is_taken_away() {
        for (lines, expected) in [
            (&[("connection", "close, X-Foo"), ("x-foo", "1"), ("x-bar", "2")][..], Some("connection=close x-bar=2")),
            (&[("connection", "x-foo"), ("x-foo", "1")], Some("")),
            (&[("connection", "keep-alive")], Some("connection=keep-alive")),
            (&[("connection", "te"), ("te", "gzip;q=1, trailers")], Some("connection=te te=trailers")),
            (&[("connection", "te"), ("te", "gzip, trailers;q=1")], Some("")),
            (&[("connection", "te"), ("te", "gzip")], Some("")),
            (&[(":authority", "a"), ("connection", "host")], Some("")),
            (&[("connection", "x-forwarded-for")], None),
            (&[("connection", ":path")], None),
            (&[("connection", "a,b,c,d,e,f,g,h,i,j")], None),
            (&[("connection", "a,b,c,d,e,f,g,h,i")], Some("")),
        ] {
            assert_eq!(after(lines).as_deref(), expected, "{lines:?}");
        }
    }
}
