//! The conditions of one route or rule entry, and what a request shows them.

use std::net::IpAddr;

use crate::cidr::Cidr;
use crate::cookie::CookieMatcher;
use crate::header::{self, HeaderMatcher};
use crate::path::{PathMatcher, split_target};
use crate::query::{self, QueryMatcher};

/// What conditions may look at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a, K, V> {
    /// Names in lower case, pseudo-headers included.
    pub headers: &'a [(K, V)],
    /// Without query and fragment.
    pub path: &'a [u8],
    /// Without its `?`.
    pub query: Option<&'a [u8]>,
    /// The path's [strict view](crate::strict::strict); who has no rule that asks for it may leave `path` here.
    pub strict_path: &'a [u8],
    /// Who connected; a condition on addresses fails while this is unknown.
    pub client: Option<IpAddr>,
    /// The name of the route Envoy chose, where a key asks for it.
    pub route: Option<&'a [u8]>,
}

impl<'a, K: AsRef<[u8]>, V: AsRef<[u8]>> Request<'a, K, V> {
    /// Reads the target from `:path`; no strict view, no client.
    pub fn new(headers: &'a [(K, V)]) -> Request<'a, K, V> {
        let (path, query) = split_target(header::first(headers, ":path").unwrap_or_default());
        Request { headers, path, query, strict_path: path, client: None, route: None }
    }

    /// The first copy of a header; the name in lower case.
    pub fn header(&self, name: &'a str) -> Option<&'a [u8]> {
        header::first(self.headers, name)
    }
}

/// Which spelling of the path is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathView {
    /// The bytes the client sent, as Envoy normalised them.
    #[default]
    AsSent,
    /// See [`strict`](crate::strict::strict).
    Strict,
}

/// One set of conditions; all must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestMatcher {
    /// The path's condition.
    pub path: PathMatcher,
    /// Which spelling of the path.
    pub view: PathView,
    /// Conditions on headers; method, scheme and authority are conditions on `:method`, `:scheme`, `:authority`.
    pub headers: Vec<HeaderMatcher>,
    /// Conditions on query parameters.
    pub query: Vec<QueryMatcher>,
    /// Conditions on cookies.
    pub cookies: Vec<CookieMatcher>,
    /// The client is in one of these; no range means any client.
    pub clients: Vec<Cidr>,
}

impl Default for RequestMatcher {
    /// Matches everything.
    fn default() -> RequestMatcher {
        RequestMatcher {
            path: PathMatcher::any(),
            view: PathView::AsSent,
            headers: Vec::new(),
            query: Vec::new(),
            cookies: Vec::new(),
            clients: Vec::new(),
        }
    }
}

/// The first condition that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// `path`, `headers.x-user`, `queryParams.k`, `cookies.sid`, `clientIp`; `method`, `scheme`, `authority` for pseudo-headers.
    pub field: String,
    /// What was asked.
    pub expected: String,
    /// What was there; `None` if nothing was.
    pub actual: Option<String>,
}

