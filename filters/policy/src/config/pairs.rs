//! A JSON object whose keys are the user's: kept in order, and no key twice.

use super::json::Json;
use super::wire::{Wire, wrong};
use super::{InPlace, Invalid};

/// Names and what is said of them.
#[derive(Debug, Clone)]
pub struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Pairs<T> {
        Pairs(Vec::new())
    }
}

impl<T> Pairs<T> {
    /// In the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Is nothing said?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Wire> Wire for Pairs<T> {
    fn read(json: &Json<'_>) -> Result<Pairs<T>, Invalid> {
        let Json::Object(fields) = json else { return Err(wrong(json, "an object")) };
        let mut pairs = Vec::with_capacity(fields.len());
        for (at, (name, value)) in fields.iter().enumerate() {
            if fields.iter().take(at).any(|(other, _)| other == name) {
                return Err(Invalid::new(format!("`{name}` stands here twice")).field(name));
            }
            pairs.push((name.clone().into_owned(), T::read(value).in_field(name)?));
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Pairs<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        <std::collections::BTreeMap<String, T>>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <std::collections::BTreeMap<String, T>>::json_schema(generator)
    }
}
