//! The `traffic-shift` module: sends a share of the requests elsewhere, the same users every time.
//!
//! How buckets are laid out, and what a ramp moves, is said at [`Split`].

use std::time::Duration;

use crate::config::duration;
use crate::config::headers::{self, BothWays, Headers};
use crate::config::key::{self, KeySource};
use crate::config::matching::{self, Match};
use crate::config::wire::wire;
use crate::config::{InPlace, Invalid, each, name, names, quoted, read};
use crate::cookie;
use crate::exchange::{Exchange, Signals};
use crate::header_ops::Op;
use crate::key::{Key, Source, of_cookie};
use crate::matcher::Request;
use crate::metrics::{Counter, Metrics};
use crate::module::{Module, Outcome};
use crate::rules::{Asks, Hit, Rule, Rules};
use crate::split::{Split, draw, sticky};
use crate::world::World;

wire! {
    /// The module's configuration.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(title = "traffic-shift"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Config {
        /// The first rule that matches applies.
        pub rules: Vec<RuleConfig> = "rules",
    }
}

wire! {
    /// One rule. Forced by header, then by cookie, then by the key; without a key a cookie is minted, or dice are thrown.
    #[derive(Debug, Clone, Default)]
    pub struct RuleConfig {
        /// Unique; 1 to 63 of a-z, 0-9 and -.
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9-]{1,63}$")))]
        pub name: String = "name" required,
        /// One of these must hold; none means always.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub r#match: Vec<Match> = "match",
        /// Whose destination it is.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub key: Vec<KeySource> = "key",
        /// Another salt deals everyone out anew. The rule's name if absent.
        pub salt: Option<String> = "salt",
        /// Where the destination's name is written, for a route to match on. `x-sluice-destination` if absent.
        pub header: Option<String> = "header",
        /// The first is the ground that the others take their share from.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        pub destinations: Vec<DestinationConfig> = "destinations" required,
        /// A header whose value, the name of a destination, decides. With two destinations also `always`, the second, and `never`, the first.
        pub force_header: Option<String> = "forceHeader",
        /// The same by a cookie.
        pub force_cookie: Option<String> = "forceCookie",
        /// The cookie that is minted for a request without a key, and is the last source of keys.
        pub cookie: Option<CookieConfig> = "cookie",
        /// Have the route chosen again, so that the header counts. True if absent.
        pub clear_route_cache: Option<bool> = "clearRouteCache",
        /// False throws the dice for each request. True if absent.
        pub sticky: Option<bool> = "sticky",
    }
}

wire! {
    /// Where requests may go.
    #[derive(Debug, Clone, Default)]
    pub struct DestinationConfig {
        /// Unique in its rule; 1 to 63 of a-z, 0-9 and -.
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9-]{1,63}$")))]
        pub name: String = "name" required,
        /// 0 to 10,000; the share is the weight of the sum of all.
        #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 10_000)))]
        pub weight: u32 = "weight" required,
        /// Operations on the headers of what goes there.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub headers: Headers = "headers",
    }
}

wire! {
    /// How the cookie is set. It is `HttpOnly` and `SameSite=Lax`, and `Secure` on https.
    #[derive(Debug, Clone, Default)]
    pub struct CookieConfig {
        /// Its name.
        pub name: String = "name" required,
        /// How long it is kept, as in `720h`. Absent or `0s`: as long as the browser is open.
        pub ttl: Option<String> = "ttl",
        /// `/` if absent.
        pub path: Option<String> = "path",
    }
}

/// Valid rules.
#[derive(Debug, Clone)]
pub struct TrafficShift {
    rules: Rules<Action>,
    signals: Signals,
}

#[derive(Debug, Clone)]
struct Action {
    salt: Vec<u8>,
    header: String,
    destinations: Vec<Destination>,
    weights: Vec<u32>,
    split: Split,
    force: Vec<Source>,
    cookie: Option<Mint>,
    sticky: bool,
    clears_route: bool,
    matched: Counter,
    forced: Counter,
}

#[derive(Debug, Clone)]
struct Destination {
    name: String,
    headers: BothWays,
    shifted: Counter,
}

#[derive(Debug, Clone)]
struct Mint {
    name: String,
    ttl: Duration,
    path: String,
}

