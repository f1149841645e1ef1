//! Rate limits of this gateway's own: Envoy's `local_ratelimit` filter.
//!
//! Source: `filters/http/local_ratelimit/local_ratelimit.cc` and `filters/common/local_ratelimit/local_ratelimit_impl.cc`. Several descriptors may
//! match; each bucket is charged, the slowest first, until one denies. The default bucket is charged when none matched, or always if so
//! configured. Buckets are shared by all workers; `now` is a monotonic clock.

mod bucket;
mod descriptor;
mod global;
pub mod service;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub use bucket::{Bucket, Shape};
pub use descriptor::{Descriptor, RateLimits, Subject};
pub use global::{Actions, GlobalRateLimit, PerRoute, Question, Verdict as GlobalVerdict};

use crate::edge::ConnectionInfo;
use crate::header_ops::{HeaderOps, StreamInfo};
use crate::headers::HeaderList;
use crate::local_reply::{Flag, LocalReply};
use crate::route::Fraction;
use crate::route::error::{Errors, Path};

/// A limit, compiled, with its buckets.
#[derive(Debug)]
pub struct LocalRateLimit {
    status: u16,
    enabled: Fraction,
    enforced: Fraction,
    not_enforced: HeaderOps,
    response: HeaderOps,
    stage: u32,
    per_connection: bool,
    rate_limit_headers: bool,
    virtual_host: xds::VhRateLimitsOptions,
    always_default: bool,
    resource_exhausted: bool,
    own_limits: RateLimits,
    shape: Shape,
    descriptors: Vec<Limit>,
    max_dynamic: usize,
    buckets: Buckets,
}

/// What a descriptor must be, and its bucket's shape.
#[derive(Debug, Clone, PartialEq)]
struct Limit {
    /// An empty value stands for any, each with a bucket of its own.
    entries: Descriptor,
    shape: Shape,
    shadow: bool,
}

/// The buckets of one limit: one set for the process, or one per client connection.
#[derive(Debug)]
pub struct Buckets {
    default: Arc<Bucket>,
    fixed: Vec<Arc<Bucket>>,
    /// Per limit: values met so far, the one used last at the end.
    dynamic: Vec<Mutex<Met>>,
}

type Met = Vec<(Descriptor, Arc<Bucket>)>;

/// What the filter makes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// The limit does not look at this request.
    Off,
    /// It goes on; the bucket for `x-ratelimit-*` headers on its answer.
    Allowed(Arc<Bucket>),
    /// Over the limit, but the limit is not enforced.
    Tolerated(Arc<Bucket>),
    /// Answered here.
    Denied(Arc<Bucket>),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Off => "not limited",
            Verdict::Allowed(_) => "within the limit",
            Verdict::Tolerated(_) => "over the limit, which is not enforced",
            Verdict::Denied(_) => "over the limit",
        })
    }
}

