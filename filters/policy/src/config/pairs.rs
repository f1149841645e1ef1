//! A JSON object whose keys are the user's: kept in order, and no key twice.

use super::json::Json;
use super::wire::{Wire, members};
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

impl<T: Wire + Default> Wire for Pairs<T> {
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
        let fields = members(json)?;
        self.0.clear();
        self.0.resize_with(fields.len(), Default::default);
        for ((slot, made), (name, value)) in self.0.iter_mut().zip(fields) {
            *slot = name.clone().into_owned();
            made.take(value).in_field(name)?;
        }
        Ok(())
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
