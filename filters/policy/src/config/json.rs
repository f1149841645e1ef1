//! JSON as a tree that remembers what a map would forget: the order of names, and a name that stands there twice.
//!
//! The text is `serde_json`'s business; types are read from the tree by [`wire`](super::wire).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::quoted;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'t> {
    Null,
    Bool(bool),
    Whole(u64),
    Negative(i64),
    Fraction(f64),
    String(Cow<'t, str>),
    List(Vec<Json<'t>>),
    /// In order; a name may stand there twice.
    Object(Vec<(Cow<'t, str>, Json<'t>)>),
}

/// Why a text is no JSON, and where: a line from 1, a column in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {why} (line {line}, column {column})")]
pub(crate) struct NotJson {
    why: String,
    line: usize,
    column: usize,
}

impl<'t> Json<'t> {
    /// The one value of a text.
    pub(crate) fn parse(text: &'t [u8]) -> Result<Json<'t>, NotJson> {
        serde_json::from_slice(text).map_err(|error| {
            let said = error.to_string();
            let why = said.rsplit_once(" at line ").map_or(said.as_str(), |(why, _)| why).to_owned();
            NotJson { why, line: error.line(), column: error.column() }
        })
    }

    /// What it is, in the words of an error: `string "x"`.
    pub(crate) fn kind(&self) -> String {
        match self {
            Json::Null => "null".into(),
            Json::Bool(value) => format!("boolean `{value}`"),
            Json::Whole(number) => format!("integer `{number}`"),
            Json::Negative(number) => format!("integer `{number}`"),
            // Without its value: to write one takes more bytes of a module than all of this file.
            Json::Fraction(_) => "floating point".into(),
            Json::String(text) => format!("string \"{}\"", quoted(text)),
            Json::List(_) => "sequence".into(),
            Json::Object(_) => "map".into(),
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(u64::try_from(number).map_or(Json::Negative(number), Json::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some(name) = fields.next_key::<Json<'de>>()? {
            // A name is a string, or serde_json has said so.
            if let Json::String(name) = name {
                object.push((name, fields.next_value()?));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(text: &str, expected: &str) {
        let said = match Json::parse(text.as_bytes()) {
            Ok(json) => format!("{json:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{text}");
    }

    sentences! {
        fn order_and_repeats_are_remembered() {
            check(r#"{"b": 1, "a": {"b": ""}, "b": -2}"#,
                r#"Object([("b", Whole(1)), ("a", Object([("b", String(""))])), ("b", Negative(-2))])"#);
            check("[null, true, 1.5, []]", "List([Null, Bool(true), Fraction(1.5), List([])])");
            check(r#""\u0041\n""#, r#"String("A\n")"#);
        }

        fn what_is_no_json_is_told_with_its_place() {
            check("{", "not JSON: EOF while parsing an object (line 1, column 1)");
            check("{\n  \"a\": x}", "not JSON: expected value (line 2, column 8)");
            check("{1: 1}", "not JSON: key must be a string (line 1, column 2)");
            check("{} {}", "not JSON: trailing characters (line 1, column 4)");
            assert!(Json::parse(b"[\"\xff\"]").is_err());
        }

        fn nesting_has_an_end() {
            let nested = |deep: usize| ["[".repeat(deep), "]".repeat(deep)].concat();
            assert!(Json::parse(nested(127).as_bytes()).is_ok());
            assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
        }
    }
}
