//! Finds the rules a request may match without asking each one.
//!
//! Every rule is filed once, under the literal that it shares with the fewest other rules: its whole path, the start of
//! its path, or the one value a header must have. A request is looked up by its path, the path's beginnings, and its headers, so
//! the cost follows the request and not the number of rules. Rules without any such literal are asked always.

use std::borrow::Cow;

use crate::hash::Fnv;
use crate::header;
use crate::matcher::{PathView, Request, RequestMatcher};
use crate::order::sorted;
use crate::path::Anchor;

/// The filed rules.
#[derive(Debug, Clone, Default)]
pub struct Index {
    always: Vec<u32>,
    as_sent: Paths,
    strict: Paths,
    headers: Vec<HeaderTable>,
}

#[derive(Debug, Clone, Default)]
struct Paths {
    whole: Table,
    whole_any_case: Table,
    prefix: Prefixes,
    prefix_any_case: Prefixes,
}

#[derive(Debug, Clone)]
struct HeaderTable {
    name: String,
    values: Table,
}

/// Where a rule may be filed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'m> {
    Whole { strict: bool, any_case: bool, path: Cow<'m, [u8]> },
    Header { name: &'m str, value: &'m [u8] },
    Prefix { strict: bool, any_case: bool, path: Cow<'m, [u8]> },
}

impl Index {
    /// Files the rules; their positions are what [`candidates`](Index::candidates) gives back.
    pub fn new(rules: &[&RequestMatcher]) -> Index {
        let keys: Vec<Vec<Key<'_>>> = rules.iter().map(|rule| keys(rule)).collect();
        let crowd: Vec<&Key<'_>> = sorted(keys.iter().flatten().collect(), &mut Ord::cmp);
        let shared_by = |key: &Key<'_>| {
            let from = crowd.partition_point(|other| *other < key);
            crowd.partition_point(|other| *other <= key).saturating_sub(from)
        };
        let mut index = Index::default();
        for (position, keys) in (0u32..).zip(&keys) {
            index.file(keys.iter().min_by_key(|key| shared_by(key)), position);
        }
        index.seal();
        index
    }

    fn file(&mut self, key: Option<&Key<'_>>, position: u32) {
        match key {
            None => self.always.push(position),
            Some(Key::Whole { strict, any_case, path }) => {
                let paths = if *strict { &mut self.strict } else { &mut self.as_sent };
                (if *any_case { &mut paths.whole_any_case } else { &mut paths.whole }).add(path, position)
            }
            Some(Key::Prefix { strict, any_case, path }) => {
                let paths = if *strict { &mut self.strict } else { &mut self.as_sent };
                (if *any_case { &mut paths.prefix_any_case } else { &mut paths.prefix }).add(path, position)
            }
            Some(Key::Header { name, value }) => {
                match self.headers.binary_search_by(|table| table.name.as_str().cmp(name)) {
                    Ok(at) => {
                        self.headers.get_mut(at).map(|table| table.values.add(value, position)).unwrap_or_default()
                    }
                    Err(at) => {
                        let mut values = Table::default();
                        values.add(value, position);
                        self.headers.insert(at, HeaderTable { name: (*name).into(), values });
                    }
                }
            }
        }
    }

    fn seal(&mut self) {
        for paths in [&mut self.as_sent, &mut self.strict] {
            paths.whole.seal();
            paths.whole_any_case.seal();
            paths.prefix.table.seal();
            paths.prefix_any_case.table.seal();
        }
        self.headers.iter_mut().for_each(|table| table.values.seal());
    }

    /// The rules worth asking, in the order they were declared. Every rule that matches is among them.
    pub fn candidates<'i, K: AsRef<[u8]>, V: AsRef<[u8]>>(&'i self, request: &Request<'_, K, V>) -> Candidates<'i> {
        let mut found = Candidates { lists: Vec::new() };
        found.add(&self.always);
        self.as_sent.look_up(request.path, &mut found);
        self.strict.look_up(request.strict_path, &mut found);
        self.look_up_headers(request.headers, &mut found);
        found
    }

    /// Walks the shorter of the two: the headers there are, or the headers rules ask for.
    fn look_up_headers<'i, K: AsRef<[u8]>, V: AsRef<[u8]>>(&'i self, headers: &[(K, V)], found: &mut Candidates<'i>) {
        let mut ask = |table: &'i HeaderTable, headers: &[(K, V)]| {
            // One copy that passes is enough for a rule.
            let copies = header::copies(headers, &table.name);
            copies.for_each(|copy| found.add(table.values.get(Fnv::of(copy), copy)));
        };
        if self.headers.len() <= headers.len() {
            self.headers.iter().for_each(|table| ask(table, headers));
            return;
        }
        for (at, (name, _)) in headers.iter().enumerate() {
            let name = name.as_ref();
            let again = headers.iter().take(at).any(|(earlier, _)| earlier.as_ref() == name);
            let table = self.headers.binary_search_by(|table| table.name.as_bytes().cmp(name));
            if let (false, Some(table)) = (again, table.ok().and_then(|at| self.headers.get(at))) {
                ask(table, headers);
            }
        }
    }
}

