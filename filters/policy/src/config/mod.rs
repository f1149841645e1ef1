//! Configuration: JSON in, valid types or one reason out.
//!
//! Shape is serde's business: fields, types, what is unknown. Sense is checked when the wire's types become the rules'.
//! Either way the answer to a bad configuration is where, what and why: `rules[3].match[0].uri: a path starts with "/", this one is "api"`.

pub mod duration;
pub mod headers;
pub mod key;
mod locate;
pub mod matching;
pub(crate) mod object;
pub mod pairs;
pub mod reply;

use serde::de::DeserializeOwned;

/// Where a configuration is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", place(path))]
pub struct Invalid {
    path: String,
    why: String,
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

impl Invalid {
    /// A reason without a place; the callers add it on the way out.
    pub fn new(why: impl std::fmt::Display) -> Invalid {
        Invalid { path: String::new(), why: why.to_string() }
    }

    /// The same reason, one field further out.
    pub fn field(mut self, name: &str) -> Invalid {
        let rest = std::mem::take(&mut self.path);
        let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
        let quoted = !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let name = if quoted { format!("{name:?}") } else { name.to_owned() };
        self.path = [&name, dot, &rest].concat();
        self
    }

    /// The same reason, one list further out.
    pub fn item(mut self, position: usize) -> Invalid {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{position}]{dot}{}", self.path);
        self
    }

    /// The JSON path, empty for the whole configuration.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Adds the place to whatever went wrong.
pub(crate) trait InPlace<T> {
    fn in_field(self, name: &str) -> Result<T, Invalid>;
    fn in_item(self, position: usize) -> Result<T, Invalid>;
}

impl<T, E: Into<Invalid>> InPlace<T> for Result<T, E> {
    fn in_field(self, name: &str) -> Result<T, Invalid> {
        self.map_err(|error| error.into().field(name))
    }

    fn in_item(self, position: usize) -> Result<T, Invalid> {
        self.map_err(|error| error.into().item(position))
    }
}

macro_rules! reasons {
    ($($error:ty),*) => { $(
        impl From<$error> for Invalid {
            fn from(error: $error) -> Invalid {
                Invalid::new(error)
            }
        }
    )* };
}
reasons!(
    crate::regex::InvalidRegex,
    crate::template::InvalidTemplate,
    crate::cidr::InvalidCidr,
    crate::split::NoWeight,
    crate::instant::InvalidInstant,
    duration::InvalidDuration
);

/// Every element, and the place of the first that is wrong.
pub(crate) fn each<'w, W, T>(
    wires: impl IntoIterator<Item = &'w W>,
    mut make: impl FnMut(usize, &'w W) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid>
where
    W: 'w,
{
    wires.into_iter().enumerate().map(|(n, wire)| make(n, wire).in_item(n)).collect()
}

/// Reads the wire's form of a configuration. An empty one is valid: it is the default.
pub fn read<T: DeserializeOwned + Default>(text: &[u8]) -> Result<T, Invalid> {
    if text.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(text).map_err(|error| shape_error(text, &error))
}

fn shape_error(text: &[u8], error: &serde_json::Error) -> Invalid {
    let said = error.to_string();
    let why = said.rsplit_once(" at line ").map_or(said.as_str(), |(why, _)| why);
    let why = match suggestion(why) {
        Some(meant) => format!("{why}; did you mean `{meant}`?"),
        None => why.to_owned(),
    };
    match error.classify() {
        serde_json::error::Category::Data => Invalid { path: locate::path(text, error.line(), error.column()), why },
        _ => Invalid::new(format!("not JSON: {why} (line {}, column {})", error.line(), error.column())),
    }
}

/// The known name nearest to the unknown one, read back from serde's own words: "unknown field `x`, expected one of `a`, `b`".
fn suggestion(why: &str) -> Option<&str> {
    let rest = why.strip_prefix("unknown field `").or_else(|| why.strip_prefix("unknown variant `"))?;
    let (unknown, expected) = rest.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2);
    let near = known.map(|name| (distance(unknown, name), name)).min()?;
    (near.0 <= unknown.len().div_ceil(3)).then_some(near.1)
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

/// A name that state, metrics and logs can carry.
pub(crate) fn name(text: &str) -> Result<String, Invalid> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Invalid::new(format!("a name is 1 to 63 of a-z, 0-9 and -, this one is \"{text}\"")))
    }
}

/// The rules' names, where not said `rule-N`; two of one name are refused.
pub(crate) fn names<'w>(given: impl Iterator<Item = Option<&'w str>>) -> Result<Vec<String>, Invalid> {
    let mut seen: Vec<String> = Vec::new();
    for (n, given) in given.enumerate() {
        let name = match given {
            Some(text) => name(text).in_field("name").in_item(n).in_field("rules")?,
            None => format!("rule-{n}"),
        };
        if let Some(first) = seen.iter().position(|other| *other == name) {
            let twice = Invalid::new(format!("\"{name}\" is the name of rules[{first}] already; names are unique"));
            return Err(twice.field("name").item(n).field("rules"));
        }
        seen.push(name);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn places_are_written_as_one_would_point() {
            let deep = Invalid::new("no").field("uri").item(0).field("match").item(3).field("rules");
            assert_eq!(deep.to_string(), "rules[3].match[0].uri: no");
            assert_eq!(Invalid::new("no").to_string(), "no");
            assert_eq!(Invalid::new("no").field("x y").field("headers").to_string(), "headers.\"x y\": no");
        }

        fn the_nearest_name_is_suggested() {
            let of = |unknown: &str| format!("unknown field `{unknown}`, expected one of `match`, `headers`, `redirect`");
            assert_eq!(suggestion(&of("matches")), Some("match"));
            assert_eq!(suggestion(&of("header")), Some("headers"));
            assert_eq!(suggestion(&of("reDirect")), Some("redirect"));
            assert_eq!(suggestion(&of("wholly-other")), None);
            assert_eq!(suggestion("missing field `name`"), None);
        }

        fn names_are_short_and_plain() {
            assert!(name("per-user-2").is_ok());
            for text in ["", "Upper", "a_b", "a.b", &"x".repeat(64)] {
                assert!(name(text).is_err(), "{text}");
            }
        }
    }
}
