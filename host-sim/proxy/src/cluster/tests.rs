//! Laws of load balancing, and the pairs of hash and endpoint that Envoy was seen to choose.

use std::cell::Cell;

use super::*;
use crate::edge::{ConnectionInfo, Protocol};
use bytes::Bytes;

fn plan(json: serde_json::Value) -> ClusterPlan {
    let cluster: xds::Cluster = serde_json::from_value(json).unwrap();
    ClusterPlan::compile(&cluster, &mut |_| Vec::new()).unwrap()
}

fn endpoints(weights: &[u32]) -> serde_json::Value {
    let one = |(n, weight): (usize, &u32)| serde_json::json!({"endpoint": {"address": {"socket_address": {"address": format!("127.77.0.{}", n + 1), "port_value": 8080}}}, "load_balancing_weight": weight});
    serde_json::json!({"endpoints": [{"lb_endpoints": weights.iter().enumerate().map(one).collect::<Vec<_>>()}]})
}

fn cluster(policy: &str, weights: &[u32]) -> ClusterPlan {
    plan(serde_json::json!({"name": "c", "lb_policy": policy, "load_assignment": endpoints(weights)}))
}

fn balancer(plan: &ClusterPlan) -> LoadBalancer {
    LoadBalancer::new(plan.policy, plan.endpoints.clone(), plan.panic_threshold, 0)
}

/// A small random number generator, so that a failure can be repeated.
fn dice() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

fn pick(balancer: &mut LoadBalancer, hash: Option<u64>, random: &mut dyn FnMut() -> u64) -> Option<usize> {
    balancer.pick(&mut Context { loads: None, hash, random, active: &|_| 0, avoid: &|_| false, attempts: 1 })
}

fn shares(plan: &ClusterPlan, picks: usize) -> Vec<usize> {
    let (mut balancer, mut random) = (balancer(plan), dice());
    let mut counts = vec![0; plan.endpoints.len()];
    for _ in 0..picks {
        counts[pick(&mut balancer, None, &mut random).unwrap()] += 1;
    }
    counts
}

#[test]
fn round_robin_takes_turns_and_weights_take_longer_turns() {
    assert_eq!(shares(&cluster("ROUND_ROBIN", &[1, 1, 1]), 300), [100, 100, 100]);
    assert_eq!(shares(&cluster("ROUND_ROBIN", &[1, 2, 5]), 800), [100, 200, 500]);
}

#[test]
fn random_and_least_request_spread_evenly_when_idle() {
    for policy in ["RANDOM", "LEAST_REQUEST"] {
        let counts = shares(&cluster(policy, &[1, 1, 1]), 30_000);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{policy}: {counts:?}");
    }
}

#[test]
fn least_request_takes_the_less_busy_of_two() {
    let plan = cluster("LEAST_REQUEST", &[1, 1]);
    let (mut balancer, mut random) = (balancer(&plan), dice());
    let mut counts = [0; 2];
    for _ in 0..10_000 {
        let at = balancer
            .pick(&mut Context {
                loads: None,
                hash: None,
                random: &mut random,
                active: &|at| if at == 0 { 10 } else { 0 },
                avoid: &|_| false,
                attempts: 1,
            })
            .unwrap();
        counts[at] += 1;
    }
    // The busy one is taken only when it is drawn twice.
    assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
}

#[test]
fn least_request_with_weights_divides_by_load() {
    let plan = cluster("LEAST_REQUEST", &[1, 3]);
    let (mut balancer, mut random) = (balancer(&plan), dice());
    let mut counts = [0; 2];
    for _ in 0..4_000 {
        let at = balancer
            .pick(&mut Context {
                loads: None,
                hash: None,
                random: &mut random,
                active: &|at| if at == 1 { 2 } else { 0 },
                avoid: &|_| false,
                attempts: 1,
            })
            .unwrap();
        counts[at] += 1;
    }
    assert!((1_990..2_010).contains(&counts[0]), "{counts:?}");
}

#[test]
fn a_cluster_without_endpoints_has_none_to_choose() {
    for policy in ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"] {
        let mut empty = balancer(&cluster(policy, &[]));
        assert_eq!(pick(&mut empty, Some(1), &mut dice()), None, "{policy}");
    }
}

#[test]
fn without_panic_no_unhealthy_endpoint_is_chosen() {
    let mut plan = cluster("ROUND_ROBIN", &[1, 1, 1]);
    for (threshold, healthy, want) in [
        (0, [false, true, false], vec![1, 1, 1]),
        (0, [false, false, false], vec![]),
        (50, [true, true, false], vec![0, 1, 0]),
        (50, [true, false, false], vec![0, 1, 2]),
    ] {
        plan.panic_threshold = threshold;
        let mut balancer = balancer(&plan);
        balancer.set_healthy(&healthy, 0);
        let picks: Vec<usize> = (0..3).filter_map(|_| pick(&mut balancer, None, &mut dice())).collect();
        assert_eq!(picks, want, "{threshold} % {healthy:?}");
    }
}

