//! A token bucket that several threads draw from.
//!
//! Source: Envoy's `common/token_bucket_impl.cc` (`AtomicTokenBucketImpl`): tokens flow in continuously and are kept as the moment at
//! which the bucket was (or would have been) empty.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A bucket and what is in it.
#[derive(Debug)]
pub struct Bucket {
    max: f64,
    /// Tokens a second.
    rate: f64,
    /// Seconds on the caller's clock, as the bits of an `f64`; negative infinity for a bucket nobody drew from.
    empty_at: AtomicU64,
}

/// A bucket's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// It holds so many tokens, and starts full.
    pub max_tokens: u32,
    /// So many flow in per interval.
    pub tokens_per_fill: u32,
    /// At least 50 ms.
    pub fill_interval: Duration,
}

impl Bucket {
    /// A full bucket.
    pub fn new(shape: Shape) -> Bucket {
        let rate = f64::from(shape.tokens_per_fill) / shape.fill_interval.as_secs_f64();
        Bucket { max: shape.max_tokens.into(), rate, empty_at: AtomicU64::new(f64::NEG_INFINITY.to_bits()) }
    }

    /// Takes `tokens`, all or none.
    pub fn consume(&self, tokens: u32, now: Duration) -> bool {
        let (wanted, now) = (f64::from(tokens), now.as_secs_f64());
        let mut old = self.empty_at.load(Ordering::Relaxed);
        loop {
            let there = self.tokens_at(f64::from_bits(old), now);
            if there < wanted {
                return false;
            }
            let new = now - (there - wanted) / self.rate;
            match self.empty_at.compare_exchange_weak(old, new.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
    }

    fn tokens_at(&self, empty_at: f64, now: f64) -> f64 {
        ((now - empty_at) * self.rate).min(self.max)
    }

    /// What is in it, fractions included.
    pub fn tokens(&self, now: Duration) -> f64 {
        self.tokens_at(f64::from_bits(self.empty_at.load(Ordering::Relaxed)), now.as_secs_f64()).max(0.0)
    }

    /// What fits in.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Tokens a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Until there is a whole token.
    pub fn next_token_in(&self, now: Duration) -> Duration {
        let tokens = self.tokens(now);
        if tokens >= 1.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64((1.0 - tokens) / self.rate).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn bucket(max_tokens: u32, tokens_per_fill: u32, millis: u64) -> Bucket {
        Bucket::new(Shape { max_tokens, tokens_per_fill, fill_interval: at(millis) })
    }

    #[test]
    fn a_bucket_starts_full_and_empties() {
        let bucket = bucket(2, 2, 5000);
        assert_eq!([0, 0, 0].map(|t| bucket.consume(1, at(t))), [true, true, false]);
    }

    #[test]
    fn tokens_flow_in_continuously() {
        let bucket = bucket(2, 2, 5000);
        assert!(bucket.consume(2, at(0)));
        assert!(!bucket.consume(1, at(2400)));
        assert!(bucket.consume(1, at(2500)));
        assert!(!bucket.consume(1, at(2600)));
    }

    #[test]
    fn no_more_than_the_bucket_holds_is_saved_up() {
        let bucket = bucket(3, 1, 50);
        assert!(bucket.consume(3, at(0)));
        assert_eq!([60_000; 4].map(|t| bucket.consume(1, at(t))), [true, true, true, false]);
    }

    #[test]
    fn an_empty_shape_always_denies() {
        assert!(!bucket(0, 1, 50).consume(1, at(1000)));
    }

    #[test]
    fn it_says_when_the_next_token_comes() {
        let bucket = bucket(1, 1, 1000);
        assert_eq!(bucket.next_token_in(at(0)), Duration::ZERO);
        assert!(bucket.consume(1, at(0)));
        assert_eq!(bucket.next_token_in(at(250)), at(750));
    }
}
