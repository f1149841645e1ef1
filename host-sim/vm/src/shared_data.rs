//! Shared data: a key-value store per vm id, with compare-and-swap.
//!
//! The rules are Envoy's, as measured: a `cas` of 0 overwrites blindly; any other mismatches unless the key is absent or has that very version;
//! versions come from one counter for the process that starts at 1 and counts every successful write.
//! Envoy holds one lock for all of it; here a key's shard is locked.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use crate::shared::{Quota, QuotaExceeded};

const SHARDS: usize = 64;

/// The store. See the module's documentation for its rules.
pub struct SharedData {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    version: AtomicU32,
    total_bytes: AtomicUsize,
    vm_bytes: Mutex<HashMap<Bytes, usize>>,
    quota: Quota,
}

type Shard = HashMap<Bytes, HashMap<Bytes, Versioned>>;

/// A value and the version to hand back with the next write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// Its version, never 0.
    pub cas: u32,
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// Somebody else wrote first.
    CasMismatch,
    /// A quota is used up.
    Quota(QuotaExceeded),
}

impl Default for SharedData {
    fn default() -> Self {
        SharedData::new(Quota::default())
    }
}

impl SharedData {
    pub(crate) fn new(quota: Quota) -> SharedData {
        SharedData {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            version: AtomicU32::new(0),
            total_bytes: AtomicUsize::new(0),
            vm_bytes: Mutex::default(),
            quota,
        }
    }

    /// The value under `key`.
    pub fn get(&self, vm_id: &[u8], key: &[u8]) -> Option<Versioned> {
        self.shard(vm_id, key)?.get(vm_id)?.get(key).cloned()
    }

    /// Writes `value` under `key` if `cas` allows it, and says its version.
    pub fn set(&self, vm_id: &[u8], key: &[u8], value: &[u8], cas: u32) -> Result<u32, WriteError> {
        let Some(mut shard) = self.shard(vm_id, key) else { return Err(WriteError::Quota(QuotaExceeded)) };
        if !shard.contains_key(vm_id) {
            shard.insert(Bytes::copy_from_slice(vm_id), HashMap::new());
        }
        let Some(entries) = shard.get_mut(vm_id) else { return Err(WriteError::Quota(QuotaExceeded)) };
        if let Some(existing) = entries.get_mut(key) {
            if cas != 0 && cas != existing.cas {
                return Err(WriteError::CasMismatch);
            }
            self.charge(vm_id, key.len() + value.len(), key.len() + existing.value.len())?;
            *existing = Versioned { value: Bytes::copy_from_slice(value), cas: self.next_version() };
            return Ok(existing.cas);
        }
        self.charge(vm_id, key.len() + value.len(), 0)?;
        match entries.entry(Bytes::copy_from_slice(key)) {
            Entry::Occupied(_) => Err(WriteError::CasMismatch),
            Entry::Vacant(vacant) => {
                Ok(vacant.insert(Versioned { value: Bytes::copy_from_slice(value), cas: self.next_version() }).cas)
            }
        }
    }

    /// Everything under keys that begin so, each with the rest of its key, in no order.
    pub fn beginning_with(&self, vm_id: &[u8], prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = shard.get(vm_id).into_iter().flatten();
            found.extend(
                entries.filter_map(|(key, held)| Some((key.strip_prefix(prefix)?.to_vec(), held.value.clone()))),
            );
        }
        found
    }

    /// Bytes of keys and values held for all vm ids.
    pub fn bytes(&self) -> usize {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// There always is one; the type of an index cannot say so.
    fn shard(&self, vm_id: &[u8], key: &[u8]) -> Option<MutexGuard<'_, Shard>> {
        let hash = self.hasher.hash_one((vm_id, key));
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        Some(self.shards.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never 0, which means "whatever is there".
    fn next_version(&self) -> u32 {
        loop {
            let version = self.version.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if version != 0 {
                return version;
            }
        }
    }

    /// Books `bytes` in the place of `freed`, or refuses.
    fn charge(&self, vm_id: &[u8], bytes: usize, freed: usize) -> Result<(), WriteError> {
        let refused = Err(WriteError::Quota(QuotaExceeded));
        if bytes > self.quota.entry_bytes {
            return refused;
        }
        if bytes == freed {
            return Ok(());
        }
        let mut vms = self.vm_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let total = self.total_bytes.load(Ordering::Relaxed).saturating_sub(freed) + bytes;
        let vm = vms.get(vm_id).copied().unwrap_or_default().saturating_sub(freed) + bytes;
        if bytes > freed && (total > self.quota.total_bytes || vm > self.quota.vm_bytes) {
            return refused;
        }
        self.total_bytes.store(total, Ordering::Relaxed);
        match vms.get_mut(vm_id) {
            Some(booked) => *booked = vm,
            None => drop(vms.insert(Bytes::copy_from_slice(vm_id), vm)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> SharedData {
        SharedData::new(Quota { entry_bytes: 10, vm_bytes: 15, total_bytes: 20, ..Quota::default() })
    }

    #[test]
    fn versions_count_every_write_of_the_process_from_one() {
        let store = store();
        assert_eq!(store.set(b"", b"a", b"1", 0), Ok(1));
        assert_eq!(store.set(b"other", b"b", b"1", 0), Ok(2));
        assert_eq!(store.set(b"", b"a", b"2", 0), Ok(3));
        assert_eq!(store.get(b"", b"a"), Some(Versioned { value: Bytes::from_static(b"2"), cas: 3 }));
    }

    #[test]
    fn a_version_that_is_not_the_last_is_a_mismatch_and_zero_always_wins() {
        let store = store();
        assert_eq!(store.set(b"", b"a", b"1", 0), Ok(1));
        assert_eq!(store.set(b"", b"a", b"2", 7), Err(WriteError::CasMismatch));
        assert_eq!(store.set(b"", b"a", b"2", 1), Ok(2));
        assert_eq!(store.set(b"", b"a", b"3", 1), Err(WriteError::CasMismatch));
        assert_eq!(store.set(b"", b"a", b"4", 0), Ok(3));
    }

    #[test]
    fn any_version_creates_an_absent_key_so_the_first_write_can_be_race_free() {
        let store = store();
        assert_eq!(store.set(b"", b"a", b"1", u32::MAX), Ok(1));
        assert_eq!(store.set(b"", b"a", b"2", u32::MAX), Err(WriteError::CasMismatch));
    }

    #[test]
    fn vm_ids_are_key_spaces_of_their_own() {
        let store = store();
        assert_eq!(store.set(b"x", b"a", b"1", 0), Ok(1));
        assert_eq!(store.get(b"y", b"a"), None);
    }

    #[test]
    fn quotas_hold_per_entry_per_vm_id_and_in_all() {
        let store = store();
        let full = Err(WriteError::Quota(QuotaExceeded));
        assert_eq!(store.set(b"x", b"a", b"0123456789", 0), full, "an entry");
        assert_eq!(store.set(b"x", b"a", b"012345678", 0), Ok(1));
        assert_eq!(store.set(b"x", b"b", b"01234", 0), full, "a vm id");
        assert_eq!(store.set(b"y", b"b", b"012345678", 0), Ok(2));
        assert_eq!(store.set(b"z", b"b", b"0", 0), full, "all");
        assert_eq!(store.set(b"y", b"b", b"0", 0), Ok(3), "what shrinks is taken");
        assert_eq!(store.set(b"z", b"b", b"0", 0), Ok(4), "and makes room");
        assert_eq!(store.bytes(), 14);
    }
}
