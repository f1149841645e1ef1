//! What a configuration may say: types that are read from JSON field by field, and refuse what they do not know.
//!
//! One table of fields per type, which the reader walks. (Derived readers are several times as large, and each module carries its own.)

use std::borrow::Cow;

use super::json::Json;
use super::{InPlace, Invalid, quoted};

/// A value with a form on the wire.
pub(crate) trait Wire {
    /// Takes the value in the place of what was there, or says what is wrong with its shape.
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid>;
}

/// A value that is an object on the wire.
pub(crate) trait Object {
    /// Names, and whether each has to be there.
    fn fields(&self) -> &'static [(&'static str, bool)];

    /// The field at this place of the table.
    fn field(&mut self, place: usize) -> Option<&mut dyn Wire>;
}

/// Reads an object. One function for all of them: whatever is written out per type is carried per type.
pub(crate) fn fill(object: &mut dyn Object, json: &Json<'_>) -> Result<(), Invalid> {
    let known = object.fields();
    let fields = members(json)?;
    for (name, value) in fields {
        let place = known.iter().position(|(other, _)| other == name);
        let Some(field) = place.and_then(|place| object.field(place)) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(unknown("field", name, &names).field(name));
        };
        field.take(value).in_field(name)?;
    }
    let missing = known.iter().find(|(name, required)| *required && !fields.iter().any(|(there, _)| there == name));
    missing.map_or(Ok(()), |(name, _)| Err(Invalid::new(format!("missing field `{name}`"))))
}

/// An object's names and values; no name twice.
pub(crate) fn members<'j, 't>(json: &'j Json<'t>) -> Result<&'j [(Cow<'t, str>, Json<'t>)], Invalid> {
    let Json::Object(fields) = json else { return Err(wrong(json, "an object")) };
    for (at, (name, _)) in fields.iter().enumerate() {
        if fields.iter().take(at).any(|(other, _)| other == name) {
            return Err(Invalid::new(format!("`{name}` stands here twice")).field(name));
        }
    }
    Ok(fields)
}

/// The place of a word among those that may stand here.
pub(crate) fn word(json: &Json<'_>, known: &[&str]) -> Result<usize, Invalid> {
    let Json::String(text) = json else { return Err(wrong(json, "a string")) };
    known.iter().position(|word| word == text).ok_or_else(|| unknown("variant", text, known))
}

/// A value of another kind.
pub(crate) fn wrong(json: &Json<'_>, expected: &str) -> Invalid {
    Invalid::new(format!("invalid type: {}, expected {expected}", json.kind()))
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Invalid {
    let listed = match known {
        [] => "nothing may stand here".to_owned(),
        [only] => format!("expected `{only}`"),
        [first, second] => format!("expected `{first}` or `{second}`"),
        _ => format!("expected one of `{}`", known.join("`, `")),
    };
    let meant = nearest(name, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Invalid::new(format!("unknown {what} `{}`, {listed}{meant}", quoted(name)))
}

/// The known name nearest to an unknown one, if it is near.
fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    // A name longer than this is nobody's slip of the pen.
    if unknown.len() > 64 {
        return None;
    }
    let (distance, name) = known.iter().map(|name| (distance(unknown, name), *name)).min()?;
    (distance <= unknown.len().div_ceil(3)).then_some(name)
}

/// Levenshtein's, case aside.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (slot, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *slot;
            let cost = usize::from(!x.eq_ignore_ascii_case(&y));
            left = above.saturating_add(1).min(left.saturating_add(1)).min(diagonal.saturating_add(cost));
            diagonal = above;
            *slot = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

impl Wire for bool {
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
        let Json::Bool(value) = json else { return Err(wrong(json, "a boolean")) };
        *self = *value;
        Ok(())
    }
}

impl Wire for String {
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
        let Json::String(text) = json else { return Err(wrong(json, "a string")) };
        *self = text.clone().into_owned();
        Ok(())
    }
}

/// A whole number up to a limit.
fn number(json: &Json<'_>, name: &str, most: u64) -> Result<u64, Invalid> {
    match json {
        Json::Whole(number) if *number <= most => Ok(*number),
        Json::Whole(_) | Json::Negative(_) => {
            Err(Invalid::new(format!("invalid value: {}, expected {name}", json.kind())))
        }
        _ => Err(wrong(json, name)),
    }
}

macro_rules! numbers {
    ($($type:ident)*) => { $(
        impl Wire for $type {
            fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
                let read = number(json, stringify!($type), $type::MAX.into())?;
                // Not more than the type holds, as was just asked.
                *self = $type::try_from(read).unwrap_or($type::MAX);
                Ok(())
            }
        }
    )* };
}
numbers!(u8 u16 u32 u64);

impl<T: Wire + Default> Wire for Option<T> {
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
        match json {
            Json::Null => {
                *self = None;
                Ok(())
            }
            _ => self.insert(T::default()).take(json),
        }
    }
}

