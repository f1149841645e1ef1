//! Rules that send requests on: destinations, rewrite, mirrors, timeout.

use xds::{
    ClusterWeight, DenominatorType, FractionalPercent, RegexMatchAndSubstitute, RegexMatcher, RequestMirrorPolicy,
    Route, RouteAction, RuntimeFractionalPercent, WeightedCluster,
};

use super::{VirtualServiceRoutes, hash, headers::Operations, retry};
use crate::{
    resource::{
        mesh::HeaderSwitch,
        virtual_service::{HttpRewrite, HttpRoute, HttpRouteDestination, Percent},
    },
    translate::duration,
};

impl VirtualServiceRoutes<'_, '_> {
    /// `authority` is what the rule's own header operations ask for.
    pub(super) fn forward(&self, route: &mut Route, http: &HttpRoute, authority: String) {
        let timeout = http.timeout.map(duration).unwrap_or_default();
        let mut action =
            Box::new(RouteAction { timeout: Some(timeout), max_grpc_timeout: Some(timeout), ..RouteAction::default() });
        let mut authority = authority;
        if let Some(rewrite) = &http.rewrite {
            self.rewrite(&mut action, rewrite);
            if !rewrite.authority.is_empty() {
                authority.clone_from(&rewrite.authority);
            }
        }
        action.host_rewrite_literal = Some(authority).filter(|authority| !authority.is_empty());
        self.mirrors(&mut action, http);
        let mut consistent_hash = false;
        if let [only] = http.route.as_slice() {
            consistent_hash = self.one_destination(route, &mut action, only);
        } else {
            self.weighted_destinations(&mut action, &http.route);
        }
        let policy = http.retries.as_ref().or(self.context.resources.mesh.default_http_retry_policy.as_ref());
        action.retry_policy = retry::policy(policy, consistent_hash);
        route.route = Some(action);
    }

    fn rewrite(&self, action: &mut RouteAction, rewrite: &HttpRewrite) {
        let headers = self.context.proxy_headers();
        action.append_x_forwarded_host =
            headers.and_then(|headers| headers.x_forwarded_host.as_ref()).is_some_and(HeaderSwitch::is_enabled);
        match &rewrite.uri_regex_rewrite {
            Some(regex) => {
                action.regex_rewrite = Some(RegexMatchAndSubstitute {
                    pattern: Some(RegexMatcher { regex: regex.matched.clone(), ..RegexMatcher::default() }),
                    substitution: regex.rewrite.clone(),
                });
            }
            None => action.prefix_rewrite.clone_from(&rewrite.uri),
        }
    }

    fn mirrors(&self, action: &mut RouteAction, http: &HttpRoute) {
        if let Some(mirror) = &http.mirror {
            let share = match (&http.mirror_percentage, http.mirror_percent_integer()) {
                (Some(percentage), _) => fraction(Some(percentage)),
                (None, Some(percent)) => (percent > 0).then(|| hundredths(percent)),
                (None, None) => fraction(None),
            };
            action.request_mirror_policies.extend(share.map(|share| mirror_policy(self.cluster(mirror), share)));
        }
        for mirror in &http.mirrors {
            let Some(destination) = &mirror.destination else { continue };
            let share = fraction(mirror.percentage.as_ref());
            action.request_mirror_policies.extend(share.map(|share| mirror_policy(self.cluster(destination), share)));
        }
    }

    /// Header operations of a lone destination follow the rule's own. Answers whether the choice of endpoint is by hash.
    fn one_destination(&self, route: &mut Route, action: &mut RouteAction, only: &HttpRouteDestination) -> bool {
        action.cluster = Some(self.cluster(&only.destination));
        if let Some(headers) = &only.headers {
            let operations = Operations::new(headers);
            operations.request.apply(&mut route.request_headers_to_add, &mut route.request_headers_to_remove);
            operations.response.apply(&mut route.response_headers_to_add, &mut route.response_headers_to_remove);
            if action.host_rewrite_literal.is_none() && !operations.authority.is_empty() {
                action.host_rewrite_literal = Some(operations.authority);
            }
        }
        let found = hash::of_destination(self.context, &only.destination);
        action.hash_policy.extend(found.and_then(hash::policy));
        found.is_some()
    }

    /// Destinations without a weight get nothing.
    fn weighted_destinations(&self, action: &mut RouteAction, destinations: &[HttpRouteDestination]) {
        let mut clusters = Vec::new();
        for destination in destinations {
            let Some(weight) = u32::try_from(destination.weight).ok().filter(|weight| *weight > 0) else { continue };
            let mut cluster = ClusterWeight {
                name: self.cluster(&destination.destination),
                weight: Some(weight),
                ..ClusterWeight::default()
            };
            if let Some(headers) = &destination.headers {
                let operations = Operations::new(headers);
                operations.request.apply(&mut cluster.request_headers_to_add, &mut cluster.request_headers_to_remove);
                operations
                    .response
                    .apply(&mut cluster.response_headers_to_add, &mut cluster.response_headers_to_remove);
                cluster.host_rewrite_literal = Some(operations.authority).filter(|authority| !authority.is_empty());
            }
            action
                .hash_policy
                .extend(hash::of_destination(self.context, &destination.destination).and_then(hash::policy));
            clusters.push(cluster);
        }
        action.weighted_clusters = Some(WeightedCluster { clusters, ..WeightedCluster::default() });
    }
}

fn mirror_policy(cluster: String, share: FractionalPercent) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster,
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(share),
            ..RuntimeFractionalPercent::default()
        }),
        trace_sampled: Some(false),
        disable_shadow_host_suffix_append: true,
        ..RequestMirrorPolicy::default()
    }
}

/// Absent is everything, nothing is no policy at all.
fn fraction(percentage: Option<&Percent>) -> Option<FractionalPercent> {
    match percentage {
        None => Some(hundredths(100)),
        Some(percentage) => (percentage.value > 0.0).then(|| millionths(percentage)),
    }
}

pub(super) fn hundredths(numerator: u32) -> FractionalPercent {
    FractionalPercent { numerator, denominator: DenominatorType::Hundred }
}

/// A percentage with four decimals, the rest cut off.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 1,000,000 by validation; istiod cuts off likewise"
)]
pub(super) fn millionths(percentage: &Percent) -> FractionalPercent {
    FractionalPercent { numerator: (percentage.value * 10_000.0) as u32, denominator: DenominatorType::Million }
}
