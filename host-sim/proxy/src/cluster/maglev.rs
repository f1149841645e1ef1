//! Maglev's table: a consistent hash with one look-up.
//!
//! Source: Envoy's `load_balancing_policies/maglev/maglev_lb.cc`. Endpoints fill the table in turn, in the order of their keys, each by its own
//! permutation of the places; a lighter one sits turns out.

use policy::hash::xx64;

use super::balancer::Weighed;

/// Which endpoint holds each place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Maglev {
    places: Vec<usize>,
}

struct Filler {
    host: usize,
    offset: u64,
    skip: u64,
    next: u64,
    weight: f64,
    target: f64,
}

impl Maglev {
    /// Builds a table of `size` places, a prime.
    pub(super) fn new(hosts: &[Weighed<'_>], size: u64) -> Maglev {
        let heaviest = hosts.iter().map(|host| host.weight).fold(0.0, f64::max);
        let mut sorted: Vec<&Weighed<'_>> = hosts.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(b.key));
        let mut fillers: Vec<Filler> = sorted
            .into_iter()
            .map(|host| Filler {
                host: host.index,
                offset: xx64(host.key.as_bytes(), 0).checked_rem(size).unwrap_or_default(),
                skip: xx64(host.key.as_bytes(), 1)
                    .checked_rem(size.saturating_sub(1))
                    .unwrap_or_default()
                    .saturating_add(1),
                next: 0,
                weight: host.weight,
                target: 0.0,
            })
            .collect();
        if fillers.is_empty() {
            return Maglev::default();
        }
        let mut places: Vec<Option<usize>> = vec![None; usize::try_from(size).unwrap_or_default()];
        let mut free = places.len();
        let mut turn = 1.0;
        while free > 0 {
            for filler in &mut fillers {
                if free == 0 {
                    break;
                }
                if turn * filler.weight < filler.target {
                    continue;
                }
                filler.target += heaviest;
                filler.fill(&mut places, size);
                free = free.saturating_sub(1);
            }
            turn += 1.0;
        }
        Maglev { places: places.into_iter().flatten().collect() }
    }

    /// The endpoint of a hash; further attempts look elsewhere.
    pub(super) fn pick(&self, hash: u64, attempt: u32) -> Option<usize> {
        let hash = if attempt > 0 { hash ^ u64::MAX.wrapping_sub(attempt.into()).wrapping_add(1) } else { hash };
        let size = u64::try_from(self.places.len()).ok()?;
        self.places.get(usize::try_from(hash.checked_rem(size)?).ok()?).copied()
    }
}

impl Filler {
    /// Takes the next free place of its permutation.
    fn fill(&mut self, places: &mut [Option<usize>], size: u64) {
        loop {
            let place =
                self.skip.wrapping_mul(self.next).wrapping_add(self.offset).checked_rem(size).unwrap_or_default();
            self.next = self.next.wrapping_add(1);
            match usize::try_from(place).ok().and_then(|place| places.get_mut(place)) {
                Some(free @ None) => {
                    *free = Some(self.host);
                    return;
                }
                Some(Some(_)) => {}
                None => return,
            }
        }
    }
}
