//! Is this answer the recorded one? `None`, or the first difference in words.
//!
//! The rules are those of `tests/corpus/README.md`: `"*"` is any value, headers are a multiset in which only repeats of one name have an order,
//! shares are compared as draws of one law, durations within 80 ms or 30 %.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Answer, Headers, Outcome, Seen};

/// An answer with no recorded duration took less than 90 ms; a busy machine may take this much.
pub const FAST_MS: u64 = 250;

/// The first difference between what was recorded and what came now, if there is one.
#[must_use]
pub fn difference(expected: &Answer, got: &Answer) -> Option<String> {
    if let (Outcome::Histogram(e), Outcome::Histogram(g)) = (&expected.outcome, &got.outcome) {
        return shares(e, g);
    }
    outcomes(&expected.outcome, &got.outcome)
        .or_else(|| upstreams(&expected.upstreams, &got.upstreams))
        .or_else(|| durations(expected.ms.unwrap_or(0), got.ms.unwrap_or(0)))
}

fn outcomes(expected: &Outcome, got: &Outcome) -> Option<String> {
    match (expected, got) {
        (
            Outcome::Response { status: e, headers: eh, body: eb },
            Outcome::Response { status: g, headers: gh, body: gb },
        ) => (e != g)
            .then(|| format!("status {g}, Envoy {e}"))
            .or_else(|| headers("response", eh, gh))
            .or_else(|| bodies(eb.as_deref(), gb.as_deref())),
        (e, g) => (e != g).then(|| format!("{}, Envoy: {}", words(g), words(e))),
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Response { status, .. } => format!("status {status}"),
        Outcome::Histogram(counts) => format!("counts {counts:?}"),
        Outcome::Closed => "closed without an answer".into(),
        Outcome::TlsError => "TLS error".into(),
        Outcome::Timeout => "no answer in time".into(),
        Outcome::NoListener => "no listener".into(),
        Outcome::Unreadable(what) => format!("unreadable ({what})"),
    }
}

fn bodies(expected: Option<&str>, got: Option<&str>) -> Option<String> {
    let show = |body: Option<&str>| body.map_or("none".into(), |b| format!("{:?}", shorten(b)));
    (expected != got).then(|| format!("body {}, Envoy {}", show(got), show(expected)))
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The difference between two lists of header lines, `who` naming them. Equal means: the same lines as a multiset, and repeats of one name in the
/// same order; a name with a `*` value on the expected side counts by presence.
#[must_use]
pub fn headers(who: &str, expected: &Headers, got: &Headers) -> Option<String> {
    let drawn = expected.iter().any(|(name, value)| name == "x-origin" && value == "*");
    let any: BTreeSet<&str> = expected.iter().filter(|(_, v)| v == "*").map(|(k, _)| k.as_str()).collect();
    let lines = |headers: &Headers| -> BTreeMap<String, Vec<String>> {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| !(drawn && name == "x-origin")) {
            let value = if any.contains(name.as_str()) { "*" } else { value };
            lines.entry(name.clone()).or_default().push(value.to_owned());
        }
        lines
    };
    let (e, g) = (lines(expected), lines(got));
    let names: BTreeSet<&String> = e.keys().chain(g.keys()).collect();
    let (mut missing, mut extra, mut order) = (Vec::new(), Vec::new(), None);
    let none = Vec::new();
    for name in names {
        let (want, have) = (e.get(name).unwrap_or(&none), g.get(name).unwrap_or(&none));
        let (without, beyond) = (left_over(want, have), left_over(have, want));
        if without.is_empty() && beyond.is_empty() && want != have {
            order = Some(format!("{who} header {name}: order of repeats {have:?}, Envoy {want:?}"));
        }
        missing.extend(without.into_iter().map(|value| format!("{name}: {value}")));
        extra.extend(beyond.into_iter().map(|value| format!("{name}: {value}")));
    }
    if missing.is_empty() && extra.is_empty() {
        return order;
    }
    Some(format!("{who} headers: missing {missing:?}, extra {extra:?}"))
}

/// The values of `from` that are left when those of `without` are taken away, one for one.
fn left_over<'a>(from: &'a [String], without: &[String]) -> Vec<&'a str> {
    let mut taken = without.to_vec();
    from.iter()
        .filter(|value| match taken.iter().position(|t| t == *value) {
            Some(at) => {
                taken.swap_remove(at);
                false
            }
            None => true,
        })
        .map(String::as_str)
        .collect()
}

fn upstreams(expected: &[Seen], got: &[Seen]) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("{} requests reached origins, Envoy {}", got.len(), expected.len()));
    }
    let drawn = expected.iter().any(|seen| seen.origin == "*");
    let ordered = |list: &[Seen]| {
        let mut list: Vec<Seen> = list.to_vec();
        // Origins race each other: only the order within one origin is meant.
        list.sort_by_key(|seen| if drawn { String::new() } else { seen.origin.clone() });
        list
    };
    let (expected, got) = (ordered(expected), ordered(got));
    let first = expected.iter().zip(&got).find_map(|(e, g)| seen(e, g))?;
    // A mirror that reaches the same origin, or one that was drawn, may come before or after.
    (!pairs_off(&expected, &mut got.iter().collect::<Vec<_>>())).then_some(first)
}

