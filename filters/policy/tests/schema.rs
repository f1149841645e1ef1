//! The JSON Schemas in `manifests/schema` are the ones the types give, and they judge configurations as the code does.
#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, reason = "a test")]

use policy::metrics::Metrics;
use policy::{Module, fault_inject, header_match, rate_limit, suite, traffic_shift, uri_rewrite};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// A schema must refuse what the code refuses for its shape; what only sense refuses it may let pass.
enum Says {
    Accepted,
    Misshapen,
    Senseless,
}
use Says::{Accepted, Misshapen, Senseless};

fn check<M: Module, C: schemars::JsonSchema>(table: &[(Says, Value)]) {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<C>();
    let schema = serde_json::to_value(schema).unwrap();
    kept(M::NAME, &schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (says, config) in table {
        let code = M::parse(config.to_string().as_bytes(), &mut Metrics::default());
        let (by_code, by_schema) = match says {
            Accepted => (true, Some(true)),
            Misshapen => (false, Some(false)),
            Senseless => (false, None),
        };
        assert_eq!(code.is_ok(), by_code, "the code on {config}: {:?}", code.err());
        if let Some(expected) = by_schema {
            assert_eq!(validator.is_valid(config), expected, "the schema on {config}");
        }
    }
}

/// Compares with the file, or writes it when `UPDATE_SCHEMAS` is set.
fn kept(name: &str, schema: &Value) {
    let file = format!("{}/../../manifests/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = format!("{schema:#}\n");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == text, "{file} is not what the types give; run the tests once with UPDATE_SCHEMAS=1");
}

#[test]
fn header_match() {
    let rule = |more: Value| {
        let mut rule = json!({"name": "a"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"rules": [rule]})
    };
    let matching = |entry: Value| rule(json!({"match": [entry], "headers": {}}));
    check::<header_match::HeaderMatch, header_match::Config>(&[
        (Accepted, json!({})),
        (Accepted, json!({"rules": []})),
        (
            Accepted,
            rule(
                json!({"headers": {"request": {"set": {"x": "1"}, "add": {"y": "2"}, "remove": ["z"]}, "response": {}}}),
            ),
        ),
        (Accepted, rule(json!({"directResponse": {"status": 204}, "continue": true}))),
        (
            Accepted,
            rule(
                json!({"directResponse": {"status": 200, "body": {"bytes": "aGk="}, "headers": {"content-type": "a/b"}}}),
            ),
        ),
        (
            Accepted,
            rule(
                json!({"redirect": {"uri": "/", "authority": "a", "scheme": "https", "port": 8443, "redirectCode": 302}}),
            ),
        ),
        (
            Accepted,
            matching(
                json!({"uri": {"segmentPrefix": "/a"}, "ignoreUriCase": true, "path": "strict", "percentage": {"value": 12.5}}),
            ),
        ),
        (
            Accepted,
            matching(
                json!({"headers": {"x": {"exact": "1", "all": true}}, "withoutHeaders": {"y": {}}, "cookies": {"c": {"prefix": "p"}}}),
            ),
        ),
        (
            Accepted,
            matching(
                json!({"method": {"exact": "GET"}, "queryParams": {"q": {"regex": "a+"}}, "clientIp": ["10.0.0.0/8"]}),
            ),
        ),
        (
            Accepted,
            rule(
                json!({"key": [{"header": "x"}, {"all": [{"clientIp": {"ipv4Prefix": 24}}, {"path": {}}]}], "headers": {}}),
            ),
        ),
        (Misshapen, json!([])),
        (Misshapen, json!({"rules": {}})),
        (Misshapen, json!({"rules": [{"headers": {}}]})),
        (Misshapen, json!({"rulez": []})),
        (Misshapen, json!({"rules": [["a"]]})),
        (Misshapen, rule(json!({"header": {}}))),
        (Misshapen, rule(json!({"name": "Not A Name", "headers": {}}))),
        (Misshapen, rule(json!({"directResponse": {"status": 99}}))),
        (Misshapen, rule(json!({"directResponse": {"status": "200"}}))),
        (Misshapen, rule(json!({"headers": {"request": {"set": {"x": 1}}}}))),
        (Misshapen, matching(json!({"uri": "/a"}))),
        (Misshapen, matching(json!({"uri": {"suffix": "/a"}}))),
        (Misshapen, matching(json!({"path": "loose"}))),
        (Misshapen, matching(json!({"percentage": {"value": 101}}))),
        (Misshapen, matching(json!({"percentage": 10}))),
        (Misshapen, rule(json!({"key": [{"clientIp": {"ipv4Prefix": 33}}], "headers": {}}))),
        (Senseless, rule(json!({}))),
        (Senseless, rule(json!({"headers": {}, "redirect": {"uri": "/"}}))),
        (Senseless, matching(json!({"uri": {"prefix": "a"}}))),
        (Senseless, matching(json!({"uri": {"regex": "("}}))),
    ]);
}

fn one_rule(rule: Value) -> Value {
    json!({"rules": [rule]})
}

#[test]
fn uri_rewrite() {
    check::<uri_rewrite::UriRewrite, uri_rewrite::Config>(&[
        (Accepted, json!({})),
        (Accepted, json!({"originalPathHeader": "", "onInvalid": "reject", "compat": "envoy", "rules": []})),
        (Accepted, one_rule(json!({"match": [{"uri": {"prefix": "/a"}}], "rewrite": {"uri": "/b", "authority": "c"}}))),
        (
            Accepted,
            one_rule(json!({"rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "b"}}, "onInvalid": "pass"})),
        ),
        (Accepted, one_rule(json!({"match": [{"uri": {"template": "/{a}"}}], "rewrite": {"template": "/x/{a}"}}))),
        (Misshapen, one_rule(json!({"match": []}))),
        (Misshapen, one_rule(json!({"rewrite": "/b"}))),
        (Misshapen, one_rule(json!({"rewrite": {"path": "/b"}}))),
        (Misshapen, one_rule(json!({"rewrite": {"uriRegexRewrite": {"match": "a"}}}))),
        (Misshapen, json!({"onInvalid": "drop"})),
        (Misshapen, json!({"compat": true})),
        (Senseless, one_rule(json!({"rewrite": {}}))),
        (Senseless, one_rule(json!({"rewrite": {"uri": "b"}}))),
    ]);
}

#[test]
fn traffic_shift() {
    let rule = |more: Value| {
        let mut rule = json!({"name": "a", "destinations": [{"name": "x", "weight": 1}]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one_rule(rule)
    };
    check::<traffic_shift::TrafficShift, traffic_shift::Config>(&[
        (Accepted, json!({})),
        (
            Accepted,
            rule(
                json!({"key": [{"cookie": "sid"}], "salt": "s", "header": "x-to", "forceHeader": "x-f", "forceCookie": "f"}),
            ),
        ),
        (
            Accepted,
            rule(json!({"cookie": {"name": "c", "ttl": "1h", "path": "/"}, "clearRouteCache": false, "sticky": true})),
        ),
        (
            Accepted,
            rule(
                json!({"destinations": [{"name": "x", "weight": 0}, {"name": "y", "weight": 10000, "headers": {"request": {"set": {"a": "b"}}}}]}),
            ),
        ),
        (Misshapen, one_rule(json!({"name": "a"}))),
        (Misshapen, rule(json!({"destinations": []}))),
        (Misshapen, rule(json!({"destinations": [{"name": "x", "weight": 10001}]}))),
        (Misshapen, rule(json!({"destinations": [{"name": "x", "weight": 1.5}]}))),
        (Misshapen, rule(json!({"destinations": [{"name": "x"}]}))),
        (Misshapen, rule(json!({"cookie": {"ttl": "1h"}}))),
        (Misshapen, rule(json!({"sticky": "no"}))),
        (Senseless, rule(json!({"destinations": [{"name": "x", "weight": 0}]}))),
        (Senseless, rule(json!({"cookie": {"name": "c", "ttl": "soon"}}))),
    ]);
}

#[test]
fn fault_inject() {
    check::<fault_inject::FaultInject, fault_inject::Config>(&[
        (Accepted, json!({})),
        (
            Accepted,
            one_rule(
                json!({"delay": {"fixedDelay": "1s", "jitter": "10ms", "percentage": {"value": 1}}, "maxActive": 10}),
            ),
        ),
        (Accepted, one_rule(json!({"abort": {"httpStatus": 503, "body": {"string": "x"}, "headers": {"a": "b"}}}))),
        (
            Accepted,
            one_rule(json!({"abort": {"grpcStatus": "UNAVAILABLE"}, "activeWindow": {"from": "2026-01-01T00:00:00Z"}})),
        ),
        (
            Accepted,
            one_rule(
                json!({"headerControlled": {"secretHeader": "x", "secretValue": "12345678", "maxDelay": "1s", "allowAbort": true}}),
            ),
        ),
        (Misshapen, one_rule(json!({"delay": {}}))),
        (Misshapen, one_rule(json!({"delay": {"fixedDelay": 5}}))),
        (Misshapen, one_rule(json!({"abort": {"httpStatus": 600}}))),
        (Misshapen, one_rule(json!({"abort": {"grpcStatus": 14}}))),
        (Misshapen, one_rule(json!({"headerControlled": {"secretHeader": "x", "secretValue": "short"}}))),
        (Misshapen, one_rule(json!({"abort": {"httpStatus": 500}, "maxActive": -1}))),
        (Senseless, one_rule(json!({}))),
        (Senseless, one_rule(json!({"delay": {"fixedDelay": "61s"}}))),
        (Senseless, one_rule(json!({"abort": {"grpcStatus": "NO"}}))),
    ]);
}

#[test]
fn rate_limit() {
    let rule = |more: Value| {
        let mut rule = json!({"name": "a", "limit": {"requests": 1, "per": "1s"}});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one_rule(rule)
    };
    let global = |more: Value| {
        let mut global =
            json!({"cluster": "c", "domain": "d", "descriptors": [{"entries": [{"key": "k", "value": "v"}]}]});
        global.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule(json!({ "global": global }))
    };
    check::<rate_limit::RateLimit, rate_limit::config::Config>(&[
        (Accepted, json!({})),
        (
            Accepted,
            rule(json!({"limit": {"requests": 100, "per": "1m", "burst": 10}, "mode": "shadow", "replicas": 3})),
        ),
        (
            Accepted,
            rule(
                json!({"limit": {"requests": 9, "per": "24h"}, "cost": {"header": "x", "max": 9}, "maxKeys": 1024, "onError": "deny"}),
            ),
        ),
        (
            Accepted,
            rule(
                json!({"response": {"status": 503, "body": {"string": "x"}, "headers": {"a": "b"}}, "rateLimitHeaders": "legacy"}),
            ),
        ),
        (Accepted, global(json!({"timeout": "50ms", "failureModeDeny": true}))),
        (Accepted, global(json!({"descriptors": [{"entries": [{"key": "k", "from": {"clientIp": {}}}]}]}))),
        (Misshapen, one_rule(json!({"name": "a"}))),
        (Misshapen, rule(json!({"limit": {"requests": 0, "per": "1s"}}))),
        (Misshapen, rule(json!({"limit": {"requests": 1}}))),
        (Misshapen, rule(json!({"mode": "on"}))),
        (Misshapen, rule(json!({"replicas": 0}))),
        (Misshapen, rule(json!({"maxKeys": 1}))),
        (Misshapen, rule(json!({"response": {"status": 99}}))),
        (Misshapen, global(json!({"descriptors": []}))),
        (Misshapen, global(json!({"cluster": ""}))),
        (Senseless, rule(json!({"limit": {"requests": 1, "per": "1ms"}}))),
        (Senseless, rule(json!({"cost": {"header": "x", "max": 5}}))),
        (Senseless, global(json!({"timeout": "1h"}))),
    ]);
}

#[test]
fn suite() {
    check::<suite::Suite, suite::Config>(&[
        (Accepted, json!({})),
        (
            Accepted,
            json!({"headerMatch": {}, "rateLimit": {"rules": []}, "faultInject": {}, "uriRewrite": {}, "trafficShift": {}}),
        ),
        (Misshapen, json!({"rules": []})),
        (Misshapen, json!({"headerMatch": {"rules": [{"name": "a", "nonsense": 1}]}})),
        (Senseless, json!({"headerMatch": {"rules": [{"name": "a"}]}})),
    ]);
}
