//! How much may pass: the generic cell rate algorithm in whole numbers, nothing rounded.
//!
//! One number is kept per key: the time at which its bucket will be full again. Time is counted in units of
//! `1 / requests` nanoseconds, so that one request costs exactly `per` of them, whatever the rate.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// `requests` in `per`, and at most `burst` at once; a share of it where replicas divide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    requests: u128,
    /// What one request costs, in units of time.
    emission: u128,
    /// What an untouched bucket holds, in units of time.
    capacity: u128,
}

/// When a bucket will be full again, in units of its quota. Long past for an untouched one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FullAt(pub u128);

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It passes; this is the bucket now.
    Allowed {
        /// To be remembered.
        full_at: FullAt,
        /// How it stands.
        standing: Standing,
    },
    /// It does not; nothing was taken.
    Refused {
        /// To be remembered instead of a bucket that another time wrote, so that this one fills from now on.
        repaired: Option<FullAt>,
        /// As long as this, nothing of the same cost will pass.
        retry_after: Duration,
        /// How it stands.
        standing: Standing,
    },
}

/// What a client may be told about its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests that would pass at once.
    pub remaining: u64,
    /// Until it is full again.
    pub reset: Duration,
}

impl Quota {
    /// `requests`, `burst` and `replicas` are at least 1, `per` is not 0; 0 counts as 1.
    pub fn new(requests: u32, per: Duration, burst: u32, replicas: u32) -> Quota {
        let period = per.as_nanos().max(1);
        let emission = period.saturating_mul(replicas.max(1).into());
        // A share of a burst may be less than one request; one request always fits.
        let capacity = period.saturating_mul(burst.max(1).into()).max(emission);
        Quota { requests: requests.max(1).into(), emission, capacity }
    }

    /// Asks for `cost` requests at `now`, nanoseconds of a clock that only moves forward while nothing is wrong.
    ///
    /// A clock that jumps ahead fills the bucket, never beyond its capacity. One that falls back leaves it empty at worst:
    /// a bucket that claims to be more than empty was written under another time.
    pub fn admit(&self, now: u64, bucket: Option<FullAt>, cost: u32) -> Admission {
        let now = self.units(now);
        let empty = now.saturating_add(self.capacity);
        let FullAt(before) = bucket.unwrap_or_default();
        let before = before.clamp(now, empty);
        let after = before.saturating_add(self.emission.saturating_mul(cost.into()));
        if after <= empty {
            return Admission::Allowed { full_at: FullAt(after), standing: self.standing(empty, after, now) };
        }
        let retry_after = self.time(after.saturating_sub(empty));
        let repaired = bucket.filter(|bucket| bucket.0 > empty).map(|_| FullAt(before));
        Admission::Refused { repaired, retry_after, standing: self.standing(empty, before, now) }
    }

    /// Has the bucket filled up, so that forgetting it changes nothing?
    pub fn is_full(&self, now: u64, FullAt(full_at): FullAt) -> bool {
        full_at <= self.units(now)
    }

    /// How a bucket stands, nothing asked of it; an untouched one without any.
    pub fn standing_of(&self, now: u64, bucket: Option<FullAt>) -> Standing {
        let now = self.units(now);
        let empty = now.saturating_add(self.capacity);
        let FullAt(full_at) = bucket.unwrap_or_default();
        self.standing(empty, full_at.clamp(now, empty), now)
    }

    fn units(&self, now: u64) -> u128 {
        self.requests.saturating_mul(now.into())
    }

    /// Rounded up: a promise about time is kept by waiting longer.
    fn time(&self, units: u128) -> Duration {
        let nanos = units.div_ceil(self.requests);
        let seconds = u64::try_from(nanos.div_euclid(NANOS)).unwrap_or(u64::MAX);
        Duration::new(seconds, u32::try_from(nanos.rem_euclid(NANOS)).unwrap_or_default())
    }

    fn standing(&self, empty: u128, full_at: u128, now: u128) -> Standing {
        let left = empty.saturating_sub(full_at).checked_div(self.emission).unwrap_or_default();
        Standing { remaining: u64::try_from(left).unwrap_or(u64::MAX), reset: self.time(full_at.saturating_sub(now)) }
    }

