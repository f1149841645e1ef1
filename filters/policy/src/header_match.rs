//! The `header-match` module: mark a request, answer it, or send it elsewhere.

use crate::config::headers::{BothWays, Headers};
use crate::config::key::{self, KeySource};
use crate::config::matching::{self, Match};
use crate::config::reply::Response;
use crate::config::wire::wire;
use crate::config::{InPlace, Invalid, each, names, read};
use crate::exchange::{Exchange, Signals};
use crate::metrics::{Counter, Metrics};
use crate::module::{Module, Outcome};
use crate::redirect::{Redirect, RedirectCode, RedirectPath};
use crate::reply::Reply;
use crate::rules::{Asks, Rule, Rules};
use crate::world::World;

wire! {
    /// The module's configuration.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(title = "header-match"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Config {
        /// The first rule that matches applies; with `continue`, later ones may too.
        pub rules: Vec<RuleConfig> = "rules",
    }
}

wire! {
    /// One rule: a name, conditions, and exactly one of `headers`, `directResponse` and `redirect`.
    #[derive(Debug, Clone, Default)]
    pub struct RuleConfig {
        /// Unique; 1 to 63 of a-z, 0-9 and -.
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9-]{1,63}$")))]
        pub name: String = "name" required,
        /// One of these must hold; none means always.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub r#match: Vec<Match> = "match",
        /// Whose share of a `percentage` a request is.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub key: Vec<KeySource> = "key",
        /// Operations on the headers of request and response.
        pub headers: Option<Headers> = "headers",
        /// Answer here.
        pub direct_response: Option<Response> = "directResponse",
        /// Answer with another place to ask.
        pub redirect: Option<RedirectConfig> = "redirect",
        /// Let later rules apply too.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub r#continue: bool = "continue",
    }
}

wire! {
    /// Where to; at least one field.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct RedirectConfig {
        /// The whole path; the query is kept unless this brings one.
        pub uri: Option<String> = "uri",
        /// Host, or host and port.
        pub authority: Option<String> = "authority",
        /// `http` or `https`.
        pub scheme: Option<String> = "scheme",
        /// Left out of the answer where it is the scheme's own.
        pub port: Option<u16> = "port",
        /// 301 (default), 302, 303, 307 or 308.
        pub redirect_code: Option<u16> = "redirectCode",
    }
}

/// Valid rules.
#[derive(Debug, Clone)]
pub struct HeaderMatch {
    rules: Rules<Action>,
    signals: Signals,
}

#[derive(Debug, Clone)]
struct Action {
    does: Does,
    carries_on: bool,
    matched: Counter,
}

#[derive(Debug, Clone)]
enum Does {
    Headers(BothWays),
    Reply(Reply),
    Redirect(Redirect),
}

