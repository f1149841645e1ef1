//! Strict decoding of nodes into messages. Every fault is reported and decoding goes on with the field's default, so one run shows all of them.

use std::collections::BTreeMap;

use super::{
    duration::Duration,
    node::{Entry, Node, Value},
    suggest::nearest,
};
use crate::problem::{Position, Problem};

/// What is said of a required field that is not there.
pub(crate) const MISSING: &str = "required field is missing";

/// What decoding needs to say where a fault is.
pub(crate) struct Decoder<'a> {
    /// The file as the user named it.
    pub(crate) file: &'a str,
    /// `VirtualService default/shop`.
    pub(crate) resource: &'a str,
    path: String,
    problems: &'a mut Vec<Problem>,
}

/// A message or scalar that a node can hold. `null` counts as not set, as in the API server.
pub(crate) trait Decode: Sized + Default {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self;
}

/// One field a message knows.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(file: &'a str, resource: &'a str, path: &str, problems: &'a mut Vec<Problem>) -> Self {
        Self { file, resource, path: path.to_owned(), problems }
    }

    /// Reports a fault of the node being decoded.
    pub(crate) fn refuse(&mut self, at: Position, reason: impl Into<String>, cure: Option<String>) {
        let problem = Problem {
            file: self.file.to_owned(),
            at,
            resource: self.resource.to_owned(),
            field: self.path.clone(),
            reason: reason.into(),
            cure,
            ..Problem::default()
        };
        self.problems.push(problem);
    }

    fn wrong_type<T: Default>(&mut self, node: &Node, wanted: &str) -> T {
        let cure = match &node.value {
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) if wanted.contains("string") => {
                Some(format!("write \"{}\" with quotes", node.json()))
            }
            Value::Text(text) if wanted.contains("number") && text.parse::<f64>().is_ok() => {
                Some(format!("write {text} without quotes"))
            }
            _ => None,
        };
        self.refuse(node.at, format!("must be {wanted}, this is {}", kind_of(node)), cure);
        T::default()
    }

    fn within<T>(&mut self, step: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let result = inside(self);
        self.path.truncate(length);
        result
    }

    /// Walks a map, hands each known field to `take`, refuses the unknown ones by name and the required ones that are missing.
    pub(crate) fn fields(&mut self, node: &Node, known: &[Field], mut take: impl FnMut(&str, &Node, &mut Self)) {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return self.wrong_type(node, "a map"),
        };
        for entry in entries {
            self.within(&entry.key, |decoder| match known.iter().any(|field| field.name == entry.key) {
                true => take(&entry.key, &entry.value, decoder),
                false => decoder.unknown(entry, known),
            });
        }
        for field in known.iter().filter(|field| field.required) {
            if entries.iter().all(|entry| entry.key != field.name || matches!(entry.value.value, Value::Null)) {
                self.within(field.name, |decoder| decoder.refuse(node.at, MISSING, None));
            }
        }
    }

    fn unknown(&mut self, entry: &Entry, known: &[Field]) {
        let cure = match nearest(&entry.key, known.iter().map(|field| field.name)) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => {
                let names: Vec<_> = known.iter().map(|field| field.name).collect();
                format!("known fields are {}", names.join(", "))
            }
        };
        self.refuse(entry.at, format!("unknown field \"{}\"", entry.key), Some(cure));
    }

    fn integer(&mut self, node: &Node, low: i64, high: i64) -> i64 {
        let value = match &node.value {
            Value::Null => return 0,
            Value::Integer(value) => *value,
            // 5.0 is an integer to the API server.
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
                format!("{value:.0}").parse().unwrap_or(0)
            }
            _ => return self.wrong_type(node, "a whole number"),
        };
        if !(low..=high).contains(&value) {
            self.refuse(node.at, format!("{value} is not in the range {low} to {high}"), None);
            return 0;
        }
        value
    }
}

