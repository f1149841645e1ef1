//! What a scenario expects of an answer. What it does not name is left to the comparison with Envoy.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::case::{Answer, Headers, Outcome, Seen};

/// Header values by name: a text for one line, a list for repeats in order, nothing for a header that must not be there, `"*"` for any value.
type Lines = BTreeMap<String, Option<OneOrMore>>;

/// One value, or several in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// The parts of an answer that a scenario names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    /// The status code.
    status: Option<u16>,
    /// Header lines of the answer.
    #[serde(default)]
    headers: Lines,
    /// The whole body.
    body: Option<String>,
    /// The connection is closed without an answer.
    #[serde(default)]
    closed: bool,
    /// The origins that saw the request, in order of arrival.
    origins: Option<Vec<String>>,
    /// What the first of them saw.
    upstream: Option<Upstream>,
    /// A repeated request's answers, counted by origin or status.
    counts: Option<BTreeMap<String, Count>>,
}

/// What an origin is expected to see.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Upstream {
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: Lines,
    body: Option<String>,
}

/// Exactly so many, or from the first to the second.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Count {
    Exactly(u32),
    Between(u32, u32),
}

impl Expectation {
    /// How many requests the origins are expected to see.
    pub(super) fn sees(&self) -> usize {
        self.origins.as_ref().map_or(usize::from(self.upstream.is_some()), Vec::len)
    }

    /// Envoy's answer with `*` for the headers that may have any value: a minted cookie differs from gateway to gateway.
    pub(super) fn masked(&self, answer: &Answer) -> Answer {
        let any = |name: &str| matches!(self.headers.get(name), Some(Some(OneOrMore::One(value))) if value == "*");
        let mut answer = answer.clone();
        if let Outcome::Response { headers, .. } = &mut answer.outcome {
            for (_, value) in headers.iter_mut().filter(|(name, _)| any(name)) {
                *value = "*".into();
            }
        }
        answer
    }

    /// The first thing that is not as expected.
    pub(super) fn missed_by(&self, answer: &Answer) -> Option<String> {
        self.outcome(&answer.outcome).or_else(|| self.upstreams(&answer.upstreams))
    }

    fn outcome(&self, outcome: &Outcome) -> Option<String> {
        let named = self.status.is_some() || self.body.is_some() || !self.headers.is_empty();
        match outcome {
            Outcome::Histogram(counts) => self.counts.as_ref().and_then(|expected| counted(expected, counts)),
            Outcome::Closed => (!self.closed && named).then(|| "closed without an answer".into()),
            Outcome::Response { .. } if self.closed => Some("an answer, where the connection should be closed".into()),
            Outcome::Response { status, headers, body } => unequal("status", self.status.as_ref(), status)
                .or_else(|| lines("answer", &self.headers, headers))
                .or_else(|| unequal("body", self.body.as_ref(), body.as_ref().unwrap_or(&String::new()))),
            other => (self.closed || named).then(|| format!("{other:?}")),
        }
    }

    fn upstreams(&self, seen: &[Seen]) -> Option<String> {
        let origins: Vec<String> = seen.iter().map(|seen| seen.origin.clone()).collect();
        let wrong = unequal("origins", self.origins.as_ref(), &origins);
        wrong.or_else(|| {
            let upstream = self.upstream.as_ref()?;
            let Some(seen) = seen.first() else { return Some("no origin saw the request".into()) };
            unequal("method an origin saw", upstream.method.as_ref(), &seen.method)
                .or_else(|| unequal("path an origin saw", upstream.path.as_ref(), &seen.path))
                .or_else(|| lines("origin", &upstream.headers, &seen.headers))
                .or_else(|| {
                    unequal("body an origin saw", upstream.body.as_ref(), seen.body.as_ref().unwrap_or(&String::new()))
                })
        })
    }
}

fn unequal<T: PartialEq + std::fmt::Debug>(what: &str, expected: Option<&T>, got: &T) -> Option<String> {
    let expected = expected?;
    (expected != got).then(|| format!("{what} {got:?}, expected {expected:?}"))
}

