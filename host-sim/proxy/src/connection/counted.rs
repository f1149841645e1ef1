//! A client's connection in its connection manager's statistics, from its first byte to its last.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::wire::Wire;
use crate::edge::{ConnectionInfo, Protocol};
use crate::stats::HttpStats;
use crate::worker::{Manager, Worker};

/// An open connection; dropped when it is over.
pub(super) struct Counted {
    worker: Rc<Worker>,
    stats: Arc<HttpStats>,
    began: Duration,
    http2: bool,
    tls: bool,
}

impl Counted {
    pub(super) fn new(worker: &Rc<Worker>, manager: &Manager, info: &ConnectionInfo) -> Self {
        let stats = Arc::clone(&manager.stats);
        let (http2, tls) = (info.protocol == Protocol::Http2, info.tls.is_some());
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        if http2 {
            stats.downstream_cx_http2_total.inc();
            stats.downstream_cx_http2_active.inc();
        } else {
            stats.downstream_cx_http1_total.inc();
            stats.downstream_cx_http1_active.inc();
        }
        if tls {
            stats.downstream_cx_ssl_total.inc();
            stats.downstream_cx_ssl_active.inc();
        }
        Self { began: worker.clock().now(), worker: Rc::clone(worker), stats, http2, tls }
    }

    /// Counts the bytes that went over the connection since this was last done.
    pub(super) fn bytes(&self, wire: &Wire) {
        let (received, sent) = wire.take_counts();
        self.stats.downstream_cx_rx_bytes_total.add(received);
        self.stats.downstream_cx_tx_bytes_total.add(sent);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let stats = &self.stats;
        stats.downstream_cx_active.dec();
        if self.http2 { &stats.downstream_cx_http2_active } else { &stats.downstream_cx_http1_active }.dec();
        if self.tls {
            stats.downstream_cx_ssl_active.dec();
        }
        stats.downstream_cx_destroy.inc();
        let lasted = self.worker.clock().now().saturating_sub(self.began);
        stats.downstream_cx_length_ms.record(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
    }
}
