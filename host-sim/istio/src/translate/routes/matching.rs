//! Match entries.

use serde_json::{Value, json};
use xds::{HeaderMatcher, QueryParameterMatcher, RegexMatcher, RouteMatch, StringMatcher};

use crate::resource::{
    claim,
    virtual_service::{HttpMatch, StringMatch},
};

/// Without an entry: everything.
pub(crate) fn route_match(matched: Option<&HttpMatch>) -> RouteMatch {
    let mut route_match = RouteMatch { prefix: Some("/".into()), ..RouteMatch::default() };
    let Some(matched) = matched else { return route_match };
    for (name, value) in &matched.headers {
        match claim::path(name) {
            Some(path) => route_match.dynamic_metadata.push(claims(&path, value, false)),
            None => route_match.headers.push(header(name, value)),
        }
    }
    for (name, value) in &matched.without_headers {
        if let Some(path) = claim::path(name) {
            route_match.dynamic_metadata.push(claims(&path, value, true));
            continue;
        }
        // A missing header counts as empty, so that it satisfies "not this value"; presence has no value to compare.
        route_match.headers.push(HeaderMatcher {
            invert_match: true,
            treat_missing_header_as_empty: !value.is_presence(),
            ..header(name, value)
        });
    }
    route_match.headers.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(uri) = &matched.uri {
        path(&mut route_match, uri);
    }
    route_match.case_sensitive = Some(!matched.ignore_uri_case);
    for (name, value) in
        [(":method", &matched.method), (":authority", &matched.authority), (":scheme", &matched.scheme)]
    {
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
    route_match.safe_regex =
        uri.regex.as_ref().map(|regex| RegexMatcher { regex: regex.clone(), ..RegexMatcher::default() });
    if let Some(prefix) = &uri.prefix {
        route_match.prefix = Some(prefix.clone());
    }
}

/// The claim is that string, or a list with it.
fn claims(path: &[&str], value: &StringMatch, invert: bool) -> Value {
    let keys: Vec<Value> =
        std::iter::once("payload").chain(path.iter().copied()).map(|key| json!({"key": key})).collect();
    let own = json!({"string_match": string(value)});
    let either = json!({"or_match": {"value_matchers": [{"list_match": {"one_of": own}}, own]}});
    let mut matcher = json!({"filter": "envoy.filters.http.jwt_authn", "path": keys, "value": either});
    if let (true, Some(fields)) = (invert, matcher.as_object_mut()) {
        fields.insert("invert".to_owned(), true.into());
    }
    matcher
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
