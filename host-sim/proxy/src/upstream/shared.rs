//! What all workers know of a cluster together: load, circuit breakers, and which endpoints are left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::{Circuit, ClusterPlan, Detector, Outcome};

/// A cluster's common knowledge.
#[derive(Debug)]
pub(crate) struct Shared {
    default: Circuit,
    high: Circuit,
    /// Requests under way, by endpoint.
    active: Box<[AtomicU64]>,
    health: Option<Health>,
}

/// Outlier detection.
#[derive(Debug)]
struct Health {
    detector: Mutex<Detector>,
    /// Changes when an endpoint is left out or taken back.
    version: AtomicU64,
    /// Microseconds since the gateway started; 0 before the first request.
    next_tick: AtomicU64,
}

impl Shared {
    pub(crate) fn new(cluster: &xds::Cluster, plan: &ClusterPlan) -> Shared {
        let breakers = cluster.circuit_breakers.as_ref();
        Shared {
            default: Circuit::compile(breakers, xds::RoutingPriority::Default),
            high: Circuit::compile(breakers, xds::RoutingPriority::High),
            active: plan.endpoints.iter().map(|_| AtomicU64::new(0)).collect(),
            health: plan.outlier.clone().map(|policy| Health {
                detector: Mutex::new(Detector::new(policy, plan.endpoints.len())),
                version: AtomicU64::new(0),
                next_tick: AtomicU64::new(0),
            }),
        }
    }

    /// The circuit breakers of a priority.
    pub(crate) fn circuit(&self, high_priority: bool) -> &Circuit {
        if high_priority { &self.high } else { &self.default }
    }

    /// Requests under way at an endpoint.
    pub(crate) fn active(&self, endpoint: usize) -> u64 {
        self.active.get(endpoint).map_or(0, |active| active.load(Ordering::Relaxed))
    }

    pub(super) fn start(&self, endpoint: usize) {
        if let Some(active) = self.active.get(endpoint) {
            active.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn end(&self, endpoint: usize) {
        if let Some(active) = self.active.get(endpoint) {
            active.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Changes whenever [`Shared::is_ejected`] gives other answers than before.
    pub(crate) fn health_version(&self) -> u64 {
        self.health.as_ref().map_or(0, |health| health.version.load(Ordering::Acquire))
    }

    /// Is the endpoint left out?
    pub(crate) fn is_ejected(&self, endpoint: usize) -> bool {
        self.health.as_ref().is_some_and(|health| health.detector().is_ejected(endpoint))
    }

    /// Takes endpoints back whose time is over. The rounds that Envoy's timer would have made since the last call are made up for.
    pub(crate) fn tick(&self, now: Duration, dice: &mut dyn FnMut() -> u64) {
        let Some(health) = &self.health else { return };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let due = health.next_tick.load(Ordering::Relaxed);
        if due > micros(now) {
            return;
        }
        let mut detector = health.detector();
        let interval = micros(detector.interval());
        let mut next = health.next_tick.load(Ordering::Relaxed);
        if next == 0 {
            next = micros(now).saturating_add(interval);
        }
        while next <= micros(now) {
            if !detector.tick(Duration::from_micros(next), dice).is_empty() {
                health.version.fetch_add(1, Ordering::Release);
            }
            next = next.saturating_add(interval);
        }
        health.next_tick.store(next, Ordering::Relaxed);
    }

    /// Notes what came of a try.
    pub(crate) fn report(&self, endpoint: usize, outcome: Outcome, now: Duration, random: u64) {
        let Some(health) = &self.health else { return };
        if health.detector().report(endpoint, outcome, now, random).is_some() {
            health.version.fetch_add(1, Ordering::Release);
        }
    }
}

impl Health {
    fn detector(&self) -> MutexGuard<'_, Detector> {
        // A panic while it was held cannot leave counters half-written in a way that matters.
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
