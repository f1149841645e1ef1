//! The TCP proxy: bytes from client to origin and back, as they are.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;

use crate::cluster::HashPolicy;
use crate::connection::{Alarm, IdleTimer, Wire};
use crate::edge::ConnectionInfo;
use crate::header_ops::{Facts, StreamInfo};
use crate::local_reply::Flag;
use crate::snapshot::TcpProxy;
use crate::upstream::Counted;
use crate::worker::{Cluster, Worker};

/// Carries a connection to an endpoint of one of the proxy's clusters, and logs it when it is over.
pub(super) async fn serve(worker: &Rc<Worker>, proxy: &TcpProxy, info: ConnectionInfo, client: Wire) {
    let began = worker.clock().now();
    let mut log = StreamInfo { start: worker.clock().wall(began), ..StreamInfo::default() };
    match connect(worker, proxy, &info, &mut log).await {
        Ok((cluster, origin, _counted)) => {
            let carried = exchange(proxy, &client, &origin).await;
            (log.bytes_received, log.bytes_sent) = carried;
            cluster.stats.upstream_cx_tx_bytes_total.add(carried.0);
            cluster.stats.upstream_cx_rx_bytes_total.add(carried.1);
        }
        Err(flag) => {
            client.reset_if_unused();
            log.flags.insert(flag);
        }
    }
    log.complete = Some(worker.clock().now().saturating_sub(began));
    let facts = Facts::of_request(&[], &info, &log);
    proxy.access_log.iter().for_each(|access_log| access_log.log(&facts));
}

/// Opens a connection to an endpoint of the cluster that was drawn; what the log should say is noted on the way.
async fn connect(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    info: &ConnectionInfo,
    log: &mut StreamInfo,
) -> Result<(Rc<Cluster>, Wire, Counted), Flag> {
    let total: u64 = proxy.clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut draw = worker.dice().roll().checked_rem(total).unwrap_or_default();
    let chosen = proxy.clusters.iter().find(|(_, weight)| {
        let taken = draw < u64::from(*weight);
        draw = draw.saturating_sub(u64::from(*weight));
        taken
    });
    let Some((name, _)) = chosen else { return Err(Flag::NoRouteFound) };
    log.upstream.cluster = Some(Arc::clone(name));
    let Some(cluster) = worker.state().clusters.get(name).map(Rc::clone) else { return Err(Flag::NoClusterFound) };
    let hash = proxy.hash_by_source.then(|| HashPolicy::of_address(info.remote.ip()));
    let Some(endpoint) = cluster.pick(worker.dice(), hash, &[], 1).map(Rc::clone) else {
        cluster.stats.upstream_cx_none_healthy.inc();
        return Err(Flag::NoHealthyUpstream);
    };
    log.upstream.host = Some(endpoint.address);
    match endpoint.tcp(&cluster).await {
        Ok((io, local, counted)) => {
            log.upstream.local = local;
            Ok((cluster, Wire::new(io, BytesMut::new()), counted))
        }
        Err(broken) => {
            log.upstream.transport_failure = broken.transport;
            Err(broken.reset.flag())
        }
    }
}

/// Until both sides have ended, nothing has moved for too long, or it has lasted too long; says how many bytes came from the client and from the origin.
async fn exchange(proxy: &TcpProxy, client: &Wire, origin: &Wire) -> (u64, u64) {
    let idle = IdleTimer::new(proxy.idle_timeout);
    let most = Alarm::default();
    most.set(proxy.most);
    let (up, down) = (Cell::new(0), Cell::new(0));
    let mut both = pin!(async { tokio::join!(carry(client, origin, &idle, &up), carry(origin, client, &idle, &down)) });
    poll_fn(|cx| {
        let late = idle.poll_idle(cx).is_ready() || most.poll(cx).is_ready();
        let over = both.as_mut().poll(cx).is_ready() || late;
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (up.get(), down.get())
}

/// Until the sender ends its side, which ends the receiver's.
async fn carry(from: &Wire, to: &Wire, idle: &IdleTimer, carried: &Cell<u64>) {
    loop {
        let piece = from.input().split().freeze();
        if !piece.is_empty() {
            idle.touch();
            if to.write(&piece).await.is_err() || to.flush().await.is_err() {
                return;
            }
            carried.set(carried.get() + u64::try_from(piece.len()).unwrap_or_default());
        }
        match from.fill().await {
            Ok(1..) => {}
            // A peer that cannot be told that this is the end has ended itself.
            Ok(0) | Err(_) => return to.shutdown().await.unwrap_or_default(),
        }
    }
}
