//! A distribution of whole numbers, kept as Envoy's library (circllhist) keeps it: bins of two significant digits.
//!
//! A value of 1 to 9 has a bin a tenth wide (`[4.0, 4.1)`), 10 to 99 a bin one wide, 1,066 falls into `[1000, 1100)`, and zero is a bin without width.
//! What is printed comes from the bins, not from the values: a lone 42 has a median of 42.5.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::cell::Counter;

/// Mantissas 10 to 99.
const MANTISSAS: u64 = 90;
/// u64 has up to twenty digits.
const DECADES: u64 = 20;

/// Counts values in one worker.
#[derive(Debug, Default)]
pub struct Histogram {
    zero: Counter,
    bins: OnceLock<Box<[Counter]>>,
}

impl Histogram {
    /// Takes a value; its unit is in the histogram's name (milliseconds, mostly).
    pub fn record(&self, value: u64) {
        if value == 0 {
            self.zero.inc();
            return;
        }
        let bins = self.bins.get_or_init(|| (0..MANTISSAS * DECADES).map(|_| Counter::default()).collect());
        if let Some(bin) = usize::try_from(Bin::of(value).index()).ok().and_then(|index| bins.get(index)) {
            bin.inc();
        }
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Distribution {
        let mut counted = Distribution { zero: self.zero.value(), ..Distribution::default() };
        for (index, bin) in (0_u64..).zip(self.bins.get().into_iter().flat_map(|bins| bins.iter())) {
            if bin.value() > 0 {
                counted.bins.insert(Bin::at(index), bin.value());
            }
        }
        counted
    }
}

/// `[mantissa, mantissa + 1) * 10^decade / 10`, mantissa from 10 to 99. Ordered by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Bin {
    decade: u32,
    mantissa: u8,
}

impl Bin {
    /// `value` is not zero.
    fn of(value: u64) -> Self {
        let decade = value.checked_ilog10().unwrap_or(0);
        let two_digits = match decade {
            0 => value * 10,
            _ => value / 10_u64.pow(decade - 1),
        };
        Self { decade, mantissa: u8::try_from(two_digits).unwrap_or(u8::MAX) }
    }

    fn at(index: u64) -> Self {
        let mantissa = u8::try_from(index % MANTISSAS + 10).unwrap_or(u8::MAX);
        Self { decade: u32::try_from(index / MANTISSAS).unwrap_or(u32::MAX), mantissa }
    }

    fn index(self) -> u64 {
        u64::from(self.decade) * MANTISSAS + u64::from(self.mantissa) - 10
    }

    fn low(self) -> f64 {
        f64::from(self.mantissa) / 10.0 * self.power()
    }

    fn width(self) -> f64 {
        self.power() / 10.0
    }

    fn power(self) -> f64 {
        10_f64.powi(i32::try_from(self.decade).unwrap_or(i32::MAX))
    }

    /// Where a sample is thought to lie when all are added up: the harmonic mean of the bin's ends, as density falls with size.
    fn middle(self) -> f64 {
        let (low, high) = (self.low(), self.low() + self.width());
        2.0 * low * high / (low + high)
    }
}

/// Values counted by bin; the sum of several workers' histograms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    zero: u64,
    bins: BTreeMap<Bin, u64>,
    /// The sum where it is known and need not be estimated.
    sum: Option<u64>,
}

impl Distribution {
    /// Takes in another worker's.
    pub fn merge(&mut self, other: &Self) {
        self.zero += other.zero;
        self.sum = self.sum.zip(other.sum).map(|(sum, more)| sum + more);
        for (bin, count) in &other.bins {
            *self.bins.entry(*bin).or_default() += count;
        }
    }

    /// The middle of every bin that is not empty, with its count, the smallest first.
    pub fn bins(&self) -> Vec<(f64, u64)> {
        let zero = (self.zero > 0).then_some((0.0, self.zero));
        zero.into_iter().chain(self.bins.iter().map(|(bin, count)| (bin.middle(), *count))).collect()
    }

    /// A distribution of these values.
    pub fn of(values: &[u64]) -> Self {
        let histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram.snapshot()
    }

