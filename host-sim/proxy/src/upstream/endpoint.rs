//! One endpoint as one worker sees it: its HTTP/1 connections, its HTTP/2 connection, who waits for one, and how to open either.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::Broken;
use super::http1::Http1Connection;
use super::http2::Http2Connection;
use crate::connection::{Io, LocalExecutor, ReadWrite, Wire};
use crate::local_reply::Reset;
use crate::snapshot::ClusterConfig;
use crate::stats::ClusterStats;
use crate::tls;
use crate::worker::Cluster;

/// What is spoken to the endpoints of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, known beforehand or by ALPN.
    Http2,
}

impl Protocols {
    /// As logs and spans write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocols::Http1 => "HTTP/1.1",
            Protocols::Http2 => "HTTP/2",
        }
    }
}

/// Windows of HTTP/2 connections to origins; `None` is Envoy's default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Http2Settings {
    pub(crate) stream_window: Option<u32>,
    pub(crate) connection_window: Option<u32>,
}

/// Envoy's default windows.
const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 24 * 1024 * 1024;

/// An endpoint and this worker's connections to it.
pub(crate) struct Endpoint {
    /// Its number in the cluster.
    pub(crate) index: usize,
    pub(crate) address: SocketAddr,
    idle: RefCell<Vec<Http1Connection>>,
    open: Cell<usize>,
    waiting: RefCell<VecDeque<oneshot::Sender<Option<Http1Connection>>>>,
    http2: tokio::sync::Mutex<Option<Http2Connection>>,
}

/// A connection that is open, counted as long as this lives.
pub(crate) struct Counted {
    config: Arc<ClusterConfig>,
    stats: Arc<ClusterStats>,
    endpoint: Rc<Endpoint>,
}

impl Counted {
    fn new(cluster: &Cluster, endpoint: &Rc<Endpoint>) -> Counted {
        cluster.config.default_circuit.connections.start();
        endpoint.open.set(endpoint.open.get() + 1);
        cluster.stats.upstream_cx_total.inc();
        cluster.stats.upstream_cx_active.inc();
        Counted {
            config: Arc::clone(&cluster.config),
            stats: Arc::clone(&cluster.stats),
            endpoint: Rc::clone(endpoint),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.config.default_circuit.connections.end();
        self.endpoint.open.set(self.endpoint.open.get().saturating_sub(1));
        self.stats.upstream_cx_active.dec();
        self.stats.upstream_cx_destroy.inc();
        // There is room for another now: the first who waits may open it.
        while let Some(waiting) = self.endpoint.waiting.borrow_mut().pop_front() {
            if waiting.send(None).is_ok() {
                break;
            }
        }
    }
}

impl Endpoint {
    pub(crate) fn new(index: usize, address: SocketAddr) -> Endpoint {
        Endpoint {
            index,
            address,
            idle: RefCell::default(),
            open: Cell::new(0),
            waiting: RefCell::default(),
            http2: tokio::sync::Mutex::new(None),
        }
    }

    /// A connection for one HTTP/1 request: an idle one that is still good, a new one, or one that another request gives back.
    pub(crate) async fn http1(
        self: &Rc<Endpoint>,
        cluster: &Cluster,
        now: Duration,
        sni: Option<&Bytes>,
    ) -> Result<Http1Connection, Broken> {
        if let Some(idle) = self.pop_idle(cluster, now) {
            return Ok(idle);
        }
        let circuit = &cluster.config.default_circuit;
        if !circuit.pending.has_room() {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return Err(Reset::Overflow.into());
        }
        let _pending = Pending::new(cluster);
        // Envoy lets every endpoint have one connection, so that its requests do not wait for those of others.
        while !circuit.connections.has_room() && self.open.get() > 0 {
            cluster.stats.upstream_cx_overflow.inc();
            let (given, taken) = oneshot::channel();
            self.waiting.borrow_mut().push_back(given);
            if let Ok(Some(connection)) = taken.await {
                return Ok(connection);
            }
        }
        let counted = Counted::new(cluster, self);
        cluster.stats.upstream_cx_http1_total.inc();
        let (io, local) = self.connect(cluster, sni, &[b"http/1.1"]).await?;
        let wire = Rc::new(Wire::new(io, BytesMut::new()));
        Ok(Http1Connection { wire, local, requests: 0, opened: now, since: now, _counted: counted })
    }

