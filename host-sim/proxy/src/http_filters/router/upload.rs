//! A request's body on its way to origins: kept as long as a retry may need it again, copied to mirrors.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::End;
use crate::connection::{BodyError, Piece, Stream};
use crate::local_reply::LocalReply;
use crate::upstream::Attempt;

/// The body of one request, sent as often as there are tries.
pub(super) struct Upload<'s> {
    stream: &'s Stream,
    /// Nothing follows the head.
    pub(super) bodyless: bool,
    kept: RefCell<Vec<Piece>>,
    size: Cell<usize>,
    limit: usize,
    keeping: Cell<bool>,
    mirrors: RefCell<Vec<UnboundedSender<Piece>>>,
    /// When the last of it came, in the worker's time.
    complete: Cell<Option<Duration>>,
    waiting: RefCell<Vec<Waker>>,
}

impl<'s> Upload<'s> {
    /// `keep`: there may be retries. Bodies larger than `limit` are not kept, and not retried.
    pub(super) fn new(stream: &'s Stream, keep: bool, limit: usize, mirrors: Vec<UnboundedSender<Piece>>) -> Upload<'s> {
        let bodyless = stream.request_is_over();
        Upload {
            stream,
            bodyless,
            kept: RefCell::default(),
            size: Cell::new(0),
            limit,
            keeping: Cell::new(keep),
            mirrors: RefCell::new(mirrors),
            complete: Cell::new(bodyless.then_some(stream.began)),
            waiting: RefCell::default(),
        }
    }

    /// Can the request be sent again from its beginning?
    pub(super) fn is_repeatable(&self) -> bool {
        self.bodyless || self.keeping.get()
    }

    /// When the request was complete; `None` as long as it is not.
    pub(super) fn completed_at(&self) -> Option<Duration> {
        self.complete.get()
    }

    /// Waits until the request is complete.
    pub(super) async fn completed(&self) -> Duration {
        poll_fn(|cx| match self.complete.get() {
            Some(at) => Poll::Ready(at),
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// No retry will come: what was kept is not needed any more.
    pub(super) fn settle(&self) {
        if !self.bodyless {
            self.keeping.set(false);
            self.kept.borrow_mut().clear();
        }
    }

    /// Sends the body along a try: what came before, then the rest as it comes.
    pub(super) async fn send(&self, attempt: &Attempt) -> Result<(), End> {
        if self.bodyless {
            return Ok(());
        }
        let mut next = 0usize;
        while self.keeping.get() {
            let Some(piece) = self.kept.borrow().get(next).cloned() else { break };
            next = next.saturating_add(1);
            // What cannot be sent any more shows in the answer, or in its absence.
            attempt.send(piece).await.unwrap_or_default();
        }
        while self.complete.get().is_none() {
            let piece = poll_fn(|cx| self.stream.body.borrow_mut().poll_next(cx)).await;
            match piece {
                Some(Ok(piece)) => {
                    self.keep(&piece);
                    self.mirrors.borrow_mut().retain(|mirror| mirror.send(piece.clone()).is_ok());
                    attempt.send(piece).await.unwrap_or_default();
                }
                Some(Err(BodyError::Gone)) => return Err(End::Gone),
                Some(Err(BodyError::Malformed)) => return Err(End::Reply(LocalReply::new(400, "http1.codec_error"))),
                None => self.finish(),
            }
            attempt.flush().await.unwrap_or_default();
        }
        attempt.finish().await.unwrap_or_default();
        Ok(())
    }

    fn keep(&self, piece: &Piece) {
        if !self.keeping.get() {
            return;
        }
        if let Piece::Data(data) = piece {
            self.size.set(self.size.get().saturating_add(data.len()));
        }
        if self.size.get() > self.limit {
            self.settle();
        } else {
            self.kept.borrow_mut().push(piece.clone());
        }
    }

    fn finish(&self) {
        self.complete.set(Some(self.stream.worker.clock.now()));
        self.mirrors.borrow_mut().clear();
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}
