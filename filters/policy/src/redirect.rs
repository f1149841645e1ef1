//! The `Location` Envoy sends.
//!
//! Source: `RedirectAction` in `route_components.proto` and Envoy's `newUri`.

use crate::path::split_target;
use crate::regex::{Regex, Substitution};
use crate::rewrite;

/// Where a request is sent instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// `None` keeps the request's scheme.
    pub scheme: Option<String>,
    /// Host, or host and port; `None` keeps the request's authority, apart from a default port the new scheme makes wrong.
    pub host: Option<String>,
    /// Always written out when given.
    pub port: Option<u16>,
    /// What becomes of the path.
    pub path: RedirectPath,
    /// Drop the request's query. A query in [`RedirectPath::Full`] stays.
    pub strip_query: bool,
    /// The answer's status.
    pub code: RedirectCode,
}

/// What a redirect makes of the path.
#[derive(Debug, Clone, PartialEq)]
pub enum RedirectPath {
    /// As it is.
    Keep,
    /// This one; with a `?` in it, it replaces the query too.
    Full(String),
    /// This instead of what the route's prefix matched, byte for byte.
    Prefix(String),
    /// Every match replaced.
    Regex(Regex, Substitution),
}

/// The statuses Envoy redirects with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectCode {
    /// 301
    #[default]
    MovedPermanently,
    /// 302
    Found,
    /// 303
    SeeOther,
    /// 307
    TemporaryRedirect,
    /// 308
    PermanentRedirect,
}

impl RedirectCode {
    /// The code of a status, 0 standing for the default.
    pub fn from_status(status: u16) -> Option<RedirectCode> {
        Some(match status {
            0 | 301 => RedirectCode::MovedPermanently,
            302 => RedirectCode::Found,
            303 => RedirectCode::SeeOther,
            307 => RedirectCode::TemporaryRedirect,
            308 => RedirectCode::PermanentRedirect,
            _ => return None,
        })
    }

    /// The status.
    pub fn status(self) -> u16 {
        match self {
            RedirectCode::MovedPermanently => 301,
            RedirectCode::Found => 302,
            RedirectCode::SeeOther => 303,
            RedirectCode::TemporaryRedirect => 307,
            RedirectCode::PermanentRedirect => 308,
        }
    }
}

impl Redirect {
    /// The new URI for a request of this scheme, authority and target; `matched_len` is what its route's prefix matched. `forwarded` is
    /// `x-forwarded-proto`: it says which port was the default one.
    pub fn location(
        &self,
        (scheme, forwarded): (&[u8], &[u8]),
        authority: &[u8],
        target: &[u8],
        matched_len: Option<usize>,
    ) -> Vec<u8> {
        let new_scheme = self.scheme.as_deref().map_or(scheme, str::as_bytes);
        let host = match &self.host {
            Some(host) => host.as_bytes(),
            None => host_for(new_scheme, forwarded, authority, self.port.is_some()),
        };
        let mut uri = [new_scheme, b"://", host].concat();
        if let Some(port) = self.port {
            uri.extend_from_slice(format!(":{port}").as_bytes());
        }
        let path = self.target(target, matched_len);
        if !path.starts_with(b"/") {
            uri.push(b'/');
        }
        uri.extend_from_slice(&path);
        uri
    }

    /// The target with its path rewritten, where the redirect rewrites one; the query stays.
    pub fn rewritten(&self, target: &[u8], matched_len: Option<usize>) -> Option<Vec<u8>> {
        match &self.path {
            RedirectPath::Keep | RedirectPath::Full(_) => None,
            RedirectPath::Prefix(with) => {
                let matched = matched_len.unwrap_or_else(|| split_target(target).0.len());
                Some(rewrite::envoy_prefix_rewrite(target, matched, with.as_bytes()))
            }
            RedirectPath::Regex(regex, with) => Some(rewrite::regex_rewrite(target, regex, with)),
        }
    }