impl<T: Wire + Default> Wire for Vec<T> {
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
        let Json::List(items) = json else { return Err(wrong(json, "a sequence")) };
        self.clear();
        self.resize_with(items.len(), T::default);
        for (at, (slot, item)) in self.iter_mut().zip(items).enumerate() {
            slot.take(item).in_item(at)?;
        }
        Ok(())
    }
}

/// A struct with the names of its fields on the wire; `, required` behind a name where the field has to be there.
///
/// The schemas speak of the same names.
macro_rules! wire {
    ($($(#[$of_type:meta])* pub struct $Type:ident {
        $($(#[$of_field:meta])* pub $field:ident: $Field:ty = $name:literal $($required:ident)?,)*
    })*) => { $(
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
        $(#[$of_type])*
        pub struct $Type {
            $(
                $(#[$of_field])*
                #[cfg_attr(feature = "schema", schemars(rename = $name))]
                pub $field: $Field,
            )*
        }

        impl $crate::config::wire::Object for $Type {
            fn fields(&self) -> &'static [(&'static str, bool)] {
                &[$(($name, $crate::config::wire::required!($($required)?))),*]
            }

            fn field(&mut self, place: usize) -> Option<&mut dyn $crate::config::wire::Wire> {
                let mut next = 0..;
                $(
                    if next.next() == Some(place) {
                        return Some(&mut self.$field);
                    }
                )*
                // There is no other place; an object without fields has none at all.
                let _ = (next.next(), place);
                None
            }
        }

        impl $crate::config::wire::Wire for $Type {
            fn take(&mut self, json: &$crate::config::json::Json<'_>) -> Result<(), $crate::config::Invalid> {
                $crate::config::wire::fill(self, json)
            }
        }
    )* };
}
pub(crate) use wire;

macro_rules! required {
    () => {
        false
    };
    (required) => {
        true
    };
}
pub(crate) use required;

/// An enum of words.
macro_rules! words {
    ($($(#[$of_type:meta])* pub enum $Type:ident {
        $($(#[$of_word:meta])* $Word:ident = $name:literal,)*
    })*) => { $(
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[$of_type])*
        pub enum $Type {
            $(
                $(#[$of_word])*
                #[cfg_attr(feature = "schema", schemars(rename = $name))]
                $Word,
            )*
        }

        impl $crate::config::wire::Wire for $Type {
            fn take(&mut self, json: &$crate::config::json::Json<'_>) -> Result<(), $crate::config::Invalid> {
                let at = $crate::config::wire::word(json, &[$($name),*])?;
                if let Some(word) = [$($Type::$Word),*].get(at) {
                    *self = *word;
                }
                Ok(())
            }
        }
    )* };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    wire! {
        /// A point.
        #[allow(unreachable_pub, reason = "what the macro writes is public")]
        #[derive(Debug, Default, PartialEq)]
        pub struct Point {
            /// Across.
            pub x: u8 = "x" required,
            /// A name.
            pub called: Option<String> = "aName",
            /// More.
            pub r#in: Vec<Point> = "in",
        }
    }

    fn check(text: &str, expected: Result<Point, &str>) {
        let read = Json::parse(text.as_bytes()).map_err(Invalid::new).and_then(|json| {
            let mut point = Point::default();
            point.take(&json).map(|()| point)
        });
        assert_eq!(read.map_err(|invalid| invalid.to_string()), expected.map_err(str::to_owned), "{text}");
    }

    sentences! {
        fn fields_are_read_by_name() {
            let inner = || Point { x: 255, called: Some("b".into()), r#in: Vec::new() };
            check(r#"{"x": 255, "aName": "b"}"#, Ok(inner()));
            check(r#"{"in": [{"aName": "b", "x": 255}], "x": 0, "aName": null}"#, Ok(Point { x: 0, called: None, r#in: vec![inner()] }));
        }

        fn what_is_wrong_is_told_with_its_place() {
            check("[1]", Err("invalid type: sequence, expected an object"));
            check("{}", Err("missing field `x`"));
            check(r#"{"x": 1, "x": 1}"#, Err("x: `x` stands here twice"));
            check(r#"{"x": 256}"#, Err("x: invalid value: integer `256`, expected u8"));
            check(r#"{"x": -1}"#, Err("x: invalid value: integer `-1`, expected u8"));
            check(r#"{"x": 1.0}"#, Err("x: invalid type: floating point, expected u8"));
            check(r#"{"x": 1, "in": [{"x": 1}, {"x": 1, "in": {}}]}"#, Err("in[1].in: invalid type: map, expected a sequence"));
            check(r#"{"x": 1, "y": 1}"#, Err("y: unknown field `y`, expected one of `x`, `aName`, `in`; did you mean `x`?"));
            check(r#"{"x": 1, "a name": 1}"#, Err("\"a name\": unknown field `a name`, expected one of `x`, `aName`, `in`; did you mean `aName`?"));
        }

        fn the_nearest_name_is_suggested() {
            let known = ["match", "headers", "redirect"];
            for (unknown, meant) in
                [("matches", Some("match")), ("header", Some("headers")), ("reDirect", Some("redirect")), ("wholly-other", None)]
            {
                assert_eq!(nearest(unknown, &known), meant);
            }
        }
    }
}
