//! Envoy's `QueryParameterMatcher`: what a query parameter must be.
//!
//! Source: Envoy's `config_utility.cc` and the query parser of `http/utility.cc`: keys and values are compared as they were
//! sent, never percent-decoded; the first value of a repeated key counts; `?k` is an empty value.

use crate::text::StringMatcher;

/// What one parameter must be.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMatcher {
    name: String,
    value: Option<StringMatcher>,
}

impl QueryMatcher {
    /// The parameter is there, with any value or none.
    pub fn present(name: impl Into<String>) -> QueryMatcher {
        QueryMatcher { name: name.into(), value: None }
    }

    /// The parameter's first value compares so.
    pub fn value(name: impl Into<String>, value: StringMatcher) -> QueryMatcher {
        QueryMatcher { name: name.into(), value: Some(value) }
    }

    /// The parameter looked at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does this query, without its `?`, pass?
    pub fn matches(&self, query: &[u8]) -> bool {
        match (first_value(query, self.name.as_bytes()), &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(matcher)) => matcher.matches(value),
        }
    }
}

impl std::fmt::Display for QueryMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            None => f.write_str("present"),
            Some(value) => value.fmt(f),
        }
    }
}

/// The first value of a key, as it was sent.
pub fn first_value<'q>(query: &'q [u8], key: &[u8]) -> Option<&'q [u8]> {
    query.split(|&b| b == b'&').find_map(|pair| {
        let value = pair.strip_prefix(key)?;
        match value {
            [] => Some(value),
            [b'=', rest @ ..] => Some(rest),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(matcher: QueryMatcher, yes: &[&str], no: &[&str]) {
        for query in yes {
            assert!(matcher.matches(query.as_bytes()), "{} {matcher} in {query}", matcher.name());
        }
        for query in no {
            assert!(!matcher.matches(query.as_bytes()), "{} {matcher} not in {query}", matcher.name());
        }
    }

    fn exact(key: &str, value: &str) -> QueryMatcher {
        QueryMatcher::value(key, StringMatcher::exact(value, false))
    }

    sentences! {
        fn the_first_value_of_a_repeated_key_counts() {
            check(exact("k", "1"), &["k=1", "k=1&k=2", "a=0&k=1"], &["k=2&k=1", "", "k", "K=1", "kk=1"]);
        }

        fn a_key_without_a_value_is_empty() {
            check(exact("k", ""), &["k", "k=", "a&k"], &["k=1", "", "kx"]);
        }

        fn nothing_is_decoded() {
            check(exact("k", "a b"), &["k=a b"], &["k=a%20b", "k=a+b"]);
            check(exact("a[]", "1"), &["a[]=1"], &["a%5B%5D=1"]);
        }

        fn only_the_first_equals_sign_divides() {
            check(exact("k", "a=b"), &["k=a=b"], &["k=a"]);
        }

        fn presence_takes_any_value() {
            check(QueryMatcher::present("k"), &["k", "k=", "k=1", "a&k=2"], &["", "kk", "a=k"]);
        }
    }
}
