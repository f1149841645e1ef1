//! Who a request is from, as a rule means it: the identity that stickiness and limits hang on.

use std::net::IpAddr;

use crate::cidr::mask;
use crate::cookie;
use crate::header;
use crate::matcher::Request;
use crate::query;

/// Sources tried in order; the first that the request has gives the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<Source>);

/// Where a key may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header, its copies joined with `,`; the name in lower case.
    Header(String),
    /// A cookie's first value.
    Cookie(String),
    /// A query parameter's first value.
    Query(String),
    /// The client's address, its last bits cleared.
    Client {
        /// Bits of an IPv4 address that count.
        ipv4: u8,
        /// Bits of an IPv6 address that count.
        ipv6: u8,
    },
    /// The strict path.
    Path,
    /// The authority without port, in lower case.
    Host,
    /// The name of Envoy's route.
    Route,
    /// Always the same.
    Constant(String),
    /// Every one of these; absent if one is.
    All(Vec<Source>),
}

impl Key {
    /// The sources, in order.
    pub fn new(sources: Vec<Source>) -> Key {
        Key(sources)
    }

    /// The sources, in order.
    pub fn sources(&self) -> &[Source] {
        &self.0
    }

    /// The request's key. Values of different sources never make the same key, so no header can pose as an address.
    pub fn of<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> Option<Vec<u8>> {
        self.0.iter().find_map(|source| {
            let mut out = Vec::with_capacity(32);
            source.write(request, &mut out).then_some(out)
        })
    }

    /// Does any source ask for this?
    pub fn uses(&self, asks: impl Fn(&Source) -> bool) -> bool {
        self.0.iter().any(|source| source.uses(&asks))
    }
}

/// The key a cookie of this value makes: what a minted cookie will be on the next request.
pub fn of_cookie(value: &[u8]) -> Vec<u8> {
    [b"c", value].concat()
}

impl Source {
    /// The value for people and other services: an address as it is written, bytes beyond UTF-8 escaped.
    pub fn text<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> Option<String> {
        match self {
            Source::Client { ipv4, ipv6 } => {
                let address = request.client?;
                Some(mask(address, if address.is_ipv4() { *ipv4 } else { *ipv6 }).to_string())
            }
            Source::All(parts) => {
                let parts: Option<Vec<String>> = parts.iter().map(|part| part.text(request)).collect();
                Some(parts?.join("|"))
            }
            _ => {
                let mut out = Vec::new();
                let there = self.write(request, &mut out);
                let value = out.get(1..)?;
                there.then(|| {
                    std::str::from_utf8(value).map_or_else(|_| value.escape_ascii().to_string(), str::to_owned)
                })
            }
        }
    }

    pub(crate) fn uses(&self, asks: &impl Fn(&Source) -> bool) -> bool {
        match self {
            Source::All(parts) => parts.iter().any(|part| part.uses(asks)),
            source => asks(source),
        }
    }

    /// A letter for the kind, then the value; in `All`, each part behind its length.
    fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>, out: &mut Vec<u8>) -> bool {
        let mut put = |kind: u8, value: Option<&[u8]>| {
            let Some(value) = value else { return false };
            out.push(kind);
            out.extend_from_slice(value);
            true
        };
        match self {
            Source::Header(name) => {
                let there = header::first(request.headers, name).is_some();
                let value = header::joined(header::copies(request.headers, name));
                put(b'h', there.then_some(&value))
            }
            Source::Cookie(name) => put(b'c', cookie::values(request.headers, name).next()),
            Source::Query(name) => {
                put(b'q', request.query.and_then(|query| query::first_value(query, name.as_bytes())))
            }
            Source::Client { ipv4, ipv6 } => match request.client {
                Some(address @ IpAddr::V4(_)) => put(b'a', Some(octets(mask(address, *ipv4)).as_slice())),
                Some(address @ IpAddr::V6(_)) => put(b'a', Some(octets(mask(address, *ipv6)).as_slice())),
                None => false,
            },
            Source::Path => put(b'p', Some(request.strict_path)),
            Source::Host => {
                let host = request.header(":authority").map(|authority| bare_host(authority).to_ascii_lowercase());
                put(b'o', host.as_deref())
            }
            Source::Route => put(b'r', request.route),
            Source::Constant(text) => put(b'=', Some(text.as_bytes())),
            Source::All(parts) => {
                out.push(b'+');
                parts.iter().all(|part| {
                    let mut piece = Vec::new();
                    let there = part.write(request, &mut piece);
                    let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(&piece);
                    there
                })
            }
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The authority without its port; an IPv6 host keeps its brackets.
fn bare_host(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|&b| b == b':');
    let port = colon.and_then(|at| authority.split_at_checked(at));
    match port {
        Some((host, port)) if !port.contains(&b']') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    const HEADERS: &[(&str, &str)] = &[
        (":path", "/a//b?k=1&k=2"),
        (":authority", "Shop.Example:8080"),
        ("x-user", "ann"),
        ("x-user", "bob"),
        ("cookie", "sid=7"),
    ];

    fn key(sources: Vec<Source>) -> Option<Vec<u8>> {
        let mut request = Request::new(HEADERS);
        request.strict_path = b"/a/b";
        request.client = Some("10.1.2.3".parse().unwrap());
        Key::new(sources).of(&request)
    }

    fn header(name: &str) -> Source {
        Source::Header(name.into())
    }

    sentences! {
        fn the_first_source_there_is_gives_the_key() {
            assert_eq!(key(vec![header("x-none"), Source::Cookie("sid".into())]).as_deref(), Some(&b"c7"[..]));
            assert_eq!(key(vec![header("x-user"), Source::Cookie("sid".into())]).as_deref(), Some(&b"hann,bob"[..]));
            assert_eq!(key(vec![header("x-none")]), None);
        }

        fn every_source_is_read_its_own_way() {
            assert_eq!(key(vec![Source::Query("k".into())]).as_deref(), Some(&b"q1"[..]));
            assert_eq!(key(vec![Source::Path]).as_deref(), Some(&b"p/a/b"[..]));
            assert_eq!(key(vec![Source::Host]).as_deref(), Some(&b"oshop.example"[..]));
            assert_eq!(key(vec![Source::Constant("all".into())]).as_deref(), Some(&b"=all"[..]));
            assert_eq!(key(vec![Source::Client { ipv4: 24, ipv6: 64 }]).as_deref(), Some(&[b'a', 10, 1, 2, 0][..]));
            assert_eq!(key(vec![Source::Route]), None);
        }

        fn several_together_need_every_one() {
            let both = Source::All(vec![Source::Host, Source::Cookie("sid".into())]);
            assert!(key(vec![both]).is_some());
            let half = Source::All(vec![Source::Host, header("x-none")]);
            assert_eq!(key(vec![half]), None);
        }

        fn no_value_poses_as_another() {
            let constant = |a: &str, b: &str| {
                key(vec![Source::All(vec![Source::Constant(a.into()), Source::Constant(b.into())])])
            };
            assert_ne!(constant("ab", "c"), constant("a", "bc"));
            assert_ne!(key(vec![Source::Constant("7".into())]), key(vec![Source::Cookie("sid".into())]));
        }

        fn a_minted_cookie_makes_the_key_its_cookie_will_make() {
            assert_eq!(key(vec![Source::Cookie("sid".into())]), Some(of_cookie(b"7")));
        }

        fn a_host_goes_without_its_port() {
            for (authority, host) in [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
                assert_eq!(bare_host(authority.as_bytes()), host.as_bytes());
            }
        }
    }
}
