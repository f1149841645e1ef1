//! Cookies, read as RFC 6265 pairs over every `cookie` header.

use crate::header;
use crate::text::StringMatcher;

/// What one cookie must be. Any occurrence of the name may be the one that matches.
#[derive(Debug, Clone, PartialEq)]
pub struct CookieMatcher {
    name: String,
    value: Option<StringMatcher>,
}

impl CookieMatcher {
    /// The cookie is there.
    pub fn present(name: impl Into<String>) -> CookieMatcher {
        CookieMatcher { name: name.into(), value: None }
    }

    /// The cookie's value compares so.
    pub fn value(name: impl Into<String>, value: StringMatcher) -> CookieMatcher {
        CookieMatcher { name: name.into(), value: Some(value) }
    }

    /// The cookie looked at; names are case-sensitive.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Do these headers carry such a cookie?
    pub fn matches<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, headers: &[(K, V)]) -> bool {
        values(headers, &self.name).any(|value| self.value.as_ref().is_none_or(|matcher| matcher.matches(value)))
    }
}

impl std::fmt::Display for CookieMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            None => f.write_str("present"),
            Some(value) => value.fmt(f),
        }
    }
}

/// Every value of a cookie, double quotes around it taken off.
pub fn values<'h, K: AsRef<[u8]>, V: AsRef<[u8]>>(
    headers: &'h [(K, V)],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> {
    header::copies(headers, "cookie").flat_map(|line| line.split(|&b| b == b';')).filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(lines: &[&str], name: &str, expected: &[&str]) {
        let headers: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        let found: Vec<_> = values(&headers, name).map(|value| std::str::from_utf8(value).unwrap()).collect();
        assert_eq!(found, expected, "{name} in {lines:?}");
    }

    sentences! {
        fn a_cookie_is_found_wherever_it_stands() {
            check(&["a=1; b=2; c=3"], "a", &["1"]);
            check(&["a=1; b=2; c=3"], "b", &["2"]);
            check(&["a=1;b=2;c=3"], "c", &["3"]);
        }

        fn a_name_is_not_a_prefix_and_has_its_case() {
            check(&["ab=1; A=2"], "a", &[]);
        }

        fn quotes_are_not_part_of_the_value() {
            check(&["a=\"1\"; b=\"2"], "a", &["1"]);
            check(&["a=\"1\"; b=\"2"], "b", &["\"2"]);
        }

        fn every_header_and_every_occurrence_counts() {
            check(&["a=1; a=2", "a=3"], "a", &["1", "2", "3"]);
        }

        fn a_value_may_hold_equals_signs_and_may_be_empty() {
            check(&["a=x=y; b="], "a", &["x=y"]);
            check(&["a=x=y; b="], "b", &[""]);
        }

        fn a_word_without_a_value_is_no_cookie() {
            check(&["a; b=1"], "a", &[]);
        }

        fn any_occurrence_may_match() {
            let headers = [("cookie", "v=1"), ("cookie", "v=2")];
            assert!(CookieMatcher::value("v", StringMatcher::exact("2", false)).matches(&headers));
            assert!(CookieMatcher::present("v").matches(&headers));
            assert!(!CookieMatcher::present("w").matches(&headers));
        }
    }
}
