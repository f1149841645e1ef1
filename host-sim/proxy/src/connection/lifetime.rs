//! How long a client's connection lives: `max_connection_duration`, `max_requests_per_connection`.
//!
//! Source: Envoy's `http/conn_manager_impl.cc` (`onConnectionDurationTimeout`, `newStream`).

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;
use crate::snapshot::LifetimeLimits;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Answers say that it ends; requests that come all the same are answered.
    Draining,
    /// It ends behind the answer under way.
    Ending,
}

/// One connection's.
pub(crate) struct Lifetime {
    limits: LifetimeLimits,
    began: Instant,
    requests: Cell<u32>,
    alarm: Alarm,
}

impl Lifetime {
    /// A connection begins.
    pub(crate) fn new(limits: LifetimeLimits) -> Lifetime {
        Lifetime { limits, began: Instant::now(), requests: Cell::new(0), alarm: Alarm::default() }
    }

    /// A request begins.
    pub(crate) fn request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// It has carried as many requests as it may.
    pub(crate) fn is_spent(&self) -> bool {
        self.limits.requests.is_some_and(|most| self.requests.get() >= most)
    }

    /// Now.
    pub(crate) fn phase(&self) -> Phase {
        if self.is_spent() {
            return Phase::Ending;
        }
        let Some(duration) = self.limits.duration else { return Phase::Open };
        let age = self.began.elapsed();
        if age < duration {
            Phase::Open
        } else if self.limits.abrupt && age < duration.saturating_add(self.limits.drain) {
            Phase::Draining
        } else {
            Phase::Ending
        }
    }

    /// Ready when a connection that waits for a request ends: one that never had any as soon as its time is over, others when they had time to
    /// hear of it, or not before the next request.
    pub(crate) fn poll_unwanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let age = match self.limits.duration {
            Some(duration) if self.requests.get() == 0 => duration,
            Some(duration) if self.limits.abrupt => duration.saturating_add(self.limits.drain),
            _ => return Poll::Pending,
        };
        self.poll_at(age, cx)
    }

    /// Ready when its time is over, or it has carried enough.
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.limits.duration {
            _ if self.is_spent() => Poll::Ready(()),
            Some(duration) => self.poll_at(duration, cx),
            None => Poll::Pending,
        }
    }

    fn poll_at(&self, age: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.ring_at(self.began.checked_add(age));
        self.alarm.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: LifetimeLimits =
        LifetimeLimits { duration: Some(SECOND), drain: Duration::from_secs(5), abrupt: true, requests: None };

    async fn phases(limits: LifetimeLimits) -> Vec<Phase> {
        let lifetime = Lifetime::new(limits);
        let mut phases = Vec::new();
        for _ in 0..8 {
            phases.push(lifetime.phase());
            tokio::time::sleep(SECOND).await;
        }
        phases.dedup();
        phases
    }

    #[tokio::test(start_paused = true)]
    async fn its_time_runs_out() {
        assert_eq!(phases(LIMITS).await, [Phase::Open, Phase::Draining, Phase::Ending]);
        assert_eq!(phases(LifetimeLimits { abrupt: false, ..LIMITS }).await, [Phase::Open, Phase::Ending]);
        assert_eq!(phases(LifetimeLimits { duration: None, ..LIMITS }).await, [Phase::Open]);
    }

    #[tokio::test(start_paused = true)]
    async fn its_last_request_is_counted() {
        let lifetime = Lifetime::new(LifetimeLimits { duration: None, requests: Some(2), ..LIMITS });
        lifetime.request();
        assert_eq!(lifetime.phase(), Phase::Open);
        lifetime.request();
        assert_eq!(lifetime.phase(), Phase::Ending);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_is_told_after_a_while_if_it_ever_asked() {
        for (requests, abrupt, expected) in
            [(0, true, Some(1)), (0, false, Some(1)), (1, true, Some(6)), (1, false, None)]
        {
            let lifetime = Lifetime::new(LifetimeLimits { abrupt, ..LIMITS });
            (0..requests).for_each(|_| lifetime.request());
            let began = Instant::now();
            let waited = tokio::time::timeout(60 * SECOND, poll_fn(|cx| lifetime.poll_unwanted(cx))).await;
            assert_eq!(waited.ok().map(|()| began.elapsed().as_secs()), expected, "{requests} {abrupt}");
        }
    }
}
