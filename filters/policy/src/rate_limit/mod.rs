//! The `rate-limit` module: so much and no more, in every worker together, and across gateways where a service counts.

pub mod config;
pub mod global;
pub mod ledger;
pub mod protobuf;
pub mod quota;
pub mod store;
pub mod table;

use std::time::Duration;

use crate::config::{InPlace, Invalid, each, names, read};
use crate::exchange::Exchange;
use crate::header_ops::Op;
use crate::matcher::Request;
use crate::metrics::{Counter, Metrics};
use crate::module::{Module, Outcome};
use crate::reply::Reply;
use crate::rules::{Asks, Rule, Rules};
use crate::world::World;

use config::{Config, HeaderStyle, Mode, OnError};
use global::{Ask, Global};
use quota::{Admission, Quota, Standing};
use store::{Place, Receipt};

/// Valid rules.
#[derive(Debug, Clone)]
pub struct RateLimit {
    rules: Rules<Limit>,
    /// Its rules', and what is told to services.
    asks: Asks,
}

#[derive(Debug, Clone)]
struct Limit {
    quota: Quota,
    place: Place,
    shadow: bool,
    cost: Option<Cost>,
    refusal: Reply,
    style: HeaderStyle,
    /// What the rule promises, for the headers: requests, and seconds.
    promise: (u32, u64),
    on_error: OnError,
    global: Option<Global>,
    allowed: Counter,
    denied: Counter,
    shadow_denied: Counter,
    retries: Counter,
    evictions: Counter,
    overflow: Counter,
    errors: Counter,
}

/// A request that says itself how much it weighs.
#[derive(Debug, Clone)]
struct Cost {
    header: String,
    max: u32,
}

/// What is charged for a request, found before anything is.
struct Due {
    rule: usize,
    key: Vec<u8>,
    cost: u32,
    ask: Option<Ask>,
}

