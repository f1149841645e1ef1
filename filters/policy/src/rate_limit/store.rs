//! Charging through shared data: read, decide, write if nobody wrote meanwhile.

use super::quota::{Admission, Quota};
use super::table::{Charged, Set};
use crate::hash::sip;
use crate::world::{Kept, Stored, World};

/// Attempts before a charge is given up. Two workers rarely meet; nine times in a row they do not by chance.
const ATTEMPTS: u32 = 9;

/// A compare-and-swap under this number succeeds on an absent key alone: no proxy ever issues it.
const ONLY_IF_ABSENT: u32 = u32::MAX;

/// Where a rule's buckets lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `sluice.<rule>.`
    prefix: String,
    sets: u64,
    shape: u64,
}

/// The answer to a charge, and what happened on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// `None` if shared data gave no answer.
    pub admission: Option<Admission>,
    /// Somebody wrote meanwhile, so many times.
    pub retries: u32,
    /// Another key's bucket, which was full, made room.
    pub evicted: bool,
    /// The key had to share the overflow bucket.
    pub overflow: bool,
}

impl Place {
    /// `max_keys` is rounded up to whole sets.
    pub fn new(rule: &str, max_keys: u64, quota: &Quota) -> Place {
        let sets = max_keys.div_ceil(super::table::SLOTS as u64).max(1);
        let shape = sip((sets, 0), &quota.shape());
        Place { prefix: format!("sluice.{rule}."), sets, shape }
    }

    /// What the keys of its sets begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What tells its buckets from those of another quota.
    pub fn shape(&self) -> u64 {
        self.shape
    }

    /// Charges a key.
    pub fn charge(&self, key: &[u8], quota: &Quota, cost: u32, world: &mut dyn World) -> Receipt {
        let fingerprint = sip(world.seed(), key);
        let set = fingerprint.checked_rem(self.sets).unwrap_or_default();
        let (charged, retries) = self.swap(&format!("{}{set}", self.prefix), fingerprint, quota, cost, world);
        match charged {
            Some(Charged::Own { admission, evicted }) => {
                Receipt { admission: Some(admission), retries, evicted, overflow: false }
            }
            None => Receipt { admission: None, retries, evicted: false, overflow: false },
            Some(Charged::NoRoom) => {
                let (charged, more) = self.swap(&format!("{}overflow", self.prefix), 1, quota, cost, world);
                let admission = charged.and_then(|charged| match charged {
                    Charged::Own { admission, .. } => Some(admission),
                    Charged::NoRoom => None,
                });
                Receipt { admission, retries: retries.saturating_add(more), evicted: false, overflow: true }
            }
        }
    }

    fn swap(
        &self,
        key: &str,
        fingerprint: u64,
        quota: &Quota,
        cost: u32,
        world: &mut dyn World,
    ) -> (Option<Charged>, u32) {
        for attempt in 0..ATTEMPTS {
            let (mut set, cas) = match world.load(key) {
                Some(Kept { value, cas }) => (Set::read(&value, self.shape), cas),
                None => (Set::new(self.shape), ONLY_IF_ABSENT),
            };
            // Read after the bucket: a time from before could lie before the time it was written at, and a bucket from
            // the future would be taken for the work of a broken clock.
            let now = world.monotonic();
            let before = set.clone();
            let charged = set.charge(fingerprint, quota, now, cost);
            if set == before {
                return (Some(charged), attempt);
            }
            match world.store(key, &set.bytes(), cas) {
                Stored::Done => return (Some(charged), attempt),
                Stored::Raced => {}
                Stored::Failed => return (None, attempt),
            }
        }
        (None, ATTEMPTS)
    }
}

/// The seed of the fingerprints: made once in a process, by whoever comes first.
///
/// Nobody outside can then choose keys that fall into one set.
pub fn seed(world: &mut dyn World) -> (u64, u64) {
    const KEY: &str = "sluice.seed";
    let read = |kept: Kept| {
        let (words, _) = kept.value.as_chunks::<8>();
        match words {
            [a, b] => Some((u64::from_le_bytes(*a), u64::from_le_bytes(*b))),
            _ => None,
        }
    };
    if let Some(seed) = world.load(KEY).and_then(read) {
        return seed;
    }
    let fresh = world.secret();
    // Whoever loses the race takes the winner's.
    world.store(KEY, &fresh, ONLY_IF_ABSENT);
    world.load(KEY).and_then(read).unwrap_or_default()
}

impl Receipt {
    /// Was it allowed? `None` without an answer.
    pub fn allowed(&self) -> Option<bool> {
        self.admission.map(|admission| matches!(admission, Admission::Allowed { .. }))
    }
}

#[cfg(test)]
mod tests;
