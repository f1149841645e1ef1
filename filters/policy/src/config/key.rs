//! The `key` of a rule: where stickiness and limits take their identity from.

use super::wire::wire;
use super::{InPlace, Invalid, each};
use crate::key::{Key, Source};

wire! {
    /// One source. Exactly one field.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct KeySource {
        /// A header's value; repeated, its copies joined with `,`.
        pub header: Option<String> = "header",
        /// A cookie's first value.
        pub cookie: Option<String> = "cookie",
        /// A query parameter's first value.
        pub query: Option<String> = "query",
        /// The address the connection comes from, cut to a prefix.
        pub client_ip: Option<Prefixes> = "clientIp",
        /// The path in its strict spelling, without query.
        pub path: Option<Nothing> = "path",
        /// The host in lower case, without port.
        pub host: Option<Nothing> = "host",
        /// The name of the route Envoy chose before this filter ran.
        pub route: Option<Nothing> = "route",
        /// The same for everyone.
        pub constant: Option<String> = "constant",
        /// Several together; absent if one of them is.
        pub all: Option<Vec<KeySource>> = "all",
    }
}

wire! {
    /// How much of an address counts.
    #[derive(Debug, Clone, Copy)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Prefixes {
        /// 0 to 32 bits.
        #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 32)))]
        pub ipv4: u8 = "ipv4Prefix",
        /// 0 to 128 bits. One customer usually has a /64.
        #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 128)))]
        pub ipv6: u8 = "ipv6Prefix",
    }
}

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes { ipv4: 32, ipv6: 64 }
    }
}

wire! {
    /// `{}`.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Nothing {
    }
}

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
