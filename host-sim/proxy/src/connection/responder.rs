//! The way back to the client: a head, then pieces, over whichever protocol it speaks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::oneshot;

use super::body::Piece;
use super::http2::{self, Outgoing, Outlet, Reset};
use super::wire::Wire;
use crate::headers::HeaderList;
use crate::http1::{AnswerTo, Framing, encode_chunk, encode_last_chunk, encode_response};

/// The client went away while it was being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientGone;

/// How many turns of its loop a worker gives an HTTP/2 connection to write what an answer had before it broke off.
const TURNS_BEFORE_RESET: u8 = 8;

/// Answers one request.
pub(crate) enum Responder {
    /// On an HTTP/1 connection.
    Http1(Http1Responder),
    /// On an HTTP/2 stream.
    Http2(Http2Responder),
}

impl Responder {
    /// Sends the head; `end` when nothing follows. It may stay in a buffer until [`Responder::flush`] or the end.
    pub(crate) async fn head(&self, list: &[(Bytes, Bytes)], end: bool) -> Result<(), ClientGone> {
        match self {
            Responder::Http1(responder) => responder.head(list, end).await,
            Responder::Http2(responder) => responder.head(list, end),
        }
    }

    /// Sends an interim head (100, 103).
    pub(crate) async fn interim(&self, list: &[(Bytes, Bytes)]) -> Result<(), ClientGone> {
        match self {
            Responder::Http1(responder) => {
                encode_response(list, true, AnswerTo { head: false, ..responder.to }, &mut responder.wire.output());
                responder.flush().await
            }
            // hyper answers `expect: 100-continue` itself as soon as the body is asked for.
            Responder::Http2(_) => Ok(()),
        }
    }

    /// Sends a piece of the body.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), ClientGone> {
        match self {
            Responder::Http1(responder) => responder.send(piece).await,
            Responder::Http2(responder) => responder.send(piece).await,
        }
    }

    /// What was sent goes out now.
    pub(crate) async fn flush(&self) -> Result<(), ClientGone> {
        match self {
            Responder::Http1(responder) => responder.flush().await,
            Responder::Http2(_) => Ok(()),
        }
    }

    /// The answer is complete.
    pub(crate) async fn finish(&self) -> Result<(), ClientGone> {
        match self {
            Responder::Http1(responder) => responder.finish().await,
            Responder::Http2(responder) => {
                responder.outlet.replace(None);
                responder.complete.set(true);
                Ok(())
            }
        }
    }

    /// The answer breaks off.
    pub(crate) async fn reset(&self) {
        if let Responder::Http2(responder) = self
            && let Some(outlet) = responder.outlet.take()
        {
            // A reset overtakes what waits to be written, so that has its time first.
            for _ in 0..TURNS_BEFORE_RESET {
                tokio::task::yield_now().await;
            }
            // Should the client be gone already, there is nobody to tell.
            let _ = outlet.send(Err(Reset)).await;
        }
    }

    /// Has a head been sent?
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Responder::Http1(responder) => responder.begun.get(),
            Responder::Http2(responder) => responder.head.borrow().is_none(),
        }
    }

    /// Was all of an answer sent?
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Responder::Http1(responder) => responder.complete.get(),
            Responder::Http2(responder) => responder.complete.get(),
        }
    }
}

/// An answer on an HTTP/1 connection.
pub(crate) struct Http1Responder {
    wire: Rc<Wire>,
    to: AnswerTo,
    /// `enable_trailers`: what follows the body is written, too.
    trailing: bool,
    trailers: RefCell<HeaderList>,
    framing: Cell<Framing>,
    begun: Cell<bool>,
    complete: Cell<bool>,
}

impl Http1Responder {
    /// `trailing`: write trailers.
    pub(crate) fn new(wire: &Rc<Wire>, to: AnswerTo, trailing: bool) -> Http1Responder {
        Http1Responder {
            wire: Rc::clone(wire),
            to,
            trailing,
            trailers: RefCell::default(),
            framing: Cell::new(Framing::Forbidden),
            begun: Cell::new(false),
            complete: Cell::new(false),
        }
    }

    async fn head(&self, list: &[(Bytes, Bytes)], end: bool) -> Result<(), ClientGone> {
        let framing = encode_response(list, end, self.to, &mut self.wire.output());
        self.framing.set(framing);
        self.begun.set(true);
        if end { self.finish().await } else { Ok(()) }
    }

    async fn send(&self, piece: Piece) -> Result<(), ClientGone> {
        let data = match piece {
            Piece::Data(data) => data,
            Piece::Trailers(list) => {
                if self.trailing {
                    self.trailers.replace(list);
                }
                return Ok(());
            }
        };
        let written = match self.framing.get() {
            Framing::Forbidden => return Ok(()),
            Framing::Raw => self.wire.write(&data).await,
            Framing::Chunked => {
                encode_chunk(&data, &mut self.wire.output());
                self.wire.write(&[]).await
            }
        };
        written.map_err(|_| ClientGone)
    }

    async fn flush(&self) -> Result<(), ClientGone> {
        self.wire.flush().await.map_err(|_| ClientGone)
    }

    async fn finish(&self) -> Result<(), ClientGone> {
        if self.framing.get() == Framing::Chunked {
            encode_last_chunk(&self.trailers.borrow(), &mut self.wire.output());
        }
        self.flush().await?;
        self.complete.set(true);
        Ok(())
    }
}

/// An answer on an HTTP/2 stream.
pub(crate) struct Http2Responder {
    head: RefCell<Option<oneshot::Sender<http::Response<Outgoing>>>>,
    outlet: RefCell<Option<Outlet>>,
    complete: Cell<bool>,
}

impl Http2Responder {
    pub(crate) fn new(head: oneshot::Sender<http::Response<Outgoing>>) -> Http2Responder {
        Http2Responder { head: RefCell::new(Some(head)), outlet: RefCell::default(), complete: Cell::new(false) }
    }

    /// The client has reset the stream, or its connection is gone.
    pub(crate) async fn gone(&self) {
        std::future::poll_fn(|cx| match self.head.borrow_mut().as_mut() {
            Some(head) => head.poll_closed(cx),
            None => std::task::Poll::Ready(()),
        })
        .await;
        let outlet = self.outlet.borrow().clone();
        match outlet {
            Some(outlet) => outlet.closed().await,
            None => std::future::pending().await,
        }
    }

    fn head(&self, list: &[(Bytes, Bytes)], end: bool) -> Result<(), ClientGone> {
        let body = if end {
            self.complete.set(true);
            Outgoing::Empty
        } else {
            let (outlet, body) = Outgoing::channel();
            self.outlet.replace(Some(outlet));
            body
        };
        let response = http2::response_of(list, body).map_err(|_| ClientGone)?;
        match self.head.take() {
            Some(head) => head.send(response).map_err(|_| ClientGone),
            None => Err(ClientGone),
        }
    }

    async fn send(&self, piece: Piece) -> Result<(), ClientGone> {
        let Some(outlet) = self.outlet.borrow().clone() else { return Ok(()) };
        let frame = match piece {
            Piece::Data(data) => Frame::data(data),
            Piece::Trailers(list) => Frame::trailers(http2::trailers_of(&list)),
        };
        outlet.send(Ok(frame)).await.map_err(|_| ClientGone)
    }
}
