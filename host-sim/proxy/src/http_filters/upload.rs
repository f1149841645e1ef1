//! A request's body between the filters and the origin: what is on its way, and what is kept to be sent again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll};

use vm::Direction;

use super::Stop;
use crate::connection::{Piece, ReadAhead, Stream};

/// One request's.
#[derive(Default)]
pub(crate) struct Upload {
    pieces: RefCell<Vec<Piece>>,
    /// Pieces before these were sent and let go.
    gone: Cell<usize>,
    /// Pieces before these were sent.
    sent: Cell<usize>,
    /// Bytes kept, and those of them not sent yet.
    bytes: Cell<usize>,
    unsent: Cell<usize>,
    complete: Cell<bool>,
    keep: Cell<bool>,
    changes: Cell<u64>,
}

impl Upload {
    /// Filters will see no body behind the head.
    pub(super) fn is_over_for_filters(&self, body: &RefCell<ReadAhead>) -> bool {
        self.pieces.borrow().is_empty() && body.borrow().is_over()
    }

    /// Keeps what is sent, to be sent again or copied.
    pub(super) fn keep(&self) {
        self.keep.set(true);
    }

    /// Everything that was sent is still here.
    pub(super) fn can_repeat(&self) -> bool {
        self.keep.get() && self.gone.get() == 0
    }

    /// Nothing to send but the head.
    pub(super) fn is_empty(&self) -> bool {
        self.complete.get() && self.pieces.borrow().is_empty() && self.gone.get() == 0
    }

    /// No more will come.
    pub(super) fn complete(&self) {
        self.complete.set(true);
        self.changed();
    }

    /// Puts a piece behind the others.
    pub(crate) fn push(&self, piece: Piece) {
        self.bytes.set(self.bytes.get() + piece.length());
        self.unsent.set(self.unsent.get() + piece.length());
        self.pieces.borrow_mut().push(piece);
        self.changed();
    }

    /// All pieces, for a copy of the request.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        self.pieces.borrow().clone()
    }

    /// The piece at `next`, counted from the first; `None` when there is none any more.
    pub(super) async fn piece(&self, next: usize) -> Option<Piece> {
        poll_fn(|_| {
            let at = next.checked_sub(self.gone.get());
            match at.and_then(|at| self.pieces.borrow().get(at).cloned()) {
                Some(piece) => Poll::Ready(Some(piece)),
                None if self.complete.get() => Poll::Ready(None),
                // Whoever fills the upload is polled by the same task right before.
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Is there a piece at `next`, without waiting?
    pub(super) fn has_piece(&self, next: usize) -> bool {
        next.checked_sub(self.gone.get()).is_some_and(|at| at < self.pieces.borrow().len())
    }

    /// The piece at `next - 1` was sent. Beyond `limit` bytes nothing is kept for another time.
    pub(super) fn sent(&self, next: usize, limit: usize) {
        let mut pieces = self.pieces.borrow_mut();
        let at = next.saturating_sub(self.gone.get());
        let sent = pieces.get(at.saturating_sub(1)).map_or(0, Piece::length);
        self.unsent.set(self.unsent.get().saturating_sub(sent));
        self.sent.set(next);
        self.changed();
        if self.keep.get() && self.bytes.get() <= limit {
            return;
        }
        self.keep.set(false);
        let count = at.min(pieces.len());
        let gone: usize = pieces.drain(..count).map(|piece| piece.length()).sum();
        self.bytes.set(self.bytes.get().saturating_sub(gone));
        self.gone.set(self.gone.get() + count);
    }

    /// All of it is to be sent again.
    pub(super) fn rewind(&self) {
        self.sent.set(0);
        self.unsent.set(self.bytes.get());
        self.changed();
    }

    /// Changes with whatever happens here.
    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    fn changed(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
    }

    /// Up to `limit` bytes wait here to be sent, what is beyond them in the client's connection.
    fn has_room(&self, limit: usize) -> bool {
        self.unsent.get() <= limit
    }
}

/// Reads the client's body, takes it down the chain, and puts it into the upload, to the end, as long as no more than `limit` bytes wait there.
pub(super) async fn pump(stream: &Stream, limit: usize) -> Result<(), Stop> {
    loop {
        poll_fn(|_| if stream.upload.has_room(limit) { Poll::Ready(()) } else { Poll::Pending }).await;
        let next = poll_fn(|cx: &mut Context<'_>| stream.body.borrow_mut().poll_next(cx)).await.transpose()?;
        stream.touch();
        let last =
            matches!(next, None | Some(Piece::Trailers(_))) || stream.is_http2() && stream.body.borrow().is_over();
        let piece = stream.received(next);
        let chain = &stream.chain;
        if chain.sees_body(Direction::Request) {
            for piece in chain.piece(stream, Direction::Request, piece, last).await? {
                stream.upload.push(piece);
            }
        } else if let Some(piece) = piece {
            stream.upload.push(piece);
        }
        if last {
            stream.upload.complete();
            return Ok(());
        }
    }
}