fn kind_of(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Integer(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {value}"),
        Value::Text(value) => format!("the string {value:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

impl Decode for String {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::Text(text) => text.clone(),
            Value::Null => Self::default(),
            _ => decoder.wrong_type(node, "a string"),
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::Bool(value) => *value,
            Value::Null => false,
            _ => decoder.wrong_type(node, "true or false"),
        }
    }
}

impl Decode for f64 {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::Float(value) => *value,
            #[allow(clippy::cast_precision_loss, reason = "exact for every value a percentage can have")]
            Value::Integer(value) => *value as Self,
            Value::Null => 0.0,
            _ => decoder.wrong_type(node, "a number"),
        }
    }
}

macro_rules! integers {
    ($($Type:ty),*) => {$(
        impl Decode for $Type {
            fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
                let high = i64::try_from(Self::MAX).unwrap_or(i64::MAX);
                let low = i64::try_from(Self::MIN).unwrap_or(i64::MIN);
                Self::try_from(decoder.integer(node, low, high)).unwrap_or_default()
            }
        }
    )*};
}
integers!(i32, u16, u32, u64);

impl Decode for Duration {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::Text(text) => text.parse().unwrap_or_else(|error| {
                decoder.refuse(
                    node.at,
                    format!("bad duration {text:?}: {error}"),
                    Some("write it with units, such as \"1.5s\" or \"250ms\"".into()),
                );
                Self::default()
            }),
            Value::Null => Self::default(),
            _ => {
                decoder.refuse(
                    node.at,
                    format!("must be a duration, this is {}", kind_of(node)),
                    Some(format!("write \"{}s\"", node.json())),
                );
                Self::default()
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match node.value {
            Value::Null => None,
            _ => Some(T::decode(node, decoder)),
        }
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        Self::new(T::decode(node, decoder))
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| decoder.within(&format!("[{i}]"), |decoder| T::decode(item, decoder)))
                .collect(),
            Value::Null => Self::default(),
            _ => decoder.wrong_type(node, "a list"),
        }
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|entry| {
                    let step =
                        if entry.key.contains(['.', '[']) { format!("[\"{}\"]", entry.key) } else { entry.key.clone() };
                    (entry.key.clone(), decoder.within(&step, |decoder| T::decode(&entry.value, decoder)))
                })
                .collect(),
            Value::Null => Self::default(),
            _ => decoder.wrong_type(node, "a map"),
        }
    }
}

/// A number or a name, as in `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NumberOrName {
    Number(i64),
    Name(String),
}

