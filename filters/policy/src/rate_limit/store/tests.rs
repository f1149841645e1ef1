//! The store under one worker and under several, sentence by sentence.

use super::*;
use crate::sentences;
use crate::stage::Still;
use std::time::Duration;

fn quota(requests: u32, burst: u32) -> Quota {
    Quota::new(requests, Duration::from_secs(1), burst, 1)
}

sentences! {
    fn a_limit_holds() {
        let mut world = Still::default();
        let (quota, place) = (quota(1, 3), Place::new("r", 64, &quota(1, 3)));
        let mut ask = |key: &str| place.charge(key.as_bytes(), &quota, 1, &mut world).allowed();
        assert_eq!([ask("a"), ask("a"), ask("a"), ask("a"), ask("b")], [Some(true), Some(true), Some(true), Some(false), Some(true)]);
    }

    fn buckets_outlive_a_configuration_of_the_same_shape_only() {
        let mut world = Still::default();
        let charge = |quota: &Quota, keys: u64, world: &mut Still| {
            Place::new("r", keys, quota).charge(b"a", quota, 1, world).allowed()
        };
        assert_eq!(charge(&quota(1, 1), 64, &mut world), Some(true));
        assert_eq!(charge(&quota(1, 1), 64, &mut world), Some(false));
        assert_eq!(charge(&quota(2, 1), 64, &mut world), Some(true));
    }

    fn memory_is_fixed_and_a_victim_stays_limited() {
        let mut world = Still::default();
        let (quota, place) = (quota(1, 1), Place::new("r", 64, &quota(1, 1)));
        assert_eq!(place.charge(b"victim", &quota, 1, &mut world).allowed(), Some(true));
        let admitted = (0..100_000).filter(|n: &u32| place.charge(&n.to_le_bytes(), &quota, 1, &mut world).allowed() == Some(true)).count();
        // 63 slots, and one more in the overflow bucket.
        assert_eq!(admitted, 64);
        assert_eq!(place.charge(b"victim", &quota, 1, &mut world).allowed(), Some(false));
        assert_eq!(world.data.len(), 8 + 1 + 1);
        assert!(place.charge(b"another", &quota, 1, &mut world).overflow);
    }

    fn a_store_that_fails_gives_no_answer() {
        let mut world = Still { broken: true, ..Still::default() };
        let (quota, place) = (quota(1, 1), Place::new("r", 64, &quota(1, 1)));
        assert_eq!(place.charge(b"a", &quota, 1, &mut world).allowed(), None);
    }

    fn a_lost_race_is_run_again_and_then_given_up() {
        let (quota, place) = (quota(1, 1), Place::new("r", 64, &quota(1, 1)));
        let mut world = Still { races: 3, ..Still::default() };
        world.seed();
        let receipt = place.charge(b"a", &quota, 1, &mut world);
        assert_eq!((receipt.allowed(), receipt.retries), (Some(true), 3));
        let mut world = Still { races: 100, ..Still::default() };
        world.seed();
        let receipt = place.charge(b"a", &quota, 1, &mut world);
        assert_eq!((receipt.allowed(), receipt.retries), (None, ATTEMPTS));
    }

    fn any_bytes_in_the_store_are_survived() {
        let (quota, place) = (quota(1, 1), Place::new("r", 8, &quota(1, 1)));
        let mut world = Still::default();
        for garbage in [vec![], vec![0xff; 7], vec![0xff; 200], vec![0; 4096]] {
            world.data.insert("sluice.r.0".into(), (garbage, 1));
            assert!(place.charge(b"a", &quota, 1, &mut world).allowed().is_some());
        }
    }

    fn everyone_in_a_process_has_one_seed() {
        let mut world = Still::default();
        let first = seed(&mut world);
        assert_eq!(seed(&mut world), first);
        assert_ne!(first, (0, 0));
    }
}

#[cfg(not(target_family = "wasm"))]
mod threads {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    /// Values by their keys, each with the number of its write, and the last number.
    type Data = (BTreeMap<String, (Vec<u8>, u32)>, u32);

    /// Shared data as the proxy keeps it: one lock, a number per write. And one clock for all, which moves when it is read.
    #[derive(Clone, Default)]
    struct Shared {
        data: Arc<Mutex<Data>>,
        clock: Arc<AtomicU64>,
        step: u64,
    }