impl HeaderMatch {
    /// From the wire's form.
    pub fn compile(config: &Config, metrics: &mut Metrics) -> Result<HeaderMatch, Invalid> {
        let names = names(config.rules.iter().map(|rule| Some(rule.name.as_str())))?;
        let mut entries = Vec::new();
        let rules = each(config.rules.iter().zip(names).collect::<Vec<_>>().iter(), |place, (wire, name)| {
            entries.extend(matching::entries(&wire.r#match, place)?);
            let matched = metrics.counter(HeaderMatch::NAME, name, "matched");
            let action = Action { does: wire.does()?, carries_on: wire.r#continue, matched };
            Ok(Rule { name: name.clone(), key: key::key(&wire.key)?, action })
        })
        .in_field("rules")?;
        let rules = Rules::new(entries, rules);
        let set = rules.iter().filter_map(|rule| match &rule.action.does {
            Does::Headers(headers) => Some(headers.request.set_names()),
            _ => None,
        });
        let signals = rules.signals(set.flatten());
        Ok(HeaderMatch { rules, signals })
    }

    /// Applies the rules; a reply ends the request.
    fn apply(&self, exchange: &mut Exchange<'_>) -> Option<Reply> {
        exchange.strip(&self.signals);
        let matched = exchange.ask(self.rules.strict(), |request, dice| {
            let mut matched = Vec::new();
            for hit in self.rules.matching(request, dice) {
                matched.push(hit.rule);
                if self.rules.get(hit.rule).is_none_or(|rule| !rule.action.carries_on) {
                    break;
                }
            }
            matched
        });
        for rule in matched.into_iter().filter_map(|place| self.rules.get(place)) {
            exchange.count(rule.action.matched);
            exchange.attribute("sluice.header-match", rule.name.as_bytes());
            match &rule.action.does {
                Does::Headers(headers) => {
                    exchange.apply(&headers.request);
                    exchange.response.extend(headers.response.iter().cloned());
                }
                Does::Reply(reply) => return Some(reply.clone()),
                Does::Redirect(redirect) => return Some(reply_with(redirect, exchange)),
            }
        }
        None
    }
}

impl Module for HeaderMatch {
    const NAME: &'static str = "header-match";

    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<HeaderMatch, Invalid> {
        HeaderMatch::compile(&read(text)?, metrics)
    }

    fn asks(&self) -> Asks {
        self.rules.asks()
    }

    fn decide(&self, exchange: &mut Exchange<'_>, _: &mut dyn World) -> Outcome {
        Outcome { reply: self.apply(exchange), ..Outcome::go_on() }
    }
}

fn reply_with(redirect: &Redirect, exchange: &Exchange<'_>) -> Reply {
    let part = |name| exchange.header(name).unwrap_or_default();
    let location =
        redirect.location((part(":scheme"), part("x-forwarded-proto")), part(":authority"), part(":path"), None);
    let mut reply = Reply::new(redirect.code.status(), "", "sluice_redirect");
    reply.headers.push(("location".into(), location));
    reply
}

impl RuleConfig {
    fn does(&self) -> Result<Does, Invalid> {
        match (&self.headers, &self.direct_response, &self.redirect) {
            (Some(headers), None, None) => Ok(Does::Headers(headers.compile().in_field("headers")?)),
            (None, Some(response), None) => {
                Ok(Does::Reply(response.compile("sluice_direct_response").in_field("directResponse")?))
            }
            (None, None, Some(redirect)) => Ok(Does::Redirect(redirect.compile().in_field("redirect")?)),
            _ => Err(Invalid::new("a rule does exactly one of headers, directResponse and redirect")),
        }
    }
}

impl RedirectConfig {
    fn compile(&self) -> Result<Redirect, Invalid> {
        if self.uri.is_none() && self.authority.is_none() && self.scheme.is_none() && self.port.is_none() {
            return Err(Invalid::new("a redirect changes at least one of uri, authority, scheme and port"));
        }
        if let Some(scheme) = self.scheme.as_deref().filter(|scheme| !matches!(*scheme, "http" | "https")) {
            return Err(Invalid::new(format!("a scheme is http or https, this one is \"{scheme}\"")).field("scheme"));
        }
        for (field, text) in [("uri", &self.uri), ("authority", &self.authority)] {
            if text.as_ref().is_some_and(|text| text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic())) {
                return Err(Invalid::new("only printable ASCII may stand here, and not nothing").field(field));
            }
        }
        let code = RedirectCode::from_status(self.redirect_code.unwrap_or(301)).ok_or_else(|| {
            let code = self.redirect_code.unwrap_or_default();
            Invalid::new(format!("Envoy redirects with 301, 302, 303, 307 or 308, not {code}")).field("redirectCode")
        })?;
        let own = matches!((self.scheme.as_deref(), self.port), (Some("http"), Some(80)) | (Some("https"), Some(443)));
        if self.port == Some(0) {
            return Err(Invalid::new("a port is 1 to 65535").field("port"));
        }
        Ok(Redirect {
            scheme: self.scheme.clone(),
            host: self.authority.clone(),
            port: self.port.filter(|_| !own),
            path: self.uri.clone().map_or(RedirectPath::Keep, RedirectPath::Full),
            strip_query: false,
            code,
        })
    }
}

#[cfg(test)]
mod tests;
