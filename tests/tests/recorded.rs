//! The runner judged before it judges: recorded answers are equal to themselves and to nothing else, and the real Envoy, given what istiod gave it,
//! answers as recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::rc::Rc;

use tests::case::{self, Answer, Case, Exchange, Outcome, Seen, Verdict};
use tests::compare;
use tests::envoy;
use tests::recorded::Translation;
use tests::replay::{Replay, Through};
use tests::scoreboard::{Scoreboard, Scored};

fn cases() -> Vec<Case> {
    case::files().unwrap().iter().flat_map(|file| case::load(file).unwrap()).collect()
}

fn exchanges(cases: &[Case]) -> impl Iterator<Item = &Exchange> {
    cases.iter().flat_map(|case| match &case.verdict {
        Verdict::Served(exchanges) => exchanges.as_slice(),
        Verdict::Refused(_) => &[],
    })
}

#[test]
fn the_corpus_is_whole() {
    let cases = cases();
    let refused = cases.iter().filter(|case| matches!(case.verdict, Verdict::Refused(_))).count();
    assert_eq!((cases.len(), refused, exchanges(&cases).count()), (383, 8, 3600));
}

#[test]
fn every_recorded_answer_equals_itself() {
    for exchange in exchanges(&cases()) {
        assert_eq!(compare::difference(&exchange.expect, &exchange.expect), None, "{exchange:?}");
    }
}

/// Every way in which one recorded answer can be made a little wrong.
fn spoiled(answer: &Answer) -> Vec<(&'static str, Answer)> {
    let mut wrong = Vec::new();
    let mut with = |what, change: &dyn Fn(&mut Answer)| {
        let mut copy = answer.clone();
        change(&mut copy);
        wrong.push((what, copy));
    };
    with("another end", &|a| {
        a.outcome = if a.outcome == Outcome::Closed { Outcome::TlsError } else { Outcome::Closed };
    });
    with("one request more at an origin", &|a| {
        let seen = Seen {
            origin: "o1".into(),
            method: "GET".into(),
            path: "/".into(),
            headers: Vec::new(),
            body: None,
            proto: None,
        };
        a.upstreams.push(seen);
    });
    if let Outcome::Response { body, headers, .. } = &answer.outcome {
        let edit = |a: &mut Answer, change: &dyn Fn(&mut u16, &mut case::Headers, &mut Option<String>)| {
            if let Outcome::Response { status, headers, body } = &mut a.outcome {
                change(status, headers, body);
            }
        };
        with("status", &|a| edit(a, &|status, _, _| *status += 1));
        with("one header more", &|a| edit(a, &|_, headers, _| headers.push(("x-more".into(), "1".into()))));
        with("body", &|a| edit(a, &|_, _, body| *body = Some(format!("{}!", body.clone().unwrap_or_default()))));
        if body.is_some() {
            with("no body", &|a| edit(a, &|_, _, body| *body = None));
        }
        for at in 0..headers.len() {
            if !headers.contains(&("x-origin".into(), "*".into())) {
                with("one header less", &|a| edit(a, &|_, headers, _| drop(headers.remove(at))));
            }
            if headers[at].1 != "*" {
                with("a header's value", &|a| edit(a, &|_, headers, _| headers[at].1.push('!')));
            }
        }
        with("slow", &|a| a.ms = Some(a.ms.unwrap_or(0) * 2 + 300));
    }
    for at in 0..answer.upstreams.len() {
        with("one request less at an origin", &|a| drop(a.upstreams.remove(at)));
        with("the path an origin saw", &|a| a.upstreams[at].path.push('!'));
        with("the method an origin saw", &|a| a.upstreams[at].method.push('!'));
        with("the body an origin saw", &|a| {
            a.upstreams[at].body = Some(format!("{}!", a.upstreams[at].body.clone().unwrap_or_default()))
        });
        with("the protocol an origin saw", &|a| {
            a.upstreams[at].proto = if a.upstreams[at].proto.is_some() { None } else { Some("h2".into()) }
        });
        if answer.upstreams[at].origin != "*" {
            with("another origin", &|a| a.upstreams[at].origin.push('!'));
        }
        for line in 0..answer.upstreams[at].headers.len() {
            with("one header less at an origin", &|a| drop(a.upstreams[at].headers.remove(line)));
            if answer.upstreams[at].headers[line].1 != "*" {
                with("a header's value at an origin", &|a| a.upstreams[at].headers[line].1.push('!'));
            }
        }
    }
    wrong
}

#[test]
fn no_spoiled_answer_passes_for_the_recorded_one() {
    let mut tried = 0;
    for exchange in exchanges(&cases()).filter(|x| !matches!(x.expect.outcome, Outcome::Histogram(_))) {
        for (what, wrong) in spoiled(&exchange.expect) {
            tried += 1;
            assert!(compare::difference(&exchange.expect, &wrong).is_some(), "{what} passes: {wrong:?}");
        }
    }
    assert!(tried > 80_000, "only {tried} wrong answers tried");
}

/// The judge judged: this machine's Envoy, these origins and this client, on what istiod recorded.
#[test]
fn envoy_with_the_recorded_translations_answers_as_recorded() {
    let Some(binary) = envoy::binary().unwrap() else { return };
    let translations = Translation::all().unwrap();
    let plain = translations.iter().find_map(|t| t.plain_listener().ok().cloned()).unwrap();
    let cases: HashMap<String, Case> =
        cases().into_iter().map(|case| (format!("{} | {}", case.area, case.name), case)).collect();
    let replay = Rc::new(Replay::new(Through::Envoy).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scored: Vec<Scored> = runtime.block_on(async {
        let mut all = Vec::new();
        for translation in translations {
            // Five translations were recorded without exchanges.
            let Some(case) = cases.get(&translation.case) else { continue };
            let Verdict::Served(exchanges) = &case.verdict else { panic!("{} was refused", case.name) };
            let bootstrap = translation.listening_on(&plain).bootstrap(replay.certificates()).unwrap();
            let gateway = envoy::start(&binary, &bootstrap, 1).await.unwrap();
            all.extend(replay.exchanges(case, exchanges, &gateway).await);
        }
        all
    });
    let wrong: Vec<String> = scored.iter().filter(|one| one.difference.is_some()).map(ToString::to_string).collect();
    println!("{}", Scoreboard::of(&scored));
    assert_eq!(scored.len(), 149);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
