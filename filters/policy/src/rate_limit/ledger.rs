//! How limits stand, for whoever may read shared data: what is left, and for how many keys. Keys themselves are not kept anywhere.

use std::time::Duration;

use super::RateLimit;
use super::quota::Standing;
use super::table::Set;

/// One rule's buckets at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// The rule's name.
    pub rule: String,
    /// Refusals are counted, and nothing more.
    pub shadow: bool,
    /// So many requests, in so much time, as the rule promises them.
    pub promise: (u32, Duration),
    /// What an untouched bucket holds, in requests.
    pub capacity: u64,
    /// Keys whose bucket has not filled up again.
    pub keys: usize,
    /// Of these, keys whose next request would be refused.
    pub empty: usize,
    /// What is left in the emptiest bucket, and until it is full again; a full one's without any.
    pub least: Standing,
    /// What is left in the bucket shared by keys that found no room; none while nobody had to.
    pub overflow: Option<Standing>,
}

impl RateLimit {
    /// Every rule's state at `now`, a reading of the modules' monotonic clock in nanoseconds. `sets` hands over every value of shared data
    /// whose key begins with what it is given, each with the rest of its key.
    pub fn ledger(&self, now: u64, sets: impl Fn(&str) -> Vec<(Vec<u8>, Vec<u8>)>) -> Vec<RuleState> {
        let state = |rule: &crate::rules::Rule<super::Limit>| {
            let (limit, place) = (&rule.action, &rule.action.place);
            let untouched = limit.quota.standing_of(now, None);
            let mut state = RuleState {
                rule: rule.name.to_string(),
                shadow: limit.shadow,
                promise: (limit.promise.0, Duration::from_secs(limit.promise.1)),
                capacity: untouched.remaining,
                keys: 0,
                empty: 0,
                least: untouched,
                overflow: None,
            };
            for (key, value) in sets(place.prefix()) {
                let set = Set::read(&value, place.shape());
                for standing in set.taken(&limit.quota, now) {
                    if key == b"overflow" {
                        state.overflow = Some(standing);
                        continue;
                    }
                    state.keys += 1;
                    state.empty += usize::from(standing.remaining == 0);
                    if standing.remaining < state.least.remaining {
                        state.least = standing;
                    }
                }
            }
            state
        };
        self.rules.iter().map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::module::Module;
    use crate::rate_limit::quota::Quota;
    use crate::rate_limit::table::Charged;

    const SECOND: u64 = 1_000_000_000;

    /// Charges these keys once each at one second, and reads the state a little later.
    fn state_after(keys: &[u64], later: u64) -> RuleState {
        let text = br#"{"rules": [{"name": "per-user", "key": [{"header": "x-user"}], "limit": {"requests": 2, "per": "10s"}}]}"#;
        let limits = RateLimit::parse(text, &mut Metrics::default()).unwrap();
        let quota = Quota::new(2, Duration::from_secs(10), 2, 1);
        let place = super::super::store::Place::new("per-user", 131_072, &quota);
        let mut set = Set::new(place.shape());
        for key in keys {
            assert!(matches!(set.charge(*key, &quota, SECOND, 1), Charged::Own { .. }));
        }
        let value = set.bytes();
        let states = limits.ledger(SECOND + later, |prefix| {
            assert_eq!(prefix, "sluice.per-user.");
            vec![(b"17".to_vec(), value.clone()), (b"18".to_vec(), b"of another shape".to_vec())]
        });
        states.into_iter().next().unwrap()
    }

    #[test]
    fn an_untouched_rule_has_all_it_promises() {
        let state = state_after(&[], 0);
        assert_eq!(
            (state.capacity, state.keys, state.empty, state.least.remaining, state.overflow),
            (2, 0, 0, 2, None)
        );
        assert_eq!(state.promise, (2, Duration::from_secs(10)));
    }

    #[test]
    fn the_emptiest_bucket_is_told_until_it_has_filled_up() {
        let state = state_after(&[5, 5, 6], 0);
        assert_eq!((state.keys, state.empty, state.least.remaining), (2, 1, 0));
        assert_eq!(state.least.reset, Duration::from_secs(10));
        let later = state_after(&[5, 5, 6], 6 * SECOND);
        assert_eq!((later.keys, later.empty, later.least.remaining), (1, 0, 1));
        assert_eq!(state_after(&[5, 5, 6], 10 * SECOND).keys, 0);
    }
}
