//! Bytes passed on as they are: TLS that is not ours to end, and everything that is not HTTP.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::Instant;

use crate::connection::{Io, Wire};
use crate::snapshot::TcpProxy;
use crate::upstream::Endpoint;
use crate::worker::{Cluster, Worker};

/// Read at once.
const PIECE: usize = 16 * 1024;

/// Passes a connection on; `input` was read from it already, `server_name` is what its client asked for in TLS.
pub(super) async fn serve(worker: &Rc<Worker>, proxy: &TcpProxy, io: Io, input: BytesMut, server_name: Option<String>) {
    let open = worker.connections.open();
    let Some((cluster, endpoint)) = pick(worker, proxy) else { return };
    let sni = server_name.map(bytes::Bytes::from);
    cluster.stats.upstream_cx_total.inc();
    let Ok((upstream, _)) = endpoint.connect(&cluster.transport, sni.as_ref(), &[]).await else {
        cluster.stats.upstream_cx_connect_fail.inc();
        return;
    };
    cluster.stats.upstream_cx_active.inc();
    let (client, origin) = (Wire::new(io, input).into_stream(), Wire::new(upstream, BytesMut::new()).into_stream());
    let both = both_ways(client, origin, proxy.idle_timeout);
    let ended = std::future::poll_fn(|cx| open.poll_closing(cx));
    tokio::select! {
        () = both => {}
        () = ended => {}
    }
    cluster.stats.upstream_cx_active.dec();
    cluster.stats.upstream_cx_destroy.inc();
}

/// A cluster by weight, and one of its endpoints.
fn pick(worker: &Worker, proxy: &TcpProxy) -> Option<(Rc<Cluster>, Rc<Endpoint>)> {
    let total: u64 = proxy.clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut drawn = worker.dice.roll().checked_rem(total)?;
    let (name, _) = proxy.clusters.iter().find(|(_, weight)| match drawn.checked_sub(u64::from(*weight)) {
        Some(left) => {
            drawn = left;
            false
        }
        None => true,
    })?;
    let cluster = worker.state().clusters.get(name).map(Rc::clone)?;
    let at = cluster.choose(None, &[], 0, worker.clock.now(), &mut || worker.dice.roll())?;
    let endpoint = cluster.endpoints.get(at).map(Rc::clone)?;
    Some((cluster, endpoint))
}

/// Until both sides have ended, one breaks off, or nothing has moved for too long.
async fn both_ways(client: impl AsyncRead + AsyncWrite, origin: impl AsyncRead + AsyncWrite, idle: Option<Duration>) {
    let (client, origin) = (split(client), split(origin));
    let moved = Cell::new(Instant::now());
    // Which way broke off does not matter: the connection is over.
    let _ = tokio::try_join!(one_way(client.0, origin.1, idle, &moved), one_way(origin.0, client.1, idle, &moved));
}

/// Ends the writing side when the reading side ends.
async fn one_way<R: AsyncRead, W: AsyncWrite>(
    mut from: ReadHalf<R>,
    mut to: WriteHalf<W>,
    idle: Option<Duration>,
    moved: &Cell<Instant>,
) -> std::io::Result<()> {
    let mut piece = BytesMut::with_capacity(PIECE);
    while read(&mut from, &mut piece, idle, moved).await? > 0 {
        moved.set(Instant::now());
        to.write_all_buf(&mut piece).await?;
        to.flush().await?;
        piece.clear();
    }
    to.shutdown().await
}

/// Waits for bytes as long as anything moves, either way.
async fn read<R: AsyncRead>(
    from: &mut ReadHalf<R>,
    piece: &mut BytesMut,
    idle: Option<Duration>,
    moved: &Cell<Instant>,
) -> std::io::Result<usize> {
    let Some(idle) = idle else { return from.read_buf(piece).await };
    loop {
        let seen = moved.get();
        match tokio::time::timeout_at(seen + idle, from.read_buf(piece)).await {
            Ok(read) => return read,
            Err(_) if moved.get() == seen => return Err(std::io::ErrorKind::TimedOut.into()),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_each_side_ends_on_its_own() {
        let (client, ours) = tokio::io::duplex(8);
        let (theirs, origin) = tokio::io::duplex(8);
        let talk = async {
            let (mut client, mut origin) = (client, origin);
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = Vec::new();
            origin.read_to_end(&mut heard).await.unwrap();
            let answer = async {
                origin.write_all(b"a long answer").await.unwrap();
                origin.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let ((), read) = tokio::join!(answer, client.read_to_end(&mut got));
            read.unwrap();
            (heard, got)
        };
        let ((), (heard, got)) = tokio::join!(both_ways(ours, theirs, Some(Duration::from_secs(60))), talk);
        assert_eq!((heard.as_slice(), got.as_slice()), (&b"question"[..], &b"a long answer"[..]));
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let (_client, ours) = tokio::io::duplex(8);
        let (theirs, _origin) = tokio::io::duplex(8);
        both_ways(ours, theirs, Some(Duration::from_millis(20))).await;
    }
}