    fn pop_idle(&self, cluster: &Cluster, now: Duration) -> Option<Http1Connection> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let connection = idle.pop()?;
            if is_good(&connection, cluster, now) {
                return Some(connection);
            }
            drop(idle);
            drop(connection);
            idle = self.idle.borrow_mut();
        }
    }

    /// Takes a connection back, or hands it to who waits for one, unless it has carried enough.
    pub(crate) fn give_back(&self, mut connection: Http1Connection, cluster: &Cluster, now: Duration) {
        connection.requests = connection.requests.saturating_add(1);
        if cluster.config.max_requests.is_some_and(|most| connection.requests >= most) {
            cluster.stats.upstream_cx_max_requests.inc();
            return;
        }
        if is_too_old(connection.opened, cluster, now) {
            cluster.stats.upstream_cx_max_duration_reached.inc();
            return;
        }
        connection.since = now;
        loop {
            let Some(waiting) = self.waiting.borrow_mut().pop_front() else { break };
            match waiting.send(Some(connection)) {
                Ok(()) => return,
                Err(Some(back)) => connection = back,
                Err(None) => return,
            }
        }
        self.idle.borrow_mut().push(connection);
    }

    /// Closes idle connections that are too old, or that the origin has closed.
    pub(crate) fn sweep(&self, cluster: &Cluster, now: Duration) {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        let (good, bad): (Vec<_>, Vec<_>) = idle.into_iter().partition(|connection| is_good(connection, cluster, now));
        self.idle.borrow_mut().extend(good);
        drop(bad);
    }

    /// The HTTP/2 connection, opened if there is none. Requests that come while it is being opened wait for it.
    pub(crate) async fn http2(
        self: &Rc<Endpoint>,
        cluster: &Cluster,
        now: Duration,
        sni: Option<&Bytes>,
    ) -> Result<Http2Connection, Broken> {
        let mut slot = self.http2.lock().await;
        let most = cluster.config.max_requests;
        let takes_more = |connection: &&Http2Connection| {
            let spent = most.is_some_and(|most| connection.streams.get() >= most);
            !connection.sender.is_closed() && !spent && !is_too_old(connection.opened, cluster, now)
        };
        if let Some(connection) = slot.as_ref().filter(takes_more) {
            connection.streams.set(connection.streams.get().saturating_add(1));
            return Ok(connection.clone());
        }
        let circuit = &cluster.config.default_circuit;
        if !circuit.pending.has_room() {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return Err(Reset::Overflow.into());
        }
        let _pending = Pending::new(cluster);
        let counted = Counted::new(cluster, self);
        cluster.stats.upstream_cx_http2_total.inc();
        let (io, local) = self.connect(cluster, sni, &[b"h2"]).await?;
        let settings = cluster.config.http2;
        let mut builder = hyper::client::conn::http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(settings.stream_window.unwrap_or(STREAM_WINDOW))
            .initial_connection_window_size(settings.connection_window.unwrap_or(CONNECTION_WINDOW))
            .max_header_list_size(u32::try_from(cluster.config.answers.bytes).unwrap_or(u32::MAX));
        let stream: Box<dyn ReadWrite> = match io {
            Io::Plain(stream) => Box::new(stream),
            Io::Other(stream) => stream,
        };
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|_| Broken::from(Reset::ConnectionTermination))?;
        tokio::task::spawn_local(async move {
            // How it ended, its streams have been told.
            let _ = driver.await;
            drop(counted);
        });
        let connection = Http2Connection { sender, local, opened: now, streams: Rc::new(Cell::new(1)) };
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A connection for bytes alone.
    pub(crate) async fn tcp(
        self: &Rc<Endpoint>,
        cluster: &Cluster,
    ) -> Result<(Io, Option<SocketAddr>, Counted), Broken> {
        if !cluster.config.default_circuit.connections.has_room() {
            cluster.stats.upstream_cx_overflow.inc();
            return Err(Reset::Overflow.into());
        }
        let counted = Counted::new(cluster, self);
        let (io, local) = self.connect(cluster, None, &[]).await?;
        Ok((io, local, counted))
    }

    async fn connect(
        &self,
        cluster: &Cluster,
        sni: Option<&Bytes>,
        alpn: &[&[u8]],
    ) -> Result<(Io, Option<SocketAddr>), Broken> {
        if let Some(stage) = &cluster.stage {
            return Ok((stage.open(&cluster.config.name, self.address, alpn == [b"h2"]), None));
        }
        let connecting = async {
            let stream = TcpStream::connect(self.address).await.map_err(|error| connect_error(&error))?;
            // Latency matters more than packets; Envoy does the same.
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let io = match &cluster.config.tls {
                None => Io::Plain(stream),
                Some(tls) => {
                    let name =
                        cluster.config.plan.endpoints.get(self.index).and_then(|endpoint| endpoint.hostname.as_deref());
                    encrypted(tls, stream, &cluster.config, sni, name, alpn).await?
                }
            };
            Ok((io, local))
        };
        let connected = match tokio::time::timeout(cluster.config.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                cluster.stats.upstream_cx_connect_timeout.inc();
                Err(Reset::ConnectionTimeout.into())
            }
        };
        if connected.is_err() {
            cluster.stats.upstream_cx_connect_fail.inc();
        }
        connected
    }
}

