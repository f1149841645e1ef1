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

use super::counted::Counted;
use super::tcp_proxy;
use crate::connection::{self, Io};
use crate::edge::{ConnectionInfo, Protocol};
use crate::snapshot::{ChainTls, FilterChain, Network};
use crate::tls::{Asked, ClientHello, Downstream, Prefixed, Session, peek_client_hello};
use crate::worker::{Listener, Place, Worker};

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
    let Some(listener) = worker.state().listener(&name) else { return };
    let _counted = Counted::new(&worker, &listener);
    // Latency matters more than packets; Envoy does the same.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let Some((hello, stream)) = first_words(&listener, stream).await else { return };
    // Where nobody looked, no chain asks.
    let tls = matches!(hello, Some(Some(_)));
    let said = hello.flatten().unwrap_or_default();
    let asked = Asked { server_name: said.server_name.as_deref(), tls, alpn: &said.alpn };
    let Some((at, chain)) = listener.config.pick(asked) else {
        listener.stats.no_filter_chain_match.inc();
        return;
    };
    let Some(Opened { io, input, session }) = open(&listener, chain, stream).await else { return };
    let place = Place { listener: name, chain: at };
    let alpn = session.as_ref().and_then(|session| session.alpn.clone()).map(Bytes::from);
    let info = ConnectionInfo {
        id: worker.next_connection_id(),
        remote,
        local,
        node_address: worker.node_address,
        protocol: Protocol::Http11,
        tls: session.map(|session| session.info),
    };
    match &chain.network {
        Network::Http(_) => connection::serve(Rc::clone(&worker), place, info, io, input, alpn).await,
        Network::Tcp(proxy) => tcp_proxy::serve(&worker, proxy, io, input, said.server_name).await,
    }
}

/// What a client said before anything is decided: `None` if nobody looked, `Some(None)` if it does not speak TLS.
type FirstWords = Option<Option<ClientHello>>;

/// Looks at a client's first words, where a chain cannot be picked without.
async fn first_words(listener: &Listener, stream: TcpStream) -> Option<(FirstWords, Prefixed<TcpStream>)> {
    if !listener.config.must_look() {
        return Some((None, Prefixed::new(Bytes::new(), stream)));
    }
    listener.stats.downstream_pre_cx_active.inc();
    let looking = peek_client_hello(stream);
    let looked = match listener.config.patience {
        None => Ok(looking.await),
        Some(most) => tokio::time::timeout(most, looking).await,
    };
    listener.stats.downstream_pre_cx_active.dec();
    match looked {
        Ok(Ok(peeked)) => Some((Some(peeked.hello), peeked.stream)),
        Ok(Err(_)) => {
            listener.stats.downstream_listener_filter_remote_close.inc();
            None
        }
        Err(_) => {
            listener.stats.downstream_pre_cx_timeout.inc();
            None
        }
    }
}

/// A connection whose transport is ready.
struct Opened {
    io: Io,
    /// Read from it already.
    input: BytesMut,
    session: Option<Session>,
}

async fn open(listener: &Listener, chain: &FilterChain, stream: Prefixed<TcpStream>) -> Option<Opened> {
    match &chain.tls {
        None => {
            let (taken, stream) = stream.into_parts();
            Some(Opened { io: Io::Plain(stream), input: BytesMut::from(taken), session: None })
        }
        Some(ChainTls::NotReady) => None,
        Some(ChainTls::Ready(side)) => shake_hands(listener, chain, side, stream).await,
    }
}

async fn shake_hands(
    listener: &Listener,
    chain: &FilterChain,
    side: &Downstream,
    stream: Prefixed<TcpStream>,
) -> Option<Opened> {
    let shaking = side.accept(stream);
    let shaken = match chain.handshake_timeout {
        None => shaking.await,
        Some(most) => match tokio::time::timeout(most, shaking).await {
            Ok(shaken) => shaken,
            Err(_) => {
                listener.stats.downstream_cx_transport_socket_connect_timeout.inc();
                return None;
            }
        },
    };
    let (stream, session) = shaken.inspect_err(|failure| failure.count(&listener.tls_stats)).ok()?;
    listener.tls_stats.handshake.inc();
    if session.info.peer.is_none() {
        listener.tls_stats.no_certificate.inc();
    }
    if session.resumed {
        listener.tls_stats.session_reused.inc();
    }
    Some(Opened { io: Io::Other(Box::new(stream)), input: BytesMut::new(), session: Some(session) })
}