/// Whether each expected request has one of its own among those that came.
fn pairs_off(expected: &[Seen], left: &mut Vec<&Seen>) -> bool {
    let Some((first, rest)) = expected.split_first() else { return left.is_empty() };
    for at in 0..left.len() {
        let candidate = left.remove(at);
        if seen(first, candidate).is_none() && pairs_off(rest, left) {
            return true;
        }
        left.insert(at, candidate);
    }
    false
}

fn seen(expected: &Seen, got: &Seen) -> Option<String> {
    let field = |name: &str, e: &str, g: &str| {
        (e != g).then(|| format!("origin saw {name} {:?}, Envoy {:?}", shorten(g), shorten(e)))
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let origin = if expected.origin == "*" { None } else { field("origin", &expected.origin, &got.origin) };
    origin
        .or_else(|| field("method", &expected.method, &got.method))
        .or_else(|| field("path", &expected.path, &got.path))
        .or_else(|| field("body", &text(&expected.body), &text(&got.body)))
        .or_else(|| field("proto", &text(&expected.proto), &text(&got.proto)))
        .or_else(|| headers("upstream", &expected.headers, &got.headers))
}

fn durations(expected: u64, got: u64) -> Option<String> {
    let same = if expected == 0 { got <= FAST_MS } else { expected.abs_diff(got) <= (expected * 3 / 10).max(80) };
    (!same).then(|| format!("took {got} ms, Envoy {expected} ms"))
}

/// Whether a difference is about time alone, which a busy machine can cause.
#[must_use]
pub fn is_about_time(difference: &str) -> bool {
    difference.starts_with("took ")
}

/// Two samples of one law: no share differs by more than five standard deviations of the pooled proportion.
fn shares(expected: &BTreeMap<String, u32>, got: &BTreeMap<String, u32>) -> Option<String> {
    let (all_e, all_g): (u32, u32) = (expected.values().sum(), got.values().sum());
    if all_e == 0 || all_g == 0 {
        return (all_e != all_g).then(|| format!("{all_g} answers, Envoy {all_e}"));
    }
    let (n_e, n_g) = (f64::from(all_e), f64::from(all_g));
    let names: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    names.into_iter().find_map(|name| {
        let count = |of: &BTreeMap<String, u32>| of.get(name).copied().unwrap_or(0);
        let (e, g) = (count(expected), count(got));
        let pooled = f64::from(e + g) / (n_e + n_g);
        let deviation = ((pooled * (1.0 - pooled)).max(1e-9) * (1.0 / n_e + 1.0 / n_g)).sqrt();
        let apart = (f64::from(e) / n_e - f64::from(g) / n_g).abs();
        (apart > 5.0 * deviation + 1e-9).then(|| format!("share of {name}: {g}/{all_g}, Envoy {e}/{all_e}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(list: &[(&str, &str)]) -> Headers {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn answer(status: u16, list: &[(&str, &str)], body: Option<&str>) -> Answer {
        let outcome = Outcome::Response { status, headers: lines(list), body: body.map(str::to_owned) };
        Answer { outcome, upstreams: Vec::new(), ms: None }
    }

    fn seen_by(origin: &str, path: &str, host: &str) -> Seen {
        Seen {
            origin: origin.into(),
            method: "GET".into(),
            path: path.into(),
            headers: lines(&[("host", host)]),
            body: None,
            proto: None,
        }
    }

    fn counted(counts: &[(&str, u32)]) -> Answer {
        let counts = counts.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect();
        Answer { outcome: Outcome::Histogram(counts), upstreams: Vec::new(), ms: None }
    }

    fn same(expected: &Answer, got: &Answer) {
        assert_eq!(difference(expected, got), None, "{expected:?} {got:?}");
    }

    fn differs(expected: &Answer, got: &Answer, word: &str) {
        let words = difference(expected, got).unwrap_or_default();
        assert!(words.contains(word), "{words:?} does not say {word:?}");
    }

    #[test]
    fn a_star_is_any_value_but_not_no_value() {
        let recorded = answer(200, &[("x-request-id", "*")], None);
        same(&recorded, &answer(200, &[("x-request-id", "abc")], None));
        differs(&recorded, &answer(200, &[], None), "missing");
        differs(&recorded, &answer(200, &[("x-request-id", "a"), ("x-request-id", "b")], None), "extra");
    }

    #[test]
    fn an_answer_differs_by_status_header_and_body() {
        let recorded = answer(404, &[("server", "istio-envoy")], Some(""));
        same(&recorded, &recorded);
        differs(&recorded, &answer(200, &[("server", "istio-envoy")], Some("")), "status 200");
        differs(&recorded, &answer(404, &[("server", "envoy")], Some("")), "server: envoy");
        differs(&recorded, &answer(404, &[("server", "istio-envoy")], Some("x")), "body");
        differs(&recorded, &answer(404, &[("server", "istio-envoy")], None), "body none");
    }

    #[test]
    fn header_lines_are_a_multiset_but_repeats_keep_their_order() {
        let recorded = answer(200, &[("a", "1"), ("b", "1"), ("b", "2")], None);
        same(&recorded, &answer(200, &[("b", "1"), ("b", "2"), ("a", "1")], None));
        differs(&recorded, &answer(200, &[("a", "1"), ("b", "2"), ("b", "1")], None), "order of repeats");
        differs(&recorded, &answer(200, &[("a", "1"), ("b", "1"), ("b", "1")], None), "missing [\"b: 2\"]");
    }

    #[test]
    fn an_exchange_ends_one_way() {
        let end = |outcome: Outcome| Answer { outcome, upstreams: Vec::new(), ms: None };
        same(&end(Outcome::Closed), &end(Outcome::Closed));
        differs(&end(Outcome::Closed), &answer(400, &[], None), "status 400, Envoy: closed");
        differs(&end(Outcome::TlsError), &end(Outcome::Closed), "TLS error");
        differs(&answer(200, &[], None), &end(Outcome::NoListener), "no listener");
        differs(&counted(&[("o1", 10)]), &end(Outcome::Timeout), "no answer in time");
    }

    #[test]
    fn an_origin_that_was_drawn_may_be_any() {
        let mut recorded = answer(200, &[("x-origin", "*")], None);
        recorded.upstreams = vec![seen_by("*", "/", "a")];
        let mut got = answer(200, &[("x-origin", "o2")], None);
        got.upstreams = vec![seen_by("o2", "/", "a")];
        same(&recorded, &got);
        got.upstreams = vec![seen_by("o2", "/x", "a")];
        differs(&recorded, &got, "path");
    }

    #[test]
    fn what_the_origins_saw_is_compared_in_full() {
        let with = |seen: Vec<Seen>| Answer { upstreams: seen, ..answer(200, &[], None) };
        let recorded = with(vec![seen_by("o1", "/", "a")]);
        differs(&recorded, &with(vec![]), "0 requests reached origins, Envoy 1");
        differs(&recorded, &with(vec![seen_by("o2", "/", "a")]), "origin saw origin");
        differs(&recorded, &with(vec![seen_by("o1", "/", "b")]), "upstream headers");
        let h2 = Seen { proto: Some("h2".into()), ..seen_by("o1", "/", "a") };
        differs(&recorded, &with(vec![h2]), "proto");
        let body = Seen { body: Some("b".into()), ..seen_by("o1", "/", "a") };
        differs(&recorded, &with(vec![body]), "body");
    }

    #[test]
    fn a_mirror_may_arrive_before_or_after() {
        let (main, mirror) = (seen_by("o2", "/", "a"), seen_by("o1", "/", "a"));
        let with = |seen: Vec<Seen>| Answer { upstreams: seen, ..answer(200, &[], None) };
        same(&with(vec![main.clone(), mirror.clone()]), &with(vec![mirror, main.clone()]));
        let drawn = |path: &str| seen_by("*", path, "a");
        same(
            &with(vec![drawn("/"), drawn("/copy")]),
            &with(vec![seen_by("o1", "/copy", "a"), seen_by("o2", "/", "a")]),
        );
        differs(&with(vec![drawn("/"), drawn("/copy")]), &with(vec![main.clone(), main]), "path");
    }

    #[test]
    fn shares_are_compared_as_draws() {
        let recorded = counted(&[("o1", 2393), ("o2", 607)]);
        same(&recorded, &counted(&[("o1", 480), ("o2", 120)]));
        same(&recorded, &counted(&[("o1", 500), ("o2", 100)]));
        differs(&recorded, &counted(&[("o1", 300), ("o2", 300)]), "share of o1: 300/600, Envoy 2393/3000");
        differs(&recorded, &counted(&[("o1", 600)]), "share");
        differs(&recorded, &counted(&[]), "0 answers");
        differs(&counted(&[("o1", 100)]), &counted(&[("o1", 70), ("503", 30)]), "share");
    }

    #[test]
    fn durations_agree_within_eighty_milliseconds_or_a_third() {
        let took = |ms: Option<u64>| Answer { ms, ..answer(200, &[], None) };
        for (recorded, got) in
            [(None, None), (None, Some(250)), (Some(100), Some(180)), (Some(1000), Some(1300)), (Some(100), None)]
        {
            let agree = recorded != Some(100) || got.is_some();
            assert_eq!(difference(&took(recorded), &took(got)).is_none(), agree, "{recorded:?} {got:?}");
        }
        differs(&took(None), &took(Some(251)), "took 251 ms");
        differs(&took(Some(1000)), &took(Some(1301)), "took 1301 ms, Envoy 1000 ms");
    }
}
