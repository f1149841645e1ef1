//! Which conditions take every request that others take, found without asking each pair.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use policy::regex::Regex;

use super::shelf::{self, Shelf, is_any};
use crate::resource::virtual_service::{HttpMatch, StringMatch};

/// Conditions in their order.
#[derive(Default)]
pub(super) struct Covers<'m> {
    all: Vec<&'m HttpMatch>,
    shelf: Shelf<'m>,
    patterns: Patterns<'m>,
}

impl<'m> Covers<'m> {
    /// Puts conditions behind the others.
    pub(super) fn push(&mut self, matched: &'m HttpMatch) {
        self.shelf.push(self.all.len(), matched);
        self.all.push(matched);
    }

    /// Where the first stand that `counts` and take every request that `inner` takes. Says none where it cannot tell.
    pub(super) fn first(&self, inner: &'m HttpMatch, counts: impl Fn(usize) -> bool) -> Option<usize> {
        let covers =
            |at: usize| counts(at) && self.all.get(at).is_some_and(|outer| covers(outer, inner, &self.patterns));
        self.shelf.first(shelf::of_conditions(inner), covers)
    }
}

/// Every request that `inner` matches, `outer` matches. Says no where it cannot tell.
fn covers<'m>(outer: &'m HttpMatch, inner: &HttpMatch, patterns: &Patterns<'m>) -> bool {
    let string = |outer: &'m StringMatch, inner: &StringMatch| Wide::of(outer).covers(&Wide::of(inner), patterns);
    let single = |outer: &'m Option<StringMatch>, inner: &Option<StringMatch>| match (outer, inner) {
        (None, _) => true,
        (Some(outer), Some(inner)) => string(outer, inner),
        (Some(_), None) => false,
    };
    let all = |outer: &'m BTreeMap<String, StringMatch>, inner: &BTreeMap<String, StringMatch>| {
        outer.iter().all(|(name, outer)| inner.get(name).is_some_and(|inner| string(outer, inner)))
    };
    single(&outer.method, &inner.method)
        && single(&outer.scheme, &inner.scheme)
        && single(&outer.authority, &inner.authority)
        && all(&outer.headers, &inner.headers)
        && all(&outer.query_params, &inner.query_params)
        && outer.without_headers.iter().all(|(name, outer)| inner.without_headers.get(name) == Some(outer))
        && (outer.port == 0 || outer.port == inner.port)
        && outer.source_labels.iter().all(|(key, value)| inner.source_labels.get(key) == Some(value))
        && (outer.source_namespace.is_empty() || outer.source_namespace == inner.source_namespace)
        && (outer.gateways.is_empty() || outer.gateways == inner.gateways)
        && path_covers(outer, inner, patterns)
}

fn path_covers<'m>(outer: &'m HttpMatch, inner: &HttpMatch, patterns: &Patterns<'m>) -> bool {
    let Some(wide) = outer.uri.as_ref().map(Wide::of) else { return true };
    if matches!(wide, Wide::Prefix(prefix) if is_any(prefix)) {
        return true;
    }
    let Some(narrow) = inner.uri.as_ref().map(Wide::of) else { return false };
    match (outer.ignore_uri_case, inner.ignore_uri_case) {
        (false, true) => false,
        (false, false) => wide.covers(&narrow, patterns),
        (true, _) => match (wide.literal(), narrow.literal()) {
            (Some((wide, whole)), Some((narrow, exact))) => {
                let (wide, narrow) = (wide.to_lowercase(), narrow.to_lowercase());
                if whole { exact && wide == narrow } else { narrow.starts_with(&wide) }
            }
            _ => false,
        },
    }
}

