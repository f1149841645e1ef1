//! Clusters, the pure half: which endpoint a request goes to, which endpoints are left out, and how much may be under way.
//!
//! [`ClusterPlan::compile`] reads what decides from an `xds::Cluster`; connections and TLS are the upstream's affair. Each worker has a
//! [`LoadBalancer`]; the [`Detector`] and the [`Circuit`]s of a cluster are shared.

mod balancer;
mod circuit;
mod endpoint;
mod hash_policy;
mod maglev;
mod outlier;
mod priorities;
mod ring;
mod schedule;

use std::net::IpAddr;
use std::sync::Arc;

pub use balancer::{Context, LoadBalancer, Policy};
pub use circuit::{Circuit, Gauge};
pub use endpoint::{Endpoint, Locality};
pub use hash_policy::{HashPolicy, Hashed};
pub use outlier::{Cause, Change, Detector, Outcome, OutlierPolicy};
pub use priorities::PreviousPriorities;
pub use ring::RingSize;

use crate::route::CompileError;
use crate::route::error::{Errors, Path};

/// What decides about a cluster's requests, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterPlan {
    /// How endpoints are chosen.
    pub policy: Policy,
    /// The endpoints, in the configuration's order.
    pub endpoints: Arc<[Endpoint]>,
    /// Percent of healthy endpoints below which health is ignored; 0 for never. Envoy's default is 50.
    pub panic_threshold: u32,
    /// When endpoints are left out.
    pub outlier: Option<OutlierPolicy>,
}

const MAGLEV_DEFAULT: u64 = 65_537;
const MAGLEV_MAX: u64 = 5_000_011;

impl ClusterPlan {
    /// Compiles a cluster. `resolve` gives the addresses of a name, for clusters that are found by DNS; the others never call it.
    pub fn compile(
        cluster: &xds::Cluster,
        resolve: &mut dyn FnMut(&str) -> Vec<IpAddr>,
    ) -> Result<ClusterPlan, Vec<CompileError>> {
        let mut errors = Errors::default();
        let at = Path::Root;
        let common = cluster.common_lb_config.clone().unwrap_or_default();
        errors.unsupported(&at, "load_balancing_policy", cluster.load_balancing_policy.is_some());
        errors.unsupported(&at, "lb_subset_config", cluster.lb_subset_config.is_some());
        errors.unsupported(
            &at,
            "common_lb_config.locality_weighted_lb_config",
            common.locality_weighted_lb_config.is_some(),
        );
        let hostname_hashing = common
            .consistent_hashing_lb_config
            .as_ref()
            .and_then(|config| config.get("use_hostname_for_hashing")?.as_bool());
        let assignment = cluster.load_assignment.clone().unwrap_or_default();
        let endpoints = endpoint::compile(
            &assignment,
            hostname_hashing.unwrap_or(false),
            resolve,
            &at.field("load_assignment"),
            &mut errors,
        );
        // A fraction of a percent is rounded to a whole one, and a threshold has no more than 100.
        let panic_threshold = common.healthy_panic_threshold.map_or(50, |percent| {
            (0..=100u32).rev().find(|whole| f64::from(*whole) <= percent.value.round()).unwrap_or_default()
        });
        let plan = ClusterPlan {
            policy: policy(cluster, &at, &mut errors),
            endpoints: endpoints.into(),
            panic_threshold,
            outlier: cluster
                .outlier_detection
                .as_ref()
                .map(|outlier| OutlierPolicy::compile(outlier, &at.field("outlier_detection"), &mut errors)),
        };
        errors.into_result(plan)
    }
}

fn policy(cluster: &xds::Cluster, at: &Path<'_>, errors: &mut Errors) -> Policy {
    match cluster.lb_policy {
        xds::LbPolicy::RoundRobin => Policy::RoundRobin,
        xds::LbPolicy::Random => Policy::Random,
        xds::LbPolicy::LeastRequest => {
            let config = cluster.least_request_lb_config.as_ref();
            Policy::LeastRequest {
                choices: config.and_then(|config| config.choice_count).unwrap_or(2).max(2),
                bias: config
                    .and_then(|config| config.active_request_bias.as_ref())
                    .map_or(1.0, |bias| bias.default_value),
            }
        }
        xds::LbPolicy::RingHash => {
            ring_hash(cluster.ring_hash_lb_config.as_ref(), &at.field("ring_hash_lb_config"), errors)
        }
        xds::LbPolicy::Maglev => {
            let size = cluster.maglev_lb_config.as_ref().and_then(|config| config.table_size);
            let size = size.map_or(MAGLEV_DEFAULT, |size| u64::try_from(size.0).unwrap_or_default());
            if !is_prime(size) || size > MAGLEV_MAX {
                errors.refuse(
                    &at.field("maglev_lb_config"),
                    format_args!("table_size must be a prime up to {MAGLEV_MAX}; {size} is not"),
                );
                return Policy::Maglev(MAGLEV_DEFAULT);
            }
            Policy::Maglev(size)
        }
        xds::LbPolicy::ClusterProvided if cluster.r#type == Some(xds::DiscoveryType::OriginalDst) => Policy::RoundRobin,
        xds::LbPolicy::ClusterProvided | xds::LbPolicy::LoadBalancingPolicyConfig => {
            errors.refuse(
                &at.field("lb_policy"),
                "not supported; use ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH or MAGLEV",
            );
            Policy::RoundRobin
        }
    }
}

fn ring_hash(config: Option<&xds::RingHashLbConfig>, at: &Path<'_>, errors: &mut Errors) -> Policy {
    let hash = config.map(|config| config.hash_function).unwrap_or_default();
    errors.unsupported(at, "hash_function", hash == xds::RingHashFunction::MurmurHash2);
    let size =
        |size: Option<xds::Int64>, default: u64| size.map_or(default, |size| u64::try_from(size.0).unwrap_or_default());
    let size = RingSize {
        min: size(config.and_then(|config| config.minimum_ring_size), RingSize::DEFAULT.min),
        max: size(config.and_then(|config| config.maximum_ring_size), RingSize::DEFAULT.max),
    };
    if size.min > size.max || size.max > RingSize::DEFAULT.max {
        errors.refuse(
            at,
            format_args!(
                "a ring of {} to {} points cannot be made; at most {}",
                size.min,
                size.max,
                RingSize::DEFAULT.max
            ),
        );
        return Policy::RingHash(RingSize::DEFAULT);
    }
    Policy::RingHash(size)
}

fn is_prime(number: u64) -> bool {
    let divides = |by: u64| number.checked_rem(by) == Some(0);
    number > 1 && (2..).take_while(|by: &u64| by.saturating_mul(*by) <= number).all(|by| !divides(by))
}

#[cfg(test)]
mod tests;
