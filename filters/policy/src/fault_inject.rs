//! The `fault-inject` module: delays and answers that an origin would give on a bad day.

use std::time::Duration;

use crate::config::key::{self, KeySource};
use crate::config::matching::{self, Match, Percentage};
use crate::config::pairs::Pairs;
use crate::config::reply::{Body, status};
use crate::config::wire::wire;
use crate::config::{InPlace, Invalid, duration, each, headers, names, read};
use crate::exchange::{Exchange, Signals};
use crate::grpc;
use crate::instant::Window;
use crate::metrics::{Counter, Metrics};
use crate::module::{Delay, Module, Outcome};
use crate::reply::Reply;
use crate::rules::{Asks, Rule, Rules, Share};
use crate::world::World;

/// No request is held longer, whoever asks.
pub const MAX_DELAY: Duration = Duration::from_secs(60);
/// Requests one worker holds for a rule that does not say.
const MAX_ACTIVE: u32 = 1000;

const DELAY_HEADER: &str = "x-envoy-fault-delay-request";
const ABORT_HEADER: &str = "x-envoy-fault-abort-request";
const GRPC_ABORT_HEADER: &str = "x-envoy-fault-abort-grpc-request";

wire! {
    /// The module's configuration.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(title = "fault-inject"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Config {
        /// The first rule that matches applies.
        pub rules: Vec<RuleConfig> = "rules",
    }
}

wire! {
    /// One rule: at least one of `delay`, `abort` and `headerControlled`. Delay and abort are drawn apart; the delay comes first.
    #[derive(Debug, Clone, Default)]
    pub struct RuleConfig {
        /// Unique; 1 to 63 of a-z, 0-9 and -. `rule-N` if absent.
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9-]{1,63}$")))]
        pub name: Option<String> = "name",
        /// One of these must hold; none means always.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub r#match: Vec<Match> = "match",
        /// Who is hit by a percentage is hit every time. At random without.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub key: Vec<KeySource> = "key",
        /// Hold the request.
        pub delay: Option<DelayConfig> = "delay",
        /// Answer instead of the origin.
        pub abort: Option<AbortConfig> = "abort",
        /// Let requests that know a secret ask for faults by header.
        pub header_controlled: Option<HeaderControlled> = "headerControlled",
        /// Requests each worker may hold for this rule at a time; above it they pass at once. 1000 if absent.
        pub max_active: Option<u32> = "maxActive",
        /// When the rule is in force; always if absent.
        pub active_window: Option<ActiveWindow> = "activeWindow",
    }
}

wire! {
    /// How long.
    #[derive(Debug, Clone, Default)]
    pub struct DelayConfig {
        /// 1ms to 60s.
        pub fixed_delay: String = "fixedDelay" required,
        /// Up to so much longer, evenly spread.
        pub jitter: Option<String> = "jitter",
        /// Of the requests; all if absent.
        pub percentage: Option<Percentage> = "percentage",
    }
}

wire! {
    /// What instead. Exactly one of `httpStatus` and `grpcStatus`.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct AbortConfig {
        /// 200 to 599. A gRPC caller gets the gRPC status that belongs to it.
        #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 599)))]
        pub http_status: Option<u16> = "httpStatus",
        /// A name such as `UNAVAILABLE`, or its number. Another caller gets the HTTP status that belongs to it.
        pub grpc_status: Option<String> = "grpcStatus",
        /// Of the requests; all if absent.
        pub percentage: Option<Percentage> = "percentage",
        /// `fault filter abort` if absent.
        pub body: Option<Body> = "body",
        /// `{name: value}`.
        pub headers: Pairs<String> = "headers",
    }
}

