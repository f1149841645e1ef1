//! The router, last filter of every chain: sends a request to an origin, again if need be, and its answer back.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{BodyError, ClientGone, Piece, Stream};
use crate::headers::{self, HeaderList};
use crate::local_reply::LocalReply;
use crate::route::{Destination, RouteEntry, RouterOptions};
use crate::upstream::{Attempt, Broken, Head};
use crate::worker::Cluster;

/// Forwards a request along its route.
pub(crate) async fn forward(stream: &Stream, route: &Arc<RouteEntry>, destination: &Destination) -> Result<(), ClientGone> {
    let not_found = route.forward().map_or(503, |forward| forward.cluster_not_found);
    let Some(cluster) = stream.state.clusters.get(&destination.cluster).map(Rc::clone) else {
        return stream.reply(LocalReply::cluster_not_found(not_found)).await;
    };
    stream.info.borrow_mut().upstream.cluster = Some(Arc::clone(&cluster.name));
    let prepared = {
        let mut request = stream.request.borrow_mut();
        let info = stream.info.borrow();
        route.prepare(destination, &mut request, &stream.connection, &info, RouterOptions::default())
    };
    let _ = prepared;
    let routed = Routed { stream, route, destination, cluster };
    match routed.attempt().await {
        Ok(()) => Ok(()),
        Err(End::Gone) => Err(ClientGone),
        Err(End::Reply(reply)) if !stream.responder.has_begun() => stream.reply(reply).await,
        Err(End::Reply(_)) => Err(ClientGone),
    }
}

struct Routed<'s> {
    stream: &'s Stream,
    route: &'s Arc<RouteEntry>,
    destination: &'s Destination,
    cluster: Rc<Cluster>,
}

enum End {
    Gone,
    Reply(LocalReply),
}

impl From<ClientGone> for End {
    fn from(_: ClientGone) -> End {
        End::Gone
    }
}

impl Routed<'_> {
    async fn attempt(&self) -> Result<(), End> {
        let stream = self.stream;
        let worker = &stream.worker;
        let count = u64::try_from(self.cluster.endpoints.len()).unwrap_or_default();
        let pick = worker.dice.roll().checked_rem(count).and_then(|pick| usize::try_from(pick).ok());
        let Some(endpoint) = pick.and_then(|pick| self.cluster.endpoints.get(pick)) else {
            return Err(End::Reply(LocalReply::no_healthy_upstream()));
        };
        stream.info.borrow_mut().upstream.host = Some(endpoint.address);
        let protocol = self.cluster.config.protocol.for_client(stream.is_http2());
        let head = stream.request.borrow().clone();
        let sent = worker.clock.now();
        let attempt = Attempt::open(endpoint, protocol, &self.cluster.transport, &head, sent).await.map_err(broken)?;
        if self.exchange(&attempt, &head, sent).await? {
            attempt.complete(&self.cluster.transport, worker.clock.now());
        }
        Ok(())
    }

    /// Sends the request and passes the answer on, both at the same time; says whether all of both was passed on.
    async fn exchange(&self, attempt: &Attempt, head: &HeaderList, sent: Duration) -> Result<bool, End> {
        let stream = self.stream;
        let bodyless = stream.request_is_over();
        attempt.send_head(head, bodyless).await.map_err(broken)?;
        let mut upload = pin!(self.upload(attempt, bodyless));
        let mut uploading = true;
        let mut uploaded = |cx: &mut Context<'_>| -> Result<(), End> {
            if uploading && let Poll::Ready(end) = upload.as_mut().poll(cx) {
                uploading = false;
                end?;
            }
            Ok(())
        };
        let answered = {
            let mut waiting = pin!(attempt.head());
            poll_fn(|cx| {
                if let Err(end) = uploaded(cx) {
                    return Poll::Ready(Err(end));
                }
                waiting.as_mut().poll(cx).map(|answered| answered.map_err(broken))
            })
            .await?
        };
        let Head { headers: mut list, mut body, .. } = answered;
        self.finalize(&mut list, stream.worker.clock.now().saturating_sub(sent));
        let end = body.is_over();
        stream.send_head(list, end).await?;
        while !end {
            let mut next = poll_fn(|cx| {
                if let Err(end) = uploaded(cx) {
                    return Poll::Ready(Err(end));
                }
                Poll::Ready(Ok(body.poll_next(cx)))
            })
            .await?;
            if next.is_pending() {
                stream.responder.flush().await?;
                let more = poll_fn(|cx| match uploaded(cx) {
                    Err(end) => Poll::Ready(Err(end)),
                    Ok(()) => body.poll_next(cx).map(Ok),
                });
                next = Poll::Ready(more.await?);
            }
            let Poll::Ready(next) = next else { continue };
            if self.pass(next).await? {
                break;
            }
        }
        Ok(!uploading)
    }

    /// Sends the request's body as it comes.
    async fn upload(&self, attempt: &Attempt, bodyless: bool) -> Result<(), End> {
        if bodyless {
            return Ok(());
        }
        loop {
            let next = poll_fn(|cx| self.stream.body.borrow_mut().poll_next(cx)).await;
            // What cannot be sent any more shows in the answer, or in its absence.
            match next {
                Some(Ok(piece)) => attempt.send(piece).await.unwrap_or_default(),
                Some(Err(BodyError::Gone)) => return Err(End::Gone),
                Some(Err(BodyError::Malformed)) => return Err(End::Reply(LocalReply::new(400, "http1.codec_error"))),
                None => break,
            }
            attempt.flush().await.unwrap_or_default();
        }
        attempt.finish().await.unwrap_or_default();
        Ok(())
    }

    async fn pass(&self, next: Option<Result<Piece, BodyError>>) -> Result<bool, End> {
        match next {
            Some(Ok(piece)) => self.stream.send(piece).await?,
            Some(Err(_)) => return Err(End::Gone),
            None => {
                self.stream.responder.finish().await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn finalize(&self, list: &mut HeaderList, took: Duration) {
        let stream = self.stream;
        headers::set_slot(list, "x-envoy-upstream-service-time", Bytes::from(took.as_millis().to_string()));
        stream.info.borrow_mut().details = "via_upstream".into();
        let (request, info) = (stream.request.borrow(), stream.info.borrow());
        self.route.finalize_response(Some(self.destination), list, &request, &stream.connection, &info);
    }
}

fn broken(broken: Broken) -> End {
    End::Reply(LocalReply::upstream_reset(broken.reset, "", false))
}
