//! protobuf's JSON mapping for serde: messages, enums, Any, Duration and 64-bit integers.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// True for proto3 defaults, which the JSON mapping leaves out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A protobuf message: every field optional on input, defaults left out on output, unknown fields refused by name.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident $(as $json:literal)? : $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[$fdoc])*
                #[serde($(rename = $json,)? skip_serializing_if = "crate::json::is_default")]
                pub $field: $ty,
            )*
        }
    };
}

/// A protobuf enum under its value names; the first is the default.
macro_rules! enumeration {
    ($(#[$doc:meta])* $name:ident { $first:ident = $first_json:literal $(, $value:ident = $json:literal)* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            #[default]
            #[serde(rename = $first_json)]
            $first,
            $(#[serde(rename = $json)] $value,)*
        }
    };
}

/// A `google.protobuf.Any` restricted to the messages we know, told apart by `@type`; a `TypedStruct` is unwrapped to the
/// message it stands for. Everything else is kept as [`Any`], so that the reader can refuse it by type name or ignore it.
macro_rules! typed {
    ($(#[$doc:meta])* $name:ident { $($variant:ident($ty:ty) = $url:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($variant(Box<$ty>),)*
            /// A message this crate has no type for.
            Other($crate::Any),
        }

        impl $name {
            /// The full type name, without the `type.googleapis.com/` prefix.
            pub fn type_name(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $url,)*
                    Self::Other(any) => any.type_name(),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(message) => $crate::json::serialize_any(serializer, $url, message.as_ref()),)*
                    Self::Other(any) => any.serialize(serializer),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let any = $crate::Any::deserialize(deserializer)?;
                match any.type_name() {
                    $($url => $crate::json::read_any(any).map(|message| Self::$variant(Box::new(message))),)*
                    _ => Ok(Self::Other(any)),
                }
            }
        }
    };
}

/// An uninterpreted `google.protobuf.Any` in its JSON form.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Any {
    type_name: String,
    fields: Map<String, Value>,
}

const PREFIX: &str = "type.googleapis.com/";
const TYPED_STRUCTS: [&str; 2] = ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"];

impl Any {
    /// An Any of message `type_name` (no prefix) with these JSON fields.
    pub fn new(type_name: impl Into<String>, fields: Map<String, Value>) -> Self {
        Self { type_name: type_name.into(), fields }
    }

    /// The full type name, without the `type.googleapis.com/` prefix.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The message's fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_any(serializer, &self.type_name, &self.fields)
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let Some(Value::String(url)) = fields.remove("@type") else {
            return Err(de::Error::custom("typed_config needs an \"@type\": type.googleapis.com/…"));
        };
        let type_name = url.rsplit_once('/').map_or(url.as_str(), |(_, name)| name).to_owned();
        if !TYPED_STRUCTS.contains(&type_name.as_str()) {
            return Ok(Self { type_name, fields });
        }
        let inner = ["type_url", "typeUrl"].into_iter().find_map(|key| fields.remove(key));
        let Some(Value::String(inner)) = inner else {
            return Err(de::Error::custom("a TypedStruct needs a \"type_url\""));
        };
        let type_name = inner.rsplit_once('/').map_or(inner.as_str(), |(_, name)| name).to_owned();
        let fields = match fields.remove("value") {
            Some(Value::Object(mut value)) => {
                value.iter_mut().for_each(|(_, value)| snake_case_keys(value));
                value.into_iter().map(|(key, value)| (snake_case(&key), value)).collect()
            }
            _ => Map::new(),
        };
        Ok(Self { type_name, fields })
    }
}

/// Writes a message with its `@type` first.
pub(crate) fn serialize_any<S: Serializer>(
    serializer: S,
    type_name: &str,
    message: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let fields = serde_json::to_value(message).map_err(serde::ser::Error::custom)?;
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("@type", &format!("{PREFIX}{type_name}"))?;
    if let Value::Object(fields) = fields {
        for (key, value) in &fields {
            map.serialize_entry(key, value)?;
        }
    }
    map.end()
}

