//! What an expression may cost. It runs in the host, where no deadline interrupts it: so it is counted.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cel::{Value as Cel, parser::Expression};

/// Bytes an evaluation may copy.
const BYTES: usize = 32 << 20;
/// As in Envoy: all comprehensions of an expression together.
const ITERATIONS: usize = 10_000;

/// What is left of it.
pub(super) struct Budget {
    bytes: AtomicUsize,
    iterations: AtomicUsize,
    /// The size of the largest value there is: nothing an expression copies is larger.
    largest: AtomicUsize,
}

impl Budget {
    /// For an expression over these variables: each part of it may copy the largest of them once.
    pub(super) fn new<'v>(expression: &Expression, variables: impl Iterator<Item = &'v Cel>) -> Budget {
        let largest = variables.map(size).max().unwrap_or_default();
        let start = super::nodes(expression).saturating_mul(largest);
        Budget {
            bytes: AtomicUsize::new(BYTES.saturating_sub(start)),
            iterations: AtomicUsize::new(ITERATIONS),
            largest: AtomicUsize::new(largest),
        }
    }

    /// Takes so many bytes; false when there are none left.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let left = self.bytes.load(Relaxed).saturating_sub(bytes);
        self.bytes.store(left, Relaxed);
        left > 0
    }

    /// A value was made.
    pub(super) fn made(&self, value: &Cel) -> bool {
        let size = size(value);
        self.largest.fetch_max(size, Relaxed);
        self.spend(size)
    }

    /// So many turns of a loop of so many parts.
    pub(super) fn turns(&self, turns: usize, parts: usize) -> bool {
        let left = self.iterations.load(Relaxed).checked_sub(turns);
        self.iterations.store(left.unwrap_or_default(), Relaxed);
        let copied = turns.saturating_mul(parts).saturating_mul(self.largest.load(Relaxed));
        left.is_some() && self.spend(copied)
    }
}

fn size(value: &Cel) -> usize {
    const SMALL: usize = 32;
    match value {
        Cel::String(text) => SMALL + text.len(),
        Cel::Bytes(bytes) => SMALL + bytes.len(),
        Cel::List(list) => SMALL + list.iter().map(size).sum::<usize>(),
        Cel::Map(map) => SMALL + map.map.iter().map(|(key, value)| size(&Cel::from(key)) + size(value)).sum::<usize>(),
        _ => SMALL,
    }
}
