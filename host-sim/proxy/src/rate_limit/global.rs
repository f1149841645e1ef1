//! Limits that a rate limit service keeps for all gateways: Envoy's `ratelimit` filter, but for the call itself.
//!
//! Source: `filters/http/ratelimit/ratelimit.cc` and `ratelimit_headers.cc`.
//!
//! | question | rule |
//! |---|---|
//! | when is the service asked | the route forwards, the filter is enabled for this request, `request_type` fits, and some descriptor is complete |
//! | whose descriptors | the filter's own `rate_limits`, else the route's own for this filter, else the route's; the virtual host's too when the route has none, or includes them |
//! | the service cannot be reached, or not in time | the request goes on, unless `failure_mode_deny`: then `status_on_error`, flag RLSE |
//! | over the limit, enforced | `rate_limited_status` with the service's body and headers, `x-envoy-ratelimited: true`, flag RL |
//! | over the limit, not enforced | as within the limit |
//! | within the limit | the service's headers are added to the request and to the answer |
//! | `x-ratelimit-*` | of the limit with the least left; the policies of all behind its number |

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use super::service::{Answer, Limit};
use super::{Descriptor, RateLimits, Subject};
use crate::edge::ConnectionInfo;
use crate::header_ops::{HeaderOps, StreamInfo};
use crate::headers::{self, HeaderList};
use crate::local_reply::{Flag, LocalReply};
use crate::route::Fraction;
use crate::route::error::{Errors, Path};

/// The filter, compiled.
#[derive(Debug)]
pub struct GlobalRateLimit {
    /// The service's cluster.
    pub cluster: String,
    /// `:authority` of calls; the cluster's name when empty.
    pub authority: String,
    /// How long to wait for it; `None`: for ever.
    pub timeout: Option<Duration>,
    domain: String,
    stage: u32,
    asks: Asks,
    deny_on_error: bool,
    deny_share: Option<Fraction>,
    enabled: Option<Fraction>,
    enforced: Option<Fraction>,
    status: u16,
    status_on_error: u16,
    resource_exhausted: bool,
    x_ratelimit_headers: bool,
    marks: bool,
    response: HeaderOps,
    own_limits: RateLimits,
}

/// About which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Both,
    Internal,
    External,
}

/// What a route says about it.
#[derive(Debug)]
pub struct PerRoute {
    virtual_host: xds::VhRateLimitsOptions,
    domain: String,
    limits: RateLimits,
}

/// The actions that hold for a request.
#[derive(Debug, Clone, Copy)]
pub struct Actions<'r> {
    /// What the route says about this filter.
    pub per_route: Option<&'r PerRoute>,
    /// Of the route.
    pub route: &'r RateLimits,
    /// Of its virtual host.
    pub virtual_host: &'r RateLimits,
    /// The route asks for those of its virtual host besides its own.
    pub include_virtual_host: bool,
}

/// What is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'r> {
    /// Whose limits.
    pub domain: &'r str,
    /// About what.
    pub descriptors: Vec<Descriptor>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It goes on with more headers, and so does its answer.
    Pass {
        /// For the request.
        request: HeaderList,
        /// For the answer.
        response: HeaderList,
    },
    /// Answered here.
    Reply(LocalReply),
}

impl PerRoute {
    pub(crate) fn compile(config: &xds::RateLimitPerRoute, at: &Path<'_>, errors: &mut Errors) -> PerRoute {
        errors.unsupported(at, "override_option", !matches!(config.override_option.as_str(), "" | "DEFAULT"));
        PerRoute {
            virtual_host: config.vh_rate_limits,
            domain: config.domain.clone(),
            limits: RateLimits::compile(&config.rate_limits, at, errors),
        }
    }
}

