//! Any bytes where the buckets lie; any keys, costs and clocks.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use fuzz::Bytes;
use libfuzzer_sys::fuzz_target;
use policy::rate_limit::quota::Quota;
use policy::rate_limit::store::Place;

#[derive(Debug, Arbitrary)]
struct Input {
    requests: u32,
    per: u32,
    burst: u32,
    replicas: u16,
    max_keys: u16,
    /// What lies there before, under one of the sets, the overflow bucket or the seed.
    lying: Vec<(u8, Vec<u8>)>,
    charges: Vec<Charge>,
}

#[derive(Debug, Arbitrary)]
struct Charge {
    key: Vec<u8>,
    cost: u32,
    /// The clock's step before it: forwards, or back.
    step: i64,
    races: u8,
}

fuzz_target!(|input: Input| {
    let (requests, burst) = (input.requests.clamp(1, 1_000_000_000), input.burst.clamp(1, 1_000_000_000));
    let per = Duration::from_secs(input.per.clamp(1, 86_400).into());
    let quota = Quota::new(requests, per, burst, u32::from(input.replicas).clamp(1, 10_000));
    let place = Place::new("r", u64::from(input.max_keys).max(8), &quota);
    let mut world = Bytes::default();
    for (where_to, bytes) in input.lying {
        let key = match where_to {
            255 => "sluice.seed".to_owned(),
            254 => "sluice.r.overflow".to_owned(),
            set => format!("sluice.r.{set}"),
        };
        world.data.insert(key, (bytes, 1));
    }
    for charge in &input.charges {
        world.now = world.now.saturating_add_signed(charge.step);
        world.races = charge.races % 10;
        // Nine attempts for the set, nine for the overflow bucket.
        let answered = charge.races % 10 < 9;
        let receipt = place.charge(&charge.key, &quota, charge.cost.max(1), &mut world);
        assert!(receipt.allowed().is_some() || !answered);
        assert!(receipt.retries <= 18);
    }
    // At one moment no key has more than its burst, whatever lay there.
    world.races = 0;
    let mut admitted = 0u64;
    for _ in 0..64 {
        admitted += u64::from(place.charge(b"one", &quota, 1, &mut world).allowed() == Some(true));
    }
    assert!(admitted <= u64::from(burst), "{admitted} of {burst}");
});