fn keys(rule: &RequestMatcher) -> Vec<Key<'_>> {
    let strict = rule.view == PathView::Strict;
    let spelled = |path: &'_ [u8], any_case: bool| match any_case {
        true => Cow::Owned(path.to_ascii_lowercase()),
        false => Cow::Owned(path.to_vec()),
    };
    let path = match rule.path.anchor() {
        Anchor::Whole(path, any_case) => Some(Key::Whole { strict, any_case, path: spelled(path, any_case) }),
        // A prefix every path has sorts nothing.
        Anchor::Prefix(b"" | b"/", _) | Anchor::None => None,
        Anchor::Prefix(path, any_case) => Some(Key::Prefix { strict, any_case, path: spelled(path, any_case) }),
    };
    let headers = rule.headers.iter().filter_map(|matcher| {
        let value = matcher.only_value()?;
        Some(Key::Header { name: matcher.name(), value })
    });
    path.into_iter().chain(headers).collect()
}

impl Paths {
    fn look_up<'i>(&'i self, path: &[u8], found: &mut Candidates<'i>) {
        if !self.whole.is_empty() {
            found.add(self.whole.get(Fnv::of(path), path));
        }
        self.prefix.look_up(path, found);
        if !self.whole_any_case.is_empty() || !self.prefix_any_case.table.is_empty() {
            let path = path.to_ascii_lowercase();
            found.add(self.whole_any_case.get(Fnv::of(&path), &path));
            self.prefix_any_case.look_up(&path, found);
        }
    }
}

/// Prefixes, found by hashing a path once and asking at every length some prefix has.
#[derive(Debug, Clone, Default)]
struct Prefixes {
    table: Table,
    /// Ascending.
    lengths: Vec<usize>,
}

impl Prefixes {
    fn add(&mut self, prefix: &[u8], position: u32) {
        if let Err(at) = self.lengths.binary_search(&prefix.len()) {
            self.lengths.insert(at, prefix.len());
        }
        self.table.add(prefix, position);
    }

    fn look_up<'i>(&'i self, path: &[u8], found: &mut Candidates<'i>) {
        let mut hash = Fnv::START;
        let mut hashed = 0;
        for &length in &self.lengths {
            let (Some(more), Some(prefix)) = (path.get(hashed..length), path.get(..length)) else { return };
            hash = more.iter().fold(hash, |hash, &byte| hash.push(byte));
            hashed = length;
            found.add(self.table.get(hash, prefix));
        }
    }
}

/// Literals to the rules filed under them: open addressing over a power of two, at most half full.
#[derive(Debug, Clone, Default)]
struct Table {
    entries: Vec<Entry>,
    /// One more than the place in `entries`; 0 is free.
    slots: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    rules: Vec<u32>,
}

impl Table {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Collects; nothing is found before [`seal`](Table::seal).
    fn add(&mut self, key: &[u8], position: u32) {
        self.entries.push(Entry { hash: Fnv::of(key).finish(), key: key.into(), rules: vec![position] });
    }

    fn seal(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.entries = sorted(entries, &mut |a, b| (a.hash, &a.key).cmp(&(b.hash, &b.key)));
        self.entries.dedup_by(|later, first| {
            let same = later.key == first.key;
            if same {
                first.rules.append(&mut later.rules);
            }
            same
        });
        if self.entries.is_empty() {
            return;
        }
        self.slots = vec![0; self.entries.len().saturating_mul(2).next_power_of_two()];
        for (number, entry) in (1u32..).zip(&self.entries) {
            let free = probe(entry.hash, self.slots.len()).find(|&at| self.slots.get(at) == Some(&0));
            if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
                *slot = number;
            }
        }
    }

    fn get(&self, hash: Fnv, key: &[u8]) -> &[u32] {
        let hash = hash.finish();
        for at in probe(hash, self.slots.len()) {
            let Some(number) = self.slots.get(at).and_then(|slot| slot.checked_sub(1)) else { break };
            let entry = usize::try_from(number).ok().and_then(|number| self.entries.get(number));
            if let Some(entry) = entry.filter(|entry| entry.hash == hash && *entry.key == *key) {
                return &entry.rules;
            }
        }
        &[]
    }
}

