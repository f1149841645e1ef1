//! One endpoint as one worker sees it: its idle HTTP/1 connections, its HTTP/2 connection, and how to open either.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::http1::Http1Connection;
use super::http2::Http2Connection;
use super::permit::{Counted, Opened};
use super::{Broken, Shared};
use crate::route::split_port;
use crate::snapshot::UpstreamTls;
use crate::stats::TlsStats;
use crate::tls::Ask;
use crate::connection::{Io, LocalExecutor, Wire};
use crate::local_reply::Reset;

/// What is spoken to the endpoints of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, known beforehand or by ALPN.
    Http2,
}

/// How connections to the endpoints of a cluster are made.
#[derive(Clone)]
pub(crate) struct Transport {
    /// A connection is there by then, TLS included.
    pub(crate) connect_timeout: Duration,
    /// Idle connections are kept this long; `None` for ever.
    pub(crate) idle_timeout: Option<Duration>,
    /// Requests a connection carries before it is closed.
    pub(crate) max_requests: Option<u64>,
    /// TLS to the origin.
    pub(crate) tls: Option<TlsTransport>,
    /// Settings of HTTP/2.
    pub(crate) http2: Http2Settings,
}

/// TLS to the endpoints of a cluster, and this worker's counters of it.
#[derive(Clone)]
pub(crate) struct TlsTransport {
    pub(crate) config: Arc<UpstreamTls>,
    pub(crate) stats: Arc<TlsStats>,
}

/// Windows and streams of HTTP/2 connections to origins; `None` is Envoy's default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Http2Settings {
    pub(crate) stream_window: Option<u32>,
    pub(crate) connection_window: Option<u32>,
}

/// Envoy's default windows.
const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 24 * 1024 * 1024;

/// What a request that needs a connection counts against.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'l> {
    pub(crate) shared: &'l Arc<Shared>,
    pub(crate) high_priority: bool,
}