impl GlobalRateLimit {
    pub(crate) fn compile(limit: &xds::GlobalRateLimit, at: &Path<'_>, errors: &mut Errors) -> Option<GlobalRateLimit> {
        let service = limit.rate_limit_service.as_ref().and_then(|service| service.grpc_service.as_ref());
        let Some(grpc) = service.and_then(|service| service.envoy_grpc.as_ref()) else {
            errors.refuse(at, "rate_limit_service.grpc_service.envoy_grpc is needed");
            return None;
        };
        if limit.domain.is_empty() {
            errors.refuse(&at.field("domain"), "must not be empty");
        }
        let asks = match limit.request_type.as_str() {
            "" | "both" => Asks::Both,
            "internal" => Asks::Internal,
            "external" => Asks::External,
            other => {
                errors.refuse(&at.field("request_type"), format_args!("internal, external or both, not {other}"));
                return None;
            }
        };
        let response = HeaderOps::compile(&limit.response_headers_to_add, &[]);
        let status = limit.rate_limited_status.as_ref().map_or(429, |status| status.code.0);
        let share = |percent: &Option<xds::RuntimeFractionalPercent>| percent.as_ref().map(Fraction::of_runtime);
        Some(GlobalRateLimit {
            cluster: grpc.cluster_name.clone(),
            authority: grpc.authority.clone(),
            timeout: Some(limit.timeout.as_ref().map_or(Duration::from_millis(20), |timeout| timeout.0))
                .filter(|timeout| !timeout.is_zero()),
            domain: limit.domain.clone(),
            stage: limit.stage,
            asks,
            deny_on_error: limit.failure_mode_deny,
            deny_share: share(&limit.failure_mode_deny_percent),
            enabled: share(&limit.filter_enabled),
            enforced: share(&limit.filter_enforced),
            status: if status < 400 { 429 } else { status },
            status_on_error: limit.status_on_error.as_ref().map_or(500, |status| status.code.0),
            resource_exhausted: limit.rate_limited_as_resource_exhausted,
            x_ratelimit_headers: limit.enable_x_ratelimit_headers == xds::XRateLimitHeadersRfcVersion::DraftVersion03,
            marks: !limit.disable_x_envoy_ratelimited_header,
            response: errors.note(&at.field("response_headers_to_add"), response)?,
            own_limits: RateLimits::compile(&limit.rate_limits, at, errors),
        })
    }

    /// What the service is to be asked about a request; `None`: nothing. `draw` decides whether the filter is enabled for it.
    pub fn question<'r>(&'r self, subject: &Subject<'_>, actions: &Actions<'r>, draw: u64) -> Option<Question<'r>> {
        if self.enabled.as_ref().is_some_and(|share| !share.takes(draw)) {
            return None;
        }
        let internal = headers::get(subject.request, "x-envoy-internal").is_some_and(|value| value == "true");
        match self.asks {
            Asks::Internal if !internal => return None,
            Asks::External if internal => return None,
            _ => {}
        }
        let descriptors: Vec<Descriptor> = self
            .in_effect(actions)
            .into_iter()
            .flatten()
            .flat_map(|limits| limits.descriptors(self.stage, subject))
            .collect();
        let own = actions.per_route.map(|route| route.domain.as_str()).filter(|domain| !domain.is_empty());
        (!descriptors.is_empty()).then(|| Question { domain: own.unwrap_or(&self.domain), descriptors })
    }

    fn in_effect<'r>(&'r self, actions: &Actions<'r>) -> [Option<&'r RateLimits>; 2] {
        use xds::VhRateLimitsOptions as Options;
        if !self.own_limits.is_empty() {
            return [Some(&self.own_limits), None];
        }
        if let Some(own) = actions.per_route.map(|route| &route.limits).filter(|limits| !limits.is_empty()) {
            return [Some(own), None];
        }
        let of_route = actions.per_route.map_or(Options::Override, |route| route.virtual_host);
        let with_virtual_host = match of_route {
            _ if actions.include_virtual_host => true,
            Options::Include => true,
            Options::Ignore => false,
            Options::Override => actions.route.is_empty(),
        };
        [Some(actions.route), with_virtual_host.then_some(actions.virtual_host)]
    }

    /// Judges by what the service said; `None`: nothing that could be understood, or nothing in time.
    pub fn judge(
        &self,
        answer: Option<Answer>,
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        stream: &StreamInfo,
        draw: u64,
    ) -> Verdict {
        let Some(mut answer) = answer else { return self.without_answer(draw) };
        if self.x_ratelimit_headers {
            answer.response_headers.extend(x_ratelimit(&answer.limits));
        }
        let enforced = self.enforced.as_ref().is_none_or(|share| share.takes(draw));
        if !(answer.over_limit && enforced) {
            return Verdict::Pass { request: answer.request_headers, response: answer.response_headers };
        }
        let mut reply = LocalReply::new(self.status, "request_rate_limited").body(answer.body);
        if answer.response_headers.iter().any(|(name, _)| name == "content-type") {
            headers::remove(&mut reply.headers, b"content-type");
        }
        reply.headers.extend(answer.response_headers);
        if self.marks {
            reply.headers.push((Bytes::from_static(b"x-envoy-ratelimited"), Bytes::from_static(b"true")));
        }
        self.response.apply_to_response(&mut reply.headers, request, connection, stream);
        reply.grpc_status = self.resource_exhausted.then_some(8);
        Verdict::Reply(reply.flag(Flag::RateLimited))
    }

    fn without_answer(&self, draw: u64) -> Verdict {
        let denies = self.deny_share.as_ref().map_or(self.deny_on_error, |share| share.takes(draw));
        if denies {
            let reply = LocalReply::new(self.status_on_error, "rate_limiter_error");
            return Verdict::Reply(reply.flag(Flag::RateLimitServiceError));
        }
        Verdict::Pass { request: HeaderList::new(), response: HeaderList::new() }
    }
}

