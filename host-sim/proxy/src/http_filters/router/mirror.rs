//! Mirrors: copies of a request whose answers nobody waits for.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::connection::{Piece, Stream};
use crate::headers::HeaderList;
use crate::route::Forward;
use crate::upstream::{Attempt, Limits, UnderWay};
use crate::worker::{Cluster, Worker};

/// Sends the copies a route asks for; the request's body goes into what is returned as well.
pub(super) fn start(stream: &Stream, forward: &Forward, timeout: Option<Duration>) -> Vec<UnboundedSender<Piece>> {
    if forward.mirrors.is_empty() || stream.upgrade().is_some() {
        return Vec::new();
    }
    let (request, info) = (stream.request.borrow(), stream.info.borrow());
    let bodyless = stream.request_is_over();
    let mut bodies = Vec::new();
    for mirror in &forward.mirrors {
        let cluster = mirror.cluster(&request, info.id).and_then(|name| stream.state.clusters.get(&name).map(Rc::clone));
        let Some(cluster) = cluster else { continue };
        let copy = mirror.copy(&request, &stream.connection, &info, stream.worker.node_address);
        let (body, pieces) = unbounded_channel();
        if !bodyless {
            bodies.push(body);
        }
        let high = forward.high_priority;
        let http2 = stream.is_http2();
        let sending = send(Rc::clone(&stream.worker), cluster, copy, bodyless, pieces, high, http2);
        tokio::task::spawn_local(async move {
            match timeout {
                // Whatever came of it, nobody asked.
                Some(timeout) => drop(tokio::time::timeout(timeout, sending).await),
                None => drop(sending.await),
            }
        });
    }
    bodies
}

/// One try; its answer is read to the end, so that the connection can be used again.
async fn send(
    worker: Rc<Worker>,
    cluster: Rc<Cluster>,
    head: HeaderList,
    bodyless: bool,
    mut pieces: UnboundedReceiver<Piece>,
    high_priority: bool,
    http2: bool,
) -> Option<()> {
    let now = worker.clock.now();
    let at = cluster.choose(None, &[], 0, now, &mut || worker.dice.roll())?;
    let shared = &cluster.config.shared;
    let _under_way = UnderWay::start(shared, at, high_priority)?;
    let protocol = cluster.config.protocol.for_client(http2);
    let limits = Limits { shared, high_priority };
    let attempt = Attempt::open(cluster.endpoints.get(at)?, protocol, &cluster.transport, &head, now, limits).await.ok()?;
    attempt.send_head(&head, bodyless).await.ok()?;
    if !bodyless {
        while let Some(piece) = pieces.recv().await {
            attempt.send(piece).await.ok()?;
            attempt.flush().await.ok()?;
        }
        attempt.finish().await.ok()?;
    }
    let mut answer = attempt.head().await.ok()?;
    while let Some(Ok(_)) = answer.body.next().await {}
    attempt.complete(&cluster.transport, worker.clock.now());
    Some(())
}