/// A condition on a text. `/api.*` says what the prefix `/api` says.
#[derive(PartialEq)]
pub(super) enum Wide<'m> {
    Exact(&'m str),
    Prefix(&'m str),
    Regex(&'m str),
    Present,
}

impl<'m> Wide<'m> {
    /// What it asks for.
    pub(super) fn of(condition: &'m StringMatch) -> Self {
        let special = ['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\'];
        match (&condition.exact, &condition.prefix, &condition.regex) {
            (Some(exact), ..) => Self::Exact(exact),
            (_, Some(prefix), _) => Self::Prefix(prefix),
            (_, _, Some(regex)) => match regex.strip_suffix(".*") {
                Some(start) if !start.contains(special) => Self::Prefix(start),
                _ => Self::Regex(regex),
            },
            (None, None, None) => Self::Present,
        }
    }

    /// The text, and whether it is the whole of what is asked about.
    fn literal(&self) -> Option<(&'m str, bool)> {
        match self {
            Self::Exact(text) => Some((text, true)),
            Self::Prefix(text) => Some((text, false)),
            Self::Regex(_) | Self::Present => None,
        }
    }

    fn covers(&self, inner: &Wide<'_>, patterns: &Patterns<'m>) -> bool {
        match (self, inner) {
            (Self::Present, _) => true,
            (Self::Exact(outer), Wide::Exact(inner)) => outer == inner,
            (Self::Prefix(outer), Wide::Exact(inner) | Wide::Prefix(inner)) => inner.starts_with(outer),
            (Self::Regex(outer), Wide::Regex(inner)) => outer == inner,
            (Self::Regex(outer), Wide::Exact(inner)) => patterns.fits(outer, inner),
            _ => false,
        }
    }
}

/// Patterns, each built once.
#[derive(Default)]
struct Patterns<'m>(RefCell<HashMap<&'m str, Option<Regex>>>);

impl<'m> Patterns<'m> {
    fn fits(&self, pattern: &'m str, text: &str) -> bool {
        let mut known = self.0.borrow_mut();
        let regex = known.entry(pattern).or_insert_with(|| Regex::full(pattern).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(kind: &str, text: &str) -> HttpMatch {
        let text = Some(text.to_owned());
        let uri = match kind {
            "exact" => StringMatch { exact: text, ..StringMatch::default() },
            "prefix" => StringMatch { prefix: text, ..StringMatch::default() },
            _ => StringMatch { regex: text, ..StringMatch::default() },
        };
        HttpMatch { uri: Some(uri), ..HttpMatch::default() }
    }

    /// As they say it, and as the index finds it.
    fn covered(outer: &HttpMatch, inner: &HttpMatch) -> bool {
        let mut all = Covers::default();
        all.push(outer);
        let found = all.first(inner, |_| true).is_some();
        assert_eq!(found, covers(outer, inner, &Patterns::default()), "{outer:?} {inner:?}");
        found
    }

    #[test]
    fn cover_is_said_only_where_it_is_sure() {
        for (outer, inner, expected) in [
            (("prefix", "/a"), ("prefix", "/ab"), true),
            (("prefix", "/ab"), ("prefix", "/a"), false),
            (("regex", "/a.*"), ("prefix", "/a/b"), true),
            (("regex", "/a.*"), ("regex", "/a/b.*"), true),
            (("regex", ".*"), ("regex", "/x[0-9]+"), true),
            (("regex", "/a[0-9]+"), ("exact", "/a12"), true),
            (("regex", "/a[0-9]+"), ("prefix", "/a12"), false),
            (("exact", "/a"), ("exact", "/a"), true),
            (("exact", "/a"), ("prefix", "/a"), false),
            (("prefix", "/"), ("regex", "/x+"), true),
            (("regex", "/x+"), ("regex", "/x+"), true),
            (("regex", "/x+"), ("prefix", "/x"), false),
            (("prefix", "/ä"), ("exact", "/äb"), true),
        ] {
            assert_eq!(covered(&uri(outer.0, outer.1), &uri(inner.0, inner.1)), expected, "{outer:?} {inner:?}");
        }
        let with_header =
            HttpMatch { headers: [("x".to_owned(), StringMatch::default())].into(), ..uri("prefix", "/a") };
        assert!(covered(&uri("prefix", "/a"), &with_header));
        assert!(!covered(&with_header, &uri("prefix", "/a")));
        let any_case = HttpMatch { ignore_uri_case: true, ..uri("prefix", "/A") };
        assert!(covered(&any_case, &uri("exact", "/aB")));
        assert!(!covered(&uri("prefix", "/a"), &any_case));
    }

    #[test]
    fn the_index_finds_what_each_pair_would_say() {
        let word = proptest::sample::select(vec!["", "/", "/a", "/A", "/a/", "/a/b", "/aß", ".*", "/a.*", "/a+", "b"]);
        let text =
            (proptest::sample::select(vec!["exact", "prefix", "regex", "present"]), word).prop_map(|(kind, text)| {
                let text = Some(text.to_owned());
                match kind {
                    "exact" => StringMatch { exact: text, ..StringMatch::default() },
                    "prefix" => StringMatch { prefix: text, ..StringMatch::default() },
                    "regex" => StringMatch { regex: text, ..StringMatch::default() },
                    _ => StringMatch::default(),
                }
            });
        let named = proptest::collection::btree_map("[xy]", text.clone(), 0..3);
        let maybe = proptest::option::of(text);
        let entry =
            (maybe, named.clone(), named, proptest::bool::ANY).prop_map(|(uri, headers, query_params, any_case)| {
                HttpMatch { uri, headers, query_params, ignore_uri_case: any_case, ..HttpMatch::default() }
            });
        let rows = proptest::collection::vec(entry, 1..8);
        proptest!(|(rows in rows)| {
            let (last, earlier) = rows.split_last().unwrap();
            let mut all = Covers::default();
            earlier.iter().for_each(|row| all.push(row));
            let by_pairs = earlier.iter().position(|row| covers(row, last, &Patterns::default()));
            prop_assert_eq!(all.first(last, |_| true), by_pairs);
        });
    }
}
