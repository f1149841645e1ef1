//! What is printed here, beside what Envoy printed for the same events.

use std::collections::BTreeSet;

use super::*;

/// `type name label,label` of each series, as recorded.
const RECORDED: &str = include_str!("envoy-1.40.txt");
/// Ours alone.
const OURS: &str = "envoy_access_log_";

/// One of everything, with something in each family that appears late.
fn everything() -> String {
    let registry = Registry::new(None).unwrap();
    let cluster = xds::Cluster { name: "ok".to_owned(), ..xds::Cluster::default() };
    let counted = registry.cluster(&cluster, 0);
    for (status, internal) in [(200, false), (503, true)] {
        counted.charge_response(status, internal);
        counted.charge_time(3, internal);
    }
    let address = "127.0.0.1:0";
    let _held: (Vec<std::sync::Arc<dyn Group>>, _) = (
        vec![
            registry.membership(&cluster),
            registry.breakers(&cluster),
            registry.outliers(&cluster),
            registry.cluster_tls(&cluster, 0),
            registry.http("in", 0),
            registry.fault("in", 0),
            registry.cors("in", 0),
            registry.local_rate_limit("rl", 0),
            registry.listener(address, 0),
            registry.listener_worker(address, 0),
            registry.listener_tls(address, 0),
            registry.listener_http(address, "in", 0),
            registry.server(),
            registry.cluster_manager(),
            registry.listener_manager(),
            registry.access_log(),
        ],
        counted,
    );
    registry.prometheus(&Filter::default(), [])
}

/// `type name label,label` of what was printed.
fn series(printed: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut family = (String::new(), String::new());
    for line in printed.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            family = (kind.to_owned(), name.to_owned());
            continue;
        }
        let (name, rest) = line.split_once('{').unwrap();
        if family.0 == "histogram" && !name.ends_with("_count") {
            continue;
        }
        let labels: Vec<&str> =
            rest.split("\",").filter_map(|label| label.split_once("=\"").map(|(name, _)| name)).collect();
        found.insert(format!("{} {} {}", family.0, family.1, labels.join(",")).trim_end().to_owned());
    }
    found
}

#[test]
fn every_series_is_one_envoy_has_with_the_same_type_and_labels() {
    let recorded: BTreeSet<&str> = RECORDED.lines().filter(|line| !line.starts_with('#')).collect();
    let printed = series(&everything());
    let strange: Vec<&String> =
        printed.iter().filter(|line| !recorded.contains(line.as_str()) && !line.contains(OURS)).collect();
    assert!(strange.is_empty(), "Envoy has none of these: {strange:#?}");
    assert!(printed.len() > 230, "{}", printed.len());
}