    /// What makes remembered buckets comparable: under another quota they mean something else.
    pub fn shape(&self) -> [u8; 48] {
        let mut shape = [0; 48];
        let numbers = [self.requests, self.emission, self.capacity].map(u128::to_le_bytes).concat();
        for (slot, byte) in shape.iter_mut().zip(numbers) {
            *slot = byte;
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::sentences;

    const SECOND: u64 = 1_000_000_000;

    /// The requests that pass, by their time in milliseconds.
    fn passing(quota: Quota, times: &[u64]) -> Vec<u64> {
        let mut bucket = None;
        times
            .iter()
            .copied()
            .filter(|&millis| match quota.admit(10 * SECOND + millis * 1_000_000, bucket, 1) {
                Admission::Allowed { full_at, .. } => {
                    bucket = Some(full_at);
                    true
                }
                Admission::Refused { .. } => false,
            })
            .collect()
    }

    sentences! {
        fn a_burst_passes_and_then_the_rate() {
            let quota = Quota::new(2, Duration::from_secs(1), 3, 1);
            assert_eq!(passing(quota, &[0, 0, 0, 0, 499, 500, 501, 1000]), [0, 0, 0, 500, 1000]);
        }

        fn a_full_bucket_holds_no_more_than_a_burst() {
            let quota = Quota::new(10, Duration::from_secs(1), 2, 1);
            assert_eq!(passing(quota, &[0, 3_600_000, 3_600_000, 3_600_000]), [0, 3_600_000, 3_600_000]);
        }

        fn no_fraction_is_lost() {
            let quota = Quota::new(3, Duration::from_secs(1), 2, 1);
            let every_third: Vec<u64> = (0..3000).map(|n| (n * 1000u64).div_ceil(3)).collect();
            assert_eq!(passing(quota, &every_third).len(), 3000);
        }

        fn replicas_share_rate_and_burst() {
            let whole = Quota::new(10, Duration::from_secs(1), 10, 1);
            let third = Quota::new(10, Duration::from_secs(1), 10, 3);
            let times: Vec<u64> = (0..10_000).collect();
            assert_eq!(passing(whole, &times).len(), 109);
            assert_eq!(passing(third, &times).len(), 36);
        }

        fn a_share_of_a_burst_still_admits_one() {
            let quota = Quota::new(1, Duration::from_secs(1), 1, 5);
            assert_eq!(passing(quota, &[0, 1000, 4999, 5000]), [0, 5000]);
        }

        fn retry_after_is_long_enough_and_not_longer() {
            let quota = Quota::new(3, Duration::from_secs(10), 2, 1);
            let Admission::Allowed { full_at, .. } = quota.admit(SECOND, None, 2) else { panic!() };
            let Admission::Refused { retry_after, .. } = quota.admit(SECOND, Some(full_at), 1) else { panic!() };
            let then = SECOND + u64::try_from(retry_after.as_nanos()).unwrap();
            assert!(matches!(quota.admit(then, Some(full_at), 1), Admission::Allowed { .. }));
            assert!(matches!(quota.admit(then - 1, Some(full_at), 1), Admission::Refused { .. }));
        }

        fn a_client_is_told_how_it_stands() {
            let quota = Quota::new(10, Duration::from_secs(10), 5, 1);
            let Admission::Allowed { standing, .. } = quota.admit(SECOND, None, 1) else { panic!() };
            assert_eq!(standing, Standing { remaining: 4, reset: Duration::from_secs(1) });
        }

        fn the_extremes_hold() {
            for (requests, per, burst) in [(1, 86_400, 1), (1_000_000_000, 1, 1_000_000_000), (1, 1, u32::MAX), (u32::MAX, 86_400, u32::MAX)] {
                let quota = Quota::new(requests, Duration::from_secs(per), burst, 10_000);
                for now in [0, 1, u64::MAX / 2, u64::MAX] {
                    let first = quota.admit(now, None, 1);
                    assert!(matches!(first, Admission::Allowed { .. }), "{requests} {per} {burst} {now}");
                    assert!(matches!(quota.admit(now, Some(FullAt(u128::MAX)), 1), Admission::Refused { .. }));
                }
            }
        }
    }

    /// One million schedules: random quotas, random arrivals, a clock that also steps ahead and back by up to ten years.
    ///
    /// Counted against the time the clock moved forward, never more than burst + rate * time + 1 pass; and within each
    /// stretch without a step back, while demand exceeds the limit, never fewer than rate * time - 1.
    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn over_a_million_schedules_the_bounds_hold() {
        let mut dice = Dice::new(20_261_121);
        for _ in 0..1_000_000u32 {
            one_schedule(&mut dice);
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn one_schedule(dice: &mut Dice) {
        let requests = u32::try_from(1 + dice.below(50)).unwrap();
        let per = 1 + dice.below(20);
        let burst = u32::try_from(1 + dice.below(20)).unwrap();
        let quota = Quota::new(requests, Duration::from_secs(per), burst, 1);
        let interval = per * SECOND / u64::from(requests);
        let start = match dice.below(4) {
            0 => 0,
            1 => u64::MAX - dice.below(SECOND * 100),
            _ => dice.roll() >> 8,
        };
        let (mut now, mut forward, mut admitted, mut bucket) = (start, 0u128, 0u128, None);
        // Since the last step back: time gone by, requests admitted, and whether every moment was asked for.
        let (mut stretch, mut stretch_admitted) = (0u128, 0u128);
        let allowance = |time: u128| time * u128::from(requests) / (u128::from(per) * u128::from(SECOND));
        for _ in 0..16 {
            let before = now;
            now = match dice.below(12) {
                0 => now.saturating_add(dice.below(10 * 365 * 86_400 * SECOND)),
                1 => now.saturating_sub(dice.below(10 * 365 * 86_400 * SECOND)),
                2 => now.saturating_sub(1 + dice.below(interval)),
                _ => now.saturating_add(dice.below(2 * interval)),
            };
            if now < before {
                (stretch, stretch_admitted) = (0, 0);
            } else {
                forward += u128::from(now - before);
                stretch += u128::from(now - before);
            }
            // As many as there are, and one more: demand exceeds the limit.
            loop {
                match quota.admit(now, bucket, 1) {
                    Admission::Allowed { full_at, .. } => {
                        bucket = Some(full_at);
                        admitted += 1;
                        stretch_admitted += 1;
                    }
                    Admission::Refused { repaired, .. } => {
                        bucket = repaired.or(bucket);
                        break;
                    }
                }
            }
            assert!(admitted <= u128::from(burst) + allowance(forward) + 1, "{quota:?}");
            // What a long jump would have filled beyond the capacity is lost, as it must be.
            let capped = allowance(stretch).min(u128::from(burst));
            assert!(stretch_admitted + 1 >= capped, "{quota:?} {stretch_admitted} {capped}");
        }
    }
}