    fn target(&self, target: &[u8], matched_len: Option<usize>) -> Vec<u8> {
        let (_, query) = split_target(target);
        let mut new = match &self.path {
            RedirectPath::Full(full) if full.contains('?') => return full.as_bytes().to_vec(),
            RedirectPath::Full(full) => {
                let mut new = full.as_bytes().to_vec();
                if let Some(query) = query {
                    new.push(b'?');
                    new.extend_from_slice(query);
                }
                new
            }
            RedirectPath::Keep | RedirectPath::Prefix(_) | RedirectPath::Regex(..) => {
                self.rewritten(target, matched_len).unwrap_or_else(|| target.to_vec())
            }
        };
        if self.strip_query {
            let end = new.iter().position(|&b| b == b'?').unwrap_or(new.len());
            new.truncate(end);
        }
        new
    }
}

/// The request's authority, without a port that is replaced or was only the old scheme's default.
fn host_for<'a>(new_scheme: &[u8], forwarded: &[u8], authority: &'a [u8], new_port: bool) -> &'a [u8] {
    let colon = if authority.first() == Some(&b'[') {
        authority.windows(2).rposition(|pair| pair == b"]:").and_then(|at| at.checked_add(1))
    } else {
        authority.iter().rposition(|&b| b == b':')
    };
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else { return authority };
    let was_default = matches!((forwarded, port), (b"https", b":443") | (b"http", b":80"));
    if new_port || (new_scheme != forwarded && was_default) { host } else { authority }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn to() -> Redirect {
        let code = RedirectCode::default();
        Redirect { scheme: None, host: None, port: None, path: RedirectPath::Keep, strip_query: false, code }
    }

    fn check(redirect: Redirect, request: (&str, &str, &str), expected: &str) {
        let (scheme, authority, target) = request;
        let location =
            redirect.location((scheme.as_bytes(), scheme.as_bytes()), authority.as_bytes(), target.as_bytes(), Some(4));
        assert_eq!(String::from_utf8(location).unwrap(), expected, "{redirect:?} for {request:?}");
    }

    sentences! {
        fn nothing_said_is_nothing_changed() {
            check(to(), ("http", "a.b:8080", "/x?y"), "http://a.b:8080/x?y");
        }

        fn a_path_keeps_the_query_unless_it_brings_its_own() {
            check(Redirect { path: RedirectPath::Full("/n".into()), ..to() }, ("http", "a", "/x?y=1"), "http://a/n?y=1");
            check(Redirect { path: RedirectPath::Full("/n?z".into()), ..to() }, ("http", "a", "/x?y=1"), "http://a/n?z");
            check(Redirect { path: RedirectPath::Full("n".into()), ..to() }, ("http", "a", "/x"), "http://a/n");
        }

        fn the_query_can_be_dropped() {
            check(Redirect { strip_query: true, ..to() }, ("http", "a", "/x?y"), "http://a/x");
            let own = Redirect { strip_query: true, path: RedirectPath::Full("/n?z".into()), ..to() };
            check(own, ("http", "a", "/x?y"), "http://a/n?z");
        }

        fn a_prefix_is_replaced_byte_for_byte() {
            check(Redirect { path: RedirectPath::Prefix("/n".into()), ..to() }, ("http", "a", "/old/x?y"), "http://a/n/x?y");
        }

        fn a_default_port_goes_with_its_scheme() {
            let https = || Redirect { scheme: Some("https".into()), ..to() };
            check(https(), ("http", "a:80", "/"), "https://a/");
            check(https(), ("http", "a:8080", "/"), "https://a:8080/");
            check(https(), ("https", "a:443", "/"), "https://a:443/");
            check(https(), ("http", "[::1]:80", "/"), "https://[::1]/");
            check(https(), ("http", "[::1]", "/"), "https://[::1]/");
            let unknown = https().location((b"http", b"ftp"), b"a:80", b"/", None);
            assert_eq!(unknown, b"https://a:80/", "who came by no scheme we know came to no default port");
        }

        fn a_port_replaces_the_port() {
            check(Redirect { port: Some(8443), ..to() }, ("http", "a:80", "/"), "http://a:8443/");
            check(Redirect { port: Some(80), host: Some("b".into()), ..to() }, ("http", "a:81", "/"), "http://b:80/");
        }

        fn the_statuses_are_envoys() {
            let statuses = [301, 302, 303, 307, 308];
            for status in statuses {
                assert_eq!(RedirectCode::from_status(status).map(RedirectCode::status), Some(status));
            }
            assert_eq!(RedirectCode::from_status(0), Some(RedirectCode::MovedPermanently));
            assert_eq!(RedirectCode::from_status(304), None);
        }
    }
}
