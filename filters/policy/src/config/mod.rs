//! Configuration: JSON in, valid types or one reason out.
//!
//! Shape is `wire`'s business: fields, types, what is unknown. Sense is checked when the wire's types become the rules'.
//! Either way the answer to a bad configuration is where, what and why: `rules[3].match[0].uri: a path starts with "/", this one is "api"`.

pub mod duration;
pub mod headers;
pub(crate) mod json;
pub mod key;
pub mod matching;
pub mod pairs;
pub mod reply;
pub(crate) mod wire;

use json::Json;
use wire::Wire;

use crate::order::sorted;

/// Where a configuration is wrong, and why. In a box, since everything that can be right is returned beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(Box<Reason>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", place(path))]
struct Reason {
    path: String,
    why: String,
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

impl Invalid {
    /// A reason without a place; the callers add it on the way out.
    pub fn new(why: impl std::fmt::Display) -> Invalid {
        Invalid::of(&why)
    }

    #[cold]
    #[inline(never)]
    fn of(why: &dyn std::fmt::Display) -> Invalid {
        Invalid(Box::new(Reason { path: String::new(), why: why.to_string() }))
    }

    /// The same reason, one field further out.
    #[cold]
    #[inline(never)]
    pub fn field(mut self, name: &str) -> Invalid {
        let rest = std::mem::take(&mut self.0.path);
        let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let name = if plain { name.to_owned() } else { format!("\"{}\"", quoted(name)) };
        self.0.path = [&name, dot, &rest].concat();
        self
    }

    /// The same reason, one list further out.
    #[cold]
    #[inline(never)]
    pub fn item(mut self, position: usize) -> Invalid {
        let dot = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("[{position}]{dot}{}", self.0.path);
        self
    }

    /// The JSON path, empty for the whole configuration.
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

/// Text of the configuration as an error may repeat it: control characters, quotes and bytes beyond ASCII escaped.
pub(crate) fn quoted(text: &str) -> impl std::fmt::Display + '_ {
    text.as_bytes().escape_ascii()
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
    duration::InvalidDuration,
    json::NotJson
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
#[allow(private_bounds, reason = "the types that can be read are listed in this crate")]
pub fn read<T: Wire + Default>(text: &[u8]) -> Result<T, Invalid> {
    if text.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let mut made = T::default();
    made.take(&Json::parse(text)?)?;
    Ok(made)
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
    let mut names = Vec::new();
    for (n, given) in given.enumerate() {
        names.push(match given {
            Some(text) => name(text).in_field("name").in_item(n).in_field("rules")?,
            None => format!("rule-{n}"),
        });
    }
    match first_twin(&names) {
        None => Ok(names),
        Some((first, n)) => {
            let name = names.get(n).map(String::as_str).unwrap_or_default();
            let twice = Invalid::new(format!("\"{name}\" is the name of rules[{first}] already; names are unique"));
            Err(twice.field("name").item(n).field("rules"))
        }
    }
}

/// The first name that stood before, and where: (there, here).
fn first_twin(names: &[String]) -> Option<(usize, usize)> {
    let order = sorted((0..names.len()).collect(), &mut |a: &usize, b: &usize| names.get(*a).cmp(&names.get(*b)));
    // Equal ones keep their order, so a twin follows the one before it.
    let twins = order.iter().zip(order.iter().skip(1)).filter(|(a, b)| names.get(**a) == names.get(**b));
    twins.map(|(a, b)| (*a, *b)).min_by_key(|(_, here)| *here)
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

        fn a_name_that_stood_before_is_refused_where_it_stands_again() {
            let check = |given: &[Option<&str>], expected: Result<&[&str], &str>| {
                let read = names(given.iter().copied()).map_err(|invalid| invalid.to_string());
                assert_eq!(read, expected.map(|all| all.iter().map(|name| (*name).to_owned()).collect()).map_err(str::to_owned));
            };
            check(&[Some("b"), None, Some("a")], Ok(&["b", "rule-1", "a"]));
            check(&[Some("b"), Some("a"), Some("a"), Some("b")], Err("rules[2].name: \"a\" is the name of rules[1] already; names are unique"));
            check(&[Some("b"), Some("b"), Some("b")], Err("rules[1].name: \"b\" is the name of rules[0] already; names are unique"));
            check(&[Some("rule-1"), None], Err("rules[1].name: \"rule-1\" is the name of rules[0] already; names are unique"));
            check(&[], Ok(&[]));
        }

        fn names_are_short_and_plain() {
            assert!(name("per-user-2").is_ok());
            for text in ["", "Upper", "a_b", "a.b", &"x".repeat(64)] {
                assert!(name(text).is_err(), "{text}");
            }
        }
    }
}