#[test]
fn a_lower_priority_serves_when_the_higher_is_not_well() {
    let group = |address: &str, priority: u32| serde_json::json!({"priority": priority, "lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": address, "port_value": 1}}}}]});
    let plan = plan(
        serde_json::json!({"name": "c", "load_assignment": {"endpoints": [group("10.0.0.1", 0), group("10.0.0.2", 1)]}}),
    );
    let mut balancer = balancer(&plan);
    assert!((0..100).all(|_| pick(&mut balancer, None, &mut dice()) == Some(0)));
    balancer.set_healthy(&[false, true], 0);
    assert!((0..100).all(|_| pick(&mut balancer, None, &mut dice()) == Some(1)));
}

#[test]
fn retries_avoid_the_hosts_tried_before() {
    let plan = cluster("RANDOM", &[1, 1, 1]);
    let (mut balancer, mut random) = (balancer(&plan), dice());
    let avoided = Cell::new(0);
    for _ in 0..1_000 {
        let at = balancer.pick(&mut Context {
            loads: None,
            hash: None,
            random: &mut random,
            active: &|_| 0,
            avoid: &|at| at == 0,
            attempts: 5,
        });
        avoided.set(avoided.get() + usize::from(at == Some(0)));
    }
    // One in 3^6 finds nothing better in five further draws.
    assert!(avoided.get() <= 8, "{}", avoided.get());
}

#[test]
fn weights_that_are_no_prime_or_too_large_are_refused() {
    for (config, field) in [
        (
            serde_json::json!({"name": "c", "lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 10}}),
            "maglev_lb_config",
        ),
        (
            serde_json::json!({"name": "c", "lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 9, "maximum_ring_size": 8}}),
            "ring_hash_lb_config",
        ),
        (serde_json::json!({"name": "c", "lb_policy": "CLUSTER_PROVIDED"}), "lb_policy"),
    ] {
        let cluster: xds::Cluster = serde_json::from_value(config).unwrap();
        let errors = ClusterPlan::compile(&cluster, &mut |_| Vec::new()).unwrap_err();
        assert_eq!(errors[0].path, field, "{errors:?}");
    }
}

/// Which of o1, o2, o3 (127.77.0.1-3:8080, equal weights) Envoy 1.40 chose for a key.
#[test]
fn consistent_hashes_choose_what_envoy_chose() {
    let ring = cluster("RING_HASH", &[1, 1, 1]);
    let choose = |plan: &ClusterPlan, policy: serde_json::Value, path: &str, extra: &[(&str, &str)]| {
        let mut errors = Errors::default();
        let policy: xds::HashPolicy = serde_json::from_value(policy).unwrap();
        let policy = HashPolicy::compile(&policy, &Path::Root, &mut errors).unwrap();
        let mut request = vec![(Bytes::from_static(b":path"), Bytes::copy_from_slice(path.as_bytes()))];
        request.extend(
            extra.iter().map(|(k, v)| (Bytes::copy_from_slice(k.as_bytes()), Bytes::copy_from_slice(v.as_bytes()))),
        );
        let connection = ConnectionInfo {
            id: 1,
            remote: "127.0.0.1:5".parse().unwrap(),
            relay: None,
            local: "127.0.0.1:80".parse().unwrap(),
            node_address: "192.0.2.1".parse().unwrap(),
            protocol: Protocol::Http11,
            tls: None,
        };
        let hashed = HashPolicy::hash(&[policy], &request, &connection, "127.0.0.1".parse().unwrap());
        pick(&mut balancer(plan), hashed.hash, &mut dice()).unwrap() + 1
    };
    let by_query = serde_json::json!({"query_parameter": {"name": "u"}});
    let want = [2, 1, 3, 3, 1, 1, 2, 1, 1, 1, 2, 1];
    for (n, want) in want.into_iter().enumerate() {
        assert_eq!(choose(&ring, by_query.clone(), &format!("/?u={n}"), &[]), want, "/?u={n}");
    }
    let by_cookie = serde_json::json!({"cookie": {"name": "sess"}});
    for (n, want) in [1, 2, 2, 2, 1, 1, 3, 3, 1, 3, 1, 1].into_iter().enumerate() {
        assert_eq!(choose(&ring, by_cookie.clone(), "/", &[("cookie", &format!("a=b; sess=abc{n}"))]), want, "abc{n}");
    }
    let maglev = cluster("MAGLEV", &[1, 1, 1]);
    let by_header = serde_json::json!({"header": {"header_name": "X-User"}});
    for (n, want) in [2, 2, 1, 2, 1, 1, 1, 3, 1, 1, 2, 2].into_iter().enumerate() {
        assert_eq!(choose(&maglev, by_header.clone(), "/", &[("x-user", &format!("user{n}"))]), want, "user{n}");
    }
    let by_address = serde_json::json!({"connection_properties": {"source_ip": true}});
    assert_eq!(choose(&ring, by_address, "/", &[]), 1);
}
