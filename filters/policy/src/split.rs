//! Weighted choice: Envoy's fresh draw, and a sticky one whose ramps only ever move keys one way.

use crate::hash::sip;
use crate::order::sorted;

/// Sticky keys fall into this many buckets; a weight is honoured to 1/10,000.
pub const BUCKETS: u16 = 10_000;

/// Envoy's `WeightedCluster`: `random % total` walks the cumulative half-open intervals.
///
/// `None` when the weights sum to nothing.
pub fn draw(weights: &[u32], random: u64) -> Option<usize> {
    let total: u64 = weights.iter().copied().map(u64::from).sum();
    let point = random.checked_rem(total)?;
    let mut end = 0u64;
    weights.iter().position(|&weight| {
        end = end.saturating_add(weight.into());
        point < end
    })
}

/// The bucket of a key, `0..10_000`: the same in every worker, replica and restart. Another salt shuffles anew.
pub fn sticky(salt: &[u8], key: &[u8]) -> u16 {
    let secret = (sip((0, 0), salt), sip((0, 1), salt));
    u16::try_from(sip(secret, key).checked_rem(BUCKETS.into()).unwrap_or_default()).unwrap_or_default()
}

/// Which destination each bucket belongs to.
///
/// The first destination is the ground; every other one has a home, one of `n - 1` equal stretches of the
/// buckets. Odd ones grow up from the start of theirs, even ones down from the end, towards each other; one
/// that outgrows its home goes on into its neighbour's free part, then into the others'. What nobody
/// else holds is the first one's. So:
///
/// * a destination that grows keeps every key it had;
/// * the keys it gains come from the first destination alone, always with two or three destinations, and with more
///   as long as no other one has outgrown its home (a share of `1 / (n - 1)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Where each range ends and whose it is, ascending; the last ends at [`BUCKETS`].
    ranges: Vec<(u16, usize)>,
}

/// All weights are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the weights sum to 0, so no destination would take a request")]
pub struct NoWeight;

/// A home: `free` is what of `[start, end)` nobody holds yet.
struct Home {
    free: (u16, u16),
    upwards: bool,
}

impl Home {
    /// Gives out up to `count` buckets, `near` the side its owner grows from.
    fn take(&mut self, count: u16, near: bool) -> (u16, u16) {
        let (start, end) = self.free;
        let count = count.min(end.saturating_sub(start));
        if near == self.upwards {
            let cut = start.saturating_add(count);
            self.free.0 = cut;
            (start, cut)
        } else {
            let cut = end.saturating_sub(count);
            self.free.1 = cut;
            (cut, end)
        }
    }
}

impl Split {
    /// Lays the destinations out by weight.
    pub fn new(weights: &[u32]) -> Result<Split, NoWeight> {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        if total == 0 {
            return Err(NoWeight);
        }
        let share = |weight: u32| {
            let buckets = u64::from(weight).saturating_mul(BUCKETS.into()).checked_div(total).unwrap_or_default();
            u16::try_from(buckets).unwrap_or(BUCKETS)
        };
        let others = weights.len().saturating_sub(1);
        let mut homes: Vec<Home> = (0..others).map(|n| home(n, others)).collect();
        let mut taken: Vec<(u16, u16, usize)> = Vec::new();
        let mut left: Vec<u16> = weights.iter().skip(1).map(|&weight| share(weight)).collect();
        for (n, (home, left)) in homes.iter_mut().zip(&mut left).enumerate() {
            let (start, end) = home.take(*left, true);
            *left = left.saturating_sub(end.saturating_sub(start));
            taken.push((start, end, n.saturating_add(1)));
        }
        for (n, left) in left.iter_mut().enumerate() {
            for other in std::iter::once(n ^ 1).chain(0..others) {
                if let Some(home) = homes.get_mut(other).filter(|_| other != n) {
                    let (start, end) = home.take(*left, false);
                    *left = left.saturating_sub(end.saturating_sub(start));
                    taken.push((start, end, n.saturating_add(1)));
                }
            }
        }
        // Rounding leaves at most one bucket per destination; a destination of weight 0 gets none of them.
        let ground = weights.iter().position(|&weight| weight > 0).unwrap_or_default();
        Ok(Split { ranges: ranges(taken, ground) })
    }

