//! Envoy's `HeaderMatcher`: what a header must be.
//!
//! Source: `envoy/config/route/v3/route_components.proto`, and Envoy 1.40 as measured: one copy of a repeated header that passes is
//! enough, inverted none may pass; a missing header matches nothing, inverted or not, unless presence was asked or it counts as empty.

use std::borrow::Cow;

use crate::text::StringMatcher;

/// What one header must be.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatcher {
    name: String,
    test: Test,
    invert: bool,
    treat_missing_as_empty: bool,
    copies: Copies,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Present,
    Value(StringMatcher),
    /// Half open, as Envoy's `Int64Range`.
    Range {
        start: i64,
        end: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    Any,
    Every,
}

impl HeaderMatcher {
    fn new(name: impl Into<String>, test: Test) -> HeaderMatcher {
        let name = name.into().to_ascii_lowercase();
        HeaderMatcher { name, test, invert: false, treat_missing_as_empty: false, copies: Copies::Any }
    }

    /// The header is there, with any value, the empty one included.
    pub fn present(name: impl Into<String>) -> HeaderMatcher {
        HeaderMatcher::new(name, Test::Present)
    }

    /// The value compares so.
    pub fn value(name: impl Into<String>, value: StringMatcher) -> HeaderMatcher {
        HeaderMatcher::new(name, Test::Value(value))
    }

    /// The value is a decimal number in `start..end`.
    pub fn range(name: impl Into<String>, start: i64, end: i64) -> HeaderMatcher {
        HeaderMatcher::new(name, Test::Range { start, end })
    }

    /// The opposite answer: no copy passes. A missing header still does not match, unless presence was asked.
    pub fn inverted(mut self, invert: bool) -> HeaderMatcher {
        self.invert = invert;
        self
    }

    /// A missing header is compared as an empty value.
    pub fn missing_as_empty(mut self, empty: bool) -> HeaderMatcher {
        self.treat_missing_as_empty = empty;
        self
    }

    /// Every copy of a repeated header must pass, instead of any one.
    pub fn every_copy(mut self, every: bool) -> HeaderMatcher {
        self.copies = if every { Copies::Every } else { Copies::Any };
        self
    }

    /// The header looked at, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Do these headers pass?
    pub fn matches<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, headers: &[(K, V)]) -> bool {
        let mut copies = copies(headers, &self.name).peekable();
        let passes = match (copies.peek().is_some(), self.copies) {
            (false, _) if !self.treat_missing_as_empty => {
                return matches!(self.test, Test::Present) && self.invert;
            }
            (false, _) => self.test.passes(b""),
            (true, Copies::Every) => copies.all(|copy| self.test.passes(copy)),
            (true, Copies::Any) => copies.any(|copy| self.test.passes(copy)),
        };
        passes != self.invert
    }

    /// The single value this header must have, when only one will do: what an index may look up.
    pub(crate) fn only_value(&self) -> Option<&[u8]> {
        match &self.test {
            Test::Value(value) if !self.invert && !self.treat_missing_as_empty && self.copies != Copies::Every => {
                value.only_value()
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for HeaderMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let not = if self.invert { "not " } else { "" };
        let every = if self.copies == Copies::Every { "in every copy " } else { "" };
        match &self.test {
            Test::Present => write!(f, "{}", if self.invert { "absent" } else { "present" }),
            Test::Value(value) => write!(f, "{every}{not}{value}"),
            Test::Range { start, end } => write!(f, "{every}{not}a number from {start} up to but not including {end}"),
        }
    }
}

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Test::Present => true,
            Test::Value(matcher) => matcher.matches(value),
            Test::Range { start, end } => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.trim_ascii().parse::<i64>().ok());
                number.is_some_and(|number| (*start..*end).contains(&number))
            }
        }
    }
}

/// Every copy of a header, in order. `name` is lower case, like the names in `headers`.
pub fn copies<'h, K: AsRef<[u8]>, V: AsRef<[u8]>>(
    headers: &'h [(K, V)],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |(key, _)| key.as_ref() == name.as_bytes()).map(|(_, value)| value.as_ref())
}

/// The first copy of a header.
pub fn first<'h, K: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &'h [(K, V)], name: &'h str) -> Option<&'h [u8]> {
    copies(headers, name).next()
}

/// The copies with a `,` between them and no space: all of a repeated header as one value. Borrowed while there is only one.
pub fn joined<'h>(mut copies: impl Iterator<Item = &'h [u8]>) -> Cow<'h, [u8]> {
    let Some(first) = copies.next() else { return Cow::Borrowed(b"") };
    copies.fold(Cow::Borrowed(first), |mut all, next| {
        let owned = all.to_mut();
        owned.push(b',');
        owned.extend_from_slice(next);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    const HEADERS: &[(&str, &str)] =
        &[("x-one", "a"), ("x-two", "a"), ("x-two", "b"), ("x-empty", ""), ("x-number", "42")];

    fn exact(name: &str, value: &str) -> HeaderMatcher {
        HeaderMatcher::value(name, StringMatcher::exact(value, false))
    }

    fn check(matcher: HeaderMatcher, expected: bool) {
        assert_eq!(matcher.matches(HEADERS), expected, "{} {matcher}", matcher.name());
    }

    sentences! {
        fn a_header_is_compared_whole() {
            check(exact("x-one", "a"), true);
            check(exact("x-one", "A"), false);
        }

        fn names_are_compared_in_lower_case() {
            check(exact("X-One", "a"), true);
        }

        fn any_copy_may_pass_and_inverted_none_may() {
            for (value, passes) in [("a", true), ("b", true), ("a,b", false), ("a, b", false), ("c", false)] {
                check(exact("x-two", value), passes);
                check(exact("x-two", value).inverted(true), !passes);
            }
        }

        fn one_value_for_all_copies_has_bare_commas() {
            assert_eq!(*joined(copies(HEADERS, "x-two")), *b"a,b");
            assert_eq!(*joined(copies(HEADERS, "x-one")), *b"a");
            assert_eq!(*joined(copies(HEADERS, "x-none")), *b"");
        }

        fn every_copy_must_pass_when_asked() {
            let prefix = |p: &str| HeaderMatcher::value("x-two", StringMatcher::contains(p, false)).every_copy(true);
            check(prefix("a"), false);
            check(prefix(""), true);
        }

        fn an_empty_value_is_present() {
            check(HeaderMatcher::present("x-empty"), true);
            check(exact("x-empty", ""), true);
        }

        fn a_missing_header_is_absent() {
            check(HeaderMatcher::present("x-none"), false);
            check(HeaderMatcher::present("x-none").inverted(true), true);
            check(HeaderMatcher::present("x-one").inverted(true), false);
        }

        fn a_missing_header_matches_no_value() {
            check(exact("x-none", ""), false);
            check(HeaderMatcher::value("x-none", StringMatcher::prefix("", false)), false);
        }

        fn a_missing_header_does_not_match_when_inverted_either() {
            check(exact("x-none", "foo").inverted(true), false);
        }

        fn a_missing_header_may_count_as_empty() {
            check(exact("x-none", "foo").inverted(true).missing_as_empty(true), true);
            check(exact("x-none", "").inverted(true).missing_as_empty(true), false);
            check(exact("x-none", "").missing_as_empty(true), true);
        }

        fn a_range_is_half_open() {
            check(HeaderMatcher::range("x-number", 42, 43), true);
            check(HeaderMatcher::range("x-number", 41, 42), false);
            check(HeaderMatcher::range("x-one", 0, 100), false);
        }
    }
}
