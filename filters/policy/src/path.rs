//! Envoy's path conditions: how the path, without query and fragment, is compared.
//!
//! Source: `RouteMatch.path_specifier` in `envoy/config/route/v3/route_components.proto`. Case is ignored in ASCII,
//! and regexes and templates never ignore it.

use crate::regex::Regex;
use crate::template::Template;
use crate::text::{equal, starts_with};

/// What the path must be.
#[derive(Debug, Clone, PartialEq)]
pub struct PathMatcher {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Any,
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    SegmentPrefix(Vec<u8>),
    Regex(Regex),
    Template(Template),
}

impl PathMatcher {
    fn new(kind: Kind, ignore_case: bool) -> PathMatcher {
        PathMatcher { kind, ignore_case }
    }

    /// Every path.
    pub fn any() -> PathMatcher {
        PathMatcher::new(Kind::Any, false)
    }

    /// The whole path.
    pub fn exact(path: impl Into<Vec<u8>>, ignore_case: bool) -> PathMatcher {
        PathMatcher::new(Kind::Exact(path.into()), ignore_case)
    }

    /// A string prefix: `/v2` also takes `/v2example`.
    pub fn prefix(prefix: impl Into<Vec<u8>>, ignore_case: bool) -> PathMatcher {
        PathMatcher::new(Kind::Prefix(prefix.into()), ignore_case)
    }

    /// A prefix that ends at a `/` or at the end: Envoy's `path_separated_prefix`. Slashes at its end are dropped, so `/` takes all.
    pub fn segment_prefix(prefix: impl Into<Vec<u8>>, ignore_case: bool) -> PathMatcher {
        let mut prefix = prefix.into();
        while prefix.last() == Some(&b'/') {
            prefix.pop();
        }
        PathMatcher::new(Kind::SegmentPrefix(prefix), ignore_case)
    }

    /// The whole path matches; build it with [`Regex::full`].
    pub fn regex(regex: Regex) -> PathMatcher {
        PathMatcher::new(Kind::Regex(regex), false)
    }

    /// The path fits a template such as `/api/{version}/{rest=**}`.
    pub fn template(template: Template) -> PathMatcher {
        PathMatcher::new(Kind::Template(template), false)
    }

    /// Does this path, without query and fragment, match?
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Exact(want) => equal(path, want, self.ignore_case),
            Kind::Prefix(want) => starts_with(path, want, self.ignore_case),
            Kind::SegmentPrefix(want) => {
                starts_with(path, want, self.ignore_case) && matches!(path.get(want.len()), None | Some(b'/'))
            }
            Kind::Regex(regex) => regex.is_match(path),
            Kind::Template(template) => template.matches(path),
        }
    }

    /// How many bytes of the path a prefix rewrite replaces; `None` for the whole path.
    pub fn matched_len(&self) -> Option<usize> {
        match &self.kind {
            Kind::Prefix(prefix) | Kind::SegmentPrefix(prefix) => Some(prefix.len()),
            Kind::Any => Some(0),
            Kind::Exact(_) | Kind::Regex(_) | Kind::Template(_) => None,
        }
    }

    /// The template, when the path is matched by one.
    pub fn as_template(&self) -> Option<&Template> {
        match &self.kind {
            Kind::Template(template) => Some(template),
            _ => None,
        }
    }

    /// What an index may look the path up by.
    pub(crate) fn anchor(&self) -> Anchor<'_> {
        match &self.kind {
            Kind::Any => Anchor::None,
            Kind::Exact(path) => Anchor::Whole(path, self.ignore_case),
            Kind::Prefix(prefix) | Kind::SegmentPrefix(prefix) => Anchor::Prefix(prefix, self.ignore_case),
            Kind::Regex(regex) => match regex.literal_prefix() {
                (path, true) => Anchor::Whole(path, false),
                (prefix, false) => Anchor::Prefix(prefix, false),
            },
            Kind::Template(template) => Anchor::Prefix(template.literal_prefix(), false),
        }
    }
}

/// A literal every matching path is, or starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor<'p> {
    None,
    Whole(&'p [u8], bool),
    Prefix(&'p [u8], bool),
}

impl std::fmt::Display for PathMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (how, what) = match &self.kind {
            Kind::Any => return f.write_str("any path"),
            Kind::Exact(path) => ("exactly", path.as_slice()),
            Kind::Prefix(prefix) => ("prefix", prefix.as_slice()),
            Kind::SegmentPrefix(prefix) => ("segment prefix", prefix.as_slice()),
            Kind::Regex(regex) => ("regex", regex.as_str().as_bytes()),
            Kind::Template(template) => ("template", template.as_str().as_bytes()),
        };
        let case = if self.ignore_case { " in any case" } else { "" };
        write!(f, "{how} \"{}\"{case}", what.escape_ascii())
    }
}

/// A request target in its path and its query, the `?` belonging to neither.
///
/// The path ends at the first `?` or `#`; the query is all that follows the first `?`, as Envoy cuts them.
pub fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let path = target.split(|&b| b == b'?' || b == b'#').next().unwrap_or_default();
    let mut halves = target.splitn(2, |&b| b == b'?');
    halves.next();
    (path, halves.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(matcher: PathMatcher, yes: &[&str], no: &[&str]) {
        for path in yes {
            assert!(matcher.matches(path.as_bytes()), "{matcher} should match {path}");
        }
        for path in no {
            assert!(!matcher.matches(path.as_bytes()), "{matcher} should not match {path}");
        }
    }

    sentences! {
        fn exact_is_the_whole_path() {
            check(PathMatcher::exact("/a", false), &["/a"], &["/a/", "/A", "/", "/ab"]);
        }

        fn a_prefix_is_bytes_not_segments() {
            check(PathMatcher::prefix("/v2", false), &["/v2", "/v2/", "/v2example"], &["/v1", "/", "/V2"]);
        }

        fn a_segment_prefix_ends_at_a_segment() {
            check(PathMatcher::segment_prefix("/api", false), &["/api", "/api/", "/api/v1"], &["/", "/apis", "/ap"]);
        }

        fn a_segment_prefix_does_not_mind_its_own_slash() {
            check(PathMatcher::segment_prefix("/api/", false), &["/api", "/api/v1"], &["/apis"]);
            check(PathMatcher::segment_prefix("/", false), &["/", "/x"], &[]);
        }

        fn case_can_be_ignored() {
            check(PathMatcher::exact("/Abc", true), &["/aBC"], &["/ab"]);
            check(PathMatcher::prefix("/Abc", true), &["/aBCd"], &["/bc"]);
            check(PathMatcher::segment_prefix("/Abc", true), &["/aBC/d"], &["/abcd"]);
        }

        fn a_target_is_cut_at_the_question_mark() {
            assert_eq!(split_target(b"/a?b=c?d"), (&b"/a"[..], Some(&b"b=c?d"[..])));
            assert_eq!(split_target(b"/a?"), (&b"/a"[..], Some(&b""[..])));
            assert_eq!(split_target(b"/a"), (&b"/a"[..], None));
            assert_eq!(split_target(b""), (&b""[..], None));
        }

        fn a_fragment_is_no_part_of_the_path() {
            assert_eq!(split_target(b"/a#f?q"), (&b"/a"[..], Some(&b"q"[..])));
            assert_eq!(split_target(b"/a#f"), (&b"/a"[..], None));
        }
    }

    #[cfg(feature = "regex")]
    sentences! {
        fn a_regex_takes_the_whole_path() {
            check(PathMatcher::regex(Regex::full("/a|/ab").unwrap()), &["/a", "/ab"], &["/abc", "x/a"]);
        }
    }
}
