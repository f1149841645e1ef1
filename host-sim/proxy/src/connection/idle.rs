//! A timer a connection keeps for its whole life: moved far more often than it fires, so moving it costs a store.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Fires when nobody has touched it for a while.
pub(crate) struct IdleTimer {
    patience: Cell<Option<Duration>>,
    touched: Cell<Instant>,
    sleep: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl IdleTimer {
    /// `None` never fires.
    pub(crate) fn new(patience: Option<Duration>) -> IdleTimer {
        IdleTimer { patience: Cell::new(patience), touched: Cell::new(Instant::now()), sleep: RefCell::default() }
    }

    /// Starts over.
    pub(crate) fn touch(&self) {
        if self.patience.get().is_some() {
            self.touched.set(Instant::now());
        }
    }

    /// Ready when it has not been touched for long enough.
    pub(crate) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.patience.get() else { return Poll::Pending };
        let deadline = self.touched.get() + patience;
        let mut sleep = self.sleep.borrow_mut();
        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_fires_a_while_after_the_last_touch() {
        let patience = Duration::from_millis(40);
        let timer = IdleTimer::new(Some(patience));
        let idle = || std::future::poll_fn(|cx| timer.poll_idle(cx));
        assert!(tokio::time::timeout(patience / 2, idle()).await.is_err());
        timer.touch();
        let touched = Instant::now();
        idle().await;
        assert!(touched.elapsed() >= patience);
    }
}
