//! Earliest deadline first: turns in proportion to weights that may change from turn to turn.
//!
//! Source: Envoy's `common/upstream/edf_scheduler.h`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Who is next.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    queue: BinaryHeap<Turn>,
    now: f64,
    order: u64,
}

#[derive(Debug, Clone)]
struct Turn {
    deadline: f64,
    order: u64,
    host: usize,
}

impl Schedule {
    /// Adds an endpoint.
    pub(super) fn add(&mut self, host: usize, weight: f64) {
        let turn = Turn { deadline: self.now + 1.0 / weight, order: self.order, host };
        self.order = self.order.saturating_add(1);
        self.queue.push(turn);
    }

    /// The endpoint whose turn it is; it queues again with the weight it has now.
    pub(super) fn next(&mut self, weight: impl Fn(usize) -> f64) -> Option<usize> {
        let turn = self.queue.pop()?;
        self.now = turn.deadline;
        self.add(turn.host, weight(turn.host));
        Some(turn.host)
    }
}

impl Ord for Turn {
    /// The greatest is the earliest; among equals, the one added first.
    fn cmp(&self, other: &Turn) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Turn) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}