/// Reads the message an [`Any`] holds; the error names the type, then the field.
pub(crate) fn read_any<T: de::DeserializeOwned, E: de::Error>(any: Any) -> Result<T, E> {
    let Any { type_name, fields } = any;
    serde_json::from_value(Value::Object(fields)).map_err(|error| E::custom(format!("{type_name}: {error}")))
}

/// Turns protobuf's lowerCamelCase keys, which Envoy accepts as well, into field names, at every depth. Free-form maps
/// (`filter_metadata`, whose content is the user's) are left as they are.
pub fn snake_case_keys(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let fields = std::mem::take(map);
            for (key, mut value) in fields {
                let key = snake_case(&key);
                if key != "filter_metadata" {
                    snake_case_keys(&mut value);
                }
                map.insert(key, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(snake_case_keys),
        _ => {}
    }
}

/// `fixedDelay` -> `fixed_delay`; names with anything but letters and digits are not protobuf names and stay.
fn snake_case(key: &str) -> String {
    let camel = key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    if !camel {
        return key.to_owned();
    }
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A `google.protobuf.Duration`, never negative, to the nanosecond; `"0.200s"` in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

/// Text that is not a protobuf duration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a duration: seconds with an \"s\", such as \"1.5s\"")]
pub struct InvalidDuration(String);

impl Duration {
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(value)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanos {
            0 => write!(f, "{secs}s"),
            n if n % 1_000_000 == 0 => write!(f, "{secs}.{:03}s", n / 1_000_000),
            n if n % 1_000 == 0 => write!(f, "{secs}.{:06}s", n / 1_000),
            n => write!(f, "{secs}.{n:09}s"),
        }
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.to_owned());
        let number = text.strip_suffix('s').ok_or_else(invalid)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
            return Err(invalid());
        }
        let secs = whole.parse().map_err(|_| invalid())?;
        let nanos = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
        Ok(Self(std::time::Duration::new(secs, nanos)))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A 64-bit integer: a string in protobuf's JSON, a number accepted on input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int64(pub i64);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| de::Error::custom("expected a 64-bit integer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_prints_as_protobuf_does_and_reads_back() {
        let cases =
            [("0s", 0, 0), ("10s", 10, 0), ("0.200s", 0, 200_000_000), ("1.000001s", 1, 1_000), ("0.000000001s", 0, 1)];
        for (text, secs, nanos) in cases {
            let duration = Duration(std::time::Duration::new(secs, nanos));
            assert_eq!(duration.to_string(), text);
            assert_eq!(text.parse(), Ok(duration));
        }
        assert_eq!("1.5s".parse(), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "s", "1", "1ms", "-1s", ".5s", "1.0000000001s", "1 s", "1.s5"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn camel_case_keys_become_field_names_but_metadata_stays_the_users() {
        let mut value = serde_json::json!({"fixedDelay": "1s", "a.b": {"maxTokens": 1}, "filterMetadata": {"myKey": {"theirKey": 1}}});
        snake_case_keys(&mut value);
        let want = serde_json::json!({"fixed_delay": "1s", "a.b": {"max_tokens": 1}, "filter_metadata": {"myKey": {"theirKey": 1}}});
        assert_eq!(value, want);
    }

    #[test]
    fn a_typed_struct_is_the_message_it_stands_for() {
        let json = serde_json::json!({"@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "value": {"abort": {"httpStatus": 503}}});
        let config: crate::HttpFilterConfig = serde_json::from_value(json).unwrap();
        let crate::HttpFilterConfig::Fault(fault) = config else { panic!("not a fault filter") };
        assert_eq!(fault.abort.unwrap().http_status, Some(503));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error =
            serde_json::from_str::<crate::RouteMatch>(r#"{"prefix": "/", "prefx": "/"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `prefx`"), "{error}");
    }
}
