//! What Istio hands Envoy survives reading and writing: the recorded translations come back equal, field by field.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn round_trip<T: DeserializeOwned + Serialize>(list: Option<&Value>, what: &str) -> usize {
    let items = list.and_then(Value::as_array).cloned().unwrap_or_default();
    for item in &items {
        let message: T = serde_json::from_value(item.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(without_defaults(serde_json::to_value(&message).unwrap()), without_defaults(item.clone()), "{what}");
    }
    items.len()
}

/// `false`, `""`, `0`, `{}` and `[]` mean absent in proto3.
fn without_defaults(value: Value) -> Value {
    let empty = |v: &Value| match v {
        Value::Bool(b) => !b,
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::Object(o) => o.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Null => true,
    };
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(k, v)| (k, without_defaults(v))).filter(|(_, v)| !empty(v)).collect()
        }
        Value::Array(items) => items.into_iter().map(without_defaults).collect(),
        other => other,
    }
}

#[test]
fn every_recorded_translation_survives_a_round_trip() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/translation");
    let mut messages = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let recorded: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.display().to_string();
        messages += round_trip::<xds::Listener>(recorded.get("listeners"), &name);
        messages += round_trip::<xds::RouteConfiguration>(recorded.get("routes"), &name);
        messages += round_trip::<xds::Cluster>(recorded.get("clusters"), &name);
        messages += round_trip::<xds::ClusterLoadAssignment>(recorded.get("endpoints"), &name);
    }
    assert!(messages > 100, "only {messages} messages in {}", folder.display());
}