impl Default for NumberOrName {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Decode for NumberOrName {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Self {
        match &node.value {
            Value::Integer(value) => Self::Number(*value),
            Value::Text(value) => Self::Name(value.clone()),
            Value::Null => Self::default(),
            _ => decoder.wrong_type(node, "a number or a string"),
        }
    }
}

/// A free-form value, kept with the places of its parts (`patch.value`, `pluginConfig`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Free(pub(crate) Node);

impl Decode for Free {
    fn decode(node: &Node, _: &mut Decoder<'_>) -> Self {
        Self(node.clone())
    }
}

/// A field that is known and has no bearing on what a gateway answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unused;

impl Decode for Unused {
    fn decode(_: &Node, _: &mut Decoder<'_>) -> Self {
        Self
    }
}

/// Declares messages: `field: Type = "jsonName"`, `required` after the name when the schema demands the field.
macro_rules! messages {
    ($( $(#[$meta:meta])* struct $Name:ident { $( $(#[$fmeta:meta])* $field:ident : $Type:ty = $json:literal $($required:ident)? ),* $(,)? } )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct $Name { $( $(#[$fmeta])* pub(crate) $field: $Type, )* }

        impl $crate::manifest::decode::Decode for $Name {
            fn decode(node: &$crate::manifest::node::Node, decoder: &mut $crate::manifest::decode::Decoder<'_>) -> Self {
                const KNOWN: &[$crate::manifest::decode::Field] =
                    &[$( $crate::manifest::decode::Field { name: $json, required: messages!(@required $($required)?) } ),*];
                let mut message = Self::default();
                decoder.fields(node, KNOWN, |key, value, decoder| match key {
                    $( $json => message.$field = $crate::manifest::decode::Decode::decode(value, decoder), )*
                    _ => {}
                });
                message
            }
        }
    )*};
    (@required) => { false };
    (@required required) => { true };
}
pub(crate) use messages;

/// Declares enums whose variants are written as in the schema; the first one is the default.
macro_rules! choices {
    ($( $(#[$meta:meta])* enum $Name:ident { $First:ident = $first:literal $(, $Variant:ident = $json:literal )* $(,)? } )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(clippy::enum_variant_names, reason = "the names are the schema's")]
        pub(crate) enum $Name { #[default] $First, $( $Variant, )* }

        impl $crate::manifest::decode::Decode for $Name {
            fn decode(node: &$crate::manifest::node::Node, decoder: &mut $crate::manifest::decode::Decoder<'_>) -> Self {
                let chosen = match &node.value {
                    $crate::manifest::node::Value::Null => Some(Self::$First),
                    $crate::manifest::node::Value::Text(text) => match text.as_str() {
                        $first => Some(Self::$First),
                        $( $json => Some(Self::$Variant), )*
                        _ => None,
                    },
                    _ => None,
                };
                chosen.unwrap_or_else(|| {
                    $crate::manifest::decode::refuse_choice(node, &[$first $(, $json)*], decoder);
                    Self::default()
                })
            }
        }
    )*};
}
pub(crate) use choices;

/// Says which values an enum takes.
pub(crate) fn refuse_choice(node: &Node, choices: &[&str], decoder: &mut Decoder<'_>) {
    let cure = match node.text().and_then(|text| nearest(text, choices.iter().copied())) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("one of {}", choices.join(", ")),
    };
    decoder.refuse(node.at, format!("unsupported value {}", node.json()), Some(cure));
}

#[cfg(test)]
mod tests {
    use super::*;

    messages! {
        struct Inner { number: u32 = "number" required, timeout: Option<Duration> = "timeout" }
        struct Outer { name: String = "name", inner: Vec<Inner> = "inner", labels: BTreeMap<String, String> = "labels", mode: Mode = "mode" }
    }
    choices! { enum Mode { Simple = "SIMPLE", Mutual = "MUTUAL" } }

    fn decode(text: &str) -> (Outer, Vec<String>) {
        let mut problems = Vec::new();
        let node = serde_saphyr::from_str(text).unwrap();
        let outer = Outer::decode(&node, &mut Decoder::new("f", "R", "spec", &mut problems));
        (outer, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn all_faults_of_a_document_are_reported() {
        let (outer, problems) = decode(
            "nam: x\ninner:\n- nmber: 5\n- {number: '80', timeout: 5}\n- number: 1\n  timeout: 5\nlabels: {a.b: 1}\nmode: SIMPEL\n",
        );
        assert_eq!(outer.inner.len(), 3);
        assert_eq!(
            problems,
            [
                "f:1:1: R: spec.nam: unknown field \"nam\"; did you mean \"name\"?",
                "f:3:3: R: spec.inner[0].nmber: unknown field \"nmber\"; did you mean \"number\"?",
                "f:3:3: R: spec.inner[0].number: required field is missing",
                "f:4:12: R: spec.inner[1].number: must be a whole number, this is the string \"80\"; write 80 without quotes",
                "f:4:27: R: spec.inner[1].timeout: must be a duration, this is the number 5; write \"5s\"",
                "f:6:12: R: spec.inner[2].timeout: must be a duration, this is the number 5; write \"5s\"",
                "f:7:15: R: spec.labels[\"a.b\"]: must be a string, this is the number 1; write \"1\" with quotes",
                "f:8:7: R: spec.mode: unsupported value \"SIMPEL\"; did you mean SIMPLE?",
            ]
        );
    }

    #[test]
    fn null_counts_as_not_set() {
        let (outer, problems) = decode("name: null\ninner: ~\nmode:\n");
        assert_eq!((outer, problems.len()), (Outer::default(), 0));
    }
}
