//! The connections of a worker: how many there are, and how those that wait for a request are told to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Open connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Cell<usize>,
    draining: Cell<bool>,
    closing: Cell<bool>,
    waiting: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    empty: RefCell<Option<Waker>>,
}

/// One open connection; dropped when it is over.
#[derive(Debug)]
pub(crate) struct Open {
    all: Rc<Connections>,
    slot: usize,
}

impl Connections {
    /// Counts a connection in.
    pub(crate) fn open(self: &Rc<Connections>) -> Open {
        self.open.set(self.open.get() + 1);
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(None);
            waiting.len() - 1
        });
        Open { all: Rc::clone(self), slot }
    }

    /// Answers from now on say that their connection ends.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
    }

    /// Connections that wait for a request end now.
    pub(crate) fn close_waiting(&self) {
        self.closing.set(true);
        for waker in self.waiting.borrow_mut().iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }

    /// See [`Connections::drain`].
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Waits until none is open.
    pub(crate) async fn gone(&self) {
        std::future::poll_fn(|cx| {
            if self.open.get() == 0 {
                return Poll::Ready(());
            }
            self.empty.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Open {
    /// Ready when a connection that waits for a request is to end.
    pub(crate) fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.all.closing.get() {
            return Poll::Ready(());
        }
        if let Some(slot) = self.all.waiting.borrow_mut().get_mut(self.slot)
            && !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *slot = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(slot) = self.all.waiting.borrow_mut().get_mut(self.slot) {
            *slot = None;
        }
        self.all.free.borrow_mut().push(self.slot);
        self.all.open.set(self.all.open.get().saturating_sub(1));
        if self.all.open.get() == 0
            && let Some(waker) = self.all.empty.take()
        {
            waker.wake();
        }
    }
}
