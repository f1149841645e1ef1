//! Merging of protobuf messages in their JSON form: what `proto.Merge` does, with durations replaced whole as istiod has it.

use serde_json::{Map, Value};

use super::oneof;

/// Maps from names to messages: an entry replaces the entry of its name.
const MAPS: [&str; 7] = [
    "typed_per_filter_config",
    "filter_metadata",
    "typed_filter_metadata",
    "typed_extension_protocol_options",
    "key_values",
    "allowed_capabilities",
    "named_endpoints",
];

/// Merges `source` into `target`. Lists grow, or are replaced with `replace_lists`; messages merge field by field; an `Any` is replaced.
pub(super) fn merge(target: &mut Value, source: &Value, replace_lists: bool) {
    if let (Value::Object(target), Value::Object(source)) = (target, source) {
        merge_message("", target, source, replace_lists);
    }
}

fn merge_message(parent: &str, target: &mut Map<String, Value>, source: &Map<String, Value>, replace_lists: bool) {
    for (field, new) in source {
        for other in oneof::excluded_by(parent, field) {
            target.remove(other);
        }
        match (target.get_mut(field), new) {
            (Some(Value::Array(known)), Value::Array(new)) if !replace_lists => known.extend(new.iter().cloned()),
            (Some(Value::Object(known)), Value::Object(new)) if MAPS.contains(&field.as_str()) => {
                known.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            (Some(Value::Object(known)), Value::Object(new)) if !is_any(known) && !is_any(new) => {
                merge_message(field, known, new, replace_lists);
            }
            // A wrapper's zero is not set inside of the wrapper, so it does not overwrite what is there.
            (Some(_), zero) if is_zero(zero) && !oneof::is_member(field) => {}
            _ => drop(target.insert(field.clone(), new.clone())),
        }
    }
}

fn is_any(message: &Map<String, Value>) -> bool {
    message.contains_key("@type")
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        _ => false,
    }
}

/// Merges two `Any`s of one type by what they hold; `false` when their types differ.
pub(super) fn merge_any(target: &mut Value, source: &Value) -> bool {
    if target.get("@type") != source.get("@type") {
        return false;
    }
    if let (Value::Object(target), Value::Object(source)) = (target, source) {
        merge_message("", target, source, false);
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_merge_as_protobuf_merges_them() {
        for (what, mut target, source, merged) in [
            ("scalars replace", json!({"a": 1}), json!({"a": 2, "b": "x"}), json!({"a": 2, "b": "x"})),
            ("lists grow", json!({"a": [1]}), json!({"a": [2]}), json!({"a": [1, 2]})),
            ("messages merge", json!({"m": {"a": 1, "b": 2}}), json!({"m": {"b": 3}}), json!({"m": {"a": 1, "b": 3}})),
            (
                "a oneof keeps one member",
                json!({"prefix": "/", "headers": []}),
                json!({"path": "/x"}),
                json!({"path": "/x", "headers": []}),
            ),
            ("durations replace", json!({"timeout": "1.5s"}), json!({"timeout": "2s"}), json!({"timeout": "2s"})),
            (
                "map entries replace",
                json!({"typed_per_filter_config": {"f": {"@type": "t", "a": 1}, "g": {"@type": "u"}}}),
                json!({"typed_per_filter_config": {"f": {"@type": "t", "b": 2}}}),
                json!({"typed_per_filter_config": {"f": {"@type": "t", "b": 2}, "g": {"@type": "u"}}}),
            ),
            (
                "a wrapped false does not overwrite",
                json!({"use_remote_address": true}),
                json!({"use_remote_address": false}),
                json!({"use_remote_address": true}),
            ),
            (
                "a wrapped false can be new",
                json!({}),
                json!({"use_remote_address": false}),
                json!({"use_remote_address": false}),
            ),
            (
                "an any is replaced",
                json!({"typed_config": {"@type": "a", "x": 1}}),
                json!({"typed_config": {"@type": "a"}}),
                json!({"typed_config": {"@type": "a"}}),
            ),
        ] {
            merge(&mut target, &source, false);
            assert_eq!(target, merged, "{what}");
        }
        let mut target = json!({"a": [1], "m": {"l": [1, 2]}});
        merge(&mut target, &json!({"a": [2], "m": {"l": [3]}}), true);
        assert_eq!(target, json!({"a": [2], "m": {"l": [3]}}));
    }

    #[test]
    fn anys_of_one_type_merge_by_what_they_hold() {
        let mut target = json!({"@type": "t", "a": 1});
        assert!(merge_any(&mut target, &json!({"@type": "t", "b": 2})));
        assert_eq!(target, json!({"@type": "t", "a": 1, "b": 2}));
        assert!(!merge_any(&mut target, &json!({"@type": "u"})));
    }
}
