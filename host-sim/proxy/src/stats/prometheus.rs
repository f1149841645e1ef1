//! `/stats/prometheus`: the text exposition format, with Envoy's names.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::group::Sample;
use super::histogram::Distribution;
use super::tags::{Tagged, Tags};

/// Envoy's bounds, in the histogram's own unit.
const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];
/// The namespace of modules' own series, which loses it and gets no `envoy_`.
const MODULES: &str = "wasmcustom.";
/// Istio's own, likewise.
const CUSTOM: &str = "istiocustom.";
/// How many digits Envoy prints of a sum.
const DIGITS: usize = 32;

/// Counters, then gauges, then histograms; each by name, its series by their own full names.
pub(super) fn print(samples: &BTreeMap<String, Sample>, tags: &Tags) -> String {
    let mut printed = String::new();
    for kind in ["counter", "gauge", "histogram"] {
        let mut families: BTreeMap<Name, Vec<(Tagged, &Sample)>> = BTreeMap::new();
        for (name, sample) in samples.iter().filter(|(_, sample)| kind_of(sample) == kind) {
            let tagged = tags.apply(name);
            families.entry(Name(tagged.name.clone())).or_default().push((tagged, sample));
        }
        for (name, series) in families {
            let Some(name) = metric_name(&name.0) else { continue };
            // Writing to a String does not fail.
            let _ = writeln!(printed, "# TYPE {name} {kind}");
            for (tagged, sample) in series {
                one(&mut printed, &name, &labels(&tagged.labels), sample);
            }
        }
    }
    printed
}

fn kind_of(sample: &Sample) -> &'static str {
    match sample {
        Sample::Counter(_) => "counter",
        Sample::Gauge { .. } => "gauge",
        Sample::Histogram(_) => "histogram",
    }
}

/// Sorted word by word: `cluster.x` stands before `cluster_manager.x`.
#[derive(PartialEq, Eq)]
struct Name(String);

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.split('.').cmp(other.0.split('.'))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// None for a module's series whose name would begin with a digit: Envoy leaves it out.
fn metric_name(name: &str) -> Option<String> {
    let Some(own) = name.strip_prefix(MODULES).or_else(|| name.strip_prefix(CUSTOM)) else {
        return Some(format!("envoy_{}", sanitized(name)));
    };
    let own = sanitized(own);
    own.starts_with(|c: char| !c.is_ascii_digit()).then_some(own)
}

fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn labels(labels: &[(String, String)]) -> String {
    let escaped = |value: &str| value.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"");
    let printed: Vec<String> =
        labels.iter().map(|(name, value)| format!("{}=\"{}\"", sanitized(name), escaped(value))).collect();
    printed.join(",")
}

fn one(printed: &mut String, name: &str, labels: &str, sample: &Sample) {
    // Writing to a String does not fail.
    let _ = match sample {
        Sample::Counter(value) | Sample::Gauge { value, .. } => writeln!(printed, "{name}{{{labels}}} {value}"),
        Sample::Histogram(distribution) => {
            histogram(printed, name, labels, distribution);
            Ok(())
        }
    };
}

fn histogram(printed: &mut String, name: &str, labels: &str, distribution: &Distribution) {
    let before = if labels.is_empty() { String::new() } else { format!("{labels},") };
    let count = distribution.count();
    for bound in BUCKETS {
        let _ = writeln!(printed, "{name}_bucket{{{before}le=\"{bound}\"}} {}", distribution.at_or_below(bound));
    }
    let _ = writeln!(printed, "{name}_bucket{{{before}le=\"+Inf\"}} {count}");
    let _ = writeln!(printed, "{name}_sum{{{labels}}} {}", thirty_two_digits(distribution.sum()));
    let _ = writeln!(printed, "{name}_count{{{labels}}} {count}");
}

/// The number in full, up to 32 significant digits.
fn thirty_two_digits(value: f64) -> String {
    let whole = format!("{:.0}", value.trunc()).trim_start_matches(['-', '0']).len();
    let printed = format!("{value:.*}", DIGITS.saturating_sub(whole));
    if printed.contains('.') { printed.trim_end_matches('0').trim_end_matches('.').to_owned() } else { printed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(samples: &[(&str, Sample)]) -> String {
        let samples = samples.iter().map(|(name, sample)| ((*name).to_owned(), sample.clone())).collect();
        print(&samples, &Tags::new(None).unwrap())
    }

    #[test]
    fn a_family_is_one_block_with_its_labels() {
        let text = printed(&[
            ("cluster_manager.cluster_added", Sample::Counter(2)),
            ("cluster.b.upstream_rq_200", Sample::Counter(1)),
            ("cluster.a.upstream_rq_2xx", Sample::Counter(3)),
            ("cluster.a.upstream_rq_200", Sample::Counter(3)),
            ("server.live", Sample::Gauge { value: 1, used: true }),
        ]);
        assert_eq!(
            text,
            "# TYPE envoy_cluster_upstream_rq counter\n\
             envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"a\"} 3\n\
             envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"b\"} 1\n\
             # TYPE envoy_cluster_upstream_rq_xx counter\n\
             envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"a\"} 3\n\
             # TYPE envoy_cluster_manager_cluster_added counter\n\
             envoy_cluster_manager_cluster_added{} 2\n\
             # TYPE envoy_server_live gauge\n\
             envoy_server_live{} 1\n"
        );
    }

    #[test]
    fn a_modules_series_goes_by_its_own_name() {
        let text =
            printed(&[("wasmcustom.gw_rl.requests-total", Sample::Counter(4)), ("wasmcustom.4xx", Sample::Counter(4))]);
        assert_eq!(text, "# TYPE gw_rl_requests_total counter\ngw_rl_requests_total{} 4\n");
    }

    #[test]
    fn a_histogram_has_envoys_buckets_and_digits() {
        let mut values = vec![0; 10];
        values.extend([4, 42, 43]);
        let text = printed(&[("cluster.ok.upstream_rq_time", Sample::Histogram(Distribution::of(&values)))]);
        let has = |line: &str| assert!(text.lines().any(|printed| printed == line), "{line:?} is missing in\n{text}");
        has("envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"ok\",le=\"0.5\"} 10");
        has("envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"ok\",le=\"5\"} 11");
        has("envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"ok\",le=\"50\"} 13");
        has("envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"ok\",le=\"3600000\"} 13");
        has("envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"ok\",le=\"+Inf\"} 13");
        has("envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"ok\"} 90.037753236671420609127380885184");
        has("envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"ok\"} 13");
    }
}