    impl World for Shared {
        fn monotonic(&mut self) -> u64 {
            self.clock.fetch_add(self.step, Ordering::SeqCst)
        }
        fn wall(&mut self) -> i128 {
            0
        }
        fn held(&self, _: usize) -> usize {
            0
        }
        fn secret(&mut self) -> [u8; 16] {
            [7; 16]
        }
        fn seed(&mut self) -> (u64, u64) {
            (1, 2)
        }
        fn load(&mut self, key: &str) -> Option<Kept> {
            let data = self.data.lock().unwrap();
            data.0.get(key).map(|(value, cas)| Kept { value: value.clone(), cas: *cas })
        }
        fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
            let mut data = self.data.lock().unwrap();
            if data.0.get(key).is_some_and(|(_, now)| *now != cas) {
                return Stored::Raced;
            }
            data.1 += 1;
            let cas = data.1;
            data.0.insert(key.into(), (value.to_vec(), cas));
            Stored::Done
        }
    }

    #[test]
    fn workers_together_admit_exactly_the_burst() {
        for round in 0..50 {
            let (quota, shared, admitted, gave_up) =
                (quota(1, 500), Shared::default(), AtomicUsize::new(0), AtomicUsize::new(0));
            let place = Place::new("r", 8, &quota);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut world = shared.clone();
                        for _ in 0..300 {
                            match place.charge(b"key", &quota, 1, &mut world).allowed() {
                                Some(true) => admitted.fetch_add(1, Ordering::Relaxed),
                                Some(false) => 0,
                                None => gave_up.fetch_add(1, Ordering::Relaxed),
                            };
                        }
                    });
                }
            });
            let (admitted, gave_up) = (admitted.into_inner(), gave_up.into_inner());
            assert!(
                admitted <= 500 && admitted + gave_up >= 500,
                "round {round}: {admitted} admitted, {gave_up} gave up"
            );
        }
    }

    #[test]
    fn workers_that_are_interrupted_admit_no_more() {
        for _ in 0..20 {
            // A request a microsecond, and the clock moves on by a fifth of that each time somebody looks.
            let quota = Quota::new(1_000_000, Duration::from_secs(1), 10, 1);
            let (shared, admitted) = (Shared { step: 200, ..Shared::default() }, AtomicUsize::new(0));
            let place = Place::new("r", 8, &quota);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut world = shared.clone();
                        for _ in 0..5000 {
                            if place.charge(b"key", &quota, 1, &mut world).allowed() == Some(true) {
                                admitted.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    });
                }
            });
            let elapsed = usize::try_from(shared.clock.load(Ordering::SeqCst) / 1000).unwrap();
            let admitted = admitted.into_inner();
            assert!(admitted <= 10 + elapsed + 1, "{admitted} in {elapsed} microseconds");
        }
    }

    #[test]
    fn ten_million_keys_stay_within_the_memory_of_the_rule() {
        const KEYS: u32 = 10_000_000;
        const SETS: usize = 16_384;
        // What a set takes: its key, and what is written under it.
        const SET_BYTES: usize = "sluice.r.overflow".len() + 200;
        // A bucket is full again after a second; in that time come ten times as many keys as the store has places for.
        let quota = quota(1, 1);
        let place = Place::new("r", SETS as u64 * 8, &quota);
        let mut world = Shared { step: 1_000_000_000 / (10 * SETS as u64 * 8), ..Shared::default() };
        let (mut evicted, mut overflow) = (0u32, 0u32);
        for key in 0..KEYS {
            let receipt = place.charge(&key.to_le_bytes(), &quota, 1, &mut world);
            assert!(receipt.admission.is_some());
            evicted += u32::from(receipt.evicted);
            overflow += u32::from(receipt.overflow);
        }
        let data = world.data.lock().unwrap();
        let bytes: usize = data.0.iter().map(|(key, (value, _))| key.len() + value.len()).sum();
        assert!(data.0.len() <= SETS + 1, "{} values", data.0.len());
        assert!(bytes <= (SETS + 1) * SET_BYTES, "{bytes} bytes");
        // Full buckets made room, and who found none shared one: nobody was let through unseen.
        assert!(evicted > KEYS / 20 && overflow > KEYS / 2, "{evicted} evicted, {overflow} without room");
        assert_eq!(evicted + overflow + SETS as u32 * 8, KEYS);
    }
}
