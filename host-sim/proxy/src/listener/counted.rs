//! A connection in its listener's statistics, from the first byte to the last.

use std::rc::Rc;
use std::time::Duration;

use crate::worker::{Listener, Worker};

/// An open connection; dropped when it is over.
pub(super) struct Counted {
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    began: Duration,
}

impl Counted {
    pub(super) fn new(worker: &Rc<Worker>, listener: &Rc<Listener>) -> Self {
        listener.stats.downstream_cx_total.inc();
        listener.stats.downstream_cx_active.inc();
        listener.worker_stats.downstream_cx_total.inc();
        listener.worker_stats.downstream_cx_active.inc();
        Self { began: worker.clock.now(), worker: Rc::clone(worker), listener: Rc::clone(listener) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let stats = &self.listener.stats;
        stats.downstream_cx_active.dec();
        stats.downstream_cx_destroy.inc();
        let lasted = self.worker.clock.now().saturating_sub(self.began);
        stats.downstream_cx_length_ms.record(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        self.listener.worker_stats.downstream_cx_active.dec();
    }
}