    /// The destination of a bucket.
    pub fn pick(&self, bucket: u16) -> usize {
        let at = self.ranges.partition_point(|&(end, _)| end <= bucket);
        self.ranges.get(at).or(self.ranges.last()).map_or(0, |&(_, destination)| destination)
    }
}

fn home(n: usize, of: usize) -> Home {
    let border = |n: usize| {
        let at = n.saturating_mul(BUCKETS.into()).checked_div(of).unwrap_or_default();
        u16::try_from(at).unwrap_or(BUCKETS)
    };
    Home { free: (border(n), border(n.saturating_add(1))), upwards: n & 1 == 0 }
}

fn ranges(mut taken: Vec<(u16, u16, usize)>, ground: usize) -> Vec<(u16, usize)> {
    taken.retain(|(start, end, _)| start < end);
    let taken = sorted(taken, &mut Ord::cmp);
    let mut ranges: Vec<(u16, usize)> = Vec::new();
    let mut at = 0;
    let mut push = |end: u16, destination: usize| match ranges.last_mut() {
        Some(last) if last.1 == destination => last.0 = end,
        _ => ranges.push((end, destination)),
    };
    for (start, end, destination) in taken {
        if at < start {
            push(start, ground);
        }
        push(end, destination);
        at = end;
    }
    if at < BUCKETS {
        push(BUCKETS, ground);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn counts(weights: &[u32]) -> Vec<usize> {
        let split = Split::new(weights).unwrap();
        let mut counts = vec![0; weights.len()];
        for bucket in 0..BUCKETS {
            counts[split.pick(bucket)] += 1;
        }
        counts
    }

    sentences! {
        fn envoys_draw_walks_half_open_intervals() {
            let weights = [30, 30, 40];
            for (random, expected) in [(115, 0), (29, 0), (30, 1), (445, 1), (560, 2), (99, 2), (100, 0)] {
                assert_eq!(draw(&weights, random), Some(expected), "{random}");
            }
        }

        fn a_draw_over_nothing_is_none() {
            assert_eq!(draw(&[], 7), None);
            assert_eq!(draw(&[0, 0], 7), None);
            assert_eq!(draw(&[0, 1, 0], 7), Some(1));
        }

        fn shares_are_exact_to_a_bucket_each() {
            assert_eq!(counts(&[90, 10]), [9000, 1000]);
            assert_eq!(counts(&[1, 1, 1]), [3334, 3333, 3333]);
            assert_eq!(counts(&[10_000, 1]), [9_999 + 1, 0]);
            assert_eq!(counts(&[9_999, 1]), [9_999, 1]);
            assert_eq!(counts(&[1]), [10_000]);
            assert_eq!(counts(&[5, 50, 30, 15]), [500, 5000, 3000, 1500]);
        }

        fn a_weight_of_zero_takes_nothing() {
            assert_eq!(counts(&[0, 1, 2]), [0, 3334, 6666]);
            assert_eq!(counts(&[0, 1]), [0, 10_000]);
            assert_eq!(counts(&[3, 0, 0]), [10_000, 0, 0]);
        }

        fn weights_that_sum_to_nothing_are_refused() {
            assert_eq!(Split::new(&[0, 0]), Err(NoWeight));
            assert_eq!(Split::new(&[]), Err(NoWeight));
        }

        fn a_key_stays_in_its_bucket() {
            assert_eq!(sticky(b"canary", b"ann"), sticky(b"canary", b"ann"));
            assert_ne!(sticky(b"canary", b"ann"), sticky(b"canary-2", b"ann"));
            // Written down, so that a change of the hash cannot pass unseen: it would move every user.
            assert_eq!((sticky(b"canary", b"ann"), sticky(b"", b"")), STICKY_VECTORS);
        }
    }

    const STICKY_VECTORS: (u16, u16) = (4690, 8379);

    #[cfg(not(target_family = "wasm"))]
    mod laws {
        use super::super::*;
        use proptest::prelude::*;

        fn of(split: &Split, destination: usize) -> Vec<u16> {
            (0..BUCKETS).filter(|&bucket| split.pick(bucket) == destination).collect()
        }

        /// Weights of one total, and the same with some of the first one's given to another.
        fn ramp(destinations: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = (Vec<u32>, Vec<u32>, usize)> {
            let weights = prop::collection::vec(0u32..=3000, destinations);
            (weights, any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_filter_map(
                "the first has something to give",
                |(before, who, how_much)| {
                    let grown = 1 + who.index(before.len() - 1);
                    let moved =
                        1 + u32::try_from(how_much.index(usize::try_from(before[0]).ok()?.checked_sub(1)? + 1)).ok()?;
                    let mut after = before.clone();
                    after[0] -= moved;
                    after[grown] += moved;
                    Some((before, after, grown))
                },
            )
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 100_000, ..ProptestConfig::default() })]

            #[test]
            fn growing_takes_keys_from_the_first_alone((before, after, grown) in ramp(2..=3)) {
                let (old, new) = (Split::new(&before).unwrap(), Split::new(&after).unwrap());
                for bucket in 0..BUCKETS {
                    let (was, is) = (old.pick(bucket), new.pick(bucket));
                    prop_assert!(was == is || (was == 0 && is == grown) || rounding(&before, &after), "{was} {is}");
                }
            }

            #[test]
            fn growing_never_loses_a_key((before, after, grown) in ramp(2..=8)) {
                let (old, new) = (Split::new(&before).unwrap(), Split::new(&after).unwrap());
                for bucket in of(&old, grown) {
                    prop_assert_eq!(new.pick(bucket), grown);
                }
            }

            #[test]
            fn within_their_homes_nobody_else_moves((before, after, grown) in ramp(4..=8)) {
                let others = u32::try_from(before.len() - 1).unwrap();
                let total: u32 = before.iter().sum();
                prop_assume!(after[1..].iter().all(|&weight| weight * others <= total));
                prop_assume!(!rounding(&before, &after));
                let (old, new) = (Split::new(&before).unwrap(), Split::new(&after).unwrap());
                for bucket in 0..BUCKETS {
                    let (was, is) = (old.pick(bucket), new.pick(bucket));
                    prop_assert!(was == is || (was == 0 && is == grown));
                }
            }

            #[test]
            fn every_share_is_right_to_a_bucket(weights in prop::collection::vec(0u32..=10_000, 1..=12)) {
                prop_assume!(weights.iter().any(|&weight| weight > 0));
                let total: u64 = weights.iter().copied().map(u64::from).sum();
                let split = Split::new(&weights).unwrap();
                for (n, &weight) in weights.iter().enumerate() {
                    let exact = u64::from(weight) * u64::from(BUCKETS) / total;
                    let got = of(&split, n).len() as u64;
                    let slack = if weight == 0 { 0 } else { weights.len() as u64 };
                    prop_assert!(got >= exact && got <= exact + slack, "{n}: {got} of {exact}");
                }
            }
        }

        /// The bucket or two that rounding leaves belong to whoever is first with a weight; when that changes, they move.
        fn rounding(before: &[u32], after: &[u32]) -> bool {
            (before[0] == 0) != (after[0] == 0)
        }

        /// The upper quantile of the chi-square distribution (Wilson and Hilferty), at p = 1e-4.
        fn chi_square_limit(degrees: f64) -> f64 {
            let spread = 2.0 / (9.0 * degrees);
            degrees * (1.0 - spread + 3.719 * spread.sqrt()).powi(3)
        }

        #[test]
        fn a_million_keys_spread_evenly() {
            let mut seen = vec![0u32; usize::from(BUCKETS)];
            for n in 0..1_000_000u32 {
                seen[usize::from(sticky(b"canary", format!("user-{n}").as_bytes()))] += 1;
            }
            let expected = 1_000_000.0 / f64::from(BUCKETS);
            let chi: f64 = seen.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
            assert!(chi < chi_square_limit(f64::from(BUCKETS) - 1.0), "{chi}");
        }
    }
}
