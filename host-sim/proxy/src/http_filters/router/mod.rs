//! The router, last filter of every chain: sends a request to an origin, again if need be, and its answer back.
//!
//! Source: Envoy's `router/router.cc`. What is decided is decided elsewhere ([`crate::route`], [`crate::retry`], [`crate::cluster`]); here it is
//! done.

mod answer;
mod mirror;
mod tries;
mod upload;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use self::upload::Upload;
use crate::cluster::{HashPolicy, Hashed, Outcome};
use crate::connection::{ClientGone, Stream};
use crate::local_reply::LocalReply;
use crate::route::{Destination, Forward, Prepared, RouteEntry, RouterOptions, Timeouts};
use crate::upstream::Counted;
use crate::worker::Cluster;

/// A request on its route.
struct Routed<'s> {
    stream: &'s Stream,
    route: &'s Arc<RouteEntry>,
    destination: &'s Destination,
    cluster: Rc<Cluster>,
    upload: Upload<'s>,
    timeouts: Timeouts,
    high_priority: bool,
    hash: Option<u64>,
    /// Cookies the answer sets, so that the client comes back to the same endpoint.
    set_cookies: Vec<Bytes>,
    /// The endpoint tried last.
    endpoint: Cell<Option<usize>>,
    /// A retry is due or under way.
    retrying: RefCell<Option<Counted>>,
}

/// Why nothing more is done for a request.
enum End {
    /// The client is gone, or cannot be told any more what went wrong.
    Gone,
    /// It is answered here.
    Reply(LocalReply),
}

impl From<ClientGone> for End {
    fn from(_: ClientGone) -> End {
        End::Gone
    }
}

/// Forwards a request along its route.
pub(crate) async fn forward(stream: &Stream, route: &Arc<RouteEntry>, destination: &Destination) -> Result<(), ClientGone> {
    let Some(plan) = route.forward() else { return stream.reply(LocalReply::route_not_found()).await };
    let Some(cluster) = stream.state.clusters.get(&destination.cluster).map(Rc::clone) else {
        return stream.reply(LocalReply::cluster_not_found(plan.cluster_not_found)).await;
    };
    note_cluster(stream, route, &cluster);
    let Prepared { timeouts, retry } = {
        let mut request = stream.request.borrow_mut();
        let info = stream.info.borrow();
        route.prepare(destination, &mut request, &stream.connection, &info, RouterOptions::default())
    };
    let Hashed { hash, set_cookies } = hash(stream, plan);
    let mirrors = mirror::start(stream, plan, timeouts.global);
    let upload = Upload::new(stream, retry.is_some(), cluster.config.buffer_limit, mirrors);
    let routed = Routed {
        stream,
        route,
        destination,
        cluster,
        upload,
        timeouts,
        high_priority: plan.high_priority,
        hash,
        set_cookies,
        endpoint: Cell::new(None),
        retrying: RefCell::new(None),
    };
    let ended = {
        let tries = routed.tries(retry);
        match timeouts.global {
            None => tries.await,
            Some(limit) => routed.within(limit, tries).await,
        }
    };
    match ended {
        Ok(()) => Ok(()),
        Err(End::Reply(reply)) if !stream.responder.has_begun() => stream.reply(reply).await,
        Err(End::Reply(_) | End::Gone) => {
            stream.responder.reset().await;
            Err(ClientGone)
        }
    }
}

fn note_cluster(stream: &Stream, route: &RouteEntry, cluster: &Cluster) {
    let mut info = stream.info.borrow_mut();
    info.upstream.cluster = Some(Arc::clone(&cluster.name));
    info.upstream.cluster_stat_name.clone_from(&cluster.config.stat_name);
    info.upstream.cluster_metadata.clone_from(&cluster.config.metadata);
    info.route_metadata.clone_from(&route.metadata);
    info.virtual_host_metadata.clone_from(&route.virtual_host.metadata);
}

fn hash(stream: &Stream, plan: &Forward) -> Hashed {
    if plan.hash.is_empty() {
        return Hashed::default();
    }
    let client = stream.info.borrow().remote.map_or(stream.connection.remote.ip(), |remote| remote.ip());
    HashPolicy::hash(&plan.hash, &stream.request.borrow(), &stream.connection, client)
}

impl Routed<'_> {
    /// Everything within the route's timeout, which begins when the request is complete.
    async fn within(&self, limit: Duration, tries: impl Future<Output = Result<(), End>>) -> Result<(), End> {
        let timer = async {
            let complete = self.upload.completed().await;
            let spent = self.stream.worker.clock.now().saturating_sub(complete);
            tokio::time::sleep(limit.saturating_sub(spent)).await;
        };
        let (mut tries, mut timer) = (pin!(tries), pin!(timer));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = tries.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            timer.as_mut().poll(cx).map(|()| {
                if let Some(endpoint) = self.endpoint.get() {
                    self.report(endpoint, Outcome::Timeout);
                }
                Err(End::Reply(self.timed_out(LocalReply::upstream_timeout())))
            })
        })
        .await
    }
}
