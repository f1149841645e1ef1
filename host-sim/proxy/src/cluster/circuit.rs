//! Circuit breakers: how much may be under way to one cluster at once.
//!
//! Source: Envoy's `common/upstream/resource_manager_impl.h`. Counters are shared by all workers, so a limit may be passed by as many requests
//! as workers look at the same moment, as in Envoy.

use std::sync::atomic::{AtomicU64, Ordering};

/// Limits of one priority and what counts against them.
#[derive(Debug)]
pub struct Circuit {
    /// Connections.
    pub connections: Gauge,
    /// Requests waiting for a connection.
    pub pending: Gauge,
    /// Requests under way.
    pub requests: Gauge,
    /// Retries under way.
    pub retries: Gauge,
    budget: Option<Budget>,
}

/// What is under way, and how much may be.
#[derive(Debug)]
pub struct Gauge {
    now: AtomicU64,
    max: u64,
}

/// Retries as a share of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Budget {
    percent: f64,
    min: u64,
}

impl Circuit {
    /// Reads the thresholds of a priority; what is not said has Envoy's defaults: 1024, 1024, 1024, 3.
    pub fn compile(breakers: Option<&xds::CircuitBreakers>, priority: xds::RoutingPriority) -> Circuit {
        let thresholds = breakers.and_then(|breakers| breakers.thresholds.iter().find(|one| one.priority == priority));
        let gauge = |of: fn(&xds::Thresholds) -> Option<u32>, default: u32| Gauge {
            now: AtomicU64::new(0),
            max: thresholds.and_then(of).unwrap_or(default).into(),
        };
        let budget = thresholds.and_then(|one| one.retry_budget.as_ref()).map(|budget| Budget {
            percent: budget.budget_percent.as_ref().map_or(20.0, |percent| percent.value),
            min: budget.min_retry_concurrency.unwrap_or(3).into(),
        });
        Circuit {
            connections: gauge(|one| one.max_connections, 1024),
            pending: gauge(|one| one.max_pending_requests, 1024),
            requests: gauge(|one| one.max_requests, 1024),
            retries: gauge(|one| one.max_retries, 3),
            budget,
        }
    }

    /// May one more retry run? Envoy then counts it with [`Gauge::start`].
    pub fn has_room_for_retry(&self) -> bool {
        let Some(budget) = self.budget else { return self.retries.has_room() };
        let under_way = self.requests.now().saturating_add(self.pending.now());
        let share = u32::try_from(under_way).map_or(f64::MAX, f64::from) * budget.percent / 100.0;
        let now = u32::try_from(self.retries.now()).map_or(f64::MAX, f64::from);
        self.retries.now() < budget.min || now < share
    }
}

impl Gauge {
    /// What is under way.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// How much may be.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// May one more start?
    pub fn has_room(&self) -> bool {
        self.now() < self.max
    }

    /// One more is under way.
    pub fn start(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }

    /// One less is.
    pub fn end(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}
