//! Which priorities a retry goes to: not those that were tried before, where there are others.
//!
//! Source: Envoy's `extensions/retry/priority/previous_priorities`.

use std::collections::BTreeSet;

use super::balancer::distribute;

/// The priorities one request was sent to, try by try.
#[derive(Debug, Clone, Default)]
pub struct PreviousPriorities {
    /// After so many tries what was tried is left out, and again after as many more.
    frequency: usize,
    tried: Vec<u32>,
    left_out: BTreeSet<usize>,
    loads: Option<Vec<u32>>,
}

impl PreviousPriorities {
    /// Nothing tried yet; `frequency` is the configuration's `update_frequency`.
    pub fn new(frequency: u32) -> PreviousPriorities {
        PreviousPriorities { frequency: usize::try_from(frequency).unwrap_or(usize::MAX).max(1), ..Self::default() }
    }

    /// A try was sent to an endpoint of this priority.
    pub fn tried(&mut self, priority: u32) {
        self.tried.push(priority);
    }

    /// Each priority's share of the next try, in percent; nothing where the cluster's own shares hold. `available` is what each could serve now, in percent of
    /// everything.
    pub fn loads(&mut self, available: &[u32]) -> Option<&[u32]> {
        if self.tried.len() < self.frequency {
            return None;
        }
        if self.tried.len().is_multiple_of(self.frequency) {
            self.left_out.extend(self.tried.iter().filter_map(|priority| usize::try_from(*priority).ok()));
            let left = |left_out: &BTreeSet<usize>| -> Vec<u32> {
                let one = |(at, share): (usize, &u32)| if left_out.contains(&at) { 0 } else { *share };
                available.iter().enumerate().map(one).collect()
            };
            let mut shares = left(&self.left_out);
            // When all were tried, all may be tried again.
            if shares.iter().all(|share| *share == 0) {
                self.left_out.clear();
                self.tried.clear();
                shares = left(&self.left_out);
            }
            self.loads = shares.iter().any(|share| *share > 0).then(|| distribute(&shares));
        }
        self.loads.as_deref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Shares before each try of a request that goes where they say, always to the first that has any; Envoy's order with one endpoint a priority.
    fn order(frequency: u32, available: &[u32], tries: usize) -> Vec<usize> {
        let mut previous = PreviousPriorities::new(frequency);
        let own = distribute(available);
        let mut order = Vec::new();
        for _ in 0..tries {
            let loads = previous.loads(available).unwrap_or(&own);
            let at = loads.iter().position(|load| *load > 0).unwrap();
            order.push(at);
            previous.tried(u32::try_from(at).unwrap());
        }
        order
    }

    #[test]
    fn priorities_are_left_out_once_they_were_tried_and_taken_back_when_all_were() {
        for (frequency, available, expected) in [
            (2, &[100, 100][..], vec![0, 0, 1, 1, 0, 0, 1, 1]),
            (1, &[100, 100], vec![0, 1, 0, 1]),
            (2, &[100, 0, 100], vec![0, 0, 2, 2, 0, 0]),
            (2, &[100], vec![0, 0, 0, 0]),
            (3, &[100, 100], vec![0, 0, 0, 1, 1, 1]),
        ] {
            assert_eq!(order(frequency, available, expected.len()), expected, "{frequency} {available:?}");
        }
    }

    #[test]
    fn what_is_left_serves_everything() {
        assert_eq!(distribute(&[0, 70]), [0, 100]);
        assert_eq!(distribute(&[50, 25]), [67, 33]);
        let mut nobody = PreviousPriorities::new(1);
        nobody.tried(0);
        assert_eq!(nobody.loads(&[0, 0]), None);
    }
}
