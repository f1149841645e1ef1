//! One attempt of a request on one endpoint, whichever protocol the endpoint speaks.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::http1::Http1Exchange;
use super::http2::Http2Exchange;
use super::{Broken, Endpoint, Limits, Protocols, Transport};
use crate::connection::{BodySource, Piece};
use crate::headers::{self, HeaderList};

/// A head an origin sent.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: HeaderList,
    /// What follows; a 1xx other than 101 has the next head behind it.
    pub(crate) body: BodySource,
}

/// A request under way. Sending and receiving may go on at the same time.
pub(crate) struct Attempt {
    endpoint: Rc<Endpoint>,
    exchange: Exchange,
    /// A connection had to be opened for it.
    pub(crate) is_new_connection: bool,
}

enum Exchange {
    Http1(Http1Exchange),
    Http2(Http2Exchange),
}

impl Attempt {
    /// Finds or opens a connection; nothing has been sent when it fails.
    pub(crate) async fn open(
        endpoint: &Rc<Endpoint>,
        protocol: Protocols,
        transport: &Transport,
        head: &[(Bytes, Bytes)],
        now: Duration,
        limits: Limits<'_>,
    ) -> Result<Attempt, Broken> {
        let sni = headers::get(head, ":authority");
        let (exchange, is_new_connection) = match protocol {
            Protocols::Http1 => {
                let (connection, new) = endpoint.http1(transport, now, sni, limits).await?;
                let method = headers::get(head, ":method").cloned().unwrap_or_default();
                let upgrading = headers::has(head, "upgrade");
                (Exchange::Http1(Http1Exchange::new(connection, method, upgrading)), new)
            }
            Protocols::Http2 => {
                let (connection, new) = endpoint.http2(transport, sni, limits).await?;
                (Exchange::Http2(Http2Exchange::new(connection)), new)
            }
        };
        Ok(Attempt { endpoint: Rc::clone(endpoint), exchange, is_new_connection })
    }

    /// Where it goes.
    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// Our address on the way there.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match &self.exchange {
            Exchange::Http1(exchange) => exchange.local(),
            Exchange::Http2(exchange) => exchange.local(),
        }
    }

    /// Sends the head; `end` when nothing follows. Otherwise it may wait for what follows, or [`Attempt::flush`].
    pub(crate) async fn send_head(&self, list: &[(Bytes, Bytes)], end: bool) -> Result<(), Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) => exchange.send_head(list, end).await,
            Exchange::Http2(exchange) => exchange.send_head(list, end).await,
        }
    }

    /// Sends a piece of the body.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) => exchange.send(piece).await,
            Exchange::Http2(exchange) => exchange.send(piece).await,
        }
    }

    /// What was sent goes out now.
    pub(crate) async fn flush(&self) -> Result<(), Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) => exchange.flush().await,
            Exchange::Http2(_) => Ok(()),
        }
    }

    /// The request is complete.
    pub(crate) async fn finish(&self) -> Result<(), Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) => exchange.finish().await,
            Exchange::Http2(exchange) => {
                exchange.finish();
                Ok(())
            }
        }
    }

    /// Waits for the next head.
    pub(crate) async fn head(&self) -> Result<Head, Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) => {
                let head = exchange.head().await?;
                let body = exchange.body(&head);
                Ok(Head { status: head.status, headers: head.headers, body })
            }
            Exchange::Http2(exchange) => {
                let (status, headers) = exchange.head().await?;
                Ok(Head { status, headers, body: exchange.body() })
            }
        }
    }

    /// The response was read to its end: the connection may be used again.
    pub(crate) fn complete(self, transport: &Transport, now: Duration) {
        if let Exchange::Http1(exchange) = self.exchange
            && let Some(connection) = exchange.into_idle()
        {
            self.endpoint.give_back(connection, transport, now);
        }
    }
}
