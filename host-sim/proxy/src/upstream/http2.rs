//! A request to an HTTP/2 origin: one connection per origin and worker, a stream per request.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::mpsc::error::TrySendError;

use crate::connection::{BodySource, Outgoing, Outlet, Piece, http2};
use crate::headers::{self, HeaderList};

use super::Broken;
use crate::local_reply::Reset;

/// A connection to an origin, shared by its streams.
#[derive(Clone)]
pub(crate) struct Http2Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    /// Our address, for the access log.
    pub(crate) local: Option<SocketAddr>,
    /// When it was opened, in the worker's monotonic time.
    pub(crate) opened: Duration,
    /// Streams it has carried.
    pub(crate) streams: Rc<Cell<u64>>,
}

type Answer = std::pin::Pin<Box<dyn Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>>>;

/// One stream.
pub(crate) struct Http2Exchange {
    connection: RefCell<Http2Connection>,
    request: RefCell<Option<http::Request<Outgoing>>>,
    outlet: RefCell<Option<Outlet>>,
    answer: RefCell<Option<Answer>>,
    body: RefCell<Option<hyper::body::Incoming>>,
}

impl Http2Exchange {
    pub(crate) fn new(connection: Http2Connection) -> Http2Exchange {
        Http2Exchange {
            connection: RefCell::new(connection),
            request: RefCell::default(),
            outlet: RefCell::default(),
            answer: RefCell::default(),
            body: RefCell::default(),
        }
    }

    /// Says what is to be asked.
    ///
    /// # Errors
    /// HTTP/2 has no words for it; or it is a `te` that makes a request malformed (RFC 9113, 8.2.2), which origins reset and hyper would drop.
    pub(crate) fn write_head(&self, list: &[(Bytes, Bytes)], end: bool) -> Result<(), Broken> {
        if headers::get(list, "te").is_some_and(|te| te != "trailers") {
            return Err(Reset::ProtocolError.into());
        }
        let body = if end {
            Outgoing::Empty
        } else {
            let (outlet, body) = Outgoing::channel();
            self.outlet.replace(Some(outlet));
            body
        };
        let request = http2::request_of(list, body).map_err(|_| Broken::from(Reset::ProtocolError))?;
        self.request.replace(Some(request));
        Ok(())
    }

    /// Opens the stream.
    pub(crate) async fn begin(&self) -> Result<(), Broken> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let mut sender = self.connection.borrow().sender.clone();
        sender.ready().await.map_err(|_| Broken::from(Reset::ConnectionTermination))?;
        self.answer.replace(Some(Box::pin(sender.send_request(request))));
        Ok(())
    }

    /// Sends a piece of the body as fast as the origin takes it.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), Broken> {
        let Some(outlet) = self.outlet.borrow().clone() else { return Ok(()) };
        let frame = match piece {
            Piece::Data(data) => Frame::data(data),
            Piece::Trailers(list) => Frame::trailers(http2::trailers_of(&list)),
        };
        outlet.send(Ok(frame)).await.map_err(|_| Reset::RemoteReset.into())
    }

    /// The body is complete.
    pub(crate) fn finish(&self) {
        self.outlet.replace(None);
    }

    /// The response's status and head; hyper swallows interim ones.
    pub(crate) async fn head(&self) -> Result<(u16, HeaderList), Broken> {
        let answer = std::future::poll_fn(|cx| match self.answer.borrow_mut().as_mut() {
            Some(answer) => answer.as_mut().poll(cx).map(Some),
            None => std::task::Poll::Ready(None),
        });
        let response = answer.await.ok_or(Broken::from(Reset::LocalReset))?;
        self.answer.replace(None);
        let (parts, body) = response.map_err(|error| Broken::from(reason(&error)))?.into_parts();
        if parts.status == 204 && parts.headers.get("content-length").is_some_and(|length| length != "0") {
            return Err(Reset::ProtocolError.into()); // 204 and a body: Envoy's codec takes it for no answer
        }
        self.body.replace(Some(body));
        Ok((parts.status.as_u16(), http2::response_list(&parts)))
    }

    /// The body behind the head.
    pub(crate) fn body(&self) -> BodySource {
        self.body.take().map_or(BodySource::Empty, BodySource::http2)
    }

    /// Our address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.connection.borrow().local
    }
}

impl Drop for Http2Exchange {
    /// A request that breaks off is reset: it must not look complete.
    fn drop(&mut self) {
        let Some(outlet) = self.outlet.take() else { return };
        if let Err(TrySendError::Full(broken)) = outlet.try_send(Err(http2::Reset)) {
            // The connection's end ends this, too: nobody else waits for it.
            tokio::task::spawn_local(async move { drop(outlet.send(broken).await) });
        }
    }
}

fn reason(error: &hyper::Error) -> Reset {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>()
            && h2.is_remote()
            && h2.reason() == Some(h2::Reason::REFUSED_STREAM)
        {
            return Reset::RemoteRefused;
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() != std::io::ErrorKind::Other
        {
            return Reset::ConnectionTermination;
        }
        source = error.source();
    }
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        Reset::ConnectionTermination
    } else {
        Reset::RemoteReset
    }
}
