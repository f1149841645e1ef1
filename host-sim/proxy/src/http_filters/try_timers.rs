//! The clocks of one try: how long it may be before it is answered, how long it may be silent, how long it may last.
//!
//! Source: Envoy's `router/upstream_request.cc`.

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::connection::{Alarm, IdleTimer};

/// What a try is allowed; `None` is anything.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowed {
    /// `per_try_timeout`, until the answer begins.
    pub(super) whole: Option<Duration>,
    /// `per_try_idle_timeout`, between one sign of life and the next.
    pub(super) idle: Option<Duration>,
    /// `max_stream_duration`, to the end of the answer.
    pub(super) lasts: Option<Duration>,
}

/// Which of them ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    Whole,
    Idle,
    Lasts,
}

/// One try's.
#[derive(Default)]
pub(super) struct TryTimers {
    allowed: Cell<Allowed>,
    whole: Alarm,
    /// The first two are running: time counts from the end of the request on.
    counts: Cell<bool>,
    idle: IdleTimer,
    lasts: Alarm,
    answered: Cell<bool>,
}

impl TryTimers {
    /// A try begins.
    pub(super) fn begin(&self, allowed: Allowed) {
        self.allowed.set(allowed);
        self.counts.set(false);
        self.answered.set(false);
        self.whole.unset();
        self.idle.restart(allowed.idle);
        self.lasts.set(allowed.lasts);
    }

    /// It is over.
    pub(super) fn end(&self) {
        self.begin(Allowed::default());
    }

    /// A sign of life.
    pub(super) fn touch(&self) {
        self.idle.touch();
    }

    /// The answer has begun, if only with an interim one.
    pub(super) fn answered(&self) {
        self.answered.set(true);
    }

    /// Ready when time ran out; `counts`: the request is complete.
    pub(super) fn poll(&self, counts: bool, cx: &mut Context<'_>) -> Poll<Late> {
        if self.lasts.poll(cx).is_ready() {
            return Poll::Ready(Late::Lasts);
        }
        if !counts {
            return Poll::Pending;
        }
        if !self.counts.replace(true) {
            self.whole.set(self.allowed.get().whole);
        }
        if self.idle.poll_idle(cx).is_ready() {
            return Poll::Ready(Late::Idle);
        }
        if self.whole.poll(cx).is_ready() {
            if !self.answered.get() {
                return Poll::Ready(Late::Whole);
            }
            // An answer that has begun is given its time; nor does its silence count until it goes on.
            self.whole.unset();
            self.idle.pause();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    /// What runs out and when, of a try that is answered or touched in between.
    async fn late(allowed: Allowed, counts: bool, answered: bool, touched: Option<Duration>) -> Option<(Late, u128)> {
        let timers = TryTimers::default();
        timers.begin(allowed);
        if answered {
            timers.answered();
        }
        let began = Instant::now();
        let late = poll_fn(|cx| timers.poll(counts, cx));
        let late = async {
            tokio::pin!(late);
            if let Some(touched) = touched {
                if let Ok(late) = tokio::time::timeout(touched, late.as_mut()).await {
                    return late;
                }
                timers.touch();
            }
            late.await
        };
        let late = tokio::time::timeout(Duration::from_secs(60), late).await.ok()?;
        Some((late, began.elapsed().as_millis()))
    }

    #[tokio::test(start_paused = true)]
    async fn each_runs_out_in_its_time() {
        let allowed = Allowed { whole: millis(200), idle: millis(300), lasts: millis(900) };
        for (allowed, counts, answered, touched, expected) in [
            (allowed, true, false, None, Some((Late::Whole, 200))),
            (Allowed { whole: millis(400), ..allowed }, true, false, None, Some((Late::Idle, 300))),
            (Allowed { whole: None, ..allowed }, true, true, millis(100), Some((Late::Idle, 400))),
            // The request is not complete.
            (allowed, false, false, None, Some((Late::Lasts, 900))),
            // Begun, silent: what is left is how long it may last.
            (allowed, true, true, None, Some((Late::Lasts, 900))),
            // Begun, it goes on, and is silent then.
            (allowed, true, true, millis(250), Some((Late::Idle, 550))),
            (Allowed { lasts: None, ..allowed }, false, false, None, None),
        ] {
            assert_eq!(
                late(allowed, counts, answered, touched).await,
                expected,
                "{allowed:?} {counts} {answered} {touched:?}"
            );
        }
    }
}
