//! One number each: a counter that grows, a gauge that comes and goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A number that only grows. Adding is one relaxed atomic operation on a cell that one worker alone writes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// That many more.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. Workers' gauges of one name are added up, so what one worker counts up it must count down itself.
#[derive(Debug, Default)]
pub struct Gauge {
    value: AtomicU64,
    touched: AtomicBool,
}

impl Gauge {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// That many more.
    pub fn add(&self, amount: u64) {
        self.value.fetch_add(amount, Ordering::Relaxed);
        self.touched.store(true, Ordering::Relaxed);
    }

    /// That many less.
    pub fn sub(&self, amount: u64) {
        self.value.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Exactly this, for a gauge that one owner reports.
    pub fn set(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
        self.touched.store(true, Ordering::Relaxed);
    }

    /// This worker's share, as two's complement: only the sum over workers is a number to show.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Whether it was ever set: `usedonly` shows it even when it is back at zero.
    pub fn used(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }
}
