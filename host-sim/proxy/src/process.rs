//! What is said of a process as a whole: its life, and how many listeners and clusters it has and had.

use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::Snapshot;
use crate::stats::{ClusterManagerStats, ListenerManagerStats, Registry, ServerStats};

/// The process's own statistics.
pub(crate) struct Process {
    server: Arc<ServerStats>,
    clusters: Arc<ClusterManagerStats>,
    listeners: Arc<ListenerManagerStats>,
}

impl Process {
    pub(crate) fn new(registry: &Registry, workers: usize) -> Self {
        let process = Self {
            server: registry.server(),
            clusters: registry.cluster_manager(),
            listeners: registry.listener_manager(),
        };
        process.server.concurrency.set(count(workers));
        process.listeners.workers_started.set(1);
        process
    }

    /// Accounts for a configuration that is served from now on.
    pub(crate) fn applied(&self, before: Option<&Snapshot>, now: &Snapshot) {
        self.server.live.set(1);
        self.clusters.active_clusters.set(count(now.clusters.len()));
        self.listeners.total_listeners_active.set(count(now.listeners.len()));
        for (name, cluster) in &now.clusters {
            match before.and_then(|before| before.clusters.get(name)) {
                None => self.clusters.cluster_added.inc(),
                Some(old) if old.source != cluster.source => self.clusters.cluster_modified.inc(),
                Some(_) => {}
            }
        }
        for listener in &now.listeners {
            let known = before.is_some_and(|before| before.listeners.iter().any(|old| old.name == listener.name));
            if known { &self.listeners.listener_modified } else { &self.listeners.listener_added }.inc();
            self.listeners.listener_create_success.inc();
        }
        let Some(before) = before else { return };
        let clusters = before.clusters.keys().filter(|name| !now.clusters.contains_key(*name)).count();
        self.clusters.cluster_removed.add(count(clusters));
        let gone = |old: &&Arc<crate::snapshot::ListenerConfig>| {
            !now.listeners.iter().any(|listener| listener.name == old.name)
        };
        self.listeners.listener_removed.add(count(before.listeners.iter().filter(gone).count()));
    }

    /// Brings what moves with time alone up to date.
    pub(crate) fn tick(&self, uptime: Duration, wall: Duration, snapshot: &Snapshot) {
        self.server.uptime.set(uptime.as_secs());
        let now = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        // Envoy's value for a process without certificates.
        self.server.days_until_first_cert_expiring.set(snapshot.certificate_days(now).unwrap_or(u64::from(u32::MAX)));
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