/// The slots to try, each once. `slots` is a power of two, or 0.
fn probe(hash: u64, slots: usize) -> impl Iterator<Item = usize> {
    let mask = slots.saturating_sub(1);
    // The high half: the multiplication in the hash has mixed it best.
    let start = usize::try_from(hash.wrapping_shr(32)).unwrap_or_default();
    (0..slots).map(move |step| start.wrapping_add(step) & mask)
}

/// The rules worth asking, ascending.
#[derive(Debug, Clone)]
pub struct Candidates<'i> {
    lists: Vec<&'i [u32]>,
}

impl<'i> Candidates<'i> {
    fn add(&mut self, list: &'i [u32]) {
        // Two copies of a header may say the same.
        if !list.is_empty() && !self.lists.iter().any(|other| std::ptr::eq(*other, list)) {
            self.lists.push(list);
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        // A rule is filed once, so no two lists share a head.
        let (at, _) = self.lists.iter().enumerate().min_by_key(|(_, list)| list.first())?;
        let list = self.lists.get_mut(at)?;
        let (&first, rest) = list.split_first()?;
        *list = rest;
        if rest.is_empty() {
            self.lists.swap_remove(at);
        }
        usize::try_from(first).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::HeaderMatcher;
    use crate::path::PathMatcher;
    use crate::sentences;
    use crate::text::StringMatcher;

    fn rule(path: PathMatcher) -> RequestMatcher {
        RequestMatcher { path, ..RequestMatcher::default() }
    }

    fn with_header(path: PathMatcher, name: &str, value: &str) -> RequestMatcher {
        let headers = vec![HeaderMatcher::value(name, StringMatcher::exact(value, false))];
        RequestMatcher { path, headers, ..RequestMatcher::default() }
    }

    fn check(rules: &[RequestMatcher], headers: &[(&str, &str)], expected: &[usize]) {
        let rules: Vec<_> = rules.iter().collect();
        let found: Vec<_> = Index::new(&rules).candidates(&Request::new(headers)).collect();
        assert_eq!(found, expected, "{headers:?}");
    }

    sentences! {
        fn candidates_come_in_declared_order() {
            let rules = [
                rule(PathMatcher::prefix("/a", false)),
                rule(PathMatcher::any()),
                rule(PathMatcher::exact("/a/b", false)),
                rule(PathMatcher::prefix("/a/", false)),
                rule(PathMatcher::exact("/c", false)),
            ];
            check(&rules, &[(":path", "/a/b?q")], &[0, 1, 2, 3]);
            check(&rules, &[(":path", "/c")], &[1, 4]);
            check(&rules, &[(":path", "/")], &[1]);
            check(&rules, &[], &[1]);
        }

        fn a_rule_is_filed_where_it_is_least_crowded() {
            let rules: Vec<_> =
                (0..100).map(|n| with_header(PathMatcher::prefix("/api", false), "x-tenant", &format!("t{n}"))).collect();
            check(&rules, &[(":path", "/api/x"), ("x-tenant", "t7")], &[7]);
            check(&rules, &[(":path", "/api/x")], &[]);
        }

        fn repeated_headers_are_looked_up_one_by_one() {
            let rules = ["a", "b", "a,b", "c"].map(|value| with_header(PathMatcher::any(), "x", value));
            check(&rules, &[("x", "a"), ("x", "b"), ("x", "a")], &[0, 1]);
            check(&rules, &[("x", "a,b")], &[2]);
            check(&rules, &[("y", "0"), ("x", "c")], &[3]);
        }

        fn many_header_names_are_looked_up_by_the_request() {
            let rules: Vec<_> =
                (0..50).map(|n| with_header(PathMatcher::any(), &format!("x-{n}"), "on")).collect();
            check(&rules, &[("x-9", "on"), ("x-30", "off"), ("x-41", "on"), ("x-9", "")], &[9, 41]);
            check(&rules, &[("x-9", "on"), ("x-30", "off"), ("x-41", "on")], &[9, 41]);
        }

        fn any_case_is_found_in_any_case() {
            let rules = [rule(PathMatcher::exact("/Abc", true)), rule(PathMatcher::segment_prefix("/ABC/d", true))];
            check(&rules, &[(":path", "/aBC")], &[0]);
            check(&rules, &[(":path", "/abc/D/e")], &[1]);
        }
    }

    #[cfg(feature = "regex")]
    sentences! {
        fn a_regex_is_filed_under_its_beginning() {
            let regex = |pattern: &str| rule(PathMatcher::regex(crate::regex::Regex::full(pattern).unwrap()));
            let rules = [regex("/api/v[0-9]+/.*"), regex("/only"), regex(".*"), regex("^/api/(v1|v2)")];
            check(&rules, &[(":path", "/api/v1/x")], &[0, 2, 3]);
            check(&rules, &[(":path", "/only")], &[1, 2]);
            check(&rules, &[(":path", "/x")], &[2]);
        }
    }

    #[cfg(all(not(target_family = "wasm"), feature = "regex"))]
    mod laws {
        use super::super::*;
        use crate::header::HeaderMatcher;
        use crate::path::PathMatcher;
        use crate::regex::Regex;
        use crate::template::Template;
        use crate::text::StringMatcher;
        use proptest::prelude::*;

        fn path() -> impl Strategy<Value = PathMatcher> {
            let literal = "(/(a|b|A|ab|api)){0,3}/?";
            prop_oneof![
                2 => Just(PathMatcher::any()),
                4 => (literal, any::<bool>()).prop_map(|(path, fold)| PathMatcher::exact(path, fold)),
                4 => (literal, any::<bool>()).prop_map(|(path, fold)| PathMatcher::prefix(path, fold)),
                2 => (literal, any::<bool>()).prop_map(|(path, fold)| PathMatcher::segment_prefix(path, fold)),
                1 => "(/(a|b)){0,2}(/\\[ab\\]\\+|\\.\\*|\\(/api\\)\\?)".prop_map(|text| PathMatcher::regex(Regex::full(&text).unwrap())),
                1 => "/(a|b|\\{x\\})(/\\*)?(/b)?".prop_map(|text| PathMatcher::template(Template::parse(&text).unwrap())),
            ]
        }

        fn header_matcher() -> impl Strategy<Value = HeaderMatcher> {
            let value = prop_oneof![
                4 => ("(u|v|u,v)?", any::<bool>()).prop_map(|(value, fold)| StringMatcher::exact(value, fold)),
                1 => "(u|v)?".prop_map(|value| StringMatcher::prefix(value, false)),
            ];
            let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
            ("x-[a-d]", value, flags).prop_map(|(name, value, (invert, empty, every))| {
                HeaderMatcher::value(name, value).inverted(invert).missing_as_empty(empty).every_copy(every)
            })
        }

        fn rule() -> impl Strategy<Value = RequestMatcher> {
            let headers = prop::collection::vec(header_matcher(), 0..3);
            (path(), headers, prop::bool::weighted(0.2)).prop_map(|(path, headers, strict)| {
                let view = if strict { PathView::Strict } else { PathView::AsSent };
                RequestMatcher { path, headers, view, ..RequestMatcher::default() }
            })
        }

        fn request() -> impl Strategy<Value = Vec<(String, String)>> {
            let headers = prop::collection::vec(("x-[a-e]", "(u|v|U)?"), 0..4);
            ("(//?(a|b|A|ab|api|\\.|\\.\\.)){0,4}/?(\\?q)?", headers).prop_map(|(path, mut headers)| {
                headers.insert(0, (":path".into(), path));
                headers
            })
        }

        proptest! {
            // 100,000 tables, each asked by two requests.
            #![proptest_config(ProptestConfig::with_cases(100_000))]

            #[test]
            fn the_index_finds_what_a_scan_finds(
                rules in prop::collection::vec(rule(), 0..12),
                requests in prop::collection::vec(request(), 2),
            ) {
                let rules: Vec<&RequestMatcher> = rules.iter().collect();
                let index = Index::new(&rules);
                for headers in &requests {
                    let mut request = Request::new(headers);
                    let strict = crate::strict::strict(request.path);
                    request.strict_path = &strict;
                    let scan: Vec<usize> = (0..rules.len()).filter(|&n| rules[n].matches(&request)).collect();
                    let found: Vec<usize> =
                        index.candidates(&request).filter(|&n| rules[n].matches(&request)).collect();
                    prop_assert_eq!(found, scan);
                }
            }
        }
    }
}
