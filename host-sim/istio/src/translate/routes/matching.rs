//! Match entries.

use xds::{HeaderMatcher, QueryParameterMatcher, RegexMatcher, RouteMatch, StringMatcher};

use crate::resource::virtual_service::{HttpMatch, StringMatch};

/// Without an entry: everything.
pub(super) fn route_match(matched: Option<&HttpMatch>) -> RouteMatch {
    let mut route_match = RouteMatch { prefix: Some("/".into()), ..RouteMatch::default() };
    let Some(matched) = matched else { return route_match };
    let claims = |name: &str| name.starts_with("@request.auth.claims");
    for (name, value) in matched.headers.iter().filter(|(name, _)| !claims(name)) {
        route_match.headers.push(header(name, value));
    }
    for (name, value) in matched.without_headers.iter().filter(|(name, _)| !claims(name)) {
        // A missing header counts as empty, so that it satisfies "not this value"; presence has no value to compare.
        route_match.headers.push(HeaderMatcher { invert_match: true, treat_missing_header_as_empty: !value.is_presence(), ..header(name, value) });
    }
    route_match.headers.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(uri) = &matched.uri {
        path(&mut route_match, uri);
    }
    route_match.case_sensitive = Some(!matched.ignore_uri_case);
    for (name, value) in [(":method", &matched.method), (":authority", &matched.authority), (":scheme", &matched.scheme)] {
        route_match.headers.extend(value.as_ref().map(|value| header(name, value)));
    }
    route_match.query_parameters = matched.query_params.iter().map(|(name, value)| query(name, value)).collect();
    route_match
}

fn path(route_match: &mut RouteMatch, uri: &StringMatch) {
    if uri.exact.is_some() || uri.regex.is_some() {
        route_match.prefix = None;
    }
    route_match.path.clone_from(&uri.exact);
    route_match.safe_regex = uri.regex.as_ref().map(|regex| RegexMatcher { regex: regex.clone(), ..RegexMatcher::default() });
    if let Some(prefix) = &uri.prefix {
        route_match.prefix = Some(prefix.clone());
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    let presence = value.is_presence();
    HeaderMatcher {
        name: name.to_owned(),
        present_match: presence.then_some(true),
        string_match: (!presence).then(|| string(value)),
        ..HeaderMatcher::default()
    }
}

fn query(name: &str, value: &StringMatch) -> QueryParameterMatcher {
    let presence = value.is_presence();
    QueryParameterMatcher {
        name: name.to_owned(),
        present_match: presence.then_some(true),
        string_match: (!presence).then(|| string(value)),
    }
}

/// Envoy's matcher of the same kind.
pub(super) fn string(value: &StringMatch) -> StringMatcher {
    StringMatcher {
        exact: value.exact.clone(),
        prefix: value.prefix.clone(),
        safe_regex: value.regex.as_ref().map(|regex| RegexMatcher { regex: regex.clone(), ..RegexMatcher::default() }),
        ..StringMatcher::default()
    }
}
