//! The JSON Schemas in `manifests/schema` are the ones the types give, and they judge configurations as the code does.
#![cfg(not(target_family = "wasm"))]

use policy::metrics::Metrics;
use policy::{Module, header_match};
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
