//! The `uri-rewrite` module: another path or authority, the query kept byte for byte, and never a target that is not one.

use crate::config::headers;
use crate::config::key::{self, KeySource};
use crate::config::matching::{self, Match, one_of};
use crate::config::wire::{wire, words};
use crate::config::{InPlace, Invalid, each, names, quoted, read};
use crate::exchange::{Exchange, Signals};
use crate::matcher::{PathView, RequestMatcher};
use crate::metrics::{Counter, Metrics};
use crate::module::{Module, Outcome};
use crate::path::split_target;
use crate::regex::{Regex, Substitution};
use crate::reply::Reply;
use crate::rewrite::{self, InvalidTarget};
use crate::rules::{Asks, Entry, Rule, Rules};
use crate::template::Filling;
use crate::world::World;

const ORIGINAL_PATH: &str = "x-envoy-original-path";

wire! {
    /// The module's configuration.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(title = "uri-rewrite"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Config {
        /// The first rule that matches applies.
        pub rules: Vec<RuleConfig> = "rules",
        /// For rules that do not say it themselves.
        pub on_invalid: Option<OnInvalid> = "onInvalid",
        /// For rules that do not say it themselves.
        pub original_path_header: Option<String> = "originalPathHeader",
        /// For rules that do not say it themselves.
        pub compat: Option<Compat> = "compat",
    }
}

wire! {
    /// One rule.
    #[derive(Debug, Clone, Default)]
    pub struct RuleConfig {
        /// Unique; 1 to 63 of a-z, 0-9 and -. `rule-N` if absent.
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9-]{1,63}$")))]
        pub name: Option<String> = "name",
        /// One of these must hold; none means always.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub r#match: Vec<Match> = "match",
        /// Whose share of a `percentage` a request is.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub key: Vec<KeySource> = "key",
        /// What becomes of the request.
        pub rewrite: RewriteConfig = "rewrite" required,
        /// What becomes of a request whose new target would be none.
        pub on_invalid: Option<OnInvalid> = "onInvalid",
        /// Where the old target is kept; `""` for nowhere.
        pub original_path_header: Option<String> = "originalPathHeader",
        /// Whose way of joining prefix and rest.
        pub compat: Option<Compat> = "compat",
    }
}

wire! {
    /// At most one of `uri`, `uriRegexRewrite` and `template`; and `authority`, alone or beside it.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct RewriteConfig {
        /// Stands for the prefix that matched, with one slash at the seam; for the whole path where the match is exact, a regex or a template.
        pub uri: Option<String> = "uri",
        /// Replaces every match in the path.
        pub uri_regex_rewrite: Option<RegexRewrite> = "uriRegexRewrite",
        /// A path of the names in the match's `uri.template`.
        pub template: Option<String> = "template",
        /// The new authority.
        pub authority: Option<String> = "authority",
    }
}

wire! {
    /// A pattern and what stands for it.
    #[derive(Debug, Clone, Default)]
    pub struct RegexRewrite {
        /// RE2, anywhere in the path.
        pub r#match: String = "match" required,
        /// `\0` to `\9` for groups.
        pub rewrite: String = "rewrite" required,
    }
}

words! {
    /// What becomes of a request whose new target would be empty, without a leading `/`, full of control bytes, or climbing by `..`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum OnInvalid {
        /// It goes on unchanged.
        #[default]
        Pass = "pass",
        /// It is answered with 400.
        Reject = "reject",
    }
}

words! {
    /// Whose way of joining prefix and rest.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum Compat {
        /// Byte for byte, slashes or not.
        #[default]
        Envoy = "envoy",
    }
}

/// Valid rules.
#[derive(Debug, Clone)]
pub struct UriRewrite {
    rules: Rules<Action>,
    signals: Signals,
}

#[derive(Debug, Clone)]
struct Action {
    path: Option<PathRewrite>,
    authority: Option<Vec<u8>>,
    original: Option<String>,
    on_invalid: OnInvalid,
    compat: Option<Compat>,
    matched: Counter,
    rewritten: Counter,
    refused: Counter,
}