enum Failed<'m> {
    Path(&'m PathMatcher),
    Header(&'m HeaderMatcher),
    Query(&'m QueryMatcher),
    Cookie(&'m CookieMatcher),
    Client(&'m [Cidr]),
}

impl RequestMatcher {
    /// Do all conditions hold?
    pub fn matches<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> bool {
        self.first_failure(request).is_none()
    }

    /// The same answer, with the reason for a no.
    pub fn explain<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> Result<(), Miss> {
        self.first_failure(request).map_or(Ok(()), |failed| Err(failed.describe(self, request)))
    }

    fn first_failure<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> Option<Failed<'_>> {
        if !self.path.matches(self.seen_path(request)) {
            return Some(Failed::Path(&self.path));
        }
        if let Some(failed) = self.headers.iter().find(|header| !header.matches(request.headers)) {
            return Some(Failed::Header(failed));
        }
        if let Some(failed) = self.query.iter().find(|param| !param.matches_in(request.query)) {
            return Some(Failed::Query(failed));
        }
        if let Some(failed) = self.cookies.iter().find(|cookie| !cookie.matches(request.headers)) {
            return Some(Failed::Cookie(failed));
        }
        let known = |client| self.clients.iter().any(|range| range.contains(client));
        (!self.clients.is_empty() && !request.client.is_some_and(known)).then_some(Failed::Client(&self.clients))
    }

    fn seen_path<'a, K, V>(&self, request: &Request<'a, K, V>) -> &'a [u8] {
        match self.view {
            PathView::AsSent => request.path,
            PathView::Strict => request.strict_path,
        }
    }
}

impl QueryMatcher {
    /// A target without `?` has no parameters at all.
    fn matches_in(&self, query: Option<&[u8]>) -> bool {
        query.is_some_and(|query| self.matches(query))
    }
}

impl Failed<'_> {
    fn describe<K: AsRef<[u8]>, V: AsRef<[u8]>>(self, matcher: &RequestMatcher, request: &Request<'_, K, V>) -> Miss {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match self {
            Failed::Path(path) => {
                let seen = matcher.seen_path(request);
                Miss { field: "path".into(), expected: path.to_string(), actual: Some(text(seen)) }
            }
            Failed::Header(wanted) => {
                let name = wanted.name();
                let field = name.strip_prefix(':').map_or_else(|| format!("headers.{name}"), str::to_owned);
                let there = header::copies(request.headers, name).next().is_some();
                let actual = there.then(|| text(&header::joined(header::copies(request.headers, name))));
                Miss { field, expected: wanted.to_string(), actual }
            }
            Failed::Query(wanted) => {
                let actual = request.query.and_then(|query| query::first_value(query, wanted.name().as_bytes()));
                let field = format!("queryParams.{}", wanted.name());
                Miss { field, expected: wanted.to_string(), actual: actual.map(text) }
            }
            Failed::Cookie(wanted) => {
                let actual = crate::cookie::values(request.headers, wanted.name()).next();
                let field = format!("cookies.{}", wanted.name());
                Miss { field, expected: wanted.to_string(), actual: actual.map(text) }
            }
            Failed::Client(ranges) => {
                let listed = ranges.iter().map(Cidr::to_string).collect::<Vec<_>>().join(", ");
                let actual = request.client.map(|client| client.to_string());
                Miss { field: "clientIp".into(), expected: format!("in {listed}"), actual }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;
    use crate::text::StringMatcher;

    const REQUEST: &[(&str, &str)] = &[
        (":method", "GET"),
        (":path", "/shop/cart?item=7"),
        (":authority", "shop.example"),
        ("x-user", "ann"),
        ("x-user", "bob"),
        ("cookie", "sid=1"),
    ];

    fn exact(value: &str) -> StringMatcher {
        StringMatcher::exact(value, false)
    }

    fn check(matcher: RequestMatcher, expected: Result<(), (&str, &str, Option<&str>)>) {
        let mut request = Request::new(REQUEST);
        request.client = Some("10.1.2.3".parse().unwrap());
        let said = matcher.explain(&request);
        let expected = expected.map_err(|(field, expected, actual)| Miss {
            field: field.into(),
            expected: expected.into(),
            actual: actual.map(str::to_owned),
        });
        assert_eq!(said, expected);
        assert_eq!(matcher.matches(&request), expected.is_ok());
    }

    sentences! {
        fn no_condition_takes_every_request() {
            check(RequestMatcher::default(), Ok(()));
        }

        fn all_conditions_must_hold() {
            let matcher = RequestMatcher {
                path: PathMatcher::prefix("/shop", false),
                headers: vec![HeaderMatcher::value(":method", exact("GET"))],
                query: vec![QueryMatcher::value("item", exact("7"))],
                cookies: vec![CookieMatcher::present("sid")],
                clients: vec![Cidr::parse("10.0.0.0/8").unwrap()],
                ..RequestMatcher::default()
            };
            check(matcher, Ok(()));
        }

        fn the_first_failure_is_told() {
            let path = RequestMatcher { path: PathMatcher::exact("/shop", false), ..RequestMatcher::default() };
            check(path, Err(("path", "exactly \"/shop\"", Some("/shop/cart"))));
            let user = HeaderMatcher::value("x-user", exact("cid"));
            let header = RequestMatcher { headers: vec![user], ..RequestMatcher::default() };
            check(header, Err(("headers.x-user", "exactly \"cid\"", Some("ann,bob"))));
            let method = HeaderMatcher::value(":method", exact("PUT"));
            let method = RequestMatcher { headers: vec![method], ..RequestMatcher::default() };
            check(method, Err(("method", "exactly \"PUT\"", Some("GET"))));
            let query = RequestMatcher { query: vec![QueryMatcher::present("q")], ..RequestMatcher::default() };
            check(query, Err(("queryParams.q", "present", None)));
            let cookie = CookieMatcher::value("sid", exact("2"));
            let cookie = RequestMatcher { cookies: vec![cookie], ..RequestMatcher::default() };
            check(cookie, Err(("cookies.sid", "exactly \"2\"", Some("1"))));
            let clients = vec![Cidr::parse("192.168.0.0/16").unwrap()];
            let client = RequestMatcher { clients, ..RequestMatcher::default() };
            check(client, Err(("clientIp", "in 192.168.0.0/16", Some("10.1.2.3"))));
        }

        fn the_strict_view_is_matched_when_asked() {
            let path = PathMatcher::exact("/admin", false);
            let headers = [(":path", "/x/..%2fadmin;v=1")];
            let mut request = Request::new(&headers);
            let seen = crate::strict::strict(request.path);
            request.strict_path = &seen;
            let as_sent = RequestMatcher { path: path.clone(), ..RequestMatcher::default() };
            let strict = RequestMatcher { path, view: PathView::Strict, ..RequestMatcher::default() };
            assert!(!as_sent.matches(&request));
            assert!(strict.matches(&request));
        }
    }
}