fn lines(who: &str, expected: &Lines, got: &Headers) -> Option<String> {
    expected.iter().find_map(|(name, values)| {
        let got: Vec<&str> = got.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str()).collect();
        let expected: Vec<&str> = match values {
            None => Vec::new(),
            Some(OneOrMore::One(value)) => vec![value],
            Some(OneOrMore::More(values)) => values.iter().map(String::as_str).collect(),
        };
        let same = got.len() == expected.len() && got.iter().zip(&expected).all(|(g, e)| *e == "*" || g == e);
        (!same).then(|| format!("{who} header {name} {got:?}, expected {expected:?}"))
    })
}

fn counted(expected: &BTreeMap<String, Count>, got: &BTreeMap<String, u32>) -> Option<String> {
    let fits = |count: &Count, n: u32| match count {
        Count::Exactly(expected) => n == *expected,
        Count::Between(from, to) => (*from..=*to).contains(&n),
    };
    let wrong = expected.iter().any(|(name, count)| !fits(count, got.get(name).copied().unwrap_or(0)))
        || got.keys().any(|name| !expected.contains_key(name));
    wrong.then(|| format!("counts {got:?}, expected {expected:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(yaml: &str) -> Expectation {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str, seen: &[(&str, &str)]) -> Answer {
        let lines =
            |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Headers>();
        let seen = seen.iter().map(|(origin, path)| Seen {
            origin: (*origin).to_owned(),
            method: "GET".into(),
            path: (*path).to_owned(),
            headers: lines(&[("host", "a")]),
            body: None,
            proto: None,
        });
        let outcome = Outcome::Response { status, headers: lines(headers), body: Some(body.into()) };
        Answer { outcome, upstreams: seen.collect(), ms: None }
    }

    #[test]
    fn what_is_named_must_be_so_and_the_rest_may_be_anything() {
        let got = answer(200, &[("a", "1"), ("b", "1"), ("b", "2")], "hello", &[("canary", "/x")]);
        let rows = [
            ("{}", true),
            ("{status: 200, headers: {a: '1', b: ['1', '2'], c: null}, body: hello, origins: [canary]}", true),
            ("{headers: {a: '*'}, upstream: {method: GET, path: /x, headers: {host: a, via: null}, body: ''}}", true),
            ("{status: 201}", false),
            ("{headers: {a: '2'}}", false),
            ("{headers: {b: '1'}}", false),
            ("{headers: {b: ['2', '1']}}", false),
            ("{headers: {a: null}}", false),
            ("{headers: {c: '*'}}", false),
            ("{body: hell}", false),
            ("{closed: true}", false),
            ("{origins: []}", false),
            ("{upstream: {path: /}}", false),
            ("{upstream: {headers: {host: null}}}", false),
        ];
        for (yaml, fits) in rows {
            assert_eq!(expect(yaml).missed_by(&got).is_none(), fits, "{yaml}");
        }
    }

    #[test]
    fn an_origin_that_saw_nothing_is_a_miss() {
        let silent = answer(200, &[], "", &[]);
        assert!(expect("{upstream: {path: /}}").missed_by(&silent).is_some());
        assert!(expect("{origins: []}").missed_by(&silent).is_none());
    }

    #[test]
    fn counts_are_exact_or_between() {
        let counts = BTreeMap::from([("200".to_owned(), 5), ("429".to_owned(), 7)]);
        let got = Answer { outcome: Outcome::Histogram(counts), upstreams: Vec::new(), ms: None };
        let rows = [
            ("{counts: {'200': 5, '429': 7}}", true),
            ("{counts: {'200': [4, 6], '429': 7}}", true),
            ("{counts: {'200': 5}}", false),
            ("{counts: {'200': 5, '429': [8, 9]}}", false),
            ("{counts: {'200': 5, '429': 7, '503': 1}}", false),
            ("{}", true),
        ];
        for (yaml, fits) in rows {
            assert_eq!(expect(yaml).missed_by(&got).is_none(), fits, "{yaml}");
        }
    }
}