fn is_good(connection: &Http1Connection, cluster: &Cluster, now: Duration) -> bool {
    let fresh = cluster.config.idle_timeout.is_none_or(|most| now.saturating_sub(connection.since) < most);
    fresh && !is_too_old(connection.opened, cluster, now) && connection.wire.is_silent()
}

fn is_too_old(opened: Duration, cluster: &Cluster, now: Duration) -> bool {
    cluster.config.max_age.is_some_and(|most| now.saturating_sub(opened) >= most)
}

/// A request that waits for a connection, counted.
struct Pending<'c>(&'c Cluster);

impl Pending<'_> {
    fn new(cluster: &Cluster) -> Pending<'_> {
        cluster.config.default_circuit.pending.start();
        cluster.stats.upstream_rq_pending_total.inc();
        cluster.stats.upstream_rq_pending_active.inc();
        Pending(cluster)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.config.default_circuit.pending.end();
        self.0.stats.upstream_rq_pending_active.dec();
    }
}

async fn encrypted(
    tls: &tls::Upstream,
    stream: TcpStream,
    config: &ClusterConfig,
    authority: Option<&Bytes>,
    hostname: Option<&str>,
    alpn: &[&[u8]],
) -> Result<Io, Broken> {
    let options = config.source.typed_extension_protocol_options.values().find_map(|options| match options {
        xds::ExtensionProtocolOptions::Http(options) => options.upstream_http_protocol_options.as_ref(),
        xds::ExtensionProtocolOptions::Other(_) => None,
    });
    let options = options.or(config.source.upstream_http_protocol_options.as_ref());
    let host = authority.and_then(|authority| std::str::from_utf8(crate::route::split_port(authority).0).ok());
    let ask = tls::Ask {
        sni: host.filter(|_| options.is_some_and(|options| options.auto_sni)),
        hostname,
        san: host.filter(|_| options.is_some_and(|options| options.auto_san_validation)),
        alpn,
    };
    match tls.connect(stream, ask).await {
        Ok(connected) => Ok(Io::Other(Box::new(connected.stream))),
        Err(failure) => Err(Broken { reset: Reset::RemoteConnectionFailure, transport: failure.to_string().into() }),
    }
}

/// As Envoy words it: the system's text for the error number.
fn connect_error(error: &std::io::Error) -> Broken {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    Broken { reset: Reset::RemoteConnectionFailure, transport: format!("delayed connect error: {text}").into() }
}
