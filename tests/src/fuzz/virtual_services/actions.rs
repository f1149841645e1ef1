//! What a rule does with its requests.

use serde_json::{Map, Value, json};

use super::conditions::path;
use crate::fuzz::{
    dice::{Dice, Message},
    words,
    world::SERVICES,
};

/// Gives a rule its action and everything that goes with it.
pub(super) fn on(dice: &mut Dice, rule: Message) -> Message {
    match dice.below(100) {
        0..=11 => rule.with("redirect", redirect(dice)).perhaps("headers", dice.maybe(25, headers)),
        12..=22 => rule
            .with("directResponse", direct_response(dice))
            .perhaps("headers", dice.maybe(25, headers))
            .perhaps("corsPolicy", dice.maybe(10, cors)),
        _ => routed(dice, rule),
    }
}

fn routed(dice: &mut Dice, rule: Message) -> Message {
    let rewrite = dice.maybe(30, rewrite);
    let mut rule = rule
        .with("route", destinations(dice))
        .perhaps("rewrite", rewrite)
        .perhaps("timeout", dice.maybe(8, |dice| dice.pick(&["0.06s", "5s", "80ms", "1h"])))
        .perhaps("retries", dice.maybe(22, retries))
        .perhaps("fault", dice.maybe(10, fault))
        .perhaps("corsPolicy", dice.maybe(15, cors))
        .perhaps("headers", dice.maybe(30, headers));
    if dice.chance(10) {
        rule = rule.with("mirror", destination(dice)).perhaps(
            "mirrorPercentage",
            dice.maybe(50, |dice| json!({"value": if dice.chance(60) { 100 } else { 0 }})),
        );
    } else if dice.chance(8) {
        let mirrors: Vec<Value> = (0..1 + dice.below(2))
            .map(|_| {
                let percentage = dice.maybe(40, |dice| json!({"value": if dice.chance(70) { 100.0 } else { 0.0 }}));
                Message::default().with("destination", destination(dice)).perhaps("percentage", percentage).into()
            })
            .collect();
        rule = rule.with("mirrors", mirrors);
    }
    rule
}

fn destination(dice: &mut Dice) -> Value {
    let good = SERVICES.len() - 4;
    let known = if dice.chance(92) { dice.below(good) } else { good + dice.below(4) };
    let Some(service) = SERVICES.get(known) else { return json!({"host": "shop"}) };
    let version = dice.any(service.versions).copied().unwrap_or("v1");
    Message::default()
        .with("host", service.host)
        .with("port", json!({"number": service.port}))
        .perhaps("subset", dice.maybe(45, |_| version))
        .into()
}

fn destinations(dice: &mut Dice) -> Vec<Value> {
    match dice.below(10) {
        0..=6 => vec![weighted(dice, None)],
        7 => vec![weighted(dice, Some(100)), weighted(dice, Some(0))],
        8 => vec![weighted(dice, Some(0)), weighted(dice, Some(7))],
        _ => vec![weighted(dice, Some(50)), weighted(dice, Some(50))],
    }
}

fn weighted(dice: &mut Dice, weight: Option<u32>) -> Value {
    Message::default()
        .with("destination", destination(dice))
        .perhaps("weight", weight)
        .perhaps("headers", dice.maybe(15, headers))
        .into()
}

fn redirect(dice: &mut Dice) -> Value {
    let mut redirect = Message::default();
    if dice.chance(75) {
        redirect = redirect.with("uri", dice.pick(&["/new", "/", "/new?x=1", "new", "/a#b", "/%2F", "/a//b"]));
    } else {
        redirect = redirect.with("authority", dice.pick(&["new.example", "new.example:8443", "a.b"]));
    }
    redirect
        .perhaps("authority", dice.maybe(30, |dice| dice.pick(&["new.example", "new.example:8443"])))
        .perhaps("scheme", dice.maybe(25, |dice| dice.pick(&["https", "http"])))
        .perhaps("redirectCode", dice.maybe(50, |dice| *dice.any(&[301, 302, 303, 307, 308]).unwrap_or(&302)))
        .perhaps("port", dice.maybe(15, |dice| *dice.any(&[80, 443, 8443]).unwrap_or(&80)))
        .into()
}

fn direct_response(dice: &mut Dice) -> Value {
    let status = *dice.any(&[200, 204, 301, 304, 400, 403, 404, 418, 500, 503, 599, 201]).unwrap_or(&200);
    let body = dice.maybe(60, |dice| match dice.below(4) {
        0 => json!({"bytes": "AAEC/w=="}),
        1 => json!({"string": ""}),
        _ => json!({"string": dice.pick(&["hello", "{\"a\": 1}", "%REQ(x-a)%", "ümlaut"])}),
    });
    Message::default().with("status", status).perhaps("body", body).into()
}

