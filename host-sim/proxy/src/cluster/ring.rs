//! The ring of a consistent hash.
//!
//! Source: Envoy's `load_balancing_policies/ring_hash/ring_hash_lb.cc` (after ketama): every endpoint stands on the ring at the xxHash64 of
//! `<key>_<n>`, as often as its weight asks for; a request goes to the next point at or after its own hash.

use policy::hash::xx64;

use super::balancer::Weighed;

/// Points on a ring, ascending, and the endpoint at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ring {
    points: Vec<(u64, usize)>,
}

/// How many points a ring has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize {
    /// At least so many, more when weights ask for it.
    pub min: u64,
    /// Never more.
    pub max: u64,
}

impl RingSize {
    /// Envoy's defaults.
    pub const DEFAULT: RingSize = RingSize { min: 1024, max: 8 * 1024 * 1024 };
}

impl Ring {
    /// Builds a ring; `weights` sum to 1.
    pub(super) fn new(hosts: &[Weighed<'_>], size: RingSize) -> Ring {
        let smallest = hosts.iter().map(|host| host.weight).fold(f64::INFINITY, f64::min);
        if !smallest.is_finite() {
            return Ring::default();
        }
        // The least-weighted endpoint gets a whole number of points; sizes are far below what an f64 holds exactly.
        let scale = ((smallest * float(size.min)).ceil() / smallest).min(float(size.max));
        let mut points = Vec::new();
        let (mut current, mut target) = (0.0, 0.0);
        for host in hosts {
            target += scale * host.weight;
            let mut n = 0u64;
            while current < target {
                let key = format!("{}_{n}", host.key);
                points.push((xx64(key.as_bytes(), 0), host.index));
                n = n.saturating_add(1);
                current += 1.0;
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        Ring { points }
    }

    /// The endpoint of a hash; each further attempt goes one point on.
    pub(super) fn pick(&self, hash: u64, attempt: u32) -> Option<usize> {
        let at = self.points.partition_point(|(point, _)| *point < hash);
        // Past the last point comes the first; Envoy's search also takes the first for a hash of 0.
        let at = if at == self.points.len() { 0 } else { at };
        let at = at.checked_add(usize::try_from(attempt).ok()?)?.checked_rem(self.points.len())?;
        self.points.get(at).map(|(_, host)| *host)
    }
}

/// Exact below 2^53, which ring sizes are.
fn float(number: u64) -> f64 {
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    let high = u32::try_from(number >> 32).unwrap_or_default();
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