impl LocalRateLimit {
    pub(crate) fn compile(
        limit: &xds::LocalRateLimit,
        per_route: bool,
        at: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<LocalRateLimit> {
        errors.unsupported(at, "local_cluster_rate_limit", limit.local_cluster_rate_limit.is_some());
        let share =
            |percent: Option<&xds::RuntimeFractionalPercent>| percent.map_or(Fraction::NONE, Fraction::of_runtime);
        let shape = match &limit.token_bucket {
            Some(bucket) => errors.note(&at.field("token_bucket"), shape(bucket))?,
            None if per_route => {
                errors.refuse(at, "local rate limit token bucket must be set for per filter configs");
                return None;
            }
            None => return None,
        };
        let descriptors: Vec<Limit> = limit
            .descriptors
            .iter()
            .enumerate()
            .filter_map(|(n, descriptor)| Limit::compile(descriptor, &at.item("descriptors", n), errors))
            .collect();
        let not_enforced = HeaderOps::compile(&limit.request_headers_to_add_when_not_enforced, &[]);
        let response = HeaderOps::compile(&limit.response_headers_to_add, &[]);
        let status = limit.status.as_ref().map_or(429, |status| status.code.0);
        Some(LocalRateLimit {
            status: if status < 400 { 429 } else { status },
            enabled: share(limit.filter_enabled.as_ref()),
            enforced: share(limit.filter_enforced.as_ref()),
            not_enforced: errors.note(&at.field("request_headers_to_add_when_not_enforced"), not_enforced)?,
            response: errors.note(&at.field("response_headers_to_add"), response)?,
            stage: limit.stage,
            per_connection: limit.local_rate_limit_per_downstream_connection,
            rate_limit_headers: limit.enable_x_ratelimit_headers == xds::XRateLimitHeadersRfcVersion::DraftVersion03,
            virtual_host: limit.vh_rate_limits,
            always_default: limit.always_consume_default_token_bucket.unwrap_or(true),
            resource_exhausted: limit.rate_limited_as_resource_exhausted,
            own_limits: RateLimits::compile(&limit.rate_limits, at, errors),
            max_dynamic: limit.max_dynamic_descriptors.and_then(|max| usize::try_from(max).ok()).unwrap_or(20),
            buckets: Buckets::new(shape, &descriptors),
            shape,
            descriptors,
        })
    }

    /// A set of buckets for one client connection, when the limit is per connection.
    pub fn connection_buckets(&self) -> Option<Buckets> {
        self.per_connection.then(|| Buckets::new(self.shape, &self.descriptors))
    }

    /// Looks at a request, and charges buckets. `own` are the connection's buckets, where the limit is per connection; `route` and `virtual_host`
    /// the actions there; `draws` two random numbers.
    pub fn request(
        &self,
        subject: &Subject<'_>,
        route: &RateLimits,
        virtual_host: &RateLimits,
        own: Option<&Buckets>,
        draws: (u64, u64),
        now: Duration,
    ) -> Verdict {
        if !self.enabled.takes(draws.0) {
            return Verdict::Off;
        }
        let buckets = own.unwrap_or(&self.buckets);
        let descriptors =
            if self.descriptors.is_empty() { Vec::new() } else { self.descriptors_of(subject, route, virtual_host) };
        match self.charge(&descriptors, buckets, now) {
            (true, bucket) => Verdict::Allowed(bucket),
            (false, bucket) if self.enforced.takes(draws.1) => Verdict::Denied(bucket),
            (false, bucket) => Verdict::Tolerated(bucket),
        }
    }

    fn descriptors_of(&self, subject: &Subject<'_>, route: &RateLimits, virtual_host: &RateLimits) -> Vec<Descriptor> {
        if !self.own_limits.is_empty() {
            return self.own_limits.descriptors(self.stage, subject).collect();
        }
        use xds::VhRateLimitsOptions as Options;
        let with_virtual_host = match self.virtual_host {
            Options::Include => true,
            Options::Ignore => false,
            Options::Override => route.is_empty(),
        };
        let more = if with_virtual_host { Some(virtual_host) } else { None };
        [Some(route), more].into_iter().flatten().flat_map(|limits| limits.descriptors(self.stage, subject)).collect()
    }

    fn charge(&self, descriptors: &[Descriptor], buckets: &Buckets, now: Duration) -> (bool, Arc<Bucket>) {
        let mut matched: Vec<(Arc<Bucket>, bool)> = descriptors
            .iter()
            .filter_map(|descriptor| {
                let at = self.descriptors.iter().position(|limit| limit.is_exactly(descriptor));
                let at = at.or_else(|| self.descriptors.iter().position(|limit| limit.takes(descriptor)))?;
                let limit = self.descriptors.get(at)?;
                Some((buckets.of(at, limit, descriptor, self.max_dynamic)?, limit.shadow))
            })
            .collect();
        matched.sort_by(|(a, _), (b, _)| a.rate().total_cmp(&b.rate()));
        for (bucket, shadow) in &matched {
            if !bucket.consume(1, now) && !shadow {
                return (false, bucket.clone());
            }
        }
        let first = matched.first().map(|(bucket, _)| bucket.clone());
        if (first.is_none() || self.always_default) && !buckets.default.consume(1, now) {
            return (false, buckets.default.clone());
        }
        (true, first.unwrap_or_else(|| buckets.default.clone()))
    }

    /// The answer to a denied request.
    pub fn reply(&self, request: &[(Bytes, Bytes)], connection: &ConnectionInfo, stream: &StreamInfo) -> LocalReply {
        let mut reply = LocalReply::new(self.status, "local_rate_limited");
        self.response.apply_to_response(&mut reply.headers, request, connection, stream);
        reply.grpc_status = Some(if self.resource_exhausted { 8 } else { 14 });
        reply.body("local_rate_limited").flag(Flag::RateLimited)
    }

    /// Marks a request that is over a limit that is not enforced.
    pub fn tolerate(&self, request: &mut HeaderList, connection: &ConnectionInfo, stream: &StreamInfo) {
        self.not_enforced.apply_to_request(request, connection, stream);
    }

    /// Adds `x-ratelimit-*` to any answer, if configured; `now` is when the answer passes.
    pub fn response(&self, response: &mut HeaderList, bucket: &Bucket, now: Duration) {
        if !self.rate_limit_headers {
            return;
        }
        let reset = bucket.next_token_in(now).as_millis().div_ceil(1000);
        let fields = [
            ("x-ratelimit-limit", format!("{}", bucket.max())),
            ("x-ratelimit-remaining", format!("{}", bucket.tokens(now).floor())),
            ("x-ratelimit-reset", reset.to_string()),
        ];
        for (name, value) in fields {
            response.push((Bytes::from_static(name.as_bytes()), Bytes::from(value)));
        }
    }
}

impl Limit {
    fn compile(descriptor: &xds::LocalRateLimitDescriptor, at: &Path<'_>, errors: &mut Errors) -> Option<Limit> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let bucket = descriptor.token_bucket.clone().unwrap_or_default();
        let shape = errors.note(&at.field("token_bucket"), shape(&bucket))?;
        let entries = descriptor.entries.iter().map(|entry| (bytes(&entry.key), bytes(&entry.value))).collect();
        Some(Limit { entries, shape, shadow: descriptor.shadow_mode })
    }

