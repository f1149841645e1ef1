//! The `match` of a rule: VirtualService's `HTTPMatchRequest`, and what its users miss in it.

use super::json::Json;
use super::pairs::Pairs;
use super::wire::{Wire, wire, words, wrong};
use super::{InPlace, Invalid, each, quoted};
use crate::cidr::Cidr;
use crate::cookie::CookieMatcher;
use crate::header::HeaderMatcher;
use crate::matcher::{PathView, RequestMatcher};
use crate::path::PathMatcher;
use crate::query::QueryMatcher;
use crate::regex::Regex;
use crate::rules::{Entry, Share};
use crate::template::Template;
use crate::text::StringMatcher;

wire! {
    /// One entry of `match`: all its fields must hold. One entry of the list is enough.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Match {
        /// A name for the reader; nothing refers to it.
        pub name: Option<String> = "name",
        /// The path, without query and fragment.
        pub uri: Option<Uri> = "uri",
        /// Ignore case in `uri`'s `exact`, `prefix` and `segmentPrefix`.
        pub ignore_uri_case: bool = "ignoreUriCase",
        /// `http` or `https`.
        pub scheme: Option<StringMatch> = "scheme",
        /// The method, in its own case.
        pub method: Option<StringMatch> = "method",
        /// The `Host`, port included when the client sent one.
        pub authority: Option<StringMatch> = "authority",
        /// Headers; of a repeated one any copy may match, with `all` every copy must.
        pub headers: Pairs<HeaderMatch> = "headers",
        /// Headers of which no copy may be so; with `{}`, that must not be there. A missing header counts as empty.
        pub without_headers: Pairs<StringMatch> = "withoutHeaders",
        /// Query parameters: the first value of a repeated one, not percent-decoded.
        pub query_params: Pairs<StringMatch> = "queryParams",
        /// Cookies; any occurrence may match, double quotes around a value aside.
        pub cookies: Pairs<StringMatch> = "cookies",
        /// Ranges of addresses the connection comes from; headers are not asked.
        pub client_ip: Vec<String> = "clientIp",
        /// Only this share of what matches otherwise: by the rule's `key` where the request has it, else at random.
        pub percentage: Option<Percentage> = "percentage",
        /// Which spelling of the path `uri` sees.
        pub path: Option<PathMode> = "path",
    }
}

wire! {
    /// How a path is compared. Exactly one field, or none for any path.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Uri {
        /// The whole path.
        pub exact: Option<String> = "exact",
        /// A string prefix: `/v2` takes `/v2example` too.
        pub prefix: Option<String> = "prefix",
        /// A prefix that ends at a `/` or at the end.
        pub segment_prefix: Option<String> = "segmentPrefix",
        /// RE2; the whole path must match.
        pub regex: Option<String> = "regex",
        /// Segments with names: `/api/{version}/{rest=**}`.
        pub template: Option<String> = "template",
    }
}

wire! {
    /// How a value is compared. Exactly one field, or none for presence.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct StringMatch {
        /// The whole value.
        pub exact: Option<String> = "exact",
        /// The value starts so; not empty.
        pub prefix: Option<String> = "prefix",
        /// RE2; the whole value must match. `*` alone is presence, as in Istio.
        pub regex: Option<String> = "regex",
    }
}

wire! {
    /// How a header is compared. One of `exact`, `prefix` and `regex`, or none for presence.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct HeaderMatch {
        /// The whole value.
        pub exact: Option<String> = "exact",
        /// The value starts so; not empty.
        pub prefix: Option<String> = "prefix",
        /// RE2; the whole value must match. `*` alone is presence, as in Istio.
        pub regex: Option<String> = "regex",
        /// Every copy of a repeated header must match, not just any one.
        pub all: bool = "all",
    }
}

wire! {
    /// A share of requests, in percent.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct Percentage {
        /// 0 to 100, honoured to 0.0001.
        #[cfg_attr(feature = "schema", schemars(with = "f64", range(min = 0.0, max = 100.0)))]
        pub value: Share = "value" required,
    }
}

impl Wire for Share {
    fn take(&mut self, json: &Json<'_>) -> Result<(), Invalid> {
        let share = match json {
            Json::Whole(number) => u32::try_from(*number).ok().and_then(|number| Share::percent(number.into())),
            Json::Negative(_) => None,
            Json::Fraction(number) => Share::percent(*number),
            _ => return Err(wrong(json, "a number")),
        };
        *self = share.ok_or_else(|| Invalid::new(format!("a percentage is 0 to 100, this one is {}", json.kind())))?;
        Ok(())
    }
}

words! {
    /// Which spelling of the path is compared.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum PathMode {
        /// One spelling for all that servers may take to be the same: dot segments, `//`, `%2F`, `%5C`, case of escapes and `;params` are gone.
        #[default]
        Strict = "strict",
    }
}

/// The entries of a rule's `match`; a rule without one has a single entry that takes everything.
pub(crate) fn entries(matches: &[Match], rule: usize) -> Result<Vec<Entry>, Invalid> {
    if matches.is_empty() {
        return Ok(vec![Entry { matcher: RequestMatcher::default(), share: None, rule }]);
    }
    each(matches, |_, wire| wire.entry(rule)).in_field("match")
}