#[derive(Debug, Clone)]
enum PathRewrite {
    Join(Vec<u8>),
    Regex(Regex, Substitution),
    Template(Filling),
}

impl UriRewrite {
    /// From the wire's form.
    pub fn compile(config: &Config, metrics: &mut Metrics) -> Result<UriRewrite, Invalid> {
        let names = names(config.rules.iter().map(|rule| rule.name.as_deref()))?;
        original_header(config.original_path_header.as_deref()).in_field("originalPathHeader")?;
        let mut entries = Vec::new();
        let rules = each(config.rules.iter().zip(names).collect::<Vec<_>>().iter(), |place, (wire, name)| {
            let own = matching::entries(&wire.r#match, place)?;
            let action = wire.action(config, name, &own, metrics)?;
            entries.extend(own);
            Ok(Rule { name: name.clone(), key: key::key(&wire.key)?, action })
        })
        .in_field("rules")?;
        let rules = Rules::new(entries, rules);
        let signals = rules.signals(rules.iter().filter_map(|rule| rule.action.original.as_deref()));
        Ok(UriRewrite { rules, signals })
    }

    fn apply(&self, exchange: &mut Exchange<'_>) -> Option<Reply> {
        exchange.strip(&self.signals);
        let hit = exchange.ask(self.rules.strict(), |request, dice| self.rules.matching(request, dice).next())?;
        let (rule, matcher) = (self.rules.get(hit.rule)?, self.rules.matcher(hit)?);
        let action = &rule.action;
        exchange.count(action.matched);
        let old = exchange.header(":path").unwrap_or_default().to_vec();
        match action.new_target(matcher, &old, exchange) {
            Ok(new) => {
                exchange.count(action.rewritten);
                exchange.attribute("sluice.uri-rewrite", rule.name.as_bytes());
                if let Some(new) = new.filter(|new| *new != old) {
                    exchange.set(":path", new);
                    if let Some(header) = &action.original {
                        exchange.set(header, old);
                    }
                }
                if let Some(authority) = &action.authority {
                    exchange.set(":authority", authority.as_slice());
                }
                None
            }
            Err(fault) => {
                exchange.count(action.refused);
                exchange.warn("rewrite refused", format!("rule {}: {fault}, so it is not sent", rule.name));
                (action.on_invalid == OnInvalid::Reject).then(|| Reply::new(400, "", "sluice_rewrite_refused"))
            }
        }
    }
}

impl Module for UriRewrite {
    const NAME: &'static str = "uri-rewrite";

    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<UriRewrite, Invalid> {
        UriRewrite::compile(&read(text)?, metrics)
    }

    fn asks(&self) -> Asks {
        self.rules.asks()
    }

