//! The TCP proxy: bytes from client to origin and back, as they are.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::connection::{Io, Wire};
use crate::snapshot::TcpProxy;
use crate::worker::Worker;

/// Carries a connection to an endpoint of one of the proxy's clusters.
pub(super) async fn serve(worker: &Rc<Worker>, proxy: &TcpProxy, client: Wire) {
    let total: u64 = proxy.clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let Some(mut draw) = worker.dice().roll().checked_rem(total) else { return };
    let chosen = proxy.clusters.iter().find(|(_, weight)| {
        let taken = draw < u64::from(*weight);
        draw = draw.saturating_sub(u64::from(*weight));
        taken
    });
    let Some(cluster) = chosen.and_then(|(name, _)| worker.state().clusters.get(name).map(Rc::clone)) else { return };
    let Some(endpoint) = cluster.pick(worker.dice(), None, &[], 1).map(Rc::clone) else { return };
    let connecting = tokio::time::timeout(cluster.config.connect_timeout, TcpStream::connect(endpoint.address));
    let Ok(Ok(stream)) = connecting.await else {
        cluster.stats.upstream_cx_connect_fail.inc();
        return;
    };
    // Latency matters more than packets.
    let _ = stream.set_nodelay(true);
    cluster.stats.upstream_cx_total.inc();
    let origin = Wire::new(Io::Plain(stream), BytesMut::new());
    let mut both = pin!(async { tokio::join!(carry(&client, &origin), carry(&origin, &client)) });
    let mut idle = pin!(async {
        match proxy.idle_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|cx| {
        if both.as_mut().poll(cx).is_ready() || idle.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Until the sender ends its side, which ends the receiver's.
async fn carry(from: &Wire, to: &Wire) {
    loop {
        let piece = from.input().split().freeze();
        if !piece.is_empty() && (to.write(&piece).await.is_err() || to.flush().await.is_err()) {
            return;
        }
        match from.fill().await {
            Ok(1..) => {}
            // A peer that cannot be told that this is the end has ended itself.
            Ok(0) | Err(_) => return to.shutdown().await.unwrap_or_default(),
        }
    }
}
