//! From an accepted socket to the connection manager, or the TCP proxy, of the filter chain that takes it.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::proxy_protocol::Endpoints;
use super::tcp;
use crate::connection::{self, Io, Wire};
use crate::edge::{ConnectionInfo, Protocol, Relay};
use crate::snapshot::{ListenerConfig, ListenerFilter, Network, Transport};
use crate::tls::{Accepted, Asked, ClientHello, Failure, Prefixed, peek_client_hello};
use crate::worker::{ListenerCounters, Place, Worker};

/// Out of file descriptors: wait before trying again.
const BREATH: Duration = Duration::from_millis(20);

/// Takes connections until told to stop; those that wait in the kernel by then are still taken.
pub(crate) async fn accept(worker: Rc<Worker>, name: Arc<str>, socket: TcpListener, stop: Rc<Notify>) {
    let Ok(socket) = tokio::net::TcpListener::from_std(socket) else {
        log::error!("listener {name}: the socket cannot be watched");
        return;
    };
    let mut stopped = std::pin::pin!(stop.notified());
    let mut stopping = false;
    loop {
        let accepted = poll_fn(|cx| {
            stopping = stopping || stopped.as_mut().poll(cx).is_ready();
            match socket.poll_accept(cx) {
                Poll::Pending if stopping => Poll::Ready(None),
                accepted => accepted.map(Some),
            }
        });
        match accepted.await {
            None => return,
            Some(Ok((stream, remote))) => {
                tokio::task::spawn_local(serve(Rc::clone(&worker), Arc::clone(&name), stream, remote));
            }
            Some(Err(error)) => {
                log::warn!("listener {name}: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn serve(worker: Rc<Worker>, name: Arc<str>, stream: TcpStream, remote: SocketAddr) {
    let state = worker.state();
    let Some(listener) = state.snapshot.listeners.iter().find(|listener| listener.name == name).map(Arc::clone) else {
        return;
    };
    let Some(counters) = state.listeners.get(&name).map(Rc::clone) else { return };
    drop(state);
    // Latency matters more than packets; Envoy does the same.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let _counted = Counted::new(&worker, &counters);
    let Some(Introduced { hello, endpoints, stream }) = introduced(&listener, stream).await else { return };
    let asked = Asked {
        server_name: hello.as_ref().and_then(|hello| hello.server_name.as_deref()),
        tls: hello.is_some(),
        alpn: hello.as_ref().map_or(&[], |hello| hello.alpn.as_slice()),
    };
    let Some((at, chain)) = listener.choice.pick(asked).and_then(|at| Some((at, listener.chains.get(at)?))) else {
        counters.connections.no_filter_chain_match.inc();
        reset_on_drop(stream.stream());
        return;
    };
    let mut info = ConnectionInfo {
        id: worker.next_connection_id(),
        remote: endpoints.map_or(remote, |endpoints| endpoints.client),
        local: endpoints.map_or(local, |endpoints| endpoints.server),
        relay: endpoints.map(|_| Relay { peer: remote, local }),
        node_address: worker.node_address,
        protocol: Protocol::Http11,
        tls: None,
    };
    let (io, input, alpn) = match &chain.transport {
        Transport::SecretMissing => {
            if !listener.filters.is_empty() {
                reset_on_drop(stream.stream());
            }
            return;
        }
        Transport::Plain => {
            let (taken, stream) = stream.into_parts();
            (Io::Plain(stream), BytesMut::from(taken.as_ref()), None)
        }
        Transport::Tls(tls) => match secured(tls.accept(stream), chain.handshake_timeout, &counters).await {
            None => return,
            Some((stream, session)) => {
                info.tls = Some(session.info);
                let alpn = session.alpn.map(Bytes::from);
                (Io::Other(Box::new(stream)), BytesMut::new(), Some(alpn.unwrap_or_default()))
            }
        },
    };
    match &chain.network {
        Network::Http(_) => {
            let place = Place { listener: name, chain: at };
            connection::serve(worker, place, info, io, input, alpn).await;
        }
        Network::Tcp(proxy) => tcp::serve(&worker, proxy, info, Wire::new(io, input)).await,
    }
}

/// Envoy looked at what came first without taking it, so its close is a reset; so is ours.
fn reset_on_drop(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What is known of a connection before it has a filter chain.
struct Introduced {
    /// The client speaks TLS, and somebody looked.
    hello: Option<ClientHello>,
    /// In the words of the PROXY protocol.
    endpoints: Option<Endpoints>,
    stream: Prefixed<TcpStream>,
}

/// Runs the listener's filters; `None` when the connection ends there.
async fn introduced(listener: &ListenerConfig, mut stream: TcpStream) -> Option<Introduced> {
    let (mut hello, mut endpoints, mut taken) = (None, None, BytesMut::new());
    let filters = async {
        for filter in &listener.filters {
            match filter {
                ListenerFilter::TlsInspector => hello = peek_client_hello(&mut taken, &mut stream).await?,
                ListenerFilter::ProxyProtocol(protocol) => endpoints = protocol.read(&mut taken, &mut stream).await?,
            }
        }
        std::io::Result::Ok(())
    };
    let passed = match listener.filters_timeout {
        Some(timeout) => match tokio::time::timeout(timeout, filters).await {
            Ok(passed) => passed,
            Err(_) if listener.continues_on_timeout => Ok(()),
            Err(elapsed) => Err(elapsed.into()),
        },
        None => filters.await,
    };
    if let Err(error) = passed {
        log::debug!("listener {}: {error}", listener.name);
        if !taken.is_empty() {
            reset_on_drop(&stream);
        }
        return None;
    }
    Some(Introduced { hello, endpoints, stream: Prefixed::new(taken.freeze(), stream) })
}

/// A handshake within its time; a client that failed has been told.
async fn secured<S>(
    handshake: impl Future<Output = Result<Accepted<S>, Failure>>,
    timeout: Option<Duration>,
    counters: &ListenerCounters,
) -> Option<Accepted<S>> {
    let shaken = match timeout {
        None => handshake.await,
        Some(timeout) => match tokio::time::timeout(timeout, handshake).await {
            Ok(shaken) => shaken,
            Err(_) => {
                counters.connections.downstream_cx_transport_socket_connect_timeout.inc();
                return None;
            }
        },
    };
    match shaken {
        Ok(accepted) => {
            counters.tls.handshake.inc();
            if accepted.1.info.peer.is_none() {
                counters.tls.no_certificate.inc();
            }
            if accepted.1.resumed {
                counters.tls.session_reused.inc();
            }
            Some(accepted)
        }
        Err(failure) => {
            log::debug!("handshake: {failure}");
            failure.count(&counters.tls);
            None
        }
    }
}

/// An open connection in its listener's statistics; dropped when it is over.
struct Counted {
    worker: Rc<Worker>,
    counters: Rc<ListenerCounters>,
    began: Duration,
}

impl Counted {
    fn new(worker: &Rc<Worker>, counters: &Rc<ListenerCounters>) -> Counted {
        counters.connections.downstream_cx_total.inc();
        counters.connections.downstream_cx_active.inc();
        counters.here.downstream_cx_total.inc();
        counters.here.downstream_cx_active.inc();
        Counted { began: worker.clock().now(), worker: Rc::clone(worker), counters: Rc::clone(counters) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let lasted = self.worker.clock().now().saturating_sub(self.began);
        self.counters.connections.downstream_cx_active.dec();
        self.counters.connections.downstream_cx_destroy.inc();
        self.counters.connections.downstream_cx_length_ms.record(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        self.counters.here.downstream_cx_active.dec();
    }
}
