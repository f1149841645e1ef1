//! `xds` matchers lowered to the matchers of `policy`. A function that returns `None` has noted an error.

use policy::cookie::CookieMatcher;
use policy::header::HeaderMatcher;
use policy::path::PathMatcher;
use policy::query::QueryMatcher;
use policy::regex::Regex;
use policy::template::Template;
use policy::text::StringMatcher;

use super::error::{Errors, Path};

pub(super) fn path(route: &xds::RouteMatch, at: &Path<'_>, errors: &mut Errors) -> PathMatcher {
    let ignore_case = route.case_sensitive == Some(false);
    if let Some(prefix) = &route.prefix {
        return PathMatcher::prefix(prefix.as_str(), ignore_case);
    }
    if let Some(path) = &route.path {
        return PathMatcher::exact(path.as_str(), ignore_case);
    }
    if let Some(prefix) = &route.path_separated_prefix {
        return PathMatcher::segment_prefix(prefix.as_str(), ignore_case);
    }
    if let Some(regex) = &route.safe_regex {
        let compiled = errors.note(&at.field("safe_regex"), Regex::full(&regex.regex));
        return compiled.map_or(PathMatcher::any(), PathMatcher::regex);
    }
    if let Some(policy) = &route.path_match_policy {
        return template(policy, &at.field("path_match_policy"), errors);
    }
    if route.connect_matcher.is_none() {
        errors.refuse(
            at,
            "a route needs prefix, path, path_separated_prefix, safe_regex, path_match_policy or connect_matcher",
        );
    }
    PathMatcher::any()
}

/// `envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig`
fn template(policy: &xds::TypedExtensionConfig, at: &Path<'_>, errors: &mut Errors) -> PathMatcher {
    let text = policy.typed_config.as_ref().and_then(|any| any.fields().get("path_template")?.as_str());
    let Some(text) = text else {
        errors.refuse(at, "only UriTemplateMatchConfig with a path_template is known");
        return PathMatcher::any();
    };
    errors.note(at, Template::parse(text)).map_or(PathMatcher::any(), PathMatcher::template)
}

/// A string matcher.
pub(crate) fn string(matcher: &xds::StringMatcher, at: &Path<'_>, errors: &mut Errors) -> Option<StringMatcher> {
    let fold = matcher.ignore_case;
    if let Some(value) = &matcher.exact {
        return Some(StringMatcher::exact(value.as_str(), fold));
    }
    if let Some(value) = &matcher.prefix {
        return non_empty(value, "prefix", at, errors).map(|value| StringMatcher::prefix(value, fold));
    }
    if let Some(value) = &matcher.suffix {
        return non_empty(value, "suffix", at, errors).map(|value| StringMatcher::suffix(value, fold));
    }
    if let Some(value) = &matcher.contains {
        return non_empty(value, "contains", at, errors).map(|value| StringMatcher::contains(value, fold));
    }
    if let Some(regex) = &matcher.safe_regex {
        return errors.note(&at.field("safe_regex"), Regex::full(&regex.regex)).map(StringMatcher::regex);
    }
    errors.refuse(at, "a string matcher needs exact, prefix, suffix, contains or safe_regex");
    None
}

fn non_empty<'v>(value: &'v str, field: &str, at: &Path<'_>, errors: &mut Errors) -> Option<&'v str> {
    if value.is_empty() {
        errors.refuse(&at.field(field), "Envoy refuses an empty value here; ask for presence instead");
        return None;
    }
    Some(value)
}

/// A header matcher.
pub(crate) fn header(matcher: &xds::HeaderMatcher, at: &Path<'_>, errors: &mut Errors) -> Option<HeaderMatcher> {
    let name = match matcher.name.to_ascii_lowercase() {
        name if name == "host" => ":authority".to_owned(),
        name => name,
    };
    let value = header_value(matcher, at, errors)?;
    let made = match value {
        HeaderTest::Present => HeaderMatcher::present(name),
        HeaderTest::Value(value) => HeaderMatcher::value(name, value),
        HeaderTest::Range(start, end) => HeaderMatcher::range(name, start, end),
    };
    // `present_match: false` asks for absence.
    let absent = matcher.present_match == Some(false);
    Some(made.inverted(matcher.invert_match != absent).missing_as_empty(matcher.treat_missing_header_as_empty))
}

enum HeaderTest {
    Present,
    Value(StringMatcher),
    Range(i64, i64),
}

fn header_value(matcher: &xds::HeaderMatcher, at: &Path<'_>, errors: &mut Errors) -> Option<HeaderTest> {
    if let Some(value) = &matcher.string_match {
        return string(value, &at.field("string_match"), errors).map(HeaderTest::Value);
    }
    if let Some(range) = &matcher.range_match {
        return Some(HeaderTest::Range(range.start.0, range.end.0));
    }
    // The deprecated fields. An empty exact one asks for presence.
    let old = xds::StringMatcher {
        exact: matcher.exact_match.clone().filter(|exact| !exact.is_empty()),
        prefix: matcher.prefix_match.clone(),
        suffix: matcher.suffix_match.clone(),
        contains: matcher.contains_match.clone(),
        safe_regex: matcher.safe_regex_match.clone(),
        ..xds::StringMatcher::default()
    };
    if old == xds::StringMatcher::default() {
        return Some(HeaderTest::Present);
    }
    string(&old, at, errors).map(HeaderTest::Value)
}

/// A query parameter matcher.
pub(crate) fn query(matcher: &xds::QueryParameterMatcher, at: &Path<'_>, errors: &mut Errors) -> Option<QueryMatcher> {
    let name = matcher.name.clone();
    match &matcher.string_match {
        Some(value) => Some(QueryMatcher::value(name, string(value, &at.field("string_match"), errors)?)),
        None => Some(QueryMatcher::present(name)),
    }
}

/// A cookie matcher.
pub(super) fn cookie(matcher: &xds::CookieMatcher, at: &Path<'_>, errors: &mut Errors) -> Option<CookieMatcher> {
    errors.unsupported(at, "invert_match", matcher.invert_match);
    let name = matcher.name.clone();
    match &matcher.string_match {
        Some(value) => Some(CookieMatcher::value(name, string(value, &at.field("string_match"), errors)?)),
        None => Some(CookieMatcher::present(name)),
    }
}
