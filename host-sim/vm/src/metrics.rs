//! The metrics modules define: one registry for the process, read by the gateway's statistics.
//!
//! Envoy names them `wasmcustom.<name>` in its statistics; the name kept here is the module's own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    abi::MetricType,
    shared::{Quota, QuotaExceeded},
};

/// Upper bounds of a histogram's buckets: Envoy's defaults for Prometheus. One more bucket takes the rest.
pub const BUCKETS: [u64; 19] = [
    1,
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    u64::MAX,
];

type ByName = BTreeMap<(MetricKind, Vec<u8>), Arc<Metric>>;

/// The registry.
pub struct Metrics {
    by_name: Mutex<ByName>,
    quota: Quota,
}

/// Sorts before the name, as Envoy lists counters, gauges and histograms apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl From<MetricType> for MetricKind {
    fn from(kind: MetricType) -> MetricKind {
        match kind {
            MetricType::Counter => MetricKind::Counter,
            MetricType::Gauge => MetricKind::Gauge,
            MetricType::Histogram => MetricKind::Histogram,
        }
    }
}

/// A metric, written by VMs on any thread.
#[derive(Debug)]
pub enum Metric {
    /// Only ever grows.
    Counter(AtomicU64),
    /// Set, or moved either way; wraps below zero, as Envoy's does.
    Gauge(AtomicU64),
    /// Counted into buckets.
    Histogram(Histogram),
}

/// A distribution of whole numbers.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS.len()],
    sum: AtomicU64,
}

impl Histogram {
    /// Adds one value.
    pub fn record(&self, value: u64) {
        let bucket = BUCKETS.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

/// A metric read at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The module's name for it; bytes that are not UTF-8 replaced.
    pub name: String,
    /// What it was worth.
    pub value: SnapshotValue,
}

/// A metric's worth at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotValue {
    /// A count.
    Counter(u64),
    /// A level.
    Gauge(u64),
    /// Values per bucket of [`BUCKETS`], not cumulated, and the sum of the values.
    Histogram {
        /// As many as [`BUCKETS`].
        counts: Vec<u64>,
        /// The sum of all values.
        sum: u64,
    },
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new(Quota::default())
    }
}

impl Metrics {
    pub(crate) fn new(quota: Quota) -> Metrics {
        Metrics { by_name: Mutex::default(), quota }
    }

    /// The metric of this kind and name, made at zero if it is new.
    pub(crate) fn define(&self, kind: MetricType, name: &[u8]) -> Result<Arc<Metric>, QuotaExceeded> {
        if name.len() > self.quota.name_bytes {
            return Err(QuotaExceeded);
        }
        let key = (MetricKind::from(kind), name.to_vec());
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = by_name.get(&key) {
            return Ok(metric.clone());
        }
        if by_name.len() >= self.quota.metrics {
            return Err(QuotaExceeded);
        }
        let metric = Arc::new(match kind {
            MetricType::Counter => Metric::Counter(AtomicU64::new(0)),
            MetricType::Gauge => Metric::Gauge(AtomicU64::new(0)),
            MetricType::Histogram => Metric::Histogram(Histogram::default()),
        });
        by_name.insert(key, metric.clone());
        Ok(metric)
    }

    /// All metrics, counters first, each kind by name.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name
            .iter()
            .map(|((_, name), metric)| Snapshot {
                name: String::from_utf8_lossy(name).into_owned(),
                value: metric.read(),
            })
            .collect()
    }
}

impl Metric {
    fn read(&self) -> SnapshotValue {
        match self {
            Metric::Counter(value) => SnapshotValue::Counter(value.load(Ordering::Relaxed)),
            Metric::Gauge(value) => SnapshotValue::Gauge(value.load(Ordering::Relaxed)),
            Metric::Histogram(histogram) => SnapshotValue::Histogram {
                counts: histogram.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
                sum: histogram.sum.load(Ordering::Relaxed),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_and_kind_is_the_same_metric() {
        let metrics = Metrics::default();
        let (one, two) =
            (metrics.define(MetricType::Counter, b"a").unwrap(), metrics.define(MetricType::Counter, b"a").unwrap());
        let other = metrics.define(MetricType::Gauge, b"a").unwrap();
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn a_histogram_counts_each_value_into_the_first_bucket_that_holds_it() {
        let metrics = Metrics::default();
        let metric = metrics.define(MetricType::Histogram, b"h").unwrap();
        let Metric::Histogram(histogram) = &*metric else { panic!("a histogram") };
        for value in [0, 1, 2, 5, 6, u64::MAX / 2] {
            histogram.record(value);
        }
        let [Snapshot { value: SnapshotValue::Histogram { counts, .. }, .. }] = &metrics.snapshot()[..] else {
            panic!("one histogram")
        };
        assert_eq!((counts[0], counts[1], counts[2], counts[18]), (2, 2, 1, 1));
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let metrics = Metrics::new(Quota { metrics: 1, name_bytes: 3, ..Quota::default() });
        assert!(metrics.define(MetricType::Counter, b"abcd").is_err());
        assert!(metrics.define(MetricType::Counter, b"abc").is_ok());
        assert!(metrics.define(MetricType::Counter, b"abd").is_err());
        assert!(metrics.define(MetricType::Counter, b"abc").is_ok(), "what is there stays usable");
    }
}
