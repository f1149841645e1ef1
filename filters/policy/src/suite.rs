//! The `suite` module: all five in one pass over a request, in the order that spares work and cannot be dodged.
//!
//! header-match, rate-limit, fault-inject, uri-rewrite, traffic-shift. Each sees what the ones before it did, as if they stood in a
//! chain; the headers are read once and written once.

use crate::config::wire::wire;
use crate::config::{InPlace, Invalid, read};
use crate::exchange::Exchange;
use crate::fault_inject::{self, FaultInject};
use crate::header_match::{self, HeaderMatch};
use crate::metrics::Metrics;
use crate::module::{Module, Outcome};
use crate::rate_limit::{self, RateLimit};
use crate::rules::Asks;
use crate::traffic_shift::{self, TrafficShift};
use crate::uri_rewrite::{self, UriRewrite};
use crate::world::World;

wire! {
    /// The module's configuration: that of every module, under its name. A module that is not named does nothing.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(title = "suite"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Config {
        /// First.
        pub header_match: header_match::Config = "headerMatch",
        /// Second.
        pub rate_limit: rate_limit::config::Config = "rateLimit",
        /// Third.
        pub fault_inject: fault_inject::Config = "faultInject",
        /// Fourth.
        pub uri_rewrite: uri_rewrite::Config = "uriRewrite",
        /// Fifth.
        pub traffic_shift: traffic_shift::Config = "trafficShift",
    }
}

/// Valid rules of all five.
#[derive(Debug, Clone)]
pub struct Suite {
    header_match: HeaderMatch,
    rate_limit: RateLimit,
    fault_inject: FaultInject,
    uri_rewrite: UriRewrite,
    traffic_shift: TrafficShift,
}

impl Suite {
    /// From the wire's form.
    pub fn compile(config: &Config, metrics: &mut Metrics) -> Result<Suite, Invalid> {
        Ok(Suite {
            header_match: HeaderMatch::compile(&config.header_match, metrics).in_field("headerMatch")?,
            rate_limit: RateLimit::compile(&config.rate_limit, metrics).in_field("rateLimit")?,
            fault_inject: FaultInject::compile(&config.fault_inject, metrics).in_field("faultInject")?,
            uri_rewrite: UriRewrite::compile(&config.uri_rewrite, metrics).in_field("uriRewrite")?,
            traffic_shift: TrafficShift::compile(&config.traffic_shift, metrics).in_field("trafficShift")?,
        })
    }
}

impl Suite {
    /// Its limits.
    pub fn rate_limit(&self) -> &RateLimit {
        &self.rate_limit
    }
}

impl Module for Suite {
    const NAME: &'static str = "suite";
    const ASKS_SERVICES: bool = true;

    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<Suite, Invalid> {
        Suite::compile(&read(text)?, metrics)
    }

    fn asks(&self) -> Asks {
        let first = self.header_match.asks().or(self.rate_limit.asks()).or(self.fault_inject.asks());
        first.or(self.uri_rewrite.asks()).or(self.traffic_shift.asks())
    }

    fn decide(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Outcome {
        let mut so_far = Outcome::go_on();
        let _all_passed = so_far.then(|| self.header_match.decide(exchange, world))
            && so_far.then(|| self.rate_limit.decide(exchange, world))
            && so_far.then(|| self.fault_inject.decide(exchange, world))
            && so_far.then(|| self.uri_rewrite.decide(exchange, world))
            && so_far.then(|| self.traffic_shift.decide(exchange, world));
        so_far
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;
    use crate::stage::{Done, Still, refusal, run};

    const ALL: &str = r#"{
        "headerMatch": {"rules": [
            {"name": "blocked", "match": [{"uri": {"prefix": "/blocked"}}], "directResponse": {"status": 403}},
            {"name": "beta", "match": [{"headers": {"x-user": {"exact": "ann"}}}], "headers": {"request": {"set": {"x-group": "beta"}}}}]},
        "rateLimit": {"rules": [{"name": "beta", "match": [{"headers": {"x-group": {"exact": "beta"}}}],
            "rateLimitHeaders": "off", "limit": {"requests": 2, "per": "1s"}}]},
        "faultInject": {"rules": [{"match": [{"uri": {"prefix": "/slow"}}], "delay": {"fixedDelay": "1s"}},
            {"match": [{"uri": {"prefix": "/broken"}}], "abort": {"httpStatus": 500}}]},
        "uriRewrite": {"originalPathHeader": "", "rules": [{"match": [{"uri": {"prefix": "/api"}}], "rewrite": {"uri": "/v2"}}]},
        "trafficShift": {"rules": [{"name": "canary", "match": [{"uri": {"prefix": "/v2"}}], "destinations": [{"name": "only", "weight": 1}]}]}}"#;

    fn ran(path: &str, user: &str, world: &mut Still) -> Done {
        run::<Suite>(ALL, &[(":path", path), ("x-user", user)], world, 1)
    }

    sentences! {
        fn each_sees_what_the_ones_before_it_did() {
            let done = ran("/api/a", "ann", &mut Still::default());
            assert_eq!(done.changes, ["x-group=beta", ":path=/v2/a", "x-sluice-destination=only"]);
            assert_eq!(done.attributes, ["sluice.header-match=beta", "sluice.uri-rewrite=rule-0", "sluice.traffic-shift=canary:only"]);
        }

        fn an_answer_ends_the_pass() {
            let mut world = Still::default();
            assert_eq!(ran("/blocked", "ann", &mut world).counts.into_keys().collect::<Vec<_>>(), ["blocked.matched"]);
            ran("/api", "ann", &mut world);
            ran("/api", "ann", &mut world);
            let limited = ran("/api", "ann", &mut world);
            assert_eq!(limited.reply.as_deref(), Some("429 grpc 8 retry-after=1 rate limited"));
            assert!(!limited.changes.iter().any(|change| change.starts_with(":path")));
            assert_eq!(ran("/broken", "bob", &mut world).reply.as_deref(), Some("500 fault filter abort"));
        }

        fn a_delayed_request_is_decided_whole() {
            let done = ran("/slow", "ann", &mut Still::default());
            assert_eq!((done.delay, done.changes), (Some(1000), vec!["x-group=beta".into()]));
        }

        fn what_is_not_named_does_nothing() {
            for config in ["", "{}", r#"{"rateLimit": {}}"#] {
                let done = run::<Suite>(config, &[(":path", "/")], &mut Still::default(), 1);
                assert_eq!(done, Done::default());
            }
        }

        fn faults_are_named_with_their_module() {
            assert_eq!(refusal::<Suite>(r#"{"uriRewrite": {"rules": [{"rewrite": {"uri": "x"}}]}}"#),
                "uriRewrite.rules[0].rewrite.uri: a path starts with \"/\", this one is \"x\"");
            assert!(refusal::<Suite>(r#"{"headerMatch": {"rules": [{"nam": "a"}]}}"#)
                .starts_with("headerMatch.rules[0].nam: unknown field `nam`"));
            assert!(refusal::<Suite>(r#"{"header-match": {}}"#).contains("did you mean `headerMatch`?"));
        }
    }
}