/// `x-ratelimit-limit: 10, 10;w=60;name="n"` and its two companions.
fn x_ratelimit(limits: &[Limit]) -> HeaderList {
    let mut least: Option<&Limit> = None;
    let mut policies = String::new();
    for limit in limits {
        if least.is_none_or(|least| limit.remaining < least.remaining) {
            least = Some(limit);
        }
        if limit.window > 0 {
            // Writing to a string cannot fail.
            let _ = write!(policies, ", {};w={}", limit.requests_per_unit, limit.window);
            if !limit.name.is_empty() {
                let _ = write!(policies, ";name=\"{}\"", limit.name);
            }
        }
    }
    let Some(least) = least else { return HeaderList::new() };
    [
        ("x-ratelimit-limit", format!("{}{policies}", least.requests_per_unit)),
        ("x-ratelimit-remaining", least.remaining.to_string()),
        ("x-ratelimit-reset", least.reset.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(value)))
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(more: serde_json::Value) -> GlobalRateLimit {
        let mut config =
            json!({"domain": "d", "rate_limit_service": {"grpc_service": {"envoy_grpc": {"cluster_name": "rls"}}}});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut errors = Errors::default();
        let limit = GlobalRateLimit::compile(&serde_json::from_value(config).unwrap(), &Path::Root, &mut errors);
        errors.into_result(limit.unwrap()).unwrap()
    }

    fn actions(key: &str) -> RateLimits {
        if key.is_empty() {
            return RateLimits::default();
        }
        let limits = json!([{"actions": [{"generic_key": {"descriptor_key": key, "descriptor_value": "v"}}]}]);
        let mut errors = Errors::default();
        RateLimits::compile(&serde_json::from_value::<Vec<xds::RateLimit>>(limits).unwrap(), &Path::Root, &mut errors)
    }

    fn per_route(option: &str) -> PerRoute {
        let config = serde_json::from_value(json!({"vh_rate_limits": option, "domain": "other"})).unwrap();
        PerRoute::compile(&config, &Path::Root, &mut Errors::default())
    }

    /// The keys asked about, behind the domain.
    fn asked(limit: &GlobalRateLimit, actions: &Actions<'_>, request: &[(Bytes, Bytes)]) -> String {
        let client = std::net::IpAddr::from([127, 0, 0, 1]);
        let subject = Subject { request, client, source_cluster: "", destination_cluster: "c" };
        let Some(question) = limit.question(&subject, actions, 0) else { return "nothing".into() };
        let keys = question.descriptors.iter().flatten().map(|(key, _)| String::from_utf8_lossy(key).into_owned());
        [question.domain.to_owned()].into_iter().chain(keys).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn descriptors_come_from_the_route_its_host_or_both() {
        let (limit, none, route, host) = (compiled(json!({})), actions(""), actions("route"), actions("host"));
        let (include, ignore) = (per_route("INCLUDE"), per_route("IGNORE"));
        let with = |route, per_route, include_virtual_host| {
            asked(&limit, &Actions { per_route, route, virtual_host: &host, include_virtual_host }, &[])
        };
        assert_eq!(with(&none, None, false), "d host");
        assert_eq!(with(&route, None, false), "d route");
        assert_eq!(with(&route, None, true), "d route host");
        assert_eq!(with(&route, Some(&include), false), "other route host");
        assert_eq!(with(&none, Some(&ignore), false), "nothing");
    }

    #[test]
    fn internal_requests_are_told_by_their_header() {
        let route = actions("k");
        let actions = Actions { per_route: None, route: &route, virtual_host: &route, include_virtual_host: false };
        let internal = [(Bytes::from_static(b"x-envoy-internal"), Bytes::from_static(b"true"))];
        for (kind, of_internal, of_external) in
            [("both", "d k", "d k"), ("internal", "d k", "nothing"), ("external", "nothing", "d k")]
        {
            let limit = compiled(json!({"request_type": kind}));
            assert_eq!(asked(&limit, &actions, &internal), of_internal, "{kind}");
            assert_eq!(asked(&limit, &actions, &[]), of_external, "{kind}");
        }
    }

    #[test]
    fn the_headers_tell_of_the_limit_with_the_least_left_and_of_all_policies() {
        let limit = |requests_per_unit, remaining, name: &str| Limit {
            requests_per_unit,
            window: 60,
            name: name.into(),
            remaining,
            reset: 7,
        };
        let told = x_ratelimit(&[limit(10, 3, ""), limit(5, 1, "n")]);
        let told: Vec<_> = told.iter().map(|(_, value)| value.as_ref()).collect();
        assert_eq!(told, [&b"5, 10;w=60, 5;w=60;name=\"n\""[..], b"1", b"7"]);
        assert!(x_ratelimit(&[]).is_empty());
    }
}
