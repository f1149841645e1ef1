//! Where a route was written, as metadata that travels with it.

use serde_json::{Map, Value};

use super::rules::{Place, Rule};

/// Name of the metadata that holds a route's origin.
pub const ORIGIN: &str = "sluice";

/// `{file, line, resource, rule, match}` of a route, `match` only when an entry made it.
pub(crate) fn metadata(rule: &Rule<'_>, place: Place<'_>) -> xds::Metadata {
    // A delegate's rule without entries of its own stands under its root's: the rule is still the delegate's.
    let at = if std::ptr::eq(place.object, rule.place.object) { place } else { rule.place };
    let mut fields = Map::new();
    fields.insert("file".into(), at.object.origin.file.as_ref().into());
    fields.insert("line".into(), at.object.locate(&at.path()).line.into());
    fields.insert("resource".into(), at.object.to_string().into());
    fields.insert("rule".into(), at.rule.into());
    if let Some(matched) = at.matched {
        fields.insert("match".into(), Value::from(matched));
    }
    let mut metadata = xds::Metadata::default();
    metadata.filter_metadata.insert(ORIGIN.to_owned(), fields);
    metadata
}
