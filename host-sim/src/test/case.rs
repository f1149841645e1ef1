//! The case file: what a case asks and what it expects. `docs/test-cases.md` describes it field by field.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use policy::regex::Regex;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_saphyr::{MessageFormatter as _, Spanned};

/// A document of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    pub(super) cases: Vec<Spanned<Case>>,
}

/// One request, and what is expected of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) request: Request,
    pub(super) status: Option<Spanned<u16>>,
    pub(super) route: Option<Spanned<String>>,
    pub(super) destination: Option<Destination>,
    pub(super) upstream: Option<Upstream>,
    pub(super) response: Option<Response>,
    #[serde(default)]
    pub(super) filter: BTreeMap<String, Filter>,
    pub(super) fault: Option<Fault>,
    pub(super) why_not: Option<Spanned<String>>,
    #[serde(default = "once")]
    pub(super) repeat: u32,
    #[serde(default)]
    pub(super) share: Vec<Share>,
}

fn once() -> u32 {
    1
}

/// The request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) method: Option<String>,
    pub(super) url: Spanned<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Values>,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) certificate: Option<PathBuf>,
    #[serde(default)]
    pub(super) body: String,
}

/// One value of a header, or several copies.
#[derive(Debug, Clone)]
pub(super) struct Values(pub(super) Vec<String>);

/// Where the request should go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Destination {
    pub(super) host: Option<Spanned<String>>,
    pub(super) subset: Option<Spanned<String>>,
    pub(super) port: Option<Spanned<u16>>,
}

/// What the destination should be sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<Want>>,
}

/// What the client should get.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<Want>>,
    pub(super) body: Option<Spanned<Want>>,
}

/// What a filter should do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// `RULE WHAT`, as the module counts.
    #[serde(default)]
    pub(super) counted: Vec<String>,
    /// The status of its own answer; `none` for none.
    pub(super) reply: Option<Reply>,
    /// Headers of the request after it.
    #[serde(default)]
    pub(super) sets: BTreeMap<String, Want>,
}

/// A status, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    None,
    Status(u16),
}

/// A fault that should be injected.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) delay: Option<String>,
    pub(super) abort: Option<u16>,
}

/// What share of the repetitions should end like this.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    pub(super) destination: Option<Destination>,
    pub(super) route: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) percent: f64,
    #[serde(default = "five")]
    pub(super) tolerance: f64,
}

fn five() -> f64 {
    5.0
}

/// What a text should be.
#[derive(Debug, Clone)]
pub(super) enum Want {
    /// Not there.
    Absent,
    Present,
    Exact(String),
    Prefix(String),
    Contains(String),
    Regex(String, Regex),
}

