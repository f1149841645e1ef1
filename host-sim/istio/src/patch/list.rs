//! Changes to ordered lists: filters and routes.

use serde_json::Value;

use super::Patch;
use crate::resource::envoy_filter::Operation;

/// Adds, inserts, replaces or removes. `named` says whether the patch names an element at all, `fits` whether one is the named. Inserting without a
/// name goes to the ends; replacing and removing without one does nothing.
pub(super) fn change(items: &mut Vec<Value>, patch: &Patch<'_>, named: bool, fits: impl Fn(&Value) -> bool) {
    let found = items.iter().position(&fits);
    match patch.operation {
        Operation::Add => items.push(patch.value.clone()),
        Operation::InsertFirst => items.insert(0, patch.value.clone()),
        Operation::InsertBefore if !named => items.insert(0, patch.value.clone()),
        Operation::InsertAfter if !named => items.push(patch.value.clone()),
        Operation::InsertBefore => {
            if let Some(index) = found {
                items.insert(index, patch.value.clone());
            }
        }
        Operation::InsertAfter => {
            if let Some(index) = found {
                items.insert(index + 1, patch.value.clone());
            }
        }
        Operation::Replace if named => {
            if let Some(slot) = found.and_then(|index| items.get_mut(index)) {
                slot.clone_from(&patch.value);
            }
        }
        Operation::Remove if named => items.retain(|item| !fits(item)),
        _ => {}
    }
}

/// The `name` of a filter, route or virtual host.
pub(super) fn name(item: &Value) -> &str {
    item.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Sets a field of a message.
pub(super) fn set(message: &mut Value, field: &str, value: Value) {
    if let Some(fields) = message.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

/// A list field of a message, made when it is missing.
pub(super) fn items<'v>(message: &'v mut Value, field: &str) -> Option<&'v mut Vec<Value>> {
    let list = message.as_object_mut()?.entry(field).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut()
}