fn rewrite(dice: &mut Dice) -> Value {
    let authority = dice.maybe(35, |dice| dice.pick(&["inner.example", "inner:8080", "INNER"]));
    let rewrite = Message::default().perhaps("authority", authority);
    match dice.below(10) {
        0..=5 => rewrite.with("uri", if dice.chance(40) { "/".into() } else { path(dice) }),
        6..=8 => {
            let pairs = [
                ("/", "_"),
                ("^/api/(v[0-9]+)/(.*)$", r"/\2/\1"),
                ("a", "bb"),
                ("(a)|(b)", r"[\1\2]"),
                ("x|^", "x"),
                ("/+", "/"),
                (r"^(.*)$", r"\1?added=1"),
                (r"\.", "-"),
                ("^/.*$", "/fixed"),
                ("b*", "-"),
            ];
            let (matched, with) = *dice.any(&pairs).unwrap_or(&("/", "/"));
            rewrite.with("uriRegexRewrite", json!({"match": matched, "rewrite": with}))
        }
        _ => rewrite.with("authority", "only.example"),
    }
    .into()
}

fn retries(dice: &mut Dice) -> Value {
    if dice.chance(8) {
        return json!({"attempts": 0});
    }
    let conditions = dice.maybe(70, |dice| dice.some(words::RETRY_ON, 1, 3).join(","));
    let backoff = if dice.chance(90) { "1ms" } else { "20ms" };
    Message::default()
        .with("attempts", *dice.any(&[1, 1, 2, 3]).unwrap_or(&1))
        .perhaps("perTryTimeout", dice.maybe(15, |dice| dice.pick(&["0.05s", "2s"])))
        .perhaps("retryOn", conditions)
        .perhaps("retryIgnorePreviousHosts", dice.maybe(10, |dice| dice.chance(50)))
        .perhaps("retryRemoteLocalities", dice.maybe(5, |dice| dice.chance(50)))
        .with("backoff", backoff)
        .into()
}

fn fault(dice: &mut Dice) -> Value {
    let percentage = |dice: &mut Dice| dice.maybe(85, |dice| json!({"value": if dice.chance(75) { 100 } else { 0 }}));
    let delay = dice.maybe(35, |dice| {
        Message::default().with("fixedDelay", dice.pick(&["1ms", "0.02s"])).perhaps("percentage", percentage(dice))
    });
    let abort = (delay.is_none() || dice.chance(50)).then(|| {
        let abort = Message::default().perhaps("percentage", percentage(dice));
        if dice.chance(75) {
            abort.with("httpStatus", *dice.any(&[200, 400, 429, 503, 555, 599]).unwrap_or(&503))
        } else {
            abort.with("grpcStatus", dice.pick(&["UNAVAILABLE", "OK", "NOT_FOUND", "RESOURCE_EXHAUSTED"]))
        }
    });
    Message::default().perhaps("delay", delay).perhaps("abort", abort).into()
}

fn cors(dice: &mut Dice) -> Value {
    let origin = |dice: &mut Dice| match dice.below(6) {
        0 => json!({"exact": "*"}),
        1 => json!({"prefix": "https://a"}),
        2 => json!({"regex": r"https://.*\.example"}),
        3 => json!({"regex": ".*"}),
        _ => json!({"exact": dice.pick(&["https://a.example", "http://b.example"])}),
    };
    let origins = dice.maybe(90, |dice| (0..1 + dice.below(2)).map(|_| origin(dice)).collect::<Vec<_>>());
    let old = origins.is_none().then(|| json!([dice.pick(&["*", "https://a.example"])]));
    Message::default()
        .perhaps("allowOrigins", origins)
        .perhaps("allowOrigin", old)
        .perhaps("allowMethods", dice.maybe(60, |dice| dice.some(&["GET", "POST", "*"], 1, 2)))
        .perhaps("allowHeaders", dice.maybe(50, |dice| dice.some(&["x-a", "X-B", "*"], 1, 2)))
        .perhaps("exposeHeaders", dice.maybe(40, |dice| dice.some(&["x-origin", "X-B", "*"], 1, 2)))
        .perhaps("maxAge", dice.maybe(40, |dice| dice.pick(&["24h", "1s", "2m"])))
        .perhaps("allowCredentials", dice.maybe(40, |dice| dice.chance(70)))
        .perhaps("unmatchedPreflights", dice.maybe(40, |dice| dice.pick(&["FORWARD", "IGNORE", "UNSPECIFIED"])))
        .into()
}

/// Operations on both ways.
pub(super) fn headers(dice: &mut Dice) -> Value {
    Message::default()
        .perhaps("request", dice.maybe(70, |dice| operations(dice, words::WRITTEN_HEADERS)))
        .perhaps("response", dice.maybe(50, |dice| operations(dice, words::WRITTEN_ANSWER_HEADERS)))
        .into()
}

fn operations(dice: &mut Dice, names: &[&'static str]) -> Value {
    let values = |dice: &mut Dice| -> Value {
        let mut map = Map::new();
        for _ in 0..1 + dice.below(2) {
            map.insert(dice.pick(names).to_owned(), dice.pick(words::WRITTEN_VALUES).into());
        }
        map.into()
    };
    let authority = |dice: &mut Dice| {
        let mut map = Map::new();
        map.insert(dice.pick(&["Host", "host", ":authority"]).to_owned(), "set.example".into());
        Value::from(map)
    };
    if names == words::WRITTEN_HEADERS && dice.chance(5) {
        return Message::default().with("set", authority(dice)).into();
    }
    Message::default()
        .perhaps("set", dice.maybe(50, values))
        .perhaps("add", dice.maybe(50, values))
        .perhaps("remove", dice.maybe(35, |dice| dice.some(names, 1, 2)))
        .into()
}
