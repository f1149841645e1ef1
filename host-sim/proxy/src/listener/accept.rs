//! From an accepted socket to the connection manager, or the TCP proxy, of the filter chain that takes it.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::connection::{self, Io};
use crate::edge::{ConnectionInfo, Protocol};
use crate::snapshot::Network;
use crate::worker::{Place, Worker};

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
    let Some(listener) = state.snapshot.listeners.iter().find(|listener| listener.name == name) else { return };
    // Latency matters more than packets; Envoy does the same.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let Some((at, chain)) = listener.chain(None) else { return };
    let place = Place { listener: name, chain: at };
    let info = ConnectionInfo {
        id: worker.next_connection_id(),
        remote,
        local,
        node_address: worker.node_address,
        protocol: Protocol::Http11,
        tls: None,
    };
    match &chain.network {
        Network::Http(_) => {
            drop(state);
            connection::serve(worker, place, info, Io::Plain(stream), BytesMut::new(), None).await;
        }
        Network::Tcp(_) => {}
    }
}
