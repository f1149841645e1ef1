//! The tries of one request: an endpoint each, the answer or the reason why there is none, and whether to try again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{End, Routed};
use crate::cluster::Outcome;
use crate::local_reply::{Flag, LocalReply, Reset};
use crate::retry::{Ended, RetryState, Verdict};
use crate::route::{RouterOptions, write_attempt_count};
use crate::upstream::{Attempt, Broken, Counted, Head, Limits, UnderWay};

/// What came of one try.
enum Tried {
    /// Its answer went to the client.
    Done,
    /// Another one is due after this pause.
    Again(Duration),
}

/// How a try ended before an answer began.
struct Failure {
    broken: Broken,
    /// The request's head went out.
    sent: bool,
    /// It was the per-try timeout.
    timeout: bool,
}

impl Routed<'_> {
    /// Tries until there is an answer, or nothing left to try.
    pub(super) async fn tries(&self, mut retry: Option<RetryState>) -> Result<(), End> {
        let mut number = 1u32;
        let mut tried: Vec<usize> = Vec::new();
        loop {
            self.stream.info.borrow_mut().upstream.attempts = number;
            let pause = match self.one(number, &mut retry, &mut tried).await? {
                Tried::Done => return Ok(()),
                Tried::Again(pause) => pause,
            };
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            number = number.saturating_add(1);
            self.renew_head(number);
        }
    }

    /// Tells the origin which try this is and how much time is left.
    fn renew_head(&self, number: u32) {
        let mut request = self.stream.request.borrow_mut();
        if self.route.virtual_host.attempt_count_in_request {
            write_attempt_count(&mut request, number);
        }
        let start = self.upload.completed_at().unwrap_or(self.stream.began);
        let elapsed = self.stream.worker.clock.now().saturating_sub(start);
        self.timeouts.write(&mut request, elapsed, RouterOptions::default());
    }

    async fn one(
        &self,
        number: u32,
        retry: &mut Option<RetryState>,
        tried: &mut Vec<usize>,
    ) -> Result<Tried, End> {
        let endpoint = self.choose(number, retry.as_ref(), tried)?;
        tried.push(endpoint);
        match self.attempt(endpoint, retry).await {
            Ok(tried) => Ok(tried),
            Err(Ok(failure)) => self.failed(number, endpoint, retry, &failure),
            Err(Err(end)) => Err(end),
        }
    }

    fn choose(&self, number: u32, retry: Option<&RetryState>, tried: &[usize]) -> Result<usize, End> {
        let worker = &self.stream.worker;
        let policy = retry.map(RetryState::policy).filter(|_| number > 1);
        let avoid = policy.is_some_and(|policy| policy.avoid_previous_hosts);
        let attempts = policy.map_or(1, |policy| policy.host_selection_attempts);
        let tried = if avoid { tried } else { &[] };
        let chosen = self.cluster.choose(self.hash, tried, attempts, worker.clock.now(), &mut || worker.dice.roll());
        let Some(chosen) = chosen else { return Err(End::Reply(LocalReply::no_healthy_upstream())) };
        self.endpoint.set(Some(chosen));
        if let Some(endpoint) = self.cluster.config.plan.endpoints.get(chosen) {
            let mut info = self.stream.info.borrow_mut();
            info.upstream.host = Some(endpoint.address);
            info.upstream.hostname.clone_from(&endpoint.hostname);
            info.upstream.host_metadata.clone_from(&endpoint.metadata);
            if let Some(name) = &endpoint.hostname {
                let mut request = self.stream.request.borrow_mut();
                self.route.host_of_endpoint(&mut request, name, RouterOptions::default());
            }
        }
        Ok(chosen)
    }

    /// One try. An error is a failure that may be tried again, or the end of everything.
    async fn attempt(
        &self,
        endpoint: usize,
        retry: &mut Option<RetryState>,
    ) -> Result<Tried, Result<Failure, End>> {
        let (stream, cluster) = (self.stream, &self.cluster);
        let before = |broken: Broken| Ok(Failure { broken, sent: false, timeout: false });
        let shared = &cluster.config.shared;
        let overflow = || before(Broken::from(Reset::Overflow));
        let _under_way = UnderWay::start(shared, endpoint, self.high_priority).ok_or_else(overflow)?;
        let Some(place) = cluster.endpoints.get(endpoint) else {
            return Err(Err(End::Reply(LocalReply::no_healthy_upstream())));
        };
        let head = stream.request.borrow().clone();
        let protocol = cluster.config.protocol.for_client(stream.is_http2());
        let limits = Limits { shared, high_priority: self.high_priority };
        let now = stream.worker.clock.now();
        let attempt = Attempt::open(place, protocol, &cluster.transport, &head, now, limits).await.map_err(before)?;
        self.note_connection(&attempt, protocol);
        attempt.send_head(&head, self.upload.bodyless).await.map_err(|broken| Ok(Failure { broken, sent: true, timeout: false }))?;
        let (tried, over) = self.exchange(&attempt, endpoint, retry).await?;
        if over {
            attempt.complete(&cluster.transport, stream.worker.clock.now());
        }
        Ok(tried)
    }

    /// Sends the body and passes the answer on, both at the same time. The second part says whether all of both was passed on.
    async fn exchange(
        &self,
        attempt: &Attempt,
        endpoint: usize,
        retry: &mut Option<RetryState>,
    ) -> Result<(Tried, bool), Result<Failure, End>> {
        let mut upload = pin!(self.upload.send(attempt));
        let mut uploading = true;
        let mut uploaded = |cx: &mut Context<'_>| -> Result<(), End> {
            if uploading && let Poll::Ready(end) = upload.as_mut().poll(cx) {
                uploading = false;
                end?;
            }
            Ok(())
        };
        let answer = self.head(attempt, &mut uploaded).await?;
        self.report(endpoint, Outcome::Status(answer.status));
        if let Verdict::Retry(pause) = self.decide(retry, Ended::Headers(&answer.headers)) {
            return Ok((Tried::Again(pause), !uploading && answer.body.is_over()));
        }
        self.upload.settle();
        self.pass(answer, &mut uploaded).await.map_err(Err)?;
        Ok((Tried::Done, !uploading))
    }

    /// Waits for the answer's head; interim ones are passed on.
    async fn head(
        &self,
        attempt: &Attempt,
        uploaded: &mut dyn FnMut(&mut Context<'_>) -> Result<(), End>,
    ) -> Result<Head, Result<Failure, End>> {
        let mut patience = pin!(self.per_try());
        loop {
            let mut waiting = pin!(attempt.head());
            let head = poll_fn(|cx| {
                if let Err(end) = uploaded(cx) {
                    return Poll::Ready(Err(Err(end)));
                }
                if let Poll::Ready(head) = waiting.as_mut().poll(cx) {
                    return Poll::Ready(head.map_err(|broken| Ok(Failure { broken, sent: true, timeout: false })));
                }
                patience.as_mut().poll(cx).map(|()| Err(Ok(Failure { broken: Reset::LocalReset.into(), sent: true, timeout: true })))
            })
            .await?;
            if !(100..200).contains(&head.status) || head.status == 101 {
                return Ok(head);
            }
            self.stream.responder.interim(&head.headers).await.map_err(|gone| Err(End::from(gone)))?;
        }
    }

    /// Ends when one try has taken too long; never, without a limit.
    async fn per_try(&self) {
        match (self.timeouts.per_try, self.timeouts.per_try_idle) {
            (None, None) => std::future::pending().await,
            (whole, idle) => {
                self.upload.completed().await;
                let limit = whole.into_iter().chain(idle).min().unwrap_or_default();
                tokio::time::sleep(limit).await;
            }
        }
    }

    fn note_connection(&self, attempt: &Attempt, protocol: crate::upstream::Protocols) {
        let mut info = self.stream.info.borrow_mut();
        info.upstream.local = attempt.local();
        info.upstream.protocol = Some(match protocol {
            crate::upstream::Protocols::Http1 => crate::edge::Protocol::Http11,
            crate::upstream::Protocols::Http2 => crate::edge::Protocol::Http2,
        });
    }

    /// Decides about the next try, and notes why there is none.
    fn decide(&self, retry: &mut Option<RetryState>, ended: Ended<'_>) -> Verdict {
        let Some(retry) = retry.as_mut().filter(|_| self.upload.is_repeatable()) else { return Verdict::No };
        let worker = &self.stream.worker;
        let shared = &self.cluster.config.shared;
        // The retry that has just ended makes room for the next one.
        self.retrying.replace(None);
        let room = shared.circuit(self.high_priority).has_room_for_retry();
        let verdict = retry.decide(ended, room, worker.dice.roll(), worker.clock.wall(worker.clock.now()));
        let flag = match verdict {
            Verdict::LimitExceeded => Some(Flag::UpstreamRetryLimitExceeded),
            Verdict::Overflow => Some(Flag::UpstreamOverflow),
            Verdict::No => None,
            Verdict::Retry(_) => {
                self.retrying.replace(Some(Counted::start(shared, self.high_priority, |circuit| &circuit.retries)));
                None
            }
        };
        if let Some(flag) = flag {
            self.stream.info.borrow_mut().flags.insert(flag);
        }
        verdict
    }

    fn failed(
        &self,
        number: u32,
        endpoint: usize,
        retry: &mut Option<RetryState>,
        failure: &Failure,
    ) -> Result<Tried, End> {
        let Broken { reset, transport } = &failure.broken;
        self.report_reset(endpoint, *reset, failure.timeout);
        self.stream.info.borrow_mut().upstream.transport_failure = transport.clone();
        let ended =
            if failure.timeout { Ended::PerTryTimeout } else { Ended::Reset { reset: *reset, sent: failure.sent } };
        if let Verdict::Retry(pause) = self.decide(retry, ended) {
            return Ok(Tried::Again(pause));
        }
        Err(End::Reply(match failure.timeout {
            true => self.timed_out(LocalReply::per_try_timeout()),
            false => LocalReply::upstream_reset(*reset, transport, number > 1),
        }))
    }

    /// The answer when time is up: 204 and nothing else where the request asked for it.
    pub(super) fn timed_out(&self, mut reply: LocalReply) -> LocalReply {
        if self.timeouts.alternative_response {
            reply.status = 204;
            reply.body = bytes::Bytes::new();
        }
        reply
    }

    fn report_reset(&self, endpoint: usize, reset: Reset, timeout: bool) {
        let outcome = match reset {
            Reset::Overflow => return,
            _ if timeout => Outcome::Timeout,
            Reset::ConnectionTimeout => Outcome::Timeout,
            Reset::LocalConnectionFailure | Reset::RemoteConnectionFailure => Outcome::ConnectFailed,
            _ => Outcome::Reset,
        };
        self.report(endpoint, outcome);
    }

    pub(super) fn report(&self, endpoint: usize, outcome: Outcome) {
        let worker = &self.stream.worker;
        let shared = Arc::as_ref(&self.cluster.config.shared);
        shared.report(endpoint, outcome, worker.clock.now(), worker.dice.roll());
    }
}
