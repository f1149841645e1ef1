//! An answer's body that is read while its head is held.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::connection::{BodyError, BodySource, Piece};

/// A body, and what of it was read before anybody asked for it.
pub(super) struct ReadAhead {
    body: BodySource,
    read: VecDeque<Result<Piece, BodyError>>,
    bytes: usize,
}

impl ReadAhead {
    pub(super) fn new(body: BodySource) -> ReadAhead {
        ReadAhead { body, read: VecDeque::new(), bytes: 0 }
    }

    /// Reads on until it has so many bytes; ready when there is nothing more to be read.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        while !self.body.is_over() {
            if self.bytes > limit || matches!(self.read.back(), Some(Err(_))) {
                return Poll::Pending;
            }
            match self.body.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
                Poll::Ready(Some(piece)) => {
                    if let Ok(Piece::Data(data)) = &piece {
                        self.bytes = self.bytes.saturating_add(data.len());
                    }
                    self.read.push_back(piece);
                }
            }
        }
        Poll::Ready(())
    }

    /// The next piece; `None` when it is over.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        match self.read.pop_front() {
            Some(piece) => Poll::Ready(Some(piece)),
            None => self.body.poll_next(cx),
        }
    }

    /// See [`ReadAhead::poll_next`].
    pub(super) async fn next(&mut self) -> Option<Result<Piece, BodyError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}
