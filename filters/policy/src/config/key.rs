//! The `key` of a rule: where stickiness and limits take their identity from.

use serde::Deserialize;

use super::object::objects;
use super::{InPlace, Invalid, each};
use crate::key::{Key, Source};

objects!(KeySource, Prefixes, Nothing);

/// One source. Exactly one field.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase", default)]
pub struct KeySource {
    /// A header's value; repeated, its copies joined with `,`.
    pub header: Option<String>,
    /// A cookie's first value.
    pub cookie: Option<String>,
    /// A query parameter's first value.
    pub query: Option<String>,
    /// The address the connection comes from, cut to a prefix.
    pub client_ip: Option<Prefixes>,
    /// The path in its strict spelling, without query.
    pub path: Option<Nothing>,
    /// The host in lower case, without port.
    pub host: Option<Nothing>,
    /// The name of the route Envoy chose before this filter ran.
    pub route: Option<Nothing>,
    /// The same for everyone.
    pub constant: Option<String>,
    /// Several together; absent if one of them is.
    pub all: Option<Vec<KeySource>>,
}

/// How much of an address counts.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct Prefixes {
    /// 0 to 32 bits.
    #[serde(rename = "ipv4Prefix")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 32)))]
    pub ipv4: u8,
    /// 0 to 128 bits. One customer usually has a /64.
    #[serde(rename = "ipv6Prefix")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 128)))]
    pub ipv6: u8,
}

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes { ipv4: 32, ipv6: 64 }
    }
}

/// `{}`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Nothing {}

/// The key, or `None` for an empty list.
pub(crate) fn key(sources: &[KeySource]) -> Result<Option<Key>, Invalid> {
    let sources = each(sources, |_, wire| wire.source(0)).in_field("key")?;
    Ok(if sources.is_empty() { None } else { Some(Key::new(sources)) })
}

/// A single source.
pub(crate) fn source(wire: &KeySource) -> Result<Source, Invalid> {
    wire.source(0)
}

impl KeySource {
    fn source(&self, depth: usize) -> Result<Source, Invalid> {
        let mut said = Vec::new();
        let named = |field: &str, name: &str| match name {
            "" => Err(Invalid::new("a name is not empty").field(field)),
            name => Ok(name.to_owned()),
        };
        if let Some(name) = &self.header {
            super::matching::header_name(name).in_field("header")?;
            said.push(Source::Header(name.to_ascii_lowercase()));
        }
        if let Some(name) = &self.cookie {
            said.push(Source::Cookie(named("cookie", name)?));
        }
        if let Some(name) = &self.query {
            said.push(Source::Query(named("query", name)?));
        }
        if let Some(prefixes) = self.client_ip {
            said.push(prefixes.source().in_field("clientIp")?);
        }
        said.extend(self.path.map(|_| Source::Path));
        said.extend(self.host.map(|_| Source::Host));
        said.extend(self.route.map(|_| Source::Route));
        said.extend(self.constant.as_ref().map(|text| Source::Constant(text.clone())));
        if let Some(parts) = &self.all {
            if parts.is_empty() || depth > 3 {
                return Err(Invalid::new("a list of at least one source, nested at most four deep").field("all"));
            }
            said.push(Source::All(each(parts, |_, part| part.source(depth.saturating_add(1))).in_field("all")?));
        }
        match <[Source; 1]>::try_from(said) {
            Ok([source]) => Ok(source),
            Err(_) => Err(Invalid::new(
                "a source is exactly one of header, cookie, query, clientIp, path, host, route, constant and all",
            )),
        }
    }
}

impl Prefixes {
    fn source(self) -> Result<Source, Invalid> {
        if self.ipv4 > 32 {
            return Err(Invalid::new(format!("0 to 32 bits, this is {}", self.ipv4)).field("ipv4Prefix"));
        }
        if self.ipv6 > 128 {
            return Err(Invalid::new(format!("0 to 128 bits, this is {}", self.ipv6)).field("ipv6Prefix"));
        }
        Ok(Source::Client { ipv4: self.ipv4, ipv6: self.ipv6 })
    }
}