    fn is_exactly(&self, descriptor: &Descriptor) -> bool {
        self.entries == *descriptor
    }

    fn takes(&self, descriptor: &Descriptor) -> bool {
        self.is_wild()
            && self.entries.len() == descriptor.len()
            && self
                .entries
                .iter()
                .zip(descriptor)
                .all(|((key, value), (k, v))| key == k && (value.is_empty() || value == v))
    }

    fn is_wild(&self) -> bool {
        self.entries.iter().any(|(_, value)| value.is_empty())
    }
}

impl Buckets {
    fn new(shape: Shape, descriptors: &[Limit]) -> Buckets {
        Buckets {
            default: Arc::new(Bucket::new(shape)),
            fixed: descriptors.iter().map(|limit| Arc::new(Bucket::new(limit.shape))).collect(),
            dynamic: descriptors.iter().map(|_| Mutex::default()).collect(),
        }
    }

    fn of(&self, at: usize, limit: &Limit, descriptor: &Descriptor, max_dynamic: usize) -> Option<Arc<Bucket>> {
        if !limit.is_wild() {
            return self.fixed.get(at).cloned();
        }
        let mut met = self.dynamic.get(at)?.lock().unwrap_or_else(PoisonError::into_inner);
        let known = met.iter().position(|(known, _)| known == descriptor);
        let entry = match known {
            Some(at) => met.remove(at),
            None => (descriptor.clone(), Arc::new(Bucket::new(limit.shape))),
        };
        let bucket = entry.1.clone();
        met.push(entry);
        if met.len() > max_dynamic {
            met.remove(0);
        }
        Some(bucket)
    }
}

fn shape(bucket: &xds::TokenBucket) -> Result<Shape, &'static str> {
    let fill_interval = bucket.fill_interval.map(|interval| interval.0).unwrap_or_default();
    if fill_interval < Duration::from_millis(50) {
        return Err("local rate limit token bucket fill timer must be >= 50ms");
    }
    Ok(Shape { max_tokens: bucket.max_tokens, tokens_per_fill: bucket.tokens_per_fill.unwrap_or(1), fill_interval })
}
