//! What all VMs of the process share: key-value data, queues, metrics. Survives configuration pushes and dead VMs.

use std::sync::Arc;

use crate::{metrics::Metrics, queue::Queues, shared_data::SharedData};

/// One per process. Cloning gives another handle on the same data.
#[derive(Clone, Default)]
pub struct Shared {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    data: SharedData,
    queues: Queues,
    metrics: Metrics,
}

impl Shared {
    /// Nothing stored yet, and no more than `quota` ever will be.
    pub fn new(quota: Quota) -> Shared {
        Shared {
            inner: Arc::new(Inner {
                data: SharedData::new(quota),
                queues: Queues::new(quota),
                metrics: Metrics::new(quota),
            }),
        }
    }

    /// Shared data by vm id and key.
    pub fn data(&self) -> &SharedData {
        &self.inner.data
    }

    /// Queues by vm id and name.
    pub fn queues(&self) -> &Queues {
        &self.inner.queues
    }

    /// The metrics modules have defined.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }
}

/// How much modules may leave behind in the process. Envoy has no such limits; beyond one, a hostcall answers "internal failure" (10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of one key and its value, and of one message in a queue.
    pub entry_bytes: usize,
    /// Bytes of all shared data of one vm id.
    pub vm_bytes: usize,
    /// Bytes of all shared data, and again of all queued messages.
    pub total_bytes: usize,
    /// Queues of the process.
    pub queues: usize,
    /// Metrics of the process.
    pub metrics: usize,
    /// Bytes of a metric's or a queue's name.
    pub name_bytes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            entry_bytes: 4 << 20,
            vm_bytes: 32 << 20,
            total_bytes: 64 << 20,
            queues: 1024,
            metrics: 10_000,
            name_bytes: 1024,
        }
    }
}

/// A quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded;
