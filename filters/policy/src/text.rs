//! Envoy's `StringMatcher`: how one value is compared.
//!
//! Source: `envoy/type/matcher/v3/string.proto`. Bytes are compared; `ignore_case` is ASCII's and, as in Envoy, does not reach regexes.

use crate::regex::Regex;

/// One way to compare a value.
#[derive(Debug, Clone, PartialEq)]
pub struct StringMatcher {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    Regex(Regex),
}

impl StringMatcher {
    /// The whole value.
    pub fn exact(value: impl Into<Vec<u8>>, ignore_case: bool) -> StringMatcher {
        StringMatcher { kind: Kind::Exact(value.into()), ignore_case }
    }

    /// The value starts so.
    pub fn prefix(value: impl Into<Vec<u8>>, ignore_case: bool) -> StringMatcher {
        StringMatcher { kind: Kind::Prefix(value.into()), ignore_case }
    }

    /// The value ends so.
    pub fn suffix(value: impl Into<Vec<u8>>, ignore_case: bool) -> StringMatcher {
        StringMatcher { kind: Kind::Suffix(value.into()), ignore_case }
    }

    /// The value holds this somewhere.
    pub fn contains(value: impl Into<Vec<u8>>, ignore_case: bool) -> StringMatcher {
        StringMatcher { kind: Kind::Contains(value.into()), ignore_case }
    }

    /// The whole value matches; build it with [`Regex::full`].
    pub fn regex(regex: Regex) -> StringMatcher {
        StringMatcher { kind: Kind::Regex(regex), ignore_case: false }
    }

    /// Does this value match?
    pub fn matches(&self, value: &[u8]) -> bool {
        let fold = self.ignore_case;
        match &self.kind {
            Kind::Exact(want) => equal(value, want, fold),
            Kind::Prefix(want) => starts_with(value, want, fold),
            Kind::Suffix(want) => {
                let tail = value.len().checked_sub(want.len()).and_then(|at| value.get(at..));
                tail.is_some_and(|tail| equal(tail, want, fold))
            }
            Kind::Contains(want) => {
                want.is_empty() || value.windows(want.len()).any(|window| equal(window, want, fold))
            }
            Kind::Regex(regex) => regex.is_match(value),
        }
    }

    /// The one value that matches, if there is only one.
    pub fn only_value(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Exact(value) if !self.ignore_case => Some(value),
            _ => None,
        }
    }
}

impl std::fmt::Display for StringMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (how, what) = match &self.kind {
            Kind::Exact(value) => ("exactly", value.as_slice()),
            Kind::Prefix(value) => ("prefix", value.as_slice()),
            Kind::Suffix(value) => ("suffix", value.as_slice()),
            Kind::Contains(value) => ("containing", value.as_slice()),
            Kind::Regex(regex) => ("regex", regex.as_str().as_bytes()),
        };
        let case = if self.ignore_case { " in any case" } else { "" };
        write!(f, "{how} \"{}\"{case}", what.escape_ascii())
    }
}

pub(crate) fn equal(a: &[u8], b: &[u8], ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

pub(crate) fn starts_with(value: &[u8], prefix: &[u8], ignore_case: bool) -> bool {
    value.get(..prefix.len()).is_some_and(|head| equal(head, prefix, ignore_case))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(matcher: StringMatcher, yes: &[&[u8]], no: &[&[u8]]) {
        for value in yes {
            assert!(matcher.matches(value), "{matcher} should match {}", value.escape_ascii());
        }
        for value in no {
            assert!(!matcher.matches(value), "{matcher} should not match {}", value.escape_ascii());
        }
    }

    sentences! {
        fn exact_is_the_whole_value_and_its_case() {
            check(StringMatcher::exact("v1", false), &[b"v1"], &[b"V1", b"v11", b"", b"v1 "]);
        }

        fn an_empty_exact_matches_only_the_empty_value() {
            check(StringMatcher::exact("", false), &[b""], &[b" ", b"a"]);
        }

        fn case_is_ignored_in_ascii_only() {
            check(StringMatcher::exact("caf\u{e9}", true), &["CAF\u{e9}".as_bytes()], &["CAF\u{c9}".as_bytes()]);
        }

        fn a_prefix_is_bytes_not_words() {
            check(StringMatcher::prefix("beta", false), &[b"beta", b"betamax"], &[b"bet", b"Beta", b"abeta"]);
        }

        fn a_suffix_needs_room() {
            check(StringMatcher::suffix(".png", true), &[b"a.PNG", b".png"], &[b"png", b"a.png?"]);
        }

        fn contains_looks_everywhere() {
            check(StringMatcher::contains("ool", false), &[b"ool", b"cool", b"tools"], &[b"oo", b"oOl", b""]);
        }

        fn the_empty_string_is_contained_in_everything() {
            check(StringMatcher::contains("", false), &[b"", b"x"], &[]);
        }

        fn bytes_beyond_utf8_are_compared_like_any_other() {
            check(StringMatcher::prefix(vec![0xff], false), &[b"\xff", b"\xff\xfe"], &[b"\xfe", b""]);
        }
    }
}
