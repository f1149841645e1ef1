//! `envoy.type.matcher.v3`, and the matchers of a route.

message!(StringMatcher {
    exact: Option<String>, prefix: Option<String>, suffix: Option<String>, contains: Option<String>,
    safe_regex: Option<RegexMatcher>, custom: Option<serde_json::Value>, ignore_case: bool,
});
message!(RegexMatcher { google_re2: Option<serde_json::Value>, regex: String });
message!(RegexMatchAndSubstitute { pattern: Option<RegexMatcher>, substitution: String });
message!(Int64Range { start: crate::Int64, end: crate::Int64 });
message!(HeaderMatcher {
    name: String, exact_match: Option<String>, safe_regex_match: Option<RegexMatcher>, range_match: Option<Int64Range>,
    present_match: Option<bool>, prefix_match: Option<String>, suffix_match: Option<String>,
    contains_match: Option<String>, string_match: Option<StringMatcher>, invert_match: bool,
    treat_missing_header_as_empty: bool,
});
message!(QueryParameterMatcher { name: String, string_match: Option<StringMatcher>, present_match: Option<bool> });
message!(CookieMatcher { name: String, string_match: Option<StringMatcher>, invert_match: bool });
