//! What is said of a process as a whole: its life, its configuration, its clusters' endpoints.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::{ClusterConfig, Snapshot};
use crate::stats::{ClusterManagerStats, ListenerManagerStats, MembershipStats, Registry, ServerStats};

/// The process's own statistics.
pub(crate) struct Process {
    server: Arc<ServerStats>,
    clusters: Arc<ClusterManagerStats>,
    listeners: Arc<ListenerManagerStats>,
}

impl Process {
    pub(crate) fn new(registry: &Registry, workers: usize) -> Self {
        let process =
            Self { server: registry.server(), clusters: registry.cluster_manager(), listeners: registry.listener_manager() };
        process.server.concurrency.set(count(workers));
        process.listeners.workers_started.set(1);
        process
    }

    /// Accounts for a configuration that is served from now on; what is returned must be kept as long as it is.
    pub(crate) fn applied(&self, registry: &Registry, before: Option<&Snapshot>, now: &Snapshot) -> Vec<Arc<MembershipStats>> {
        self.server.live.set(1);
        self.clusters.active_clusters.set(count(now.clusters.len()));
        self.listeners.total_listeners_active.set(count(now.listeners.len()));
        let had = |name: &str| before.and_then(|before| before.clusters.get(name));
        for (name, cluster) in &now.clusters {
            match had(name) {
                None => self.clusters.cluster_added.inc(),
                Some(old) if old.source != cluster.source => self.clusters.cluster_modified.inc(),
                Some(_) => {}
            }
        }
        let gone = |cluster: &&Arc<str>| !now.clusters.contains_key(*cluster);
        self.clusters.cluster_removed.add(count(before.map_or(0, |before| before.clusters.keys().filter(gone).count())));
        for listener in &now.listeners {
            let known = before.is_some_and(|before| before.listeners.iter().any(|old| old.name == listener.name));
            if known { &self.listeners.listener_modified } else { &self.listeners.listener_added }.inc();
            self.listeners.listener_create_success.inc();
        }
        now.clusters.values().map(|cluster| membership(registry, cluster)).collect()
    }

    /// Brings what only moves with time up to date.
    pub(crate) fn tick(&self, uptime: Duration, wall: Duration, snapshot: &Snapshot) {
        self.server.uptime.set(uptime.as_secs());
        let now = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        // Envoy's value for a process without certificates.
        self.server.days_until_first_cert_expiring.set(snapshot.certificate_days(now).unwrap_or(u64::from(u32::MAX)));
    }
}

fn membership(registry: &Registry, cluster: &ClusterConfig) -> Arc<MembershipStats> {
    let stats = registry.membership(&cluster.source);
    let endpoints = count(cluster.plan.endpoints.len());
    if stats.membership_total.value() != endpoints {
        stats.membership_change.inc();
    }
    stats.membership_total.set(endpoints);
    stats.membership_healthy.set(endpoints);
    stats
}

/// `/clusters`, what is known without asking the workers.
pub(crate) fn clusters(snapshot: &Snapshot) -> String {
    let mut clusters: Vec<_> = snapshot.clusters.iter().collect();
    clusters.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut text = String::new();
    for (name, cluster) in clusters {
        // Writing to a String does not fail.
        let _ = one_cluster(&mut text, name, cluster);
    }
    text
}

fn one_cluster(text: &mut String, name: &str, cluster: &ClusterConfig) -> std::fmt::Result {
    let observed = Some(cluster.source.alt_stat_name.as_str()).filter(|alt| !alt.is_empty()).unwrap_or(name);
    writeln!(text, "{name}::observability_name::{observed}")?;
    for (priority, of) in [("default_priority", xds::RoutingPriority::Default), ("high_priority", xds::RoutingPriority::High)] {
        let breakers = cluster.source.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
        let own = breakers.filter(|threshold| threshold.priority == of).next_back();
        let limit = |field: fn(&xds::Thresholds) -> Option<u32>, default: u32| own.and_then(field).unwrap_or(default);
        writeln!(text, "{name}::{priority}::max_connections::{}", limit(|own| own.max_connections, 1024))?;
        writeln!(text, "{name}::{priority}::max_pending_requests::{}", limit(|own| own.max_pending_requests, 1024))?;
        writeln!(text, "{name}::{priority}::max_requests::{}", limit(|own| own.max_requests, 1024))?;
        writeln!(text, "{name}::{priority}::max_retries::{}", limit(|own| own.max_retries, 3))?;
    }
    writeln!(text, "{name}::added_via_api::false")?;
    for endpoint in cluster.plan.endpoints.iter() {
        writeln!(text, "{name}::{}::health_flags::healthy", endpoint.address)?;
    }
    Ok(())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
