//! The series modules define, as Envoy shows them: `wasmcustom.<name>`.

use vm::metrics::{BUCKETS, Metrics, SnapshotValue};

use super::group::Sample;
use super::histogram::Distribution;

/// Everything the modules of a process have counted so far, for [`super::Registry::text`] and [`super::Registry::prometheus`].
///
/// A module's histogram is kept in Prometheus' buckets alone: its buckets, count and sum are right, its quantiles as coarse as the buckets.
pub fn modules(metrics: &Metrics) -> Vec<(String, Sample)> {
    let metrics = metrics.snapshot().into_iter();
    metrics.map(|metric| (format!("wasmcustom.{}", metric.name), sample(metric.value))).collect()
}

fn sample(value: SnapshotValue) -> Sample {
    match value {
        SnapshotValue::Counter(value) => Sample::Counter(value),
        SnapshotValue::Gauge(value) => Sample::Gauge { value, used: true },
        SnapshotValue::Histogram { counts, sum } => {
            let buckets = BUCKETS.into_iter().zip(counts);
            Sample::Histogram(Distribution::of_buckets(buckets, sum))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, Registry};
    use super::*;

    #[test]
    fn a_modules_histogram_keeps_its_buckets_and_its_sum() {
        let mut counts = vec![0; BUCKETS.len()];
        // Two values up to 1, one up to 50, one above all bounds.
        (counts[0], counts[4], counts[18]) = (2, 1, 1);
        let samples = [("wasmcustom.gw.wait".to_owned(), sample(SnapshotValue::Histogram { counts, sum: 4_000_043 }))];
        let text = Registry::new(None).unwrap().prometheus(&Filter::default(), samples);
        let has = |line: &str| assert!(text.lines().any(|printed| printed == line), "{line:?} is missing in\n{text}");
        has("# TYPE gw_wait histogram");
        has("gw_wait_bucket{le=\"1\"} 2");
        has("gw_wait_bucket{le=\"25\"} 2");
        has("gw_wait_bucket{le=\"50\"} 3");
        has("gw_wait_bucket{le=\"3600000\"} 3");
        has("gw_wait_bucket{le=\"+Inf\"} 4");
        has("gw_wait_sum{} 4000043");
        has("gw_wait_count{} 4");
    }
}
