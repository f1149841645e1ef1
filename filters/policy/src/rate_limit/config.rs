//! `rate-limit`'s configuration.

use super::global::{Entry, Global, Value};
use super::quota::Quota;
use super::store::Place;
use super::{Cost, Limit, RateLimit};
use crate::config::key::{self, KeySource};
use crate::config::matching::{self, Match};
use crate::config::pairs::Pairs;
use crate::config::reply::{Body, status};
use crate::config::wire::{wire, words};
use crate::config::{InPlace, Invalid, duration, each, headers};
use crate::metrics::Metrics;
use crate::module::Module;
use crate::reply::Reply;

wire! {
    /// The module's configuration.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(title = "rate-limit"))]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Config {
        /// Every rule that matches is charged, in order; the first that refuses answers, and later ones are not charged.
        pub rules: Vec<RuleConfig> = "rules",
    }
}

wire! {
    /// One rule.
    #[derive(Debug, Clone, Default)]
    pub struct RuleConfig {
        /// Unique; 1 to 63 of a-z, 0-9 and -. Buckets belong to it.
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9-]{1,63}$")))]
        pub name: String = "name" required,
        /// One of these must hold; none means always.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub r#match: Vec<Match> = "match",
        /// Whose bucket. Requests without a key share one; without this field, all do.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub key: Vec<KeySource> = "key",
        /// How much.
        pub limit: LimitConfig = "limit" required,
        /// What a refusal does.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub mode: Mode = "mode",
        /// How many gateways share the limit; each enforces its part. 1 if absent.
        #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10_000)))]
        pub replicas: Option<u32> = "replicas",
        /// Requests that weigh more than one.
        pub cost: Option<CostConfig> = "cost",
        /// How many keys are remembered at a time; 131072 (16384 sets of 8) if absent. Memory is fixed: about 30 bytes each.
        #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 16_777_216)))]
        pub max_keys: Option<u64> = "maxKeys",
        /// The answer to what is refused.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub response: RefusalConfig = "response",
        /// How clients are told where they stand. `Retry-After` is on every refusal.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub rate_limit_headers: HeaderStyle = "rateLimitHeaders",
        /// What happens when shared data gives no answer.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub on_error: OnError = "onError",
        /// Asks a rate limit service after this limit has passed.
        pub global: Option<GlobalConfig> = "global",
    }
}

wire! {
    /// How much may pass.
    #[derive(Debug, Clone, Default)]
    pub struct LimitConfig {
        /// 1 to 1,000,000,000.
        #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000)))]
        pub requests: u32 = "requests" required,
        /// In so much time: 1s to 24h.
        pub per: String = "per" required,
        /// At once; `requests` if absent.
        #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000)))]
        pub burst: Option<u32> = "burst",
    }
}

words! {
    /// What a refusal does.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum Mode {
        /// It answers.
        #[default]
        Enforce = "enforce",
        /// It is counted, and the request goes on.
        Shadow = "shadow",
        /// The rule is not there.
        Off = "off",
    }
}

words! {
    /// How clients are told where they stand.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum HeaderStyle {
        /// `RateLimit` and `RateLimit-Policy`, as the IETF's draft has them.
        #[default]
        Draft = "draft",
        /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
        Legacy = "legacy",
        /// Not at all.
        Off = "off",
    }
}

words! {
    /// What happens without an answer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum OnError {
        /// The request goes on.
        #[default]
        Allow = "allow",
        /// It is refused.
        Deny = "deny",
    }
}

wire! {
    /// A request that says itself how much it weighs; at least 1.
    #[derive(Debug, Clone, Default)]
    pub struct CostConfig {
        /// A header with a whole number.
        pub header: String = "header" required,
        /// What is more counts as this; at most the burst.
        #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
        pub max: u32 = "max" required,
    }
}

wire! {
    /// The answer to what is refused. gRPC callers get RESOURCE_EXHAUSTED.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct RefusalConfig {
        /// 429 if absent.
        #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 599)))]
        pub status: Option<u16> = "status",
        /// `rate limited` if absent.
        pub body: Option<Body> = "body",
        /// `{name: value}`.
        pub headers: Pairs<String> = "headers",
    }
}

wire! {
    /// A service that speaks `envoy.service.ratelimit.v3.RateLimitService`.
    #[derive(Debug, Clone, Default)]
    pub struct GlobalConfig {
        /// The proxy's name for it, as in `outbound|8081||ratelimit.infra.svc.cluster.local`.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        pub cluster: String = "cluster" required,
        /// The service's name for this set of limits.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        pub domain: String = "domain" required,
        /// How long to wait: 1ms to 10s. 20ms if absent.
        pub timeout: Option<String> = "timeout",
        /// Whether no answer is a refusal (500). False if absent.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub failure_mode_deny: bool = "failureModeDeny",
        /// What is asked about. One of which a part is missing in the request is left out; if none is left, nothing is asked.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        pub descriptors: Vec<Descriptor> = "descriptors" required,
    }
}

wire! {
    /// `{entries: [{key: user, from: {header: x-user}}, {key: plan, value: free}]}`.
    #[derive(Debug, Clone, Default)]
    pub struct Descriptor {
        /// In the order the service knows.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        pub entries: Vec<DescriptorEntry> = "entries" required,
    }
}

wire! {
    /// Exactly one of `value` and `from`.
    #[derive(Debug, Clone, Default)]
    pub struct DescriptorEntry {
        /// As the service knows it.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        pub key: String = "key" required,
        /// Always this.
        pub value: Option<String> = "value",
        /// Out of the request.
        pub from: Option<KeySource> = "from",
    }
}

