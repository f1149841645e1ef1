//! A request to an HTTP/1 origin, over a connection that may serve others before and after.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;

use crate::connection::{BodySource, Piece, Wire};
use crate::headers::HeaderList;
use crate::http1::{
    BodyKind, BodyRules, Framing, HeadReader, ResponseBody, ResponseHead, begins_badly, encode_chunk,
    encode_last_chunk, encode_request, parse_response,
};

use super::Broken;
use super::attempt::Outline;
use super::endpoint::Counted;
use crate::local_reply::Reset;
use crate::snapshot::AnswerLimits;

/// A connection to an origin.
pub(crate) struct Http1Connection {
    pub(crate) wire: Rc<Wire>,
    /// Our address, for the access log.
    pub(crate) local: Option<SocketAddr>,
    /// Requests it has carried.
    pub(crate) requests: u64,
    /// When it was opened, in the worker's monotonic time.
    pub(crate) opened: std::time::Duration,
    /// When it was opened or became idle.
    pub(crate) since: std::time::Duration,
    pub(super) _counted: Counted,
}

/// One request and its response on a connection.
pub(crate) struct Http1Exchange {
    connection: RefCell<Option<Http1Connection>>,
    wire: Rc<Wire>,
    method: Bytes,
    upgrading: bool,
    limits: AnswerLimits,
    rules: BodyRules,
    trailers: RefCell<HeaderList>,
    framing: Cell<Framing>,
    reader: RefCell<HeadReader>,
    sent: Cell<bool>,
    reusable: Cell<bool>,
}

impl Http1Exchange {
    /// `trailing`: trailers are sent and read, else dropped both ways.
    pub(crate) fn new(
        connection: Http1Connection,
        outline: &Outline,
        limits: AnswerLimits,
        trailing: bool,
    ) -> Http1Exchange {
        let wire = Rc::clone(&connection.wire);
        Http1Exchange {
            connection: RefCell::new(Some(connection)),
            wire,
            method: outline.method.clone(),
            upgrading: outline.upgrading,
            limits,
            rules: BodyRules { trailers: trailing, ..BodyRules::default() },
            trailers: RefCell::default(),
            framing: Cell::new(Framing::Forbidden),
            reader: RefCell::new(HeadReader::of_responses()),
            sent: Cell::new(false),
            reusable: Cell::new(false),
        }
    }

    /// Puts the head before whatever is sent next.
    pub(crate) fn write_head(&self, list: &[(Bytes, Bytes)], end: bool) {
        let framing = encode_request(list, end, &mut self.wire.output());
        self.framing.set(framing);
    }

    /// Writes a piece of the body.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), Broken> {
        let data = match piece {
            Piece::Data(data) => data,
            Piece::Trailers(list) => {
                if self.rules.trailers {
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
        written.map_err(|_| Reset::ConnectionTermination.into())
    }

    /// What was written goes out now.
    pub(crate) async fn flush(&self) -> Result<(), Broken> {
        self.wire.flush().await.map_err(|_| Reset::ConnectionTermination.into())
    }

    /// The body is complete.
    pub(crate) async fn finish(&self) -> Result<(), Broken> {
        if self.framing.get() == Framing::Chunked {
            encode_last_chunk(&self.trailers.borrow(), &mut self.wire.output());
        }
        self.sent.set(true);
        if self.upgrading && self.framing.get() == Framing::Raw {
            return self.wire.shutdown().await.map_err(|_| Reset::ConnectionTermination.into());
        }
        self.flush().await
    }

    /// The next head: an interim one (1xx but 101), or the response's.
    pub(crate) async fn head(&self) -> Result<ResponseHead, Broken> {
        loop {
            // Nothing else is waited for the end of.
            if self.wire.input().first().is_some_and(|first| *first != b'H') || begins_badly(&self.wire.input()) {
                return Err(Reset::ProtocolError.into());
            }
            let taken = self.reader.borrow_mut().take(&mut self.wire.input(), self.limits.bytes);
            match taken {
                Ok(Some(head)) => {
                    let head = parse_response(&head, &self.method, self.upgrading)
                        .map_err(|_| Broken::from(Reset::ProtocolError))?;
                    if head.headers.len() > self.limits.count.saturating_add(1) {
                        return Err(Reset::ProtocolError.into());
                    }
                    self.reusable.set(!head.close && head.body != ResponseBody::Framed(BodyKind::Tunnel));
                    return Ok(head);
                }
                Ok(None) => {}
                Err(_) => return Err(Reset::ProtocolError.into()),
            }
            let begun = !self.wire.input().is_empty();
            match self.wire.fill().await {
                // A reset is an end like any other.
                Ok(0) | Err(_) if begun => return Err(Reset::ProtocolError.into()),
                Ok(0) | Err(_) => return Err(Reset::ConnectionTermination.into()),
                Ok(_) => {}
            }
        }
    }

    /// The body behind the head.
    pub(crate) fn body(&self, head: &ResponseHead) -> BodySource {
        BodySource::http1(&self.wire, head.body.decoder(self.rules))
    }

    /// The connection, if it can carry another request: everything of this one was sent and read, and nothing more came.
    pub(crate) fn into_idle(self) -> Option<Http1Connection> {
        let clean = self.sent.get() && self.reusable.get() && self.wire.input().is_empty() && !self.wire.has_ended();
        if clean { self.connection.into_inner() } else { None }
    }

    /// Our address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.connection.borrow().as_ref().and_then(|connection| connection.local)
    }
}