    /// A distribution of which only buckets (upper bound, count) and the sum are known. Each value is put at its bucket's bound.
    pub fn of_buckets(buckets: impl IntoIterator<Item = (u64, u64)>, sum: u64) -> Self {
        let filled = buckets.into_iter().filter(|(bound, count)| *bound > 0 && *count > 0);
        let bins = filled.map(|(bound, count)| (Bin::of(bound), count)).collect();
        Self { zero: 0, bins, sum: Some(sum) }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.zero + self.bins.values().sum::<u64>()
    }

    /// All values added up; where that is not known, each is taken to be its bin's middle.
    pub fn sum(&self) -> f64 {
        if let Some(sum) = self.sum {
            return lossy(sum);
        }
        self.bins.iter().map(|(bin, count)| bin.middle() * lossy(*count)).sum()
    }

    /// How many values lie in bins that begin at or below `bound`: the cumulative bucket `le="bound"`.
    pub fn at_or_below(&self, bound: f64) -> u64 {
        self.zero + self.bins.iter().take_while(|(bin, _)| bin.low() <= bound).map(|(_, count)| count).sum::<u64>()
    }

    /// The value below which `share` (0 to 1) of the samples lie; the samples of a bin are spread evenly over it. Nothing counted: none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * lossy(self.count())).ceil().max(1.0);
        let mut below = lossy(self.zero);
        if self.zero > 0 && rank <= below {
            return Some(0.0);
        }
        for (bin, count) in &self.bins {
            let count = lossy(*count);
            if rank <= below + count {
                return Some(bin.low() + bin.width() * ((rank - below) / (count + 1.0)));
            }
            below += count;
        }
        None
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 do not happen, and would only lose their last digit"
)]
fn lossy(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantiles Envoy 1.40 printed for these values.
    fn prints(values: &[u64], quantiles: &[(f64, &str)]) {
        let distribution = Distribution::of(values);
        for (share, printed) in quantiles {
            let got = distribution.quantile(*share).map(|value| value.to_string());
            assert_eq!(got.as_deref(), Some(*printed), "P{} of {values:?}", share * 100.0);
        }
    }

    #[test]
    fn the_samples_of_a_bin_are_spread_over_it() {
        let ones = [1; 35];
        prints(
            &ones,
            &[(0.0, "1.0027777777777778"), (0.5, "1.05"), (0.9, "1.0888888888888888"), (1.0, "1.0972222222222223")],
        );
        prints(
            &[1, 1, 42, 43, 43, 45, 46],
            &[(0.0, "1.0333333333333334"), (0.25, "1.0666666666666667"), (0.5, "43.333333333333336"), (0.75, "45.5")],
        );
        prints(&[995], &[(0.5, "995")]);
    }

    #[test]
    fn zero_has_a_bin_of_its_own() {
        prints(&[0, 0, 0, 42], &[(0.0, "0"), (0.75, "0"), (1.0, "42.5")]);
    }

    #[test]
    fn a_bucket_holds_the_bins_that_begin_at_or_below_its_bound() {
        let distribution = Distribution::of(&[0, 1, 4, 1_066, 2_400, 3_600_001]);
        let got: Vec<u64> =
            [0.5, 1.0, 5.0, 1_000.0, 2_500.0, 3_600_000.0].iter().map(|le| distribution.at_or_below(*le)).collect();
        assert_eq!(got, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_sum_adds_the_middles_of_bins() {
        let mut values = vec![0; 10];
        values.extend([4, 42, 43]);
        assert!((Distribution::of(&values).sum() - 90.037_753_236_671_42).abs() < 1e-12);
    }

    #[test]
    fn every_number_has_a_bin() {
        for value in [1, 9, 10, 99, 100, 999, 1_000, 12_345, u64::MAX] {
            let bin = Bin::of(value);
            assert_eq!(Bin::at(bin.index()), bin, "{value}");
            assert!(bin.low() <= value as f64 && value as f64 <= bin.low() + bin.width(), "{value} in {bin:?}");
        }
    }
}
