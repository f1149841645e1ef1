//! One set of buckets as it lies in shared data: eight slots, and the quota they were counted under.
//!
//! The whole store is a fixed number of such sets, so its memory is fixed too. A bucket that has filled up again holds no information and makes
//! room for another; one that has not is never given up, or its owner would have a fresh burst for the asking.

use super::quota::{Admission, FullAt, Quota};

/// Slots in a set.
pub const SLOTS: usize = 8;
const SLOT_BYTES: usize = 24;

/// Eight buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    shape: u64,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    /// 0 is a free slot.
    fingerprint: u64,
    full_at: FullAt,
}

/// What became of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// The key's own bucket answered.
    Own {
        /// The answer.
        admission: Admission,
        /// Another key's bucket made room; it was full.
        evicted: bool,
    },
    /// Every slot holds a bucket that has not filled up; the key has to share one.
    NoRoom,
}

impl Set {
    /// Eight free slots.
    pub fn new(shape: u64) -> Set {
        Set { shape, slots: [Slot::default(); SLOTS] }
    }

    /// Reads what lies there; anything else than buckets of this shape is none.
    pub fn read(bytes: &[u8], shape: u64) -> Set {
        let mut set = Set::new(shape);
        let Some((kept, slots)) = bytes.split_first_chunk::<8>() else { return set };
        let (slots, rest) = slots.as_chunks::<SLOT_BYTES>();
        if u64::from_le_bytes(*kept) != shape || slots.len() != SLOTS || !rest.is_empty() {
            return set;
        }
        for (slot, bytes) in set.slots.iter_mut().zip(slots) {
            if let (Some(fingerprint), Some(full_at)) = (bytes.first_chunk(), bytes.last_chunk()) {
                *slot = Slot {
                    fingerprint: u64::from_le_bytes(*fingerprint),
                    full_at: FullAt(u128::from_le_bytes(*full_at)),
                };
            }
        }
        set
    }

    /// What lies there.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SLOTS.saturating_mul(SLOT_BYTES).saturating_add(8));
        bytes.extend_from_slice(&self.shape.to_le_bytes());
        for slot in &self.slots {
            bytes.extend_from_slice(&slot.fingerprint.to_le_bytes());
            bytes.extend_from_slice(&slot.full_at.0.to_le_bytes());
        }
        bytes
    }

    /// How the buckets stand that have not filled up again.
    pub fn taken(&self, quota: &Quota, now: u64) -> impl Iterator<Item = super::quota::Standing> {
        let taken = self.slots.iter().filter(move |slot| slot.fingerprint != 0 && !quota.is_full(now, slot.full_at));
        taken.map(move |slot| quota.standing_of(now, Some(slot.full_at)))
    }

    /// Charges a key. A refusal changes nothing, but for a bucket that a clock left in the future.
    pub fn charge(&mut self, fingerprint: u64, quota: &Quota, now: u64, cost: u32) -> Charged {
        let fingerprint = fingerprint.max(1);
        let own = self.slots.iter().position(|slot| slot.fingerprint == fingerprint);
        let free = || self.slots.iter().position(|slot| slot.fingerprint == 0);
        let full = || {
            let full = self.slots.iter().enumerate().filter(|(_, slot)| quota.is_full(now, slot.full_at));
            full.min_by_key(|(_, slot)| slot.full_at).map(|(place, _)| place)
        };
        let Some(place) = own.or_else(free).or_else(full) else { return Charged::NoRoom };
        let Some(slot) = self.slots.get_mut(place) else { return Charged::NoRoom };
        let evicted = slot.fingerprint != fingerprint && slot.fingerprint != 0;
        let bucket = (slot.fingerprint == fingerprint).then_some(slot.full_at);
        let admission = quota.admit(now, bucket, cost);
        if let Admission::Allowed { full_at, .. } | Admission::Refused { repaired: Some(full_at), .. } = admission {
            *slot = Slot { fingerprint, full_at };
        }
        Charged::Own { admission, evicted: evicted && matches!(admission, Admission::Allowed { .. }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;
    use std::time::Duration;

    fn quota() -> Quota {
        Quota::new(1, Duration::from_secs(1), 2, 1)
    }

    fn allowed(set: &mut Set, key: u64, now: u64) -> Option<bool> {
        match set.charge(key, &quota(), now, 1) {
            Charged::Own { admission, .. } => Some(matches!(admission, Admission::Allowed { .. })),
            Charged::NoRoom => None,
        }
    }

    sentences! {
        fn what_is_written_is_read() {
            let mut set = Set::new(7);
            for key in 1..=5 {
                allowed(&mut set, key, key * 1000);
            }
            assert_eq!(Set::read(&set.bytes(), 7), set);
            assert_eq!(set.bytes().len(), 200);
        }

        fn what_is_not_buckets_of_this_shape_is_none() {
            let mut set = Set::new(7);
            allowed(&mut set, 1, 1000);
            let bytes = set.bytes();
            assert_eq!(Set::read(&bytes, 8), Set::new(8));
            for cut in 0..bytes.len() {
                assert_eq!(Set::read(&bytes[..cut], 7), Set::new(7), "{cut}");
            }
            assert_eq!(Set::read(&[bytes.as_slice(), &[0]].concat(), 7), Set::new(7));
        }

        fn keys_have_their_own_buckets() {
            let mut set = Set::new(0);
            assert_eq!([1, 1, 1, 2].map(|key| allowed(&mut set, key, 5)), [Some(true), Some(true), Some(false), Some(true)]);
        }

        fn a_bucket_that_is_not_full_is_never_given_up() {
            let mut set = Set::new(0);
            for key in 1..=8 {
                assert_eq!(allowed(&mut set, key, 5), Some(true));
            }
            assert_eq!(allowed(&mut set, 9, 5), None);
            assert_eq!(allowed(&mut set, 1, 5), Some(true));
            assert_eq!(allowed(&mut set, 1, 5), Some(false));
        }

        fn a_full_bucket_makes_room_the_oldest_first() {
            let mut set = Set::new(0);
            for key in 1..=8u64 {
                allowed(&mut set, key, 5 + key);
            }
            let later = 1_000_000_000 + 8;
            assert!(matches!(set.charge(9, &quota(), later, 1), Charged::Own { evicted: true, .. }));
            assert_eq!(set.slots.iter().filter(|slot| slot.fingerprint == 1).count(), 0);
        }
    }
}