impl RuleConfig {
    pub(super) fn limit(&self, metrics: &mut Metrics) -> Result<Limit, Invalid> {
        let (quota, promise) = self.limit.quota(self.replicas).in_field("limit")?;
        let burst = self.limit.burst.unwrap_or(self.limit.requests);
        if let Some(replicas) = self.replicas.filter(|replicas| !(1..=10_000).contains(replicas)) {
            return Err(
                Invalid::new(format!("1 to 10000 gateways can share a limit, not {replicas}")).field("replicas")
            );
        }
        let max_keys = self.max_keys.unwrap_or(16_384 * 8);
        if !(8..=16_777_216).contains(&max_keys) {
            return Err(Invalid::new(format!("8 to 16777216 keys can be remembered, not {max_keys}")).field("maxKeys"));
        }
        let mut counter = |what| metrics.counter(RateLimit::NAME, &self.name, what);
        Ok(Limit {
            quota,
            place: Place::new(&self.name, max_keys, &quota),
            shadow: self.mode == Mode::Shadow,
            cost: self.cost.as_ref().map(|cost| cost.compile(burst)).transpose().in_field("cost")?,
            refusal: self.response.compile().in_field("response")?,
            style: self.rate_limit_headers,
            promise,
            on_error: self.on_error,
            allowed: counter("allowed"),
            denied: counter("denied"),
            shadow_denied: counter("shadow_denied"),
            retries: counter("store_retries"),
            evictions: counter("store_evictions"),
            overflow: counter("store_overflow"),
            errors: counter("store_errors"),
            global: self
                .global
                .as_ref()
                .map(|global| global.compile(&self.name, metrics))
                .transpose()
                .in_field("global")?,
        })
    }
}

impl LimitConfig {
    fn quota(&self, replicas: Option<u32>) -> Result<(Quota, (u32, u64)), Invalid> {
        let in_range = |n: u32| (1..=1_000_000_000).contains(&n);
        if !in_range(self.requests) {
            let why = format!(
                "1 to 1000000000 requests can be a limit, not {}; to refuse all, answer with header-match",
                self.requests
            );
            return Err(Invalid::new(why).field("requests"));
        }
        let burst = self.burst.unwrap_or(self.requests);
        if !in_range(burst) {
            return Err(Invalid::new(format!("1 to 1000000000 requests can be a burst, not {burst}")).field("burst"));
        }
        let per = duration::parse(&self.per).in_field("per")?;
        if !(1..=86_400).contains(&per.as_secs()) || (per.as_secs() == 86_400 && per.subsec_nanos() > 0) {
            return Err(Invalid::new(format!("a limit is per 1s to 24h, this one is per {}", self.per)).field("per"));
        }
        Ok((Quota::new(self.requests, per, burst, replicas.unwrap_or(1)), (self.requests, super::seconds(per))))
    }
}

impl CostConfig {
    fn compile(&self, burst: u32) -> Result<Cost, Invalid> {
        matching::header_name(&self.header).in_field("header")?;
        if self.max == 0 || self.max > burst {
            let why = format!(
                "the most a request can weigh is 1 to the burst, {burst}, or it would never pass; this is {}",
                self.max
            );
            return Err(Invalid::new(why).field("max"));
        }
        Ok(Cost { header: self.header.to_ascii_lowercase(), max: self.max })
    }
}

impl RefusalConfig {
    fn compile(&self) -> Result<Reply, Invalid> {
        let mut reply =
            Reply::new(status(self.status.unwrap_or(429)).in_field("status")?, "rate limited", "sluice_rate_limited");
        if let Some(body) = &self.body {
            reply.body = body.compile().in_field("body")?;
        }
        reply.headers = headers::plain(&self.headers)?;
        reply.grpc_status = Some(8);
        Ok(reply)
    }
}

impl GlobalConfig {
    fn compile(&self, rule: &str, metrics: &mut Metrics) -> Result<Global, Invalid> {
        for (field, text) in [("cluster", &self.cluster), ("domain", &self.domain)] {
            if text.is_empty() {
                return Err(Invalid::new("a name is not empty").field(field));
            }
        }
        let timeout = duration::parse(self.timeout.as_deref().unwrap_or("20ms")).in_field("timeout")?;
        if !(1..=10_000).contains(&timeout.as_millis()) {
            return Err(Invalid::new("1ms to 10s can be waited for an answer").field("timeout"));
        }
        if self.descriptors.is_empty() {
            return Err(Invalid::new("without a descriptor there is nothing to ask").field("descriptors"));
        }
        let descriptors = each(&self.descriptors, |_, wire| wire.compile()).in_field("descriptors")?;
        let mut counter = |what| metrics.counter(RateLimit::NAME, rule, what);
        Ok(Global {
            cluster: self.cluster.clone(),
            domain: self.domain.clone(),
            timeout,
            deny_on_failure: self.failure_mode_deny,
            descriptors,
            denied: counter("global_denied"),
            allowed: counter("global_allowed"),
            failed: counter("global_errors"),
        })
    }
}

impl Descriptor {
    fn compile(&self) -> Result<Vec<Entry>, Invalid> {
        if self.entries.is_empty() {
            return Err(Invalid::new("a descriptor has at least one entry").field("entries"));
        }
        each(&self.entries, |_, wire| wire.compile()).in_field("entries")
    }
}

impl DescriptorEntry {
    fn compile(&self) -> Result<Entry, Invalid> {
        if self.key.is_empty() {
            return Err(Invalid::new("a name is not empty").field("key"));
        }
        let value = match (&self.value, &self.from) {
            (Some(text), None) if !text.is_empty() => Value::Always(text.clone()),
            (None, Some(source)) => Value::From(key::source(source).in_field("from")?),
            _ => return Err(Invalid::new("an entry has exactly one of value, not empty, and from")),
        };
        Ok(Entry { key: self.key.clone(), value })
    }
}