/// How a destination was found.
enum Found {
    Forced(usize),
    Chosen(usize),
    /// Nothing says whose request it is: a cookie has to.
    Nobody,
}

impl TrafficShift {
    /// From the wire's form.
    pub fn compile(config: &Config, metrics: &mut Metrics) -> Result<TrafficShift, Invalid> {
        let names = names(config.rules.iter().map(|rule| Some(rule.name.as_str())))?;
        let mut entries = Vec::new();
        let rules = each(config.rules.iter().zip(names).collect::<Vec<_>>().iter(), |place, (wire, name)| {
            entries.extend(matching::entries(&wire.r#match, place)?);
            let action = wire.action(metrics)?;
            let mut key = key::key(&wire.key)?;
            if let Some(mint) = &action.cookie {
                let mut sources = key.map(|key| key.sources().to_vec()).unwrap_or_default();
                sources.push(Source::Cookie(mint.name.clone()));
                key = Some(Key::new(sources));
            }
            Ok(Rule { name: name.clone(), key, action })
        })
        .in_field("rules")?;
        let rules = Rules::new(entries, rules);
        let signals = rules.signals(rules.iter().flat_map(|rule| {
            let sets = rule.action.destinations.iter().flat_map(|destination| destination.headers.request.set_names());
            sets.chain([rule.action.header.as_str()])
        }));
        Ok(TrafficShift { rules, signals })
    }

    fn apply(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Option<()> {
        exchange.strip(&self.signals);
        let (hit, found) = exchange.ask(self.rules.strict(), |request, dice| {
            let hit: Hit = self.rules.matching(request, dice).next()?;
            let rule = self.rules.get(hit.rule)?;
            Some((hit, rule.action.find(rule.key.as_ref(), request, || dice.roll())))
        })?;
        let rule = self.rules.get(hit.rule)?;
        let action = &rule.action;
        exchange.count(action.matched);
        let place = match found {
            Found::Forced(place) => {
                exchange.count(action.forced);
                place
            }
            Found::Chosen(place) => place,
            Found::Nobody => action.mint(exchange, world),
        };
        let destination = action.destinations.get(place)?;
        exchange.count(destination.shifted);
        exchange.attribute(
            "sluice.traffic-shift",
            [rule.name.as_bytes(), b":", destination.name.as_bytes()].concat().as_slice(),
        );
        let write = |exchange: &mut Exchange<'_>| {
            exchange.set(&action.header, destination.name.as_bytes());
            exchange.apply(&destination.headers.request);
        };
        if action.clears_route {
            write(exchange)
        } else {
            exchange.quietly(write)
        }
        exchange.response.extend(destination.headers.response.iter().cloned());
        Some(())
    }
}

impl Module for TrafficShift {
    const NAME: &'static str = "traffic-shift";

    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<TrafficShift, Invalid> {
        TrafficShift::compile(&read(text)?, metrics)
    }

    fn asks(&self) -> Asks {
        self.rules.asks()
    }

    fn decide(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Outcome {
        self.apply(exchange, world);
        Outcome::go_on()
    }
}

impl Action {
    fn find<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: Option<&Key>,
        request: &Request<'_, K, V>,
        mut roll: impl FnMut() -> u64,
    ) -> Found {
        if let Some(place) = self.forced(request) {
            return Found::Forced(place);
        }
        if !self.sticky {
            return Found::Chosen(draw(&self.weights, roll()).unwrap_or_default());
        }
        match key.and_then(|key| key.of(request)) {
            Some(key) => Found::Chosen(self.split.pick(sticky(&self.salt, &key))),
            None if self.cookie.is_some() => Found::Nobody,
            None => Found::Chosen(draw(&self.weights, roll()).unwrap_or_default()),
        }
    }

    /// The destination a header or cookie names.
    fn forced<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> Option<usize> {
        self.force.iter().find_map(|source| {
            let value = match source {
                Source::Header(name) => request.header(name),
                Source::Cookie(name) => cookie::values(request.headers, name).next(),
                _ => None,
            }?;
            let named = self.destinations.iter().position(|destination| destination.name.as_bytes() == value);
            named.or(match (value, self.destinations.len()) {
                (b"always", 2) => Some(1),
                (b"never", 2) => Some(0),
                _ => None,
            })
        })
    }

    /// Gives the client a cookie, and the destination that cookie will always have.
    fn mint(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> usize {
        let Some(mint) = &self.cookie else { return 0 };
        let value: String = world.secret().iter().map(|byte| format!("{byte:02x}")).collect();
        let secure = exchange.header(":scheme") == Some(b"https");
        exchange.response.push(Op::Add("set-cookie".into(), mint.set(&value, secure).into_bytes()));
        self.split.pick(sticky(&self.salt, &of_cookie(value.as_bytes())))
    }
}

impl Mint {
    fn set(&self, value: &str, secure: bool) -> String {
        let age = match self.ttl.as_secs() {
            0 => String::new(),
            seconds => format!("; Max-Age={seconds}"),
        };
        let secure = if secure { "; Secure" } else { "" };
        format!("{}={value}; Path={}{age}; HttpOnly; SameSite=Lax{secure}", self.name, self.path)
    }
}

impl RuleConfig {
    fn action(&self, metrics: &mut Metrics) -> Result<Action, Invalid> {
        let mut seen: Vec<&str> = Vec::new();
        let destinations = each(&self.destinations, |_, wire| {
            if seen.contains(&wire.name.as_str()) {
                return Err(Invalid::new(format!("\"{}\" is a destination already", wire.name)).field("name"));
            }
            seen.push(&wire.name);
            if wire.weight > 10_000 {
                return Err(
                    Invalid::new(format!("a weight is 0 to 10000, this one is {}", wire.weight)).field("weight")
                );
            }
            let name = name(&wire.name).in_field("name")?;
            let shifted = metrics.counter(TrafficShift::NAME, &self.name, &format!("shifted.{name}"));
            Ok(Destination { name, headers: wire.headers.compile().in_field("headers")?, shifted })
        })
        .in_field("destinations")?;
        let weights: Vec<u32> = self.destinations.iter().map(|wire| wire.weight).collect();
        let split = Split::new(&weights).in_field("destinations")?;
        let mut force = Vec::new();
        if let Some(name) = &self.force_header {
            matching::header_name(name).in_field("forceHeader")?;
            force.push(Source::Header(name.to_ascii_lowercase()));
        }
        if let Some(name) = &self.force_cookie {
            force.push(Source::Cookie(cookie_name(name).in_field("forceCookie")?));
        }
        if self.sticky == Some(false) && self.cookie.is_some() {
            return Err(Invalid::new(
                "a fresh draw for each request has no use for a cookie; leave out one of sticky: false and cookie",
            ));
        }
        let header = self.header.as_deref().unwrap_or("x-sluice-destination");
        let mut counter = |what| metrics.counter(TrafficShift::NAME, &self.name, what);
        Ok(Action {
            salt: self.salt.as_ref().unwrap_or(&self.name).clone().into_bytes(),
            header: headers::writable(header).in_field("header")?,
            destinations,
            weights,
            split,
            force,
            cookie: self.cookie.as_ref().map(CookieConfig::compile).transpose().in_field("cookie")?,
            sticky: self.sticky.unwrap_or(true),
            clears_route: self.clear_route_cache.unwrap_or(true),
            matched: counter("matched"),
            forced: counter("forced"),
        })
    }
}

impl CookieConfig {
    fn compile(&self) -> Result<Mint, Invalid> {
        let path = self.path.as_deref().unwrap_or("/");
        if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
            return Err(Invalid::new(format!("\"{}\" is not a path a cookie can have", quoted(path))).field("path"));
        }
        let ttl = duration::parse(self.ttl.as_deref().unwrap_or("0s")).in_field("ttl")?;
        Ok(Mint { name: cookie_name(&self.name).in_field("name")?, ttl, path: path.into() })
    }
}

fn cookie_name(name: &str) -> Result<String, Invalid> {
    match matching::header_name(name) {
        Ok(()) if !name.starts_with(':') => Ok(name.to_owned()),
        _ => Err(Invalid::new(format!("\"{}\" is not the name of a cookie", quoted(name)))),
    }
}

#[cfg(test)]
mod tests;
