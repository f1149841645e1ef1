//! Load balancing.

use serde_json::{Value, json};
use xds::{
    Cluster, DiscoveryType, Int64, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashFunction, RingHashLbConfig,
    RoundRobinLbConfig,
};

use crate::{
    resource::destination_rule::{ConsistentHash, LoadBalancer, SimpleLoadBalancer},
    translate::duration,
};

/// Least request unless something else is asked; a consistent hash wins over everything.
pub(super) fn apply(cluster: &mut Cluster, balancer: Option<&LoadBalancer>) {
    let simple = balancer.and_then(|balancer| balancer.simple).unwrap_or_default();
    let slow_start = balancer.and_then(slow_start);
    match simple {
        SimpleLoadBalancer::Unspecified | SimpleLoadBalancer::LeastConn | SimpleLoadBalancer::LeastRequest => {
            cluster.lb_policy = LbPolicy::LeastRequest;
            cluster.least_request_lb_config = slow_start.map(|config| LeastRequestLbConfig {
                slow_start_config: Some(config),
                ..LeastRequestLbConfig::default()
            });
        }
        SimpleLoadBalancer::RoundRobin => {
            cluster.lb_policy = LbPolicy::RoundRobin;
            cluster.round_robin_lb_config =
                slow_start.map(|config| RoundRobinLbConfig { slow_start_config: Some(config) });
        }
        SimpleLoadBalancer::Random => cluster.lb_policy = LbPolicy::Random,
        SimpleLoadBalancer::Passthrough => {
            cluster.lb_policy = LbPolicy::ClusterProvided;
            cluster.r#type = Some(DiscoveryType::OriginalDst);
            cluster.load_assignment = None;
        }
    }
    if let Some(hash) = balancer.and_then(|balancer| balancer.consistent_hash.as_ref()) {
        by_hash(cluster, hash);
    }
}

fn by_hash(cluster: &mut Cluster, hash: &ConsistentHash) {
    let number = |value: u64| i64::try_from(value).ok().filter(|value| *value != 0).map(Int64);
    let ring = |size: Option<Int64>| RingHashLbConfig {
        minimum_ring_size: size,
        hash_function: RingHashFunction::default(),
        ..RingHashLbConfig::default()
    };
    cluster.least_request_lb_config = None;
    cluster.lb_policy = LbPolicy::RingHash;
    match (&hash.maglev, &hash.ring_hash) {
        (Some(maglev), _) => {
            cluster.lb_policy = LbPolicy::Maglev;
            cluster.maglev_lb_config = number(maglev.table_size).map(|size| MaglevLbConfig { table_size: Some(size) });
        }
        (None, Some(own)) => cluster.ring_hash_lb_config = number(own.minimum_ring_size).map(|size| ring(Some(size))),
        (None, None) => cluster.ring_hash_lb_config = Some(ring(number(hash.minimum_ring_size).or(Some(Int64(1024))))),
    }
}

fn slow_start(balancer: &LoadBalancer) -> Option<Value> {
    if let Some(warmup) = &balancer.warmup {
        return Some(json!({
            "slow_start_window": warmup.duration.map(|window| duration(window).to_string()),
            "aggression": {"default_value": warmup.aggression.unwrap_or(1.0), "runtime_key": "("},
            "min_weight_percent": {"value": warmup.minimum_percent.unwrap_or(10.0)},
        }));
    }
    balancer.warmup_duration_secs.map(|window| json!({"slow_start_window": duration(window).to_string()}))
}
