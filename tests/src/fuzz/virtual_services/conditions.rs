//! One entry of a rule's `match`.

use serde_json::{Map, Value, json};

use crate::fuzz::{
    dice::{Dice, Message},
    words,
};

/// Conditions that must hold together; a delegate's are kept to what a root's can be joined with.
pub(super) fn entry(dice: &mut Dice, delegated: bool) -> Value {
    let uri = if delegated { dice.maybe(50, |dice| json!({"prefix": path(dice)})) } else { dice.maybe(75, uri) };
    let fold = uri.is_some() && dice.chance(15);
    let mut entry = Message::default()
        .perhaps("uri", uri)
        .perhaps("ignoreUriCase", fold.then_some(true))
        .perhaps("name", dice.maybe(20, |dice| dice.pick(&["m1", "m2", "one.two"])))
        .perhaps("headers", dice.maybe(25, headers))
        .perhaps("withoutHeaders", dice.maybe(12, absent_headers))
        .perhaps("queryParams", dice.maybe(12, parameters))
        .perhaps("method", dice.maybe(10, method));
    if !delegated {
        entry = entry
            .perhaps("scheme", dice.maybe(4, |dice| text(dice, &["http", "https", "HTTP"], &["htt"])))
            .perhaps("authority", dice.maybe(6, |dice| text(dice, words::ASKED_HOSTS, &["shop", "a.", "SHOP"])))
            .perhaps("port", dice.maybe(4, |dice| if dice.chance(60) { 80 } else { 443 }))
            .perhaps("statPrefix", dice.maybe(2, |_| "some"))
            .perhaps("sourceLabels", dice.maybe(2, |dice| json!({"istio": dice.pick(&["ingressgateway", "other"])})))
            .perhaps("gateways", dice.maybe(3, |_| json!(["istio-system/gw"])));
    }
    if entry.is_empty() { json!({"uri": {"prefix": "/"}}) } else { entry.into() }
}

/// A path in canonical form, or nearly.
pub(super) fn path(dice: &mut Dice) -> String {
    let mut path = String::new();
    for _ in 0..dice.below(4) {
        path.push('/');
        path.push_str(dice.pick(words::SEGMENTS));
    }
    if path.is_empty() || dice.chance(25) {
        path.push('/');
    }
    if dice.chance(3) {
        path.push('/');
    }
    path
}

fn uri(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0..=3 => json!({"prefix": path(dice)}),
        4..=6 => json!({"exact": path(dice)}),
        _ => json!({"regex": regex(dice, words::PATH_REGEXES)}),
    }
}

fn regex(dice: &mut Dice, list: &[(&'static str, &[&str])]) -> &'static str {
    dice.any(list).map_or(".*", |(pattern, _)| pattern)
}

fn method(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => json!({"regex": "GET|HEAD"}),
        1 => json!({"prefix": "P"}),
        _ => json!({"exact": dice.pick(words::METHODS)}),
    }
}

fn text(dice: &mut Dice, exact: &[&'static str], prefixes: &[&'static str]) -> Value {
    match dice.below(10) {
        0..=4 => json!({"exact": dice.pick(exact)}),
        5..=6 => json!({"prefix": dice.pick(prefixes)}),
        _ => json!({"regex": regex(dice, words::VALUE_REGEXES)}),
    }
}

fn value(dice: &mut Dice) -> Value {
    if dice.chance(20) { json!({}) } else { text(dice, words::VALUES, words::PREFIXES) }
}

fn headers(dice: &mut Dice) -> Value {
    let mut headers = Map::new();
    for _ in 0..1 + dice.below(2) {
        let names = if dice.chance(12) { words::EDGE_HEADERS } else { words::MATCHED_HEADERS };
        headers.insert(dice.pick(names).to_owned(), value(dice));
    }
    headers.into()
}

/// Here Istio takes `regex: "*"` for "is present".
fn absent_headers(dice: &mut Dice) -> Value {
    if dice.chance(10) { json!({"x-env": {"regex": "*"}}) } else { headers(dice) }
}

fn parameters(dice: &mut Dice) -> Value {
    let mut parameters = Map::new();
    for _ in 0..1 + dice.below(2) {
        parameters.insert(dice.pick(words::PARAMETERS).to_owned(), value(dice));
    }
    parameters.into()
}
