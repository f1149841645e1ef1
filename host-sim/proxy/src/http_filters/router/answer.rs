//! An origin's answer on its way back.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::{End, Routed};
use crate::connection::{BodyError, Piece};
use crate::headers::{self, HeaderList};
use crate::route;
use crate::upstream::Head;

impl Routed<'_> {
    /// Passes an answer on. `uploaded` moves the request's body meanwhile.
    pub(super) async fn pass(
        &self,
        answer: Head,
        uploaded: &mut dyn FnMut(&mut Context<'_>) -> Result<(), End>,
    ) -> Result<(), End> {
        let stream = self.stream;
        let Head { headers: mut list, mut body, .. } = answer;
        self.finalize(&mut list);
        let end = body.is_over();
        stream.send_head(list, end).await?;
        if end {
            return Ok(());
        }
        loop {
            let mut next = poll_fn(|cx| match uploaded(cx) {
                Err(end) => Poll::Ready(Err(end)),
                Ok(()) => Poll::Ready(Ok(body.poll_next(cx))),
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
            if self.pass_piece(next).await? {
                return Ok(());
            }
        }
    }

    async fn pass_piece(&self, next: Option<Result<Piece, BodyError>>) -> Result<bool, End> {
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

    fn finalize(&self, list: &mut HeaderList) {
        let stream = self.stream;
        // An answer that came before the request was complete says nothing about how long the origin took.
        if let Some(complete) = self.upload.completed_at() {
            let took: Duration = stream.worker.clock.now().saturating_sub(complete);
            headers::set_slot(list, "x-envoy-upstream-service-time", Bytes::from(took.as_millis().to_string()));
        }
        for cookie in &self.set_cookies {
            list.push((Bytes::from_static(b"set-cookie"), cookie.clone()));
        }
        {
            let mut info = stream.info.borrow_mut();
            info.details = "via_upstream".into();
            info.first_upstream_rx = Some(stream.worker.clock.now().saturating_sub(stream.began));
            info.response_code = headers::get(list, ":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        }
        let (request, info) = (stream.request.borrow(), stream.info.borrow());
        self.route.finalize_response(Some(self.destination), list, &request, &stream.connection, &info);
        if self.route.virtual_host.attempt_count_in_response {
            route::write_attempt_count(list, info.upstream.attempts);
        }
    }
}
