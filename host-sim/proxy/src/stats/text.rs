//! `/stats` as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::group::Sample;
use super::histogram::Distribution;

/// The shares Envoy prints, and how it names them.
const QUANTILES: [(&str, f64); 10] = [
    ("P0", 0.0),
    ("P25", 0.25),
    ("P50", 0.5),
    ("P75", 0.75),
    ("P90", 0.9),
    ("P95", 0.95),
    ("P99", 0.99),
    ("P99.5", 0.995),
    ("P99.9", 0.999),
    ("P100", 1.0),
];

/// Counters and gauges by name, then histograms by name.
pub(super) fn print(samples: &BTreeMap<String, Sample>) -> String {
    let (mut numbers, mut histograms) = (String::new(), String::new());
    for (name, sample) in samples {
        // Writing to a String does not fail.
        let _ = match sample {
            Sample::Counter(value) | Sample::Gauge { value, .. } => writeln!(numbers, "{name}: {value}"),
            Sample::Histogram(distribution) => writeln!(histograms, "{name}: {}", quantiles(distribution)),
        };
    }
    numbers + &histograms
}

fn quantiles(distribution: &Distribution) -> String {
    let named = |(name, share): &(&str, f64)| Some(format!("{name}(nan,{})", distribution.quantile(*share)?));
    let printed: Option<Vec<String>> = QUANTILES.iter().map(named).collect();
    printed.map_or_else(|| "No recorded values".to_owned(), |quantiles| quantiles.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_first_and_everything_is_sorted() {
        let samples = BTreeMap::from([
            ("b.time".to_owned(), Sample::Histogram(Distribution::of(&[0, 42]))),
            ("a.time".to_owned(), Sample::Histogram(Distribution::default())),
            ("c.total".to_owned(), Sample::Counter(7)),
            ("b.active".to_owned(), Sample::Gauge { value: 1, used: true }),
        ]);
        let expected = "b.active: 1\nc.total: 7\na.time: No recorded values\n\
            b.time: P0(nan,0) P25(nan,0) P50(nan,0) P75(nan,42.5) P90(nan,42.5) P95(nan,42.5) P99(nan,42.5) \
            P99.5(nan,42.5) P99.9(nan,42.5) P100(nan,42.5)\n";
        assert_eq!(print(&samples), expected);
    }
}
