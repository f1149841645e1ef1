//! A deadline that moves far more often than it passes, so that moving it costs a store and asking costs next to nothing.
//!
//! The runtime's timer behind it is armed once and left where it is while the deadline moves on; only when it fires is it
//! set again. An HTTP/1 connection keeps its alarms for all of its requests.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Rings once its deadline has passed.
#[derive(Default)]
pub(crate) struct Alarm {
    deadline: Cell<Option<Instant>>,
    armed: RefCell<Option<Armed>>,
}

/// The runtime's timer, set to the deadline or earlier.
struct Armed {
    sleep: Pin<Box<Sleep>>,
    /// Who is woken; nobody until the timer was polled after it was last set.
    waker: Option<Waker>,
}

impl Alarm {
    /// Rings so long from now; `None` never.
    pub(crate) fn set(&self, patience: Option<Duration>) {
        self.deadline.set(patience.and_then(|patience| Instant::now().checked_add(patience)));
    }

    /// Rings then; `None` never.
    pub(crate) fn ring_at(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Does not ring.
    pub(crate) fn unset(&self) {
        self.deadline.set(None);
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline.get() else { return Poll::Pending };
        let mut slot = self.armed.borrow_mut();
        let armed =
            slot.get_or_insert_with(|| Armed { sleep: Box::pin(tokio::time::sleep_until(deadline)), waker: None });
        if armed.sleep.deadline() > deadline {
            armed.reset(deadline);
        } else if !armed.sleep.is_elapsed() && armed.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // Not held back by the task's budget: a poll that registers nothing would never be repeated.
        while pin!(tokio::task::unconstrained(armed.sleep.as_mut())).poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            armed.reset(deadline);
        }
        armed.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Armed {
    fn reset(&mut self, deadline: Instant) {
        self.sleep.as_mut().reset(deadline);
        self.waker = None;
    }
}

/// Rings when nobody has touched it for a while.
#[derive(Default)]
pub(crate) struct IdleTimer {
    patience: Cell<Option<Duration>>,
    alarm: Alarm,
}

impl IdleTimer {
    /// `None` never rings.
    pub(crate) fn new(patience: Option<Duration>) -> IdleTimer {
        let timer = IdleTimer::default();
        timer.restart(patience);
        timer
    }

    /// Starts over with another patience.
    pub(crate) fn restart(&self, patience: Option<Duration>) {
        self.patience.set(patience);
        self.touch();
    }

    /// Starts over.
    pub(crate) fn touch(&self) {
        self.alarm.set(self.patience.get());
    }

    /// Does not ring until it is touched.
    pub(crate) fn pause(&self) {
        self.alarm.unset();
    }

    /// Ready when it has not been touched for long enough.
    pub(crate) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);

    async fn rings_within(alarm: &Alarm, patience: Duration) -> bool {
        tokio::time::timeout(patience, poll_fn(|cx| alarm.poll(cx))).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_its_deadline_wherever_that_was_moved() {
        let alarm = Alarm::default();
        assert!(!rings_within(&alarm, SHORT).await, "unset");
        alarm.set(Some(SHORT));
        assert!(!rings_within(&alarm, SHORT / 2).await, "too early");
        alarm.set(Some(SHORT * 4));
        assert!(!rings_within(&alarm, SHORT * 3).await, "moved to later");
        alarm.set(Some(SHORT));
        assert!(rings_within(&alarm, SHORT * 2).await, "moved to earlier");
        alarm.unset();
        assert!(!rings_within(&alarm, SHORT * 9).await, "unset again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_timer_rings_a_while_after_the_last_touch() {
        let timer = IdleTimer::new(Some(SHORT));
        let idle = || poll_fn(|cx| timer.poll_idle(cx));
        assert!(tokio::time::timeout(SHORT / 2, idle()).await.is_err());
        timer.touch();
        let touched = Instant::now();
        idle().await;
        assert!(touched.elapsed() >= SHORT);
    }
}
