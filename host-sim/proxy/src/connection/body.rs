//! A message's body as a stream that is pulled: nothing is read from a peer before it is asked for.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use thiserror::Error;

use super::wire::Wire;
use crate::headers::HeaderList;
use crate::http1::{BodyDecoder, Decoded, InvalidBody};

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Some bytes, at least one.
    Data(Bytes),
    /// What follows the bytes; the last piece.
    Trailers(HeaderList),
}

impl Piece {
    /// Bytes of the body in it.
    pub(crate) fn length(&self) -> usize {
        match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(_) => 0,
        }
    }
}

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BodyError {
    /// The peer went, or reset the stream.
    #[error("the peer went away")]
    Gone,
    /// The bytes are not framed as the head said.
    #[error("malformed body")]
    Malformed,
    /// What follows the bytes has controls in it.
    #[error("invalid characters in trailers")]
    Characters,
    /// What follows the bytes is longer than a head may be.
    #[error("trailers too large")]
    TrailersTooLarge,
}

/// Where a body comes from.
#[derive(Default)]
pub(crate) enum BodySource {
    /// There is none, or it is over.
    #[default]
    Empty,
    /// An HTTP/1 connection.
    Http1(Rc<Wire>, BodyDecoder),
    /// An HTTP/2 stream.
    Http2(Box<Incoming>),
}

impl BodySource {
    /// A body off an HTTP/1 connection.
    pub(crate) fn http1(wire: &Rc<Wire>, decoder: BodyDecoder) -> BodySource {
        if decoder.is_done() { BodySource::Empty } else { BodySource::Http1(Rc::clone(wire), decoder) }
    }

    /// A body off an HTTP/2 stream.
    pub(crate) fn http2(incoming: Incoming) -> BodySource {
        if incoming.is_end_stream() { BodySource::Empty } else { BodySource::Http2(Box::new(incoming)) }
    }

    /// Nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            BodySource::Empty => true,
            BodySource::Http1(_, decoder) => decoder.is_done(),
            BodySource::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    /// The next piece; `None` when it is over. May be asked again after it was abandoned half-way.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        match self {
            BodySource::Empty => Poll::Ready(None),
            BodySource::Http1(wire, decoder) => {
                let next = ready!(poll_http1(wire, decoder, cx));
                if next.is_none() {
                    *self = BodySource::Empty;
                }
                Poll::Ready(next)
            }
            BodySource::Http2(incoming) => poll_http2(incoming, cx),
        }
    }

    /// See [`BodySource::poll_next`].
    pub(crate) async fn next(&mut self) -> Option<Result<Piece, BodyError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// What was read at once is one piece, however many chunks it came in; and nothing, if what follows in it is none.
fn poll_http1(wire: &Wire, decoder: &mut BodyDecoder, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
    let mut held = Held::default();
    loop {
        let decoded = decoder.decode(&mut wire.input());
        match decoded {
            Ok(Decoded::Data(data)) => held.add(data),
            Ok(Decoded::Trailers(list)) if held.is_empty() => return Poll::Ready(Some(Ok(Piece::Trailers(list)))),
            Ok(Decoded::Trailers(list)) => {
                decoder.put_back(list);
                return Poll::Ready(held.piece());
            }
            Ok(Decoded::End | Decoded::NeedMore) if !held.is_empty() => return Poll::Ready(held.piece()),
            Ok(Decoded::End) => return Poll::Ready(None),
            Err(InvalidBody::Malformed) => return Poll::Ready(Some(Err(BodyError::Malformed))),
            Err(InvalidBody::Characters) => return Poll::Ready(Some(Err(BodyError::Characters))),
            Err(InvalidBody::TrailersTooLarge) => return Poll::Ready(Some(Err(BodyError::TrailersTooLarge))),
            Ok(Decoded::NeedMore) => match ready!(wire.poll_fill(cx)) {
                Ok(0) if decoder.ends_with_connection() => return Poll::Ready(None),
                // An origin that goes by a reset has gone.
                Err(_) if decoder.ends_an_answer() => return Poll::Ready(None),
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(BodyError::Gone))),
                Ok(_) => {}
            },
        }
    }
}

/// Data that was decoded and not handed on.
#[derive(Default)]
struct Held {
    first: Bytes,
    more: BytesMut,
}

impl Held {
    fn add(&mut self, data: Bytes) {
        if self.first.is_empty() {
            self.first = data;
        } else if !data.is_empty() {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&data);
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn piece(self) -> Option<Result<Piece, BodyError>> {
        let data = if self.more.is_empty() { self.first } else { self.more.freeze() };
        (!data.is_empty()).then_some(Ok(Piece::Data(data)))
    }
}

fn poll_http2(incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
    loop {
        let frame = match ready!(std::pin::Pin::new(&mut *incoming).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Gone))),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => return Poll::Ready(Some(Ok(Piece::Data(data)))),
            Err(other) => {
                let Ok(trailers) = other.into_trailers() else { continue };
                let trailers = super::http2::list_of(&trailers);
                return Poll::Ready(Some(Ok(Piece::Trailers(trailers))));
            }
        }
    }
}