    fn decide(&self, exchange: &mut Exchange<'_>, _: &mut dyn World) -> Outcome {
        Outcome { reply: self.apply(exchange), ..Outcome::go_on() }
    }
}

impl Action {
    /// The new target, `None` if the path stays.
    fn new_target(
        &self,
        matcher: &RequestMatcher,
        old: &[u8],
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Vec<u8>>, InvalidTarget> {
        let Some(rewrite) = &self.path else { return Ok(None) };
        // Where the strict spelling matched, the strict spelling is rewritten: its prefix has no place in the other.
        let base = match matcher.view {
            PathView::AsSent => old.to_vec(),
            PathView::Strict => rewrite::replace_path(old, exchange.request(true).strict_path),
        };
        let envoys = self.compat == Some(Compat::Envoy);
        let new = match rewrite {
            PathRewrite::Join(with) => match matcher.path.matched_len() {
                None => rewrite::replace_path(&base, with),
                // A route without a path has the prefix "/" in Envoy.
                Some(length) if envoys => rewrite::envoy_prefix_rewrite(&base, length.max(1), with),
                Some(length) => rewrite::joined_prefix_rewrite(&base, length, with),
            },
            PathRewrite::Regex(regex, with) => rewrite::regex_rewrite(&base, regex, with),
            PathRewrite::Template(filling) => {
                let (path, _) = split_target(&base);
                let captures = matcher.path.as_template().and_then(|template| template.captures(path));
                rewrite::replace_path(&base, &filling.fill(&captures.unwrap_or_default()))
            }
        };
        match rewrite::validate(&new) {
            Err(InvalidTarget::TwoSlashes) if envoys => Ok(Some(new)),
            Err(fault) => Err(fault),
            Ok(()) => Ok(Some(new)),
        }
    }
}

impl RuleConfig {
    fn action(&self, config: &Config, name: &str, entries: &[Entry], metrics: &mut Metrics) -> Result<Action, Invalid> {
        let original = match &self.original_path_header {
            Some(own) => original_header(Some(own)).in_field("originalPathHeader")?,
            None => original_header(config.original_path_header.as_deref())?,
        };
        let mut counter = |what| metrics.counter(UriRewrite::NAME, name, what);
        Ok(Action {
            path: self.rewrite.path(entries).in_field("rewrite")?,
            authority: self.rewrite.authority().in_field("rewrite")?,
            original,
            on_invalid: self.on_invalid.or(config.on_invalid).unwrap_or_default(),
            compat: self.compat.or(config.compat),
            matched: counter("matched"),
            rewritten: counter("rewritten"),
            refused: counter("rewrite_refused"),
        })
    }
}

fn original_header(name: Option<&str>) -> Result<Option<String>, Invalid> {
    match name.unwrap_or(ORIGINAL_PATH) {
        "" => Ok(None),
        name => headers::writable(name).map(Some),
    }
}

impl RewriteConfig {
    fn path(&self, entries: &[Entry]) -> Result<Option<PathRewrite>, Invalid> {
        let said = [self.uri.is_some(), self.uri_regex_rewrite.is_some(), self.template.is_some()];
        one_of(said, "uri, uriRegexRewrite and template")?;
        if !said.contains(&true) && self.authority.is_none() {
            return Err(Invalid::new("a rewrite names at least one of uri, uriRegexRewrite, template and authority"));
        }
        if let Some(uri) = &self.uri {
            return new_path(uri).in_field("uri").map(|uri| Some(PathRewrite::Join(uri)));
        }
        if let Some(wire) = &self.uri_regex_rewrite {
            return wire.compile().in_field("uriRegexRewrite").map(Some);
        }
        let Some(text) = &self.template else { return Ok(None) };
        new_path(text).in_field("template")?;
        let mut filling = None;
        for entry in entries {
            let template = entry.matcher.path.as_template().ok_or_else(|| {
                Invalid::new("every entry of match needs a uri.template whose names this one may use").field("template")
            })?;
            filling = Some(Filling::parse(text, template).in_field("template")?);
        }
        Ok(filling.map(PathRewrite::Template))
    }

    fn authority(&self) -> Result<Option<Vec<u8>>, Invalid> {
        match self.authority.as_deref() {
            None => Ok(None),
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/') => {
                Ok(Some(text.as_bytes().to_vec()))
            }
            Some(text) => {
                Err(Invalid::new(format!("\"{}\" is not a host, or host and port", quoted(text))).field("authority"))
            }
        }
    }
}

impl RegexRewrite {
    fn compile(&self) -> Result<PathRewrite, Invalid> {
        let regex = Regex::search(&self.r#match).in_field("match")?;
        let with = Substitution::parse(&self.rewrite, &regex).in_field("rewrite")?;
        Ok(PathRewrite::Regex(regex, with))
    }
}

/// A path to rewrite to, or the template of one.
fn new_path(text: &str) -> Result<Vec<u8>, Invalid> {
    if text.is_empty() {
        return Err(Invalid::new("an empty path is none; write \"/\" to take a prefix away"));
    }
    if !text.starts_with('/') {
        return Err(Invalid::new(format!("a path starts with \"/\", this one is \"{text}\"")));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#') {
        return Err(Invalid::new(format!(
            "\"{}\" is more than a path: no query, fragment, space or byte beyond ASCII; the request's query is kept as it is",
            quoted(text)
        )));
    }
    Ok(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests;