impl Want {
    /// Is one of these values right?
    pub(super) fn takes(&self, values: &[&str]) -> bool {
        let any = |is: &dyn Fn(&str) -> bool| values.iter().any(|value| is(value));
        match self {
            Want::Absent => values.is_empty(),
            Want::Present => !values.is_empty(),
            Want::Exact(text) => any(&|value| value == text),
            Want::Prefix(text) => any(&|value| value.starts_with(text)),
            Want::Contains(text) => any(&|value| value.contains(text)),
            Want::Regex(_, regex) => any(&|value| regex.is_match(value.as_bytes())),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Want::Absent => f.write_str("nothing"),
            Want::Present => f.write_str("anything"),
            Want::Exact(text) => write!(f, "{text:?}"),
            Want::Prefix(text) => write!(f, "prefix {text:?}"),
            Want::Contains(text) => write!(f, "something with {text:?}"),
            Want::Regex(text, _) => write!(f, "regex {text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Want {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> Visitor<'de> for Wanted {
            type Value = Want;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, null, or one of exact, prefix, contains, regex, present")
            }

            fn visit_unit<E>(self) -> Result<Want, E> {
                Ok(Want::Absent)
            }

            fn visit_str<E>(self, text: &str) -> Result<Want, E> {
                Ok(Want::Exact(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Want, E> {
                Ok(Want::Exact(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Want, E> {
                Ok(Want::Exact(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Want, E> {
                Ok(Want::Exact(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Want, E> {
                Ok(Want::Exact(value.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Want, A::Error> {
                const FIELDS: [&str; 5] = ["exact", "prefix", "contains", "regex", "present"];
                let Some(field) = map.next_key::<String>()? else {
                    return Err(de::Error::custom("expected one of exact, prefix, contains, regex, present"));
                };
                let want = match field.as_str() {
                    "exact" => Want::Exact(map.next_value()?),
                    "prefix" => Want::Prefix(map.next_value()?),
                    "contains" => Want::Contains(map.next_value()?),
                    "present" if map.next_value::<bool>()? => Want::Present,
                    "present" => Want::Absent,
                    "regex" => {
                        let text: String = map.next_value()?;
                        let regex = Regex::full(&text).map_err(de::Error::custom)?;
                        Want::Regex(text, regex)
                    }
                    _ => return Err(de::Error::unknown_field(&field, &FIELDS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(want),
                    Some(second) => Err(de::Error::custom(format!("{field} and {second}: only one of them"))),
                }
            }
        }
        deserializer.deserialize_any(Wanted)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copies;
        impl<'de> Visitor<'de> for Copies {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a header's value, or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<Values, E> {
                Ok(Values(vec![text.to_owned()]))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Values, E> {
                Ok(Values(vec![value.to_string()]))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Values, E> {
                Ok(Values(vec![value.to_string()]))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Values, E> {
                Ok(Values(vec![value.to_string()]))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Values, E> {
                Ok(Values(vec![value.to_string()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut all = Vec::new();
                while let Some(Values(one)) = list.next_element()? {
                    all.extend(one);
                }
                Ok(Values(all))
            }
        }
        deserializer.deserialize_any(Copies)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Status;
        impl Visitor<'_> for Status {
            type Value = Reply;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, or none")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Reply, E> {
                if text == "none" { Ok(Reply::None) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Reply, E> {
                u16::try_from(value)
                    .map(Reply::Status)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Reply, E> {
                u16::try_from(value)
                    .map(Reply::Status)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }
        }
        deserializer.deserialize_any(Status)
    }
}

/// Reads every document of a file as `T`.
///
/// # Errors
/// `file:line:column: what is wrong`
pub(super) fn read<'t, T: Deserialize<'t>>(file: &str, text: &'t str) -> Result<Vec<T>, String> {
    let options = || serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
        let place = error.location().map_or((1, 1), |place| (place.line(), place.column()));
        format!("{file}:{}:{}: {}", place.0, place.1, serde_saphyr::UserMessageFormatter.format_message(&error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read::<Cases>("c.yaml", text).unwrap_err()
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place() {
        for (text, place, word) in [
            ("cases:\n  - name: a\n    request: {url: http://a/}\n    statsu: 200\n", "c.yaml:4:", "statsu"),
            ("cases:\n  - name: a\n    request:\n      url: http://a/\n      hdrs: {}\n", "c.yaml:5:", "hdrs"),
            ("caes: []\n", "c.yaml:1:", "caes"),
            (
                "cases:\n  - name: a\n    request: {url: http://a/}\n    response: {body: {regex: '('}}\n",
                "c.yaml:4:",
                "",
            ),
            (
                "cases:\n  - name: a\n    request: {url: http://a/}\n    response: {body: {suffix: x}}\n",
                "c.yaml:4:",
                "suffix",
            ),
        ] {
            let said = refused(text);
            assert!(said.starts_with(place) && said.contains(word), "{text}\n{said}");
        }
    }

    #[test]
    fn a_wanted_text_is_exact_or_says_how() {
        let text = "cases:\n  - name: a\n    request: {url: http://a/}\n    response:\n      headers: {a: x, b: null, c: 5, d: {prefix: p}, e: {present: true}, f: {regex: 'v[0-9]'}}\n";
        let cases = read::<Cases>("c.yaml", text).unwrap();
        let headers = &cases[0].cases[0].value.response.as_ref().unwrap().headers;
        for (name, value, taken) in [
            ("a", Some("x"), true),
            ("a", Some("y"), false),
            ("b", None, true),
            ("b", Some(""), false),
            ("c", Some("5"), true),
            ("d", Some("pq"), true),
            ("e", None, false),
            ("f", Some("v1"), true),
            ("f", Some("v12"), false),
        ] {
            assert_eq!(headers[name].value.takes(value.as_slice()), taken, "{name} {value:?}");
        }
    }
}
