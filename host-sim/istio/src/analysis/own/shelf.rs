//! Conditions by what a request must have to meet them, so that of ten thousand only a few are asked.

use std::collections::{BTreeMap, HashMap};

use super::{cover::Wide, table::Sample};
use crate::resource::virtual_service::{HttpMatch, StringMatch};

/// Conditions by their marks, each under its number.
#[derive(Default)]
pub(super) struct Shelf<'m>(HashMap<Mark<'m>, Vec<usize>>);

/// One thing that conditions ask for. What meets them, and conditions whose every request does, have it among their marks.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Mark<'m> {
    Exact(&'m str),
    Prefix(&'m str),
    /// In lower case, of conditions that do not look at it.
    AnyCaseExact(String),
    AnyCasePrefix(String),
    /// The name in lower case.
    Header(String, &'m str),
    Query(&'m str, &'m str),
    /// Nothing in particular: asked every time.
    Other,
}

impl<'m> Shelf<'m> {
    /// Numbers must rise.
    pub(super) fn push(&mut self, number: usize, matched: &'m HttpMatch) {
        self.0.entry(mark(matched)).or_default().push(number);
    }

    /// The numbers with one of these marks, rising.
    pub(super) fn all<'s>(&'s self, marks: Vec<Mark<'s>>) -> Vec<usize>
    where
        'm: 's,
    {
        let shelf: &'s HashMap<Mark<'s>, Vec<usize>> = &self.0;
        let mut all: Vec<_> = marks.iter().filter_map(|mark| shelf.get(mark)).flatten().copied().collect();
        all.sort_unstable();
        all
    }

    /// The lowest number of all with one of these marks that `fits`.
    pub(super) fn first<'s>(&'s self, marks: Vec<Mark<'s>>, fits: impl Fn(usize) -> bool) -> Option<usize>
    where
        'm: 's,
    {
        let shelf: &'s HashMap<Mark<'s>, Vec<usize>> = &self.0;
        let lists = marks.into_iter().filter_map(|mark| shelf.get(&mark));
        lists.filter_map(|list| list.iter().copied().find(|number| fits(*number))).min()
    }
}

fn mark(outer: &HttpMatch) -> Mark<'_> {
    match outer.uri.as_ref().map(Wide::of) {
        Some(Wide::Exact(path)) if outer.ignore_uri_case => Mark::AnyCaseExact(path.to_lowercase()),
        Some(Wide::Prefix(path)) if outer.ignore_uri_case && !is_any(path) => Mark::AnyCasePrefix(path.to_lowercase()),
        Some(Wide::Exact(path)) => Mark::Exact(path),
        Some(Wide::Prefix(path)) if !is_any(path) => Mark::Prefix(path),
        Some(Wide::Regex(_)) => Mark::Other,
        _ => {
            let header = headers(&outer.headers).next();
            let query = || exact(&outer.query_params).next().map(|(name, value)| Mark::Query(name, value));
            header.or_else(query).unwrap_or(Mark::Other)
        }
    }
}

/// The marks of everything that may take all that `inner` takes.
pub(super) fn of_conditions(inner: &HttpMatch) -> Vec<Mark<'_>> {
    let mut marks = match inner.uri.as_ref().map(Wide::of) {
        Some(Wide::Exact(path)) => of_path(path, true),
        Some(Wide::Prefix(path)) => of_path(path, false),
        _ => Vec::new(),
    };
    marks.push(Mark::Other);
    marks.extend(headers(&inner.headers));
    marks.extend(exact(&inner.query_params).map(|(name, value)| Mark::Query(name, value)));
    marks
}

/// The marks of everything that may take a request.
pub(super) fn of_request(sample: &Sample) -> Vec<Mark<'_>> {
    let mut marks = of_path(sample.bare_path(), true);
    marks.push(Mark::Other);
    marks.extend(sample.headers.iter().map(|(name, value)| Mark::Header(name.clone(), value)));
    marks.extend(sample.query().into_iter().map(|(name, value)| Mark::Query(name, value)));
    marks
}

fn of_path(path: &str, whole: bool) -> Vec<Mark<'_>> {
    let lower = path.to_lowercase();
    let mut marks: Vec<_> = starts(&lower).map(|start| Mark::AnyCasePrefix(start.to_owned())).collect();
    marks.extend(starts(path).map(Mark::Prefix));
    if whole {
        marks.extend([Mark::Exact(path), Mark::AnyCaseExact(lower)]);
    }
    marks
}

/// A pseudo-header is no header of a request.
fn headers(conditions: &BTreeMap<String, StringMatch>) -> impl Iterator<Item = Mark<'_>> {
    let plain = exact(conditions).filter(|(name, _)| !name.starts_with(':'));
    plain.map(|(name, value)| Mark::Header(name.to_lowercase(), value))
}

fn exact(conditions: &BTreeMap<String, StringMatch>) -> impl Iterator<Item = (&str, &str)> {
    conditions.iter().filter_map(|(name, condition)| Some((name.as_str(), condition.exact.as_deref()?)))
}

/// All that the text begins with.
fn starts(text: &str) -> impl Iterator<Item = &str> {
    (1..=text.len()).filter_map(|end| text.get(..end))
}

/// Every path begins like this.
pub(super) fn is_any(prefix: &str) -> bool {
    matches!(prefix, "" | "/")
}
