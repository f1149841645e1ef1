//! One attempt of a request on one endpoint, whichever protocol the endpoint speaks.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::http1::Http1Exchange;
use super::http2::Http2Exchange;
use super::{Broken, Endpoint, Protocols};
use crate::connection::{BodySource, Piece};
use crate::headers::{self, HeaderList};
use crate::local_reply::Reset;
use crate::worker::Cluster;

/// A head an origin sent.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: HeaderList,
    /// What follows; a 1xx other than 101 has the next head behind it.
    pub(crate) body: BodySource,
}

/// A request under way. Sending and receiving may go on at the same time.
pub(crate) struct Attempt {
    exchange: Exchange,
    busy: Busy,
}

/// What has to be known of a request before its head is written.
pub(crate) struct Outline {
    pub(crate) method: Bytes,
    pub(crate) authority: Option<Bytes>,
    /// It asks for another protocol.
    pub(crate) upgrading: bool,
}

impl Outline {
    /// Of this head.
    pub(crate) fn of(head: &[(Bytes, Bytes)]) -> Outline {
        Outline {
            method: headers::get(head, ":method").cloned().unwrap_or_default(),
            authority: headers::get(head, ":authority").cloned(),
            upgrading: headers::has(head, "upgrade"),
        }
    }
}

enum Exchange {
    Http1(Http1Exchange),
    Http2(Http2Exchange),
}

/// A request at an endpoint, counted as long as this lives.
struct Busy {
    cluster: Rc<Cluster>,
    endpoint: Rc<Endpoint>,
}

impl Busy {
    fn new(cluster: &Rc<Cluster>, endpoint: &Rc<Endpoint>) -> Result<Busy, Broken> {
        let requests = &cluster.config.default_circuit.requests;
        if !requests.has_room() {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return Err(Reset::Overflow.into());
        }
        requests.start();
        cluster.stats.upstream_rq_total.inc();
        cluster.stats.upstream_rq_active.inc();
        if let Some(active) = cluster.config.active.get(endpoint.index) {
            active.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Busy { cluster: Rc::clone(cluster), endpoint: Rc::clone(endpoint) })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.cluster.config.default_circuit.requests.end();
        self.cluster.stats.upstream_rq_active.dec();
        if let Some(active) = self.cluster.config.active.get(self.endpoint.index) {
            active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Attempt {
    /// Finds or opens a connection; nothing has been sent when it fails.
    pub(crate) async fn open(
        cluster: &Rc<Cluster>,
        endpoint: &Rc<Endpoint>,
        protocol: Protocols,
        outline: &Outline,
        now: Duration,
    ) -> Result<Attempt, Broken> {
        let authority = outline.authority.as_ref();
        let exchange = match protocol {
            Protocols::Http1 => {
                let connection = endpoint.http1(cluster, now, authority).await?;
                Exchange::Http1(Http1Exchange::new(
                    connection,
                    outline,
                    cluster.config.answers,
                    cluster.config.trailers,
                ))
            }
            Protocols::Http2 => Exchange::Http2(Http2Exchange::new(endpoint.http2(cluster, now, authority).await?)),
        };
        Ok(Attempt { exchange, busy: Busy::new(cluster, endpoint)? })
    }

    /// Our address on the way there.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match &self.exchange {
            Exchange::Http1(exchange) => exchange.local(),
            Exchange::Http2(exchange) => exchange.local(),
        }
    }

    /// Writes the head down; `end` when nothing follows. [`Attempt::begin`] sends it.
    pub(crate) fn write_head(&self, list: &[(Bytes, Bytes)], end: bool) -> Result<(), Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) => {
                exchange.write_head(list, end);
                Ok(())
            }
            Exchange::Http2(exchange) => exchange.write_head(list, end),
        }
    }

    /// Sends the head. If something follows, it may wait for that, or for [`Attempt::flush`].
    pub(crate) async fn begin(&self, end: bool) -> Result<(), Broken> {
        match &self.exchange {
            Exchange::Http1(exchange) if end => exchange.finish().await,
            Exchange::Http1(_) => Ok(()),
            Exchange::Http2(exchange) => exchange.begin().await,
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
    pub(crate) fn complete(self, now: Duration) {
        if let Exchange::Http1(exchange) = self.exchange
            && let Some(connection) = exchange.into_idle()
        {
            self.busy.endpoint.give_back(connection, &self.busy.cluster, now);
        }
    }
}