wire! {
    /// Faults on request: `x-envoy-fault-delay-request` in milliseconds, `x-envoy-fault-abort-request`, `x-envoy-fault-abort-grpc-request`.
    ///
    /// All of these headers, and the secret, are taken from every request.
    #[derive(Debug, Clone, Default)]
    pub struct HeaderControlled {
        /// Which header proves that the caller may ask.
        pub secret_header: String = "secretHeader" required,
        /// What it must hold; at least 8 characters.
        #[cfg_attr(feature = "schema", schemars(length(min = 8)))]
        pub secret_value: String = "secretValue" required,
        /// The longest delay given; 60s if absent.
        pub max_delay: Option<String> = "maxDelay",
        /// Whether statuses are given too; false if absent.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub allow_abort: bool = "allowAbort",
    }
}

wire! {
    /// From the first to right before the second, RFC 3339.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct ActiveWindow {
        /// As in `2026-11-21T09:00:00Z`; ever since if absent.
        pub from: Option<String> = "from",
        /// For ever if absent.
        pub until: Option<String> = "until",
    }
}

/// Valid rules.
#[derive(Debug, Clone)]
pub struct FaultInject {
    rules: Rules<Action>,
    /// What nobody behind the gateway should see: control headers and secrets.
    private: Signals,
}

#[derive(Debug, Clone)]
struct Action {
    delay: Option<(Duration, Duration, Share)>,
    abort: Option<(Reply, Share)>,
    controlled: Option<Controlled>,
    max_active: usize,
    window: Option<Window>,
    matched: Counter,
    delayed: Counter,
    aborted: Counter,
    overflow: Counter,
}

#[derive(Debug, Clone)]
struct Controlled {
    header: String,
    secret: Vec<u8>,
    max_delay: Duration,
    allow_abort: bool,
}

/// What a request gets.
#[derive(Default)]
struct Fault {
    delay: Option<Duration>,
    abort: Option<Reply>,
}

