//! What a rule does beside routing: CORS, faults, mirrors, retries.

use super::{Check, name, pattern};
use crate::{
    problem::Problem,
    resource::{
        status::{grpc_code, is_http_status},
        virtual_service::{HttpRetry, HttpRoute, Percent, VirtualService},
    },
};

const CORS_METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

impl Check<'_, VirtualService> {
    pub(super) fn cors(&mut self, path: &str, route: &HttpRoute) {
        let Some(policy) = &route.cors_policy else { return };
        let path = format!("{path}.corsPolicy");
        for (i, origin) in policy.allow_origins.iter().enumerate() {
            let path = format!("{path}.allowOrigins[{i}]");
            self.one_kind(&path, origin);
            let value = origin.exact.as_ref().or(origin.prefix.as_ref()).or(origin.regex.as_ref());
            if value.is_none_or(String::is_empty) {
                self.refuse(&path, "'' is not a valid match type for CORS allow origins");
            }
            let regex = origin.regex.as_ref().filter(|regex| !regex.is_empty());
            self.expect(&path, regex.map_or(Ok(()), |regex| pattern::regex(regex, "corsPolicy.allowOrigins")));
        }
        for (i, method) in policy.allow_methods.iter().enumerate() {
            let known = CORS_METHODS.contains(&method.as_str());
            self.refuse_if(
                !known,
                &format!("{path}.allowMethods[{i}]"),
                &format!("{method:?} is not a supported HTTP method"),
            );
        }
        for (field, names) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
            for (i, header) in names.iter().enumerate() {
                let fine = header == "*" || name::is_header_name(header);
                self.refuse_if(
                    !fine,
                    &format!("{path}.{field}[{i}]"),
                    &format!("header name {header} is not a valid header name"),
                );
            }
        }
        let at = format!("{path}.maxAge");
        self.duration(&at, policy.max_age);
        let whole = policy.max_age.is_none_or(|age| age.0 % 1_000_000_000 == 0);
        self.refuse_if(!whole, &at, "max_age duration is accurate only to seconds precision");
    }

    pub(super) fn fault(&mut self, path: &str, route: &HttpRoute, warnings: &mut Vec<Problem>) {
        let Some(fault) = &route.fault else { return };
        let path = format!("{path}.fault");
        let reason = "HTTP fault injection must have an abort and/or a delay";
        self.refuse_if(fault.abort.is_none() && fault.delay.is_none(), &path, reason);
        if let Some(abort) = &fault.abort {
            let path = format!("{path}.abort");
            self.percentage(&path, abort.percentage.as_ref());
            let kinds = [abort.http_status.is_some(), abort.grpc_status.is_some(), abort.http2_error.is_some()];
            self.refuse_if(
                kinds.iter().filter(|set| **set).count() > 1,
                &path,
                "only one of httpStatus, grpcStatus, http2Error can be set",
            );
            self.refuse_if(abort.http2_error.is_some(), &path, "HTTP/2 abort fault injection not supported yet");
            if let Some(status) = abort.http_status {
                self.http_status(&format!("{path}.httpStatus"), i64::from(status));
            }
            if let Some(status) = abort.grpc_status.as_ref().filter(|status| grpc_code(status).is_none()) {
                self.refuse(
                    &format!("{path}.grpcStatus"),
                    format!("gRPC status {status:?} is not supported, for example 'NOT_FOUND' is"),
                );
            }
            if kinds.iter().all(|set| !set) {
                warnings.push(self.object.problem(&path, "abort configured, but error type not set"));
            }
        }
        if let Some(delay) = &fault.delay {
            let path = format!("{path}.delay");
            self.percentage(&path, delay.percentage.as_ref());
            self.refuse_if(
                delay.fixed_delay.is_some() && delay.exponential_delay.is_some(),
                &path,
                "only one of fixedDelay, exponentialDelay can be set",
            );
            self.duration(&format!("{path}.fixedDelay"), delay.fixed_delay);
            self.refuse_if(delay.exponential_delay.is_some(), &path, "exponentialDelay not supported yet");
            self.refuse_if(delay.percent < 0, &format!("{path}.percent"), "percent must not be negative");
        }
    }

    fn percentage(&mut self, path: &str, percentage: Option<&Percent>) {
        let Some(Percent { value }) = percentage else { return };
        let fine = *value == 0.0 || (0.0001..=100.0).contains(value);
        self.refuse_if(
            !fine,
            &format!("{path}.percentage"),
            &format!("percentage {value} is neither 0.0, nor in range [0.0001, 100.0]"),
        );
    }

    pub(super) fn mirrors(&mut self, path: &str, route: &HttpRoute, warnings: &mut Vec<Problem>) {
        if let Some(percent) = route.mirror_percent_integer() {
            let at = format!("{path}.mirrorPercent");
            self.refuse_if(
                percent > 100,
                &at,
                &format!("mirror_percent must have a max value of 100 (it has {percent})"),
            );
            warnings.push(
                self.object
                    .problem(&at, "using deprecated setting \"mirrorPercent\", use \"mirrorPercentage\" instead"),
            );
        }
        self.mirror_share(&format!("{path}.mirrorPercentage"), route.mirror_percentage.as_ref());
        if let Some(mirror) = &route.mirror {
            self.destination(&format!("{path}.mirror"), mirror);
        }
        for (i, mirror) in route.mirrors.iter().enumerate() {
            let path = format!("{path}.mirrors[{i}]");
            match &mirror.destination {
                Some(destination) => self.destination(&format!("{path}.destination"), destination),
                None => self.refuse(&path, "destination is required for mirrors"),
            }
            self.mirror_share(&format!("{path}.percentage"), mirror.percentage.as_ref());
        }
        let reason = "HTTP route cannot contain both mirror and mirrors";
        self.refuse_if(route.mirror.is_some() && !route.mirrors.is_empty(), &format!("{path}.mirrors"), reason);
    }

    fn mirror_share(&mut self, path: &str, share: Option<&Percent>) {
        let Some(Percent { value }) = share else { return };
        self.refuse_if(
            !(0.0..=100.0).contains(value),
            path,
            &format!("mirror percentage must be from 0 to 100 (it has {value})"),
        );
    }

    pub(super) fn retries(&mut self, path: &str, route: &HttpRoute) {
        let Some(retries) = &route.retries else { return };
        let path = format!("{path}.retries");
        check_retry(retries).into_iter().for_each(|reason| self.refuse(&path, reason));
        self.duration(&format!("{path}.perTryTimeout"), retries.per_try_timeout);
        self.duration(&format!("{path}.backoff"), retries.backoff);
    }
}

/// What is wrong with a retry policy, durations aside. The mesh-wide default goes by the same rules.
pub(crate) fn check_retry(retries: &HttpRetry) -> Vec<String> {
    let mut reasons = Vec::new();
    if retries.attempts < 0 {
        reasons.push("attempts cannot be negative".to_owned());
    }
    let says_more =
        retries.per_try_timeout.is_some() || !retries.retry_on.is_empty() || retries.retry_remote_localities.is_some();
    if retries.attempts == 0 && says_more {
        reasons.push("http retry policy configured when attempts are set to 0 (disabled)".to_owned());
    }
    let unknown = |word: &&str| !RETRY_ON.contains(word) && !word.parse().is_ok_and(is_http_status);
    if !retries.retry_on.is_empty() {
        reasons.extend(
            retries.retry_on.split(',').filter(unknown).map(|word| format!("{word:?} is not a valid retryOn policy")),
        );
    }
    reasons
}