impl Match {
    fn entry(&self, rule: usize) -> Result<Entry, Invalid> {
        let mut headers = Vec::new();
        let pseudo = [("method", &self.method), ("scheme", &self.scheme), ("authority", &self.authority)];
        for (field, wanted) in pseudo {
            if let Some(wanted) = wanted {
                headers.push(header(&format!(":{field}"), wanted.compile().in_field(field)?));
            }
        }
        for (name, wanted) in self.headers.iter() {
            header_name(name).in_field(name).in_field("headers")?;
            let test = wanted.string_match().compile().in_field(name).in_field("headers")?;
            headers.push(header(name, test).every_copy(wanted.all));
        }
        for (name, wanted) in self.without_headers.iter() {
            header_name(name).in_field(name).in_field("withoutHeaders")?;
            let test = wanted.compile().in_field(name).in_field("withoutHeaders")?;
            let with_value = test.is_some();
            headers.push(header(name, test).inverted(true).missing_as_empty(with_value));
        }
        let query = pairs(&self.query_params, "queryParams", |name, test| match test {
            None => QueryMatcher::present(name),
            Some(test) => QueryMatcher::value(name, test),
        })?;
        let cookies = pairs(&self.cookies, "cookies", |name, test| match test {
            None => CookieMatcher::present(name),
            Some(test) => CookieMatcher::value(name, test),
        })?;
        let clients = each(&self.client_ip, |_, range| Ok(Cidr::parse(range)?)).in_field("clientIp")?;
        let path = self
            .uri
            .as_ref()
            .map_or(Ok(PathMatcher::any()), |uri| uri.compile(self.ignore_uri_case))
            .in_field("uri")?;
        let share = self.percentage.map(|percentage| percentage.value);
        let view = if self.path == Some(PathMode::Strict) { PathView::Strict } else { PathView::AsSent };
        let matcher = RequestMatcher { path, view, headers, query, cookies, clients };
        Ok(Entry { matcher, share, rule })
    }
}

fn header(name: &str, test: Option<StringMatcher>) -> HeaderMatcher {
    match test {
        None => HeaderMatcher::present(name),
        Some(test) => HeaderMatcher::value(name, test),
    }
}

fn pairs<T>(
    wires: &Pairs<StringMatch>,
    field: &str,
    make: impl Fn(String, Option<StringMatcher>) -> T,
) -> Result<Vec<T>, Invalid> {
    let one = |(name, wanted): (&str, &StringMatch)| {
        if name.is_empty() {
            return Err(Invalid::new("a name is not empty").field(field));
        }
        Ok(make(name.to_owned(), wanted.compile().in_field(name).in_field(field)?))
    };
    wires.iter().map(one).collect()
}

/// Is this the name of a header one could receive? A pseudo-header is.
pub(crate) fn header_name(name: &str) -> Result<(), Invalid> {
    let bare = name.strip_prefix(':').unwrap_or(name);
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !bare.is_empty() && bare.bytes().all(token) {
        Ok(())
    } else {
        Err(Invalid::new(format!("\"{}\" is not the name of a header", quoted(name))))
    }
}

impl Uri {
    fn compile(&self, ignore_case: bool) -> Result<PathMatcher, Invalid> {
        let said = [&self.exact, &self.prefix, &self.segment_prefix, &self.regex, &self.template];
        one_of(said.map(Option::is_some), "exact, prefix, segmentPrefix, regex and template")?;
        if let Some(path) = &self.exact {
            return Ok(PathMatcher::exact(pattern(path).in_field("exact")?, ignore_case));
        }
        if let Some(prefix) = &self.prefix {
            return Ok(PathMatcher::prefix(pattern(prefix).in_field("prefix")?, ignore_case));
        }
        if let Some(prefix) = &self.segment_prefix {
            return Ok(PathMatcher::segment_prefix(pattern(prefix).in_field("segmentPrefix")?, ignore_case));
        }
        if let Some(regex) = &self.regex {
            return Ok(PathMatcher::regex(Regex::full(regex).in_field("regex")?));
        }
        if let Some(template) = &self.template {
            return Ok(PathMatcher::template(Template::parse(template).in_field("template")?));
        }
        Ok(PathMatcher::any())
    }
}

/// A path, or the start of one.
fn pattern(path: &str) -> Result<&str, Invalid> {
    if !path.starts_with('/') {
        return Err(Invalid::new(format!("a path starts with \"/\", this one is \"{path}\"")));
    }
    if let Some(cut) = path.find(['?', '#']) {
        let (bare, rest) = path.split_at(cut);
        return Err(Invalid::new(format!(
            "the path is compared without query and fragment, so \"{path}\" never matches; write \"{bare}\" and, for \"{rest}\", queryParams"
        )));
    }
    Ok(path)
}

impl HeaderMatch {
    fn string_match(&self) -> StringMatch {
        StringMatch { exact: self.exact.clone(), prefix: self.prefix.clone(), regex: self.regex.clone() }
    }
}

impl StringMatch {
    /// `None` is presence.
    pub(crate) fn compile(&self) -> Result<Option<StringMatcher>, Invalid> {
        let said = [&self.exact, &self.prefix, &self.regex];
        one_of(said.map(Option::is_some), "exact, prefix and regex")?;
        if let Some(value) = &self.exact {
            return Ok(Some(StringMatcher::exact(value.as_str(), false)));
        }
        match self.prefix.as_deref() {
            Some("") => {
                return Err(Invalid::new("an empty prefix is refused by Envoy; write {} for presence").field("prefix"));
            }
            Some(prefix) => return Ok(Some(StringMatcher::prefix(prefix, false))),
            None => {}
        }
        match self.regex.as_deref() {
            None | Some("*") => Ok(None),
            Some(regex) => Ok(Some(StringMatcher::regex(Regex::full(regex).in_field("regex")?))),
        }
    }
}

/// At most one of these may be said.
pub(crate) fn one_of<const N: usize>(said: [bool; N], fields: &str) -> Result<(), Invalid> {
    if said.iter().filter(|&&said| said).count() > 1 {
        return Err(Invalid::new(format!("only one of {fields} can be said at a time")));
    }
    Ok(())
}