impl RateLimit {
    /// From the wire's form.
    pub fn compile(config: &Config, metrics: &mut Metrics) -> Result<RateLimit, Invalid> {
        let names = names(config.rules.iter().map(|rule| Some(rule.name.as_str())))?;
        let mut entries = Vec::new();
        let mut rules = Vec::new();
        // What is off is checked like the rest, and then left out.
        each(config.rules.iter().zip(names).collect::<Vec<_>>().iter(), |_, (wire, name)| {
            let own = crate::config::matching::entries(&wire.r#match, rules.len())?;
            let key = crate::config::key::key(&wire.key)?;
            let action = wire.limit(metrics)?;
            if wire.mode != Mode::Off {
                entries.extend(own);
                rules.push(Rule { name: name.clone(), key, action });
            }
            Ok(())
        })
        .in_field("rules")?;
        let rules = Rules::new(entries, rules);
        let of_services =
            |asks: fn(&Global) -> bool| rules.iter().any(|rule| rule.action.global.as_ref().is_some_and(asks));
        let (client, route) = (of_services(Global::uses_client), of_services(Global::uses_route));
        let asks = rules.asks().or(Asks { headers: false, client, route });
        Ok(RateLimit { rules, asks })
    }

    fn apply(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Outcome {
        let mut asks = Vec::new();
        let mut tightest: Option<(&Rule<Limit>, Standing)> = None;
        for due in self.due(exchange) {
            let Some(rule) = self.rules.get(due.rule) else { continue };
            let limit = &rule.action;
            let receipt = limit.place.charge(&due.key, &limit.quota, due.cost, world);
            limit.note(&receipt, exchange);
            match receipt.admission {
                Some(Admission::Allowed { standing, .. }) => {
                    exchange.count(limit.allowed);
                    if limit.style != HeaderStyle::Off
                        && tightest.is_none_or(|(_, least)| standing.remaining < least.remaining)
                    {
                        tightest = Some((rule, standing));
                    }
                    asks.extend(due.ask);
                }
                Some(Admission::Refused { .. }) if limit.shadow => {
                    exchange.count(limit.shadow_denied);
                    exchange
                        .attribute("sluice.rate-limit", [rule.name.as_bytes(), b":shadow_denied"].concat().as_slice());
                }
                Some(Admission::Refused { retry_after, standing, .. }) => {
                    exchange.count(limit.denied);
                    exchange.attribute("sluice.rate-limit", [rule.name.as_bytes(), b":denied"].concat().as_slice());
                    return Outcome::answer(rule.refusal(retry_after, Some(standing)));
                }
                None => {
                    exchange.warn("no store", format!("rule {}: shared data gives no answer", rule.name));
                    if limit.on_error == OnError::Deny && !limit.shadow {
                        exchange.count(limit.denied);
                        return Outcome::answer(rule.refusal(Duration::from_secs(1), None));
                    }
                    asks.extend(due.ask);
                }
            }
        }
        if let Some((rule, standing)) = tightest {
            exchange.response.extend(rule.headers(standing).into_iter().map(|(name, value)| Op::Set(name, value)));
        }
        Outcome { asks, ..Outcome::go_on() }
    }

    /// Every rule that matches, with its key and cost.
    fn due(&self, exchange: &mut Exchange<'_>) -> Vec<Due> {
        exchange.ask(self.rules.strict(), |request, dice| {
            let hits = self.rules.matching(request, dice);
            hits.filter_map(|hit| self.rules.get(hit.rule).map(|rule| (hit.rule, rule)))
                .map(|(place, rule)| Due {
                    rule: place,
                    // Who brings no key shares one bucket with all who do not.
                    key: rule.key.as_ref().and_then(|key| key.of(request)).unwrap_or_default(),
                    cost: rule.action.cost(request),
                    ask: rule.action.global.as_ref().and_then(|global| {
                        global.ask(request, rule.action.cost(request), || rule.refusal(Duration::from_secs(1), None))
                    }),
                })
                .collect()
        })
    }
}

impl Module for RateLimit {
    const NAME: &'static str = "rate-limit";
    const ASKS_SERVICES: bool = true;

    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<RateLimit, Invalid> {
        RateLimit::compile(&read(text)?, metrics)
    }

    fn asks(&self) -> Asks {
        self.asks
    }

    fn decide(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Outcome {
        self.apply(exchange, world)
    }
}

impl Limit {
    /// 1 without a header, or with one that is no number; what a client says never makes it cheaper than that.
    fn cost<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, request: &Request<'_, K, V>) -> u32 {
        let Some(cost) = &self.cost else { return 1 };
        let said =
            request.header(&cost.header).and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok());
        let said = said.unwrap_or(1).clamp(1, cost.max.into());
        u32::try_from(said).unwrap_or(cost.max)
    }

    fn note(&self, receipt: &Receipt, exchange: &mut Exchange<'_>) {
        for _ in 0..receipt.retries {
            exchange.count(self.retries);
        }
        let happened = [
            (receipt.evicted, self.evictions),
            (receipt.overflow, self.overflow),
            (receipt.admission.is_none(), self.errors),
        ];
        for (_, counter) in happened.into_iter().filter(|(happened, _)| *happened) {
            exchange.count(counter);
        }
    }
}

impl Rule<Limit> {
    fn refusal(&self, retry_after: Duration, standing: Option<Standing>) -> Reply {
        let mut reply = self.action.refusal.clone();
        reply.headers.push(("retry-after".into(), seconds(retry_after).max(1).to_string().into_bytes()));
        if let Some(standing) = standing {
            reply.headers.extend(self.headers(standing));
        }
        reply
    }

    /// How the client stands, in the style the rule has.
    fn headers(&self, standing: Standing) -> Vec<(String, Vec<u8>)> {
        let ((quota, window), reset) = (self.action.promise, seconds(standing.reset));
        let Standing { remaining, .. } = standing;
        let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        match self.action.style {
            HeaderStyle::Off => Vec::new(),
            HeaderStyle::Draft => vec![
                header("ratelimit-policy", format!("\"{}\";q={quota};w={window}", self.name)),
                header("ratelimit", format!("\"{}\";r={remaining};t={reset}", self.name)),
            ],
            HeaderStyle::Legacy => vec![
                header("x-ratelimit-limit", quota.to_string()),
                header("x-ratelimit-remaining", remaining.to_string()),
                header("x-ratelimit-reset", reset.to_string()),
            ],
        }
    }
}

/// Rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests;