/// An endpoint and this worker's connections to it.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    idle: RefCell<Vec<Http1Connection>>,
    http2: tokio::sync::Mutex<Option<Http2Connection>>,
    /// Connections of this worker, idle or not.
    open: Cell<usize>,
    /// Told when one becomes idle or closes.
    freed: Notify,
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr) -> Endpoint {
        let (idle, http2) = (RefCell::default(), tokio::sync::Mutex::new(None));
        Endpoint { address, idle, http2, open: Cell::new(0), freed: Notify::new() }
    }

    pub(super) fn opened(&self) {
        self.open.set(self.open.get().saturating_add(1));
    }

    pub(super) fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.freed.notify_one();
    }

    /// A connection for one HTTP/1 request: an idle one that is still good, or a new one (`true`). With the cluster's connections used up
    /// it waits for one of its own; an endpoint may always have one.
    pub(crate) async fn http1(
        self: &Rc<Self>,
        transport: &Transport,
        now: Duration,
        sni: Option<&Bytes>,
        limits: Limits<'_>,
    ) -> Result<(Http1Connection, bool), Broken> {
        let circuit = limits.shared.circuit(limits.high_priority);
        let mut pending = None;
        loop {
            if let Some(idle) = self.good_idle(transport, now) {
                return Ok((idle, false));
            }
            if pending.is_none() && !circuit.pending.has_room() {
                return Err(Reset::Overflow.into());
            }
            pending.get_or_insert_with(|| Counted::start(limits.shared, limits.high_priority, |circuit| &circuit.pending));
            if circuit.connections.has_room() || self.open.get() == 0 {
                break;
            }
            self.freed.notified().await;
        }
        let opened = Opened::start(self, limits.shared, limits.high_priority);
        let (io, local) = self.connect(transport, sni, &[b"http/1.1"]).await?;
        let wire = Rc::new(Wire::new(io, BytesMut::new()));
        Ok((Http1Connection { wire, local, requests: 0, since: now, _opened: opened }, true))
    }

    fn good_idle(&self, transport: &Transport, now: Duration) -> Option<Http1Connection> {
        while let Some(idle) = self.pop_idle() {
            let fresh = transport.idle_timeout.is_none_or(|most| now.saturating_sub(idle.since) < most);
            if fresh && idle.wire.is_silent() {
                return Some(idle);
            }
        }
        None
    }

    fn pop_idle(&self) -> Option<Http1Connection> {
        self.idle.borrow_mut().pop()
    }

    /// Takes a connection back, unless it has carried enough.
    pub(crate) fn give_back(&self, mut connection: Http1Connection, transport: &Transport, now: Duration) {
        connection.requests = connection.requests.saturating_add(1);
        if transport.max_requests.is_none_or(|most| connection.requests < most) {
            connection.since = now;
            self.idle.borrow_mut().push(connection);
            self.freed.notify_one();
        }
    }

    /// Closes idle connections that are too old, or that the origin has closed.
    pub(crate) fn sweep(&self, transport: &Transport, now: Duration) {
        let fresh = |idle: &Http1Connection| transport.idle_timeout.is_none_or(|most| now.saturating_sub(idle.since) < most);
        self.idle.borrow_mut().retain(|idle| fresh(idle) && idle.wire.is_silent());
    }

    /// Closes every idle connection.
    pub(crate) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    /// The HTTP/2 connection, opened if there is none (`true`). Requests that come while it is being opened wait for it.
    pub(crate) async fn http2(
        self: &Rc<Self>,
        transport: &Transport,
        sni: Option<&Bytes>,
        limits: Limits<'_>,
    ) -> Result<(Http2Connection, bool), Broken> {
        let mut slot = self.http2.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.sender.is_closed()) {
            return Ok((connection.clone(), false));
        }
        if !limits.shared.circuit(limits.high_priority).pending.has_room() {
            return Err(Reset::Overflow.into());
        }
        let _pending = Counted::start(limits.shared, limits.high_priority, |circuit| &circuit.pending);
        let opened = Rc::new(Opened::start(self, limits.shared, limits.high_priority));
        let (io, local) = self.connect(transport, sni, &[b"h2"]).await?;
        let settings = transport.http2;
        let mut builder = hyper::client::conn::http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(settings.stream_window.unwrap_or(STREAM_WINDOW))
            .initial_connection_window_size(settings.connection_window.unwrap_or(CONNECTION_WINDOW));
        let handshake = match io {
            Io::Plain(stream) => builder.handshake(TokioIo::new(Box::new(stream) as Box<dyn crate::connection::ReadWrite>)).await,
            Io::Other(stream) => builder.handshake(TokioIo::new(stream)).await,
        };
        let (sender, driver) = handshake.map_err(|_| Broken::from(Reset::ConnectionTermination))?;
        tokio::task::spawn_local(async move {
            // How it ended, its streams have been told.
            let _ = driver.await;
        });
        let connection = Http2Connection { sender, local, _opened: opened };
        *slot = Some(connection.clone());
        Ok((connection, true))
    }

    /// A new connection, encrypted where the cluster is.
    pub(crate) async fn connect(&self, transport: &Transport, sni: Option<&Bytes>, alpn: &[&[u8]]) -> Result<(Io, Option<SocketAddr>), Broken> {
        let connecting = async {
            let stream = TcpStream::connect(self.address).await.map_err(|error| connect_error(&error))?;
            // Latency matters more than packets; Envoy does the same.
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let io = match &transport.tls {
                None => Io::Plain(stream),
                Some(tls) => encrypted(tls, stream, sni, alpn).await?,
            };
            Ok((io, local))
        };
        match tokio::time::timeout(transport.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Reset::ConnectionTimeout.into()),
        }
    }
}

async fn encrypted(tls: &TlsTransport, stream: TcpStream, authority: Option<&Bytes>, alpn: &[&[u8]]) -> Result<Io, Broken> {
    let failed = |transport| Broken { reset: Reset::RemoteConnectionFailure, transport };
    let Some(side) = &tls.config.side else {
        return Err(failed("TLS error: Secret is not supplied by SDS".into()));
    };
    let host = authority.and_then(|authority| std::str::from_utf8(split_port(authority).0).ok());
    let (sni, san) = (host.filter(|_| tls.config.auto_sni), host.filter(|_| tls.config.auto_san));
    match side.connect(stream, Ask { sni, hostname: None, san, alpn }).await {
        Ok(connected) => {
            tls.stats.handshake.inc();
            Ok(Io::Other(Box::new(connected.stream)))
        }
        Err(failure) => {
            failure.count(&tls.stats);
            Err(failed(failure.text.into()))
        }
    }
}

/// As Envoy words it: the system's text for the error number.
fn connect_error(error: &std::io::Error) -> Broken {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    Broken { reset: Reset::RemoteConnectionFailure, transport: format!("delayed connect error: {text}").into() }
}