impl FaultInject {
    /// From the wire's form.
    pub fn compile(config: &Config, metrics: &mut Metrics) -> Result<FaultInject, Invalid> {
        let names = names(config.rules.iter().map(|rule| rule.name.as_deref()))?;
        let mut entries = Vec::new();
        let rules = each(config.rules.iter().zip(names).collect::<Vec<_>>().iter(), |place, (wire, name)| {
            entries.extend(matching::entries(&wire.r#match, place)?);
            Ok(Rule { name: name.clone(), key: key::key(&wire.key)?, action: wire.action(name, metrics)? })
        })
        .in_field("rules")?;
        let rules = Rules::new(entries, rules);
        let controlled = rules.iter().filter_map(|rule| rule.action.controlled.as_ref());
        let private = controlled
            .flat_map(|by| [by.header.as_str(), DELAY_HEADER, ABORT_HEADER, GRPC_ABORT_HEADER])
            .collect::<Vec<_>>();
        let private = Signals::new(private);
        Ok(FaultInject { rules, private })
    }

    fn apply(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Option<Outcome> {
        let found = exchange.ask(self.rules.strict(), |request, dice| {
            let mut shares = dice.fork();
            let mut hits = self.rules.matching(request, &mut shares);
            let hit = hits.find(|hit| self.rules.get(hit.rule).is_some_and(|rule| rule.action.in_force(world)))?;
            let rule = self.rules.get(hit.rule)?;
            let asked = rule.action.controlled.as_ref().and_then(|by| {
                let header = |name| request.header(name).map(<[u8]>::to_vec);
                by.asked(header(&by.header), [DELAY_HEADER, ABORT_HEADER, GRPC_ABORT_HEADER].map(header))
            });
            let drawn = || {
                let key = rule.key.as_ref().and_then(|key| key.of(request));
                rule.action.draw(&rule.name, key.as_deref(), dice)
            };
            Some((hit.rule, asked.unwrap_or_else(drawn)))
        });
        exchange.quietly(|exchange| exchange.strip(&self.private));
        let (place, fault) = found?;
        let rule = self.rules.get(place)?;
        let action = &rule.action;
        exchange.count(action.matched);
        let delay = match fault.delay {
            Some(_) if world.held(place) >= action.max_active => {
                exchange.count(action.overflow);
                None
            }
            Some(time) => {
                exchange.count(action.delayed);
                Some(Delay { time, rule: place })
            }
            None => None,
        };
        if fault.abort.is_some() {
            exchange.count(action.aborted);
        }
        let did = match (&delay, &fault.abort) {
            (Some(_), Some(_)) => "delay+abort",
            (Some(_), None) => "delay",
            (None, Some(_)) => "abort",
            (None, None) => return None,
        };
        exchange.attribute("sluice.fault-inject", format!("{}:{did}", rule.name).as_bytes());
        Some(Outcome { delay, reply: fault.abort, ..Outcome::go_on() })
    }
}

impl Module for FaultInject {
    const NAME: &'static str = "fault-inject";

    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<FaultInject, Invalid> {
        FaultInject::compile(&read(text)?, metrics)
    }

    fn asks(&self) -> Asks {
        self.rules.asks()
    }

    fn decide(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Outcome {
        self.apply(exchange, world).unwrap_or_default()
    }
}

impl Action {
    fn in_force(&self, world: &mut dyn World) -> bool {
        self.window.as_ref().is_none_or(|window| window.holds(world.wall()))
    }

    /// Two draws, one for each; the same every time for the same key.
    fn draw(&self, rule: &str, key: Option<&[u8]>, dice: &mut crate::dice::Dice) -> Fault {
        let salt = |what: &str| [rule.as_bytes(), b"/", what.as_bytes()].concat();
        let delay = self.delay.and_then(|(fixed, jitter, share)| {
            let spread = u64::try_from(jitter.as_nanos()).unwrap_or_default();
            let more = Duration::from_nanos(dice.below(spread.saturating_add(1)));
            share.takes(&salt("delay"), key, dice).then(|| fixed.saturating_add(more))
        });
        let abort = self.abort.as_ref().filter(|(_, share)| share.takes(&salt("abort"), key, dice));
        Fault { delay, abort: abort.map(|(reply, _)| reply.clone()) }
    }
}

impl Controlled {
    /// What a caller that knows the secret asks for; `None` leaves it to the rule.
    fn asked(&self, secret: Option<Vec<u8>>, [delay, abort, grpc]: [Option<Vec<u8>>; 3]) -> Option<Fault> {
        if !same(&secret?, &self.secret) || (delay.is_none() && abort.is_none() && grpc.is_none()) {
            return None;
        }
        let number = |value: Option<Vec<u8>>| -> Option<u64> { std::str::from_utf8(&value?).ok()?.parse().ok() };
        let delay = number(delay).filter(|&millis| millis > 0).map(Duration::from_millis);
        let http = number(abort).and_then(|code| u16::try_from(code).ok()).filter(|code| (200..=599).contains(code));
        let grpc = number(grpc).and_then(|code| u8::try_from(code).ok()).filter(|code| *code <= 16);
        let abort = match (http, grpc) {
            _ if !self.allow_abort => None,
            (Some(code), _) => Some(aborted(code, None)),
            (None, Some(code)) => Some(aborted(grpc::http_status(code), Some(code))),
            (None, None) => None,
        };
        Some(Fault { delay: delay.map(|delay| delay.min(self.max_delay)), abort })
    }
}

/// Equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}

fn aborted(status: u16, grpc_status: Option<u8>) -> Reply {
    Reply { grpc_status, ..Reply::new(status, "fault filter abort", "fault_filter_abort") }
}

impl RuleConfig {
    fn action(&self, name: &str, metrics: &mut Metrics) -> Result<Action, Invalid> {
        if self.delay.is_none() && self.abort.is_none() && self.header_controlled.is_none() {
            return Err(Invalid::new("a rule has at least one of delay, abort and headerControlled"));
        }
        let mut counter = |what| metrics.counter(FaultInject::NAME, name, what);
        Ok(Action {
            delay: self.delay.as_ref().map(DelayConfig::compile).transpose().in_field("delay")?,
            abort: self.abort.as_ref().map(AbortConfig::compile).transpose().in_field("abort")?,
            controlled: self
                .header_controlled
                .as_ref()
                .map(HeaderControlled::compile)
                .transpose()
                .in_field("headerControlled")?,
            max_active: usize::try_from(self.max_active.unwrap_or(MAX_ACTIVE)).unwrap_or(usize::MAX),
            window: self.active_window.as_ref().map(ActiveWindow::compile).transpose().in_field("activeWindow")?,
            matched: counter("matched"),
            delayed: counter("delayed"),
            aborted: counter("aborted"),
            overflow: counter("overflow"),
        })
    }
}

fn share(percentage: Option<Percentage>) -> Share {
    percentage.map_or(Share::ALL, |percentage| percentage.value)
}

impl DelayConfig {
    fn compile(&self) -> Result<(Duration, Duration, Share), Invalid> {
        let fixed = duration::parse(&self.fixed_delay).in_field("fixedDelay")?;
        let jitter = duration::parse(self.jitter.as_deref().unwrap_or("0s")).in_field("jitter")?;
        if fixed < Duration::from_millis(1) {
            return Err(
                Invalid::new(format!("a delay is at least 1ms, this one is {}", self.fixed_delay)).field("fixedDelay")
            );
        }
        if fixed.saturating_add(jitter) > MAX_DELAY {
            let jitter = self.jitter.as_deref().map(|jitter| format!(" with {jitter} of jitter")).unwrap_or_default();
            let why = format!("no request is held for more than 60s, this is {}{jitter}", self.fixed_delay);
            return Err(Invalid::new(why).field("fixedDelay"));
        }
        Ok((fixed, jitter, share(self.percentage)))
    }
}

impl AbortConfig {
    fn compile(&self) -> Result<(Reply, Share), Invalid> {
        let mut reply = match (self.http_status, &self.grpc_status) {
            (Some(code), None) => aborted(status(code).in_field("httpStatus")?, None),
            (None, Some(text)) => {
                let code = grpc::status(text).ok_or_else(|| {
                    Invalid::new(format!("\"{text}\" is no gRPC status; write a name such as UNAVAILABLE, or 0 to 16"))
                        .field("grpcStatus")
                })?;
                aborted(grpc::http_status(code), Some(code))
            }
            _ => return Err(Invalid::new("an abort has exactly one of httpStatus and grpcStatus")),
        };
        if let Some(body) = &self.body {
            reply.body = body.compile().in_field("body")?;
        }
        reply.headers = headers::plain(&self.headers)?;
        Ok((reply, share(self.percentage)))
    }
}

impl HeaderControlled {
    fn compile(&self) -> Result<Controlled, Invalid> {
        let header = headers::writable(&self.secret_header).in_field("secretHeader")?;
        if self.secret_value.len() < 8 {
            return Err(Invalid::new("a secret has at least 8 characters").field("secretValue"));
        }
        let max_delay =
            self.max_delay.as_deref().map(duration::parse).transpose().in_field("maxDelay")?.unwrap_or(MAX_DELAY);
        if max_delay > MAX_DELAY {
            return Err(Invalid::new("no request is held for more than 60s").field("maxDelay"));
        }
        Ok(Controlled {
            header,
            secret: self.secret_value.clone().into_bytes(),
            max_delay,
            allow_abort: self.allow_abort,
        })
    }
}

impl ActiveWindow {
    fn compile(&self) -> Result<Window, Invalid> {
        let point = |text: &Option<String>| text.as_deref().map(crate::instant::parse).transpose();
        let from = point(&self.from).in_field("from")?;
        let until = point(&self.until).in_field("until")?;
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err(Invalid::new("the window ends before it begins"));
        }
        Ok(Window { from, until })
    }
}

#[cfg(test)]
mod tests;
