//! A body that is read on while somebody holds what comes before it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::body::{BodyError, BodySource, Piece};

/// A body, and what of it was read before anybody asked for it.
#[derive(Default)]
pub(crate) struct ReadAhead {
    body: BodySource,
    read: VecDeque<Result<Piece, BodyError>>,
    bytes: usize,
    /// The piece that was handed out last came just now, so the codec has not looked whether anything follows it.
    at_its_heels: bool,
}

impl ReadAhead {
    pub(crate) fn new(body: BodySource) -> ReadAhead {
        ReadAhead { body, ..ReadAhead::default() }
    }

    /// Nothing is left to be had.
    pub(crate) fn is_over(&self) -> bool {
        self.read.is_empty() && self.has_come()
    }

    /// All of it has come, if not to anybody who asked for it. Of HTTP/1 a piece is handed out before its end is looked at, as in Envoy.
    pub(crate) fn has_come(&self) -> bool {
        self.body.is_over() && !self.at_its_heels
    }

    /// What was read ahead ends in this.
    pub(crate) fn failure(&self) -> Option<BodyError> {
        self.read.back().and_then(|last| last.as_ref().err().copied())
    }

    /// Bytes read ahead that nobody asked for yet.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads on until it has so many bytes; ready when there is nothing more to be read.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        self.at_its_heels = false;
        while !self.body.is_over() {
            if self.bytes > limit || self.failure().is_some() {
                return Poll::Pending;
            }
            match self.body.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
                Poll::Ready(Some(piece)) => {
                    self.bytes = self.bytes.saturating_add(length(&piece));
                    self.read.push_back(piece);
                }
            }
        }
        Poll::Ready(())
    }

    /// The next piece; `None` when it is over.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        if let Some(piece) = self.read.pop_front() {
            self.bytes = self.bytes.saturating_sub(length(&piece));
            return Poll::Ready(Some(piece));
        }
        let is_http1 = matches!(self.body, BodySource::Http1(..));
        let next = self.body.poll_next(cx);
        self.at_its_heels = is_http1 && matches!(next, Poll::Ready(Some(Ok(Piece::Data(_)))));
        next
    }

    /// See [`ReadAhead::poll_next`].
    pub(crate) async fn next(&mut self) -> Option<Result<Piece, BodyError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

fn length(piece: &Result<Piece, BodyError>) -> usize {
    piece.as_ref().map_or(0, Piece::length)
}
