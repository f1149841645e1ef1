//! The router, last filter of every chain: sends a request to an origin, again if need be, and its answer back.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use vm::Direction;

use super::try_span::TrySpan;
use super::try_timers::{Allowed, Late, TryTimers};
use super::{Stop, mirror, upload};
use crate::cluster::{HashPolicy, Hashed, Outcome, PreviousPriorities};
use crate::connection::{BodyError, BodySource, ClientGone, Piece, ReadAhead, Stream};
use crate::edge;
use crate::grpc_web::LONGEST_MESSAGE;
use crate::headers::{self, HeaderList};
use crate::http1::unsendable;
use crate::local_reply::{Author, Flag, LocalReply, Reset};
use crate::retry::{Ended, Verdict};
use crate::route::{self, Destination, Forward, Prepared, RouteEntry, write_attempt_count};
use crate::tracing;
use crate::upstream::{Attempt, Broken, Endpoint, Head, Outline};
use crate::worker::Cluster;

type Running<'r> = Pin<Box<dyn Future<Output = Result<(), Stop>> + 'r>>;

/// Sends a request's body to one attempt; nothing is left of it when it is done.
struct Sender<'r>(Option<Running<'r>>);

impl Sender<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        // What stops it shows in the answer, or in its absence.
        if self.0.as_mut().is_some_and(|running| running.as_mut().poll(cx).is_ready()) {
            self.0 = None;
        }
    }

    fn is_done(&self) -> bool {
        self.0.is_none()
    }
}

/// Interim answers that may be passed on; the others are dropped.
const INTERIM: [u16; 4] = [100, 102, 103, 104];

/// How many turns of its loop a worker gives copies to leave ahead of their request.
const TURNS_FOR_COPIES: u8 = 8;
/// How far ahead of its request a copy is that had to be connected first.
const FIRST_COPY: Duration = Duration::from_millis(1);

/// Forwards a request along its route.
pub(crate) async fn forward(stream: &Stream, route: &Arc<RouteEntry>, destination: &Destination) -> Result<(), Stop> {
    let Some(forward) = route.forward() else { return Ok(()) };
    let Some(cluster) = stream.state.clusters.get(&destination.cluster).map(Rc::clone) else {
        stream.manager.stats.no_cluster.inc();
        if let Some(recorder) = stream.worker.recorder() {
            recorder.cluster_missing(&destination.cluster);
        }
        return Err(Stop::Reply(LocalReply::cluster_not_found(forward.cluster_not_found)));
    };
    let begun = stream.worker.clock().now();
    {
        let mut info = stream.facts.info.borrow_mut();
        info.upstream.attempts = 1; // the route's header operations see the first try as begun
        info.elapsed = Some(begun.saturating_sub(stream.began));
    }
    let (prepared, hashed) = {
        let (mut request, info) = (stream.request.borrow_mut(), stream.facts.info.borrow());
        let connection = &stream.facts.connection;
        let before = stream.manager.config.limits.hardened.then(|| headers::get(&request, ":path").cloned());
        if let (_, Some(grpc_timeout)) = forward.stream.of(&request) {
            headers::set_slot(&mut request, "grpc-timeout", grpc_timeout);
        }
        edge::scheme_for_origins(&mut request, connection);
        let prepared = route.prepare(destination, &mut request, connection, &info, stream.manager.config.router);
        edge::port_for_origins(&mut request, stream.stripped_port.get());
        if let (Some(before), after) = (before, headers::get(&request, ":path"))
            && before.as_ref() != after
            && after.is_some_and(|after| !route::hardened::accepts(after))
        {
            return Err(Stop::Reply(LocalReply::rewrite_refused()));
        }
        // Over the request as it leaves: what the route sets, removes or rewrites is what counts. Only a balancer that hashes asks, and only then
        // is a cookie made.
        let hashed = match cluster.config.plan.policy.hashes() {
            true => HashPolicy::hash(&forward.hash, &request, connection, stream.client()),
            false => Hashed::default(),
        };
        (prepared, hashed)
    };
    if let Some(recorder) = stream.worker.recorder() {
        recorder.prepared(&cluster.config.name, &stream.request.borrow(), &prepared, hashed.hash);
    }
    let routed = Routed {
        stream,
        route,
        forward,
        destination,
        cluster,
        hashed,
        prepared: RefCell::new(prepared),
        pump: RefCell::default(),
        mirrors: RefCell::default(),
        chosen: RefCell::default(),
        tried: RefCell::default(),
        previous: RefCell::default(),
        begun,
        request_done: Cell::default(),
        timers: TryTimers::default(),
        head_left: Cell::default(),
        websocket: stream.upgrade().is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")),
        interim: Cell::default(),
        switched: Cell::default(),
    };
    routed.run().await
}

/// One request with its route.
struct Routed<'s> {
    stream: &'s Stream,
    route: &'s Arc<RouteEntry>,
    forward: &'s Forward,
    destination: &'s Destination,
    cluster: Rc<Cluster>,
    hashed: Hashed,
    prepared: RefCell<Prepared>,
    /// Fills the upload from the client; absent once all has come.
    pump: RefCell<Option<Running<'s>>>,
    /// Copies still to be sent.
    mirrors: RefCell<Vec<mirror::Copy>>,
    /// The origin of the first try, until it begins.
    chosen: RefCell<Option<Rc<Endpoint>>>,
    tried: RefCell<SmallVec<[usize; 4]>>,
    /// The priorities tried, where a retry is to leave them out.
    previous: RefCell<Option<PreviousPriorities>>,
    begun: Duration,
    request_done: Cell<Option<Duration>>,
    /// The current try's.
    timers: TryTimers,
    /// It asks to switch to WebSocket: time runs from the beginning, for the rest of the request waits for the answer.
    websocket: bool,
    /// An interim answer came.
    interim: Cell<bool>,
    /// The origin speaks the protocol that the request asked for: what follows the head may go to it.
    switched: Cell<bool>,
    /// The head is on its way, or tried to be: copies wait for nothing but the rest of the request.
    head_left: Cell<bool>,
}

/// How a try ended, other than by a whole answer.
enum Failed {
    Stop(Stop),
    Broken {
        broken: Broken,
        sent: bool,
    },
    Late(Late),
    /// An answer that is to be tried again.
    Again {
        pause: Duration,
        /// Nothing of it was still to come.
        whole: bool,
    },
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Failed {
        Failed::Stop(stop)
    }
}

impl From<ClientGone> for Failed {
    fn from(_: ClientGone) -> Failed {
        Failed::Stop(Stop::Gone)
    }
}

impl<'s> Routed<'s> {
    async fn run(&self) -> Result<(), Stop> {
        let stream = self.stream;
        // Copies are made once there is an origin to send to: where none is healthy, nothing goes anywhere.
        self.chosen.replace(Some(self.endpoint()?));
        self.mirrors.replace(self.mirrored());
        if self.prepared.borrow().retry.is_some() || !self.mirrors.borrow().is_empty() {
            stream.upload.keep();
        }
        if stream.body.borrow().is_over() {
            stream.upload.complete();
            self.request_is_done();
        } else {
            self.pump.replace(Some(Box::pin(upload::pump(stream, self.cluster.config.buffer_limit))));
            if self.websocket {
                stream.timers.route.set(self.prepared.borrow().timeouts.global);
            }
        }
        let mut attempts = 1u32;
        loop {
            stream.facts.info.borrow_mut().upstream.attempts = attempts;
            let failed = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let pause = self.after(failed, attempts > 1)?;
            attempts = attempts.saturating_add(1);
            self.cluster.stats.upstream_rq_retry.inc();
            stream.upload.rewind();
            let circuit = self.cluster.config.circuit(self.forward.high_priority);
            circuit.retries.start();
            let _retrying = Retrying(circuit);
            // The shortest sleep there is takes a millisecond or two.
            if !pause.is_zero() {
                let waited = self.alongside(&mut Sender(None), tokio::time::sleep(pause)).await;
                waited.map_err(|failed| match failed {
                    Failed::Stop(stop) => stop,
                    _ => Stop::Reply(LocalReply::upstream_timeout()),
                })?;
            }
            self.again(attempts);
        }
    }

    /// What comes after a try that failed: a pause and another, or the end.
    fn after(&self, failed: Failed, retried: bool) -> Result<Duration, Stop> {
        let stream = self.stream;
        let (ended, reply) = match failed {
            Failed::Stop(stop) => return Err(stop),
            Failed::Again { pause, .. } => return Ok(pause),
            Failed::Late(Late::Whole) => (Ended::PerTryTimeout, self.or_alternative(LocalReply::per_try_timeout())),
            Failed::Late(Late::Idle) => (Ended::PerTryTimeout, self.or_alternative(LocalReply::per_try_idle_timeout())),
            Failed::Late(Late::Lasts) => {
                let reply = LocalReply::max_stream_duration(self.request_done.get().is_some());
                (Ended::Reset { reset: Reset::LocalReset, sent: true }, reply)
            }
            Failed::Broken { broken, sent } => {
                stream.facts.info.borrow_mut().upstream.transport_failure = broken.transport.clone();
                let mut reply = LocalReply::upstream_reset(broken.reset, "", retried);
                if self.interim.get() || stream.responder.has_begun() {
                    reply = reply.after_response_started();
                }
                if !broken.transport.is_empty() {
                    let transport = broken.transport.replace(|c: char| c.is_ascii_whitespace(), "_");
                    reply.details = reply.details.replace('}', &format!("|{transport}}}")).into();
                }
                (Ended::Reset { reset: broken.reset, sent }, reply)
            }
        };
        if stream.responder.has_begun() {
            return Err(Stop::Reply(reply));
        }
        match self.decide(ended) {
            Verdict::Retry(pause) => Ok(pause),
            Verdict::LimitExceeded => {
                self.cluster.stats.upstream_rq_retry_limit_exceeded.inc();
                stream.facts.info.borrow_mut().flags.insert(Flag::UpstreamRetryLimitExceeded);
                Err(Stop::Reply(reply))
            }
            Verdict::Overflow => {
                self.cluster.stats.upstream_rq_retry_overflow.inc();
                Err(Stop::Reply(reply))
            }
            Verdict::No => Err(Stop::Reply(reply)),
        }
    }

    fn decide(&self, ended: Ended<'_>) -> Verdict {
        let stream = self.stream;
        if !stream.upload.can_repeat() {
            return Verdict::No;
        }
        let room = self.cluster.config.circuit(self.forward.high_priority).has_room_for_retry();
        let (dice, clock) = (stream.worker.dice().roll(), stream.worker.clock());
        let mut prepared = self.prepared.borrow_mut();
        prepared.retry.as_mut().map_or(Verdict::No, |retry| retry.decide(ended, room, dice, clock.wall(clock.now())))
    }

    /// The request of another try, which begins now.
    fn again(&self, attempts: u32) {
        let stream = self.stream;
        let mut request = stream.request.borrow_mut();
        if self.route.virtual_host.attempt_count_in_request {
            write_attempt_count(&mut request, attempts);
        }
        let elapsed = stream.worker.clock().now().saturating_sub(self.begun);
        self.prepared.borrow().timeouts.write(&mut request, elapsed, stream.manager.config.router);
    }

    /// For a retry policy that leaves out priorities that were tried.
    fn remember_priority(&self, endpoint: usize) {
        let prepared = self.prepared.borrow();
        let policy = prepared.retry.as_ref().map(crate::retry::RetryState::policy);
        let Some(frequency) = policy.and_then(|policy| policy.avoid_previous_priorities) else { return };
        let priority = self.cluster.config.plan.endpoints.get(endpoint).map_or(0, |endpoint| endpoint.priority);
        self.previous.borrow_mut().get_or_insert_with(|| PreviousPriorities::new(frequency)).tried(priority);
    }

    fn endpoint(&self) -> Result<Rc<Endpoint>, Stop> {
        let prepared = self.prepared.borrow();
        let policy = prepared.retry.as_ref().map(crate::retry::RetryState::policy);
        let avoids = policy.is_some_and(|policy| policy.avoid_previous_hosts);
        let tried = self.tried.borrow();
        let again = avoids && !tried.is_empty();
        let attempts = policy.filter(|_| again).map_or(1, |policy| policy.host_selection_attempts);
        let tried = if again { tried.as_slice() } else { &[] };
        let mut previous = self.previous.borrow_mut();
        let (dice, avoid) = (self.stream.worker.dice(), (tried, attempts));
        let picked = self.cluster.pick_from(dice, self.hashed.hash, avoid, previous.as_mut());
        picked.map(Rc::clone).ok_or_else(|| {
            self.cluster.stats.upstream_cx_none_healthy.inc();
            Stop::Reply(LocalReply::no_healthy_upstream())
        })
    }

    async fn attempt(&self) -> Result<(), Failed> {
        let stream = self.stream;
        let chosen = self.chosen.take();
        let endpoint = chosen.map_or_else(|| self.endpoint(), Ok)?;
        self.tried.borrow_mut().push(endpoint.index);
        self.remember_priority(endpoint.index);
        stream.facts.info.borrow_mut().upstream.host = Some(endpoint.address);
        let of_endpoint = self.cluster.config.plan.endpoints.get(endpoint.index);
        {
            let mut info = stream.facts.info.borrow_mut();
            info.upstream.host_metadata = of_endpoint.and_then(|endpoint| endpoint.metadata.clone());
            info.upstream.locality = of_endpoint.map(|endpoint| Arc::clone(&endpoint.locality));
            info.upstream.workload = of_endpoint.and_then(|endpoint| endpoint.workload.clone());
        }
        if let Some(name) = of_endpoint.and_then(|endpoint| endpoint.hostname.as_ref()) {
            let mut request = stream.request.borrow_mut();
            self.route.host_of_endpoint(&mut request, name, stream.manager.config.router);
            stream.facts.info.borrow_mut().upstream.hostname = Some(Arc::clone(name));
        }
        let attempts = stream.facts.info.borrow().upstream.attempts;
        let span = TrySpan::begin(stream, self.cluster.observable_name(), &endpoint, attempts);
        if let Some(recorder) = stream.worker.recorder() {
            recorder.tried(endpoint.address, &stream.request.borrow());
        }
        let outline = Outline::of(&stream.request.borrow());
        let protocol = self.cluster.config.protocol.for_client(stream.is_http2());
        let now = stream.worker.clock().now();
        let opening = Attempt::open(&self.cluster, &endpoint, protocol, &outline, now);
        let opened = self.alongside(&mut Sender(None), opening).await?;
        if self.request_done.get().is_some() {
            self.send_copies_first(&endpoint).await;
        }
        self.head_left.set(true);
        let attempt = opened.map_err(|broken| {
            self.report(&endpoint, outcome_of(broken.reset));
            span.iter().for_each(|span| span.over(tracing::Outcome::Broken(broken.reset)));
            Failed::Broken { broken, sent: false }
        })?;
        self.report(&endpoint, Outcome::Connected);
        stream.facts.info.borrow_mut().upstream.local = attempt.local();
        span.iter().for_each(|span| span.connected(protocol.name()));
        let outcome = self.exchange(&attempt, &endpoint, span.as_ref()).await;
        self.timers.end();
        if let Some((span, outcome)) = span.as_ref().zip(ended(&outcome)) {
            span.over(outcome);
        }
        match &outcome {
            Ok(true) => attempt.complete(stream.worker.clock().now()),
            Err(Failed::Late(Late::Whole | Late::Idle)) => self.report(&endpoint, Outcome::Timeout),
            Err(Failed::Broken { .. }) => self.report(&endpoint, Outcome::Reset),
            Ok(false) | Err(_) => {}
        }
        outcome.map(|_| ())
    }

    fn report(&self, endpoint: &Endpoint, outcome: Outcome) {
        let worker = &self.stream.worker;
        self.cluster.config.report(endpoint.index, outcome, worker.clock().now(), worker.dice().roll());
    }

    /// Sends the request and passes the answer on, both at the same time; says whether all of both was passed on.
    async fn exchange(
        &self,
        attempt: &Attempt,
        endpoint: &Endpoint,
        span: Option<&TrySpan<'_>>,
    ) -> Result<bool, Failed> {
        let stream = self.stream;
        let bodyless = stream.bodiless && stream.upload.is_empty();
        let unsent = |broken| Failed::Broken { broken, sent: true };
        if let Some(said) = unsendable(&stream.request.borrow()) {
            return Err(Failed::Stop(Stop::Reply(LocalReply::unsendable(said))));
        }
        attempt.write_head(&stream.request.borrow(), bodyless).map_err(unsent)?;
        self.alongside(&mut Sender(None), attempt.begin(bodyless)).await?.map_err(unsent)?;
        let sent = stream.worker.clock().now();
        let mut sender = if bodyless { Sender(None) } else { Sender(Some(Box::pin(self.send(attempt)))) };
        let timeouts = self.prepared.borrow().timeouts;
        self.timers.begin(Allowed {
            whole: timeouts.per_try,
            idle: self.forward.retry.as_ref().and_then(|retry| retry.per_try_idle_timeout),
            lasts: timeouts.stream.or(self.cluster.config.max_stream),
        });
        let answered = loop {
            let waiting = self.alongside(&mut sender, attempt.head()).await?.map_err(unsent)?;
            let final_for_websocket = self.websocket && !INTERIM.contains(&waiting.status);
            if !(100..200).contains(&waiting.status) || waiting.status == 101 || final_for_websocket {
                break waiting;
            }
            if INTERIM.contains(&waiting.status) {
                self.interim(waiting.headers).await?;
            }
        };
        let connect = headers::is_connect(&stream.request.borrow());
        if switches(connect, answered.status) {
            self.switched.set(true);
            if self.websocket {
                stream.timers.route.unset();
            }
        }
        self.timers.answered();
        self.timers.touch();
        self.report(endpoint, Outcome::Status(answered.status));
        span.into_iter().for_each(|span| span.answered(&answered));
        let now = stream.worker.clock().now();
        self.answered(answered.status, now);
        if let Some(recorder) = stream.worker.recorder() {
            recorder.answered(answered.status);
        }
        // One that does not switch to WebSocket has answered for good.
        if !self.is_unswitched(answered.status)
            && let Verdict::Retry(pause) = self.verdict(&answered)
        {
            return Err(Failed::Again { pause, whole: answered.body.is_over() });
        }
        self.pass_on(answered, &mut sender).await?;
        let took = stream.worker.clock().now().saturating_sub(sent);
        self.cluster.stats.charge_time(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), false);
        Ok(sender.is_done() && self.pump.borrow().is_none())
    }

    /// The first of them is passed on, where that is wanted. Wanted or not, the answer counts as begun: no other origin is tried.
    async fn interim(&self, mut head: HeaderList) -> Result<(), Failed> {
        let stream = self.stream;
        self.prepared.borrow_mut().retry = None;
        let first = !self.interim.replace(true);
        self.timers.answered();
        if first && stream.manager.config.edge.proxy_100_continue {
            edge::interim(&mut head, &stream.request.borrow(), &stream.manager.config.edge);
            stream.facts.info.borrow_mut().response_code = headers::status(&head);
            stream.responder.interim(&head).await?;
        }
        Ok(())
    }

    fn answered(&self, status: u16, now: Duration) {
        let stream = self.stream;
        let mut info = stream.facts.info.borrow_mut();
        info.first_upstream_rx = Some(now.saturating_sub(stream.began));
        self.cluster.stats.charge_response(status, false);
    }

    /// Is an answer to be tried again?
    fn verdict(&self, answered: &Head) -> Verdict {
        let had = self.prepared.borrow().retry.is_some();
        if !had {
            return Verdict::No;
        }
        let verdict = self.decide(Ended::Headers(&answered.headers));
        match verdict {
            Verdict::LimitExceeded => {
                self.cluster.stats.upstream_rq_retry_limit_exceeded.inc();
                self.stream.facts.info.borrow_mut().flags.insert(Flag::UpstreamRetryLimitExceeded);
            }
            Verdict::Overflow => self.cluster.stats.upstream_rq_retry_overflow.inc(),
            Verdict::No if self.stream.facts.info.borrow().upstream.attempts > 1 => {
                self.cluster.stats.upstream_rq_retry_success.inc();
            }
            Verdict::No | Verdict::Retry(_) => {}
        }
        verdict
    }

    fn is_unswitched(&self, status: u16) -> bool {
        self.websocket && status != 101 && status < 400 && !self.stream.is_http2()
    }

    /// Passes an answer on to the client.
    async fn pass_on(&self, answered: Head, sender: &mut Sender<'_>) -> Result<(), Failed> {
        let stream = self.stream;
        let Head { status, headers: mut list, body } = answered;
        if self.is_unswitched(status) {
            return Err(Failed::Stop(Stop::Reply(not_switched(status, list))));
        }
        self.finalize(&mut list);
        let end = body.is_over();
        let is_http1 = matches!(body, BodySource::Http1(..));
        let mut body = ReadAhead::new(body);
        if !end && stream.chain.gathers(&list) {
            let gathered = self.alongside(sender, gather(&mut body)).await?.map_err(|_| cut_off(is_http1))?;
            stream.chain.gathered(&mut list, &gathered);
        }
        let filtered = {
            let mut filtering = pin!(stream.chain.response_headers(stream, list, end));
            let held = poll_fn(|cx| {
                let filtered = filtering.as_mut().poll(cx);
                if filtered.is_pending() && body.poll_read(cx, stream.buffer_limit()).is_ready() {
                    // The origin has done its part: what takes time now is not its time.
                    stream.timers.route.unset();
                }
                filtered
            });
            self.alongside(sender, held).await?
        };
        stream.send_head(filtered?, end).await?;
        let slow = stream.chain.response_rate();
        if end {
            return Ok(());
        }
        loop {
            let mut next =
                poll_fn(|cx| Poll::Ready(self.poll_background(sender, cx).map(|()| body.poll_next(cx)))).await?;
            if next.is_pending() {
                stream.responder.flush().await?;
                let more = self.alongside(sender, body.next()).await?;
                next = Poll::Ready(more);
            }
            let Poll::Ready(next) = next else { continue };
            stream.touch();
            self.timers.touch();
            // HTTP/2 says with its last bytes that they are the last; the end of an HTTP/1 body is a piece of its own.
            let last = matches!(next, None | Some(Ok(Piece::Trailers(_)))) || !is_http1 && body.is_over();
            let piece = next.transpose().map_err(|_| cut_off(is_http1))?;
            if stream.chain.sees_body(Direction::Response) {
                let pieces = stream.chain.piece(stream, Direction::Response, piece, last);
                for piece in self.alongside(sender, pieces).await?? {
                    self.deliver(piece, slow).await?;
                }
            } else if let Some(piece) = piece {
                self.alongside(sender, self.deliver(piece, slow)).await??;
            }
            if last {
                break;
            }
        }
        stream.responder.finish().await?;
        Ok(())
    }

    async fn deliver(&self, piece: Piece, slow: Option<u64>) -> Result<(), Failed> {
        if let (Some(rate), Piece::Data(data)) = (slow, &piece) {
            let bytes = u64::try_from(data.len()).unwrap_or_default();
            let pause = Duration::from_micros(bytes.saturating_mul(1_000_000).checked_div(rate).unwrap_or_default());
            self.stream.responder.flush().await?;
            tokio::time::sleep(pause).await;
        }
        Ok(self.stream.send(piece).await?)
    }

    fn finalize(&self, list: &mut HeaderList) {
        let stream = self.stream;
        // An origin's own word about its connection; others may say what they like.
        headers::remove(list, b"keep-alive");
        // An answer that came before the request was complete says nothing about how long the origin took.
        let now = stream.worker.clock().now();
        let done = self.request_done.get().filter(|_| !stream.manager.config.router.suppress_envoy_headers);
        if let Some(done) = done {
            let took = now.saturating_sub(done);
            headers::set_slot(list, "x-envoy-upstream-service-time", Bytes::from(took.as_millis().to_string()));
        }
        let mut info = stream.facts.info.borrow_mut();
        info.details = Some("via_upstream".into());
        info.elapsed = Some(now.saturating_sub(stream.began));
        // The route's operations know an origin's status, but not yet that of an answer of our own.
        info.response_code = headers::status(list);
        let attempts = info.upstream.attempts;
        drop(info);
        // Envoy hashes anew for each try, and mints the same cookie again.
        for cookie in (0..attempts).flat_map(|_| &self.hashed.set_cookies) {
            list.push((Bytes::from_static(b"set-cookie"), cookie.clone()));
        }
        let (request, info) = (stream.request.borrow(), stream.facts.info.borrow());
        let before = stream.worker.recorder().map(|_| list.clone());
        self.route.finalize_response(Some(self.destination), list, &request, &stream.facts.connection, &info);
        if let Some((recorder, before)) = stream.worker.recorder().zip(before) {
            recorder.finalized(&before, list);
        }
        if self.route.virtual_host.attempt_count_in_response {
            write_attempt_count(list, attempts);
        }
    }

    /// Sends the upload to this attempt, from its first piece on.
    async fn send(&self, attempt: &Attempt) -> Result<(), Stop> {
        let upload = &self.stream.upload;
        let mut next = 0;
        if self.stream.switches_to().is_some() {
            attempt.flush().await.unwrap_or_default();
            // Whoever reads the answer is polled by the same task.
            poll_fn(|_| if self.switched.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        if !upload.has_piece(next) {
            // The head does not wait for a body that may be long in coming.
            attempt.flush().await.unwrap_or_default();
        }
        // What cannot be sent any more shows in the answer, or in its absence.
        while let Some(piece) = upload.piece(next).await {
            attempt.send(piece).await.unwrap_or_default();
            next += 1;
            upload.sent(next, self.cluster.config.buffer_limit);
            if !upload.has_piece(next) {
                attempt.flush().await.unwrap_or_default();
            }
        }
        attempt.finish().await.unwrap_or_default();
        Ok(())
    }

    /// What a try may take is counted.
    fn is_timed(&self) -> bool {
        self.request_done.get().is_some() || self.websocket && !self.switched.get()
    }

    fn request_is_done(&self) {
        let stream = self.stream;
        let now = stream.worker.clock().now();
        stream.facts.info.borrow_mut().request_complete = Some(now.saturating_sub(stream.began));
        self.request_done.set(Some(now));
        self.timers.touch();
        stream.timers.request_is_over();
        stream.timers.route.set(self.prepared.borrow().timeouts.global);
    }

    /// Waits for `work` while the request goes on being sent, and while nobody's patience ends.
    async fn alongside<T>(&self, sender: &mut Sender<'_>, work: impl Future<Output = T>) -> Result<T, Failed> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll_background(sender, cx) {
            Err(failed) => Poll::Ready(Err(failed)),
            Ok(()) => work.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Moves the request on its way, and looks at the clocks.
    fn poll_background(&self, sender: &mut Sender<'_>, cx: &mut Context<'_>) -> Result<(), Failed> {
        let stream = self.stream;
        loop {
            let before = stream.upload.changes();
            let pumped = self.pump.borrow_mut().as_mut().map(|pump| pump.as_mut().poll(cx));
            if let Some(Poll::Ready(pumped)) = pumped {
                self.pump.replace(None);
                pumped?;
                self.request_is_done();
                if self.head_left.get() {
                    self.send_copies();
                }
            }
            sender.poll(cx);
            if stream.upload.changes() == before {
                break;
            }
        }
        if stream.timers.route.poll(cx).is_ready() {
            self.cluster.stats.upstream_rq_timeout.inc();
            return Err(Failed::Stop(Stop::Reply(self.or_alternative(LocalReply::upstream_timeout()))));
        }
        if let Poll::Ready(late) = self.timers.poll(self.is_timed(), cx) {
            let stats = &self.cluster.stats;
            match late {
                Late::Whole => stats.upstream_rq_per_try_timeout.inc(),
                Late::Idle => stats.upstream_rq_per_try_idle_timeout.inc(),
                Late::Lasts => stats.upstream_rq_max_duration_reached.inc(),
            }
            return Err(Failed::Late(late));
        }
        match stream.chain.poll_stop(stream, Direction::Request, cx) {
            Poll::Ready(stop) => Err(Failed::Stop(stop)),
            Poll::Pending => Ok(()),
        }
    }

    /// What is said when time is up, or the 204 that the request asked for instead.
    fn or_alternative(&self, mut reply: LocalReply) -> LocalReply {
        if self.prepared.borrow().timeouts.alternative_response {
            reply.status = 204;
            reply.body = Bytes::new();
        }
        reply
    }

    fn mirrored(&self) -> Vec<mirror::Copy> {
        if self.forward.mirrors.is_empty() || self.stream.upgrade().is_some() {
            return Vec::new();
        }
        let stream = self.stream;
        let (request, info) = (stream.request.borrow(), stream.facts.info.borrow());
        let node = stream.worker.node_address;
        let wanted = self.forward.mirrors.iter().filter_map(|mirror| {
            let cluster = mirror.cluster(&request, info.id)?;
            let cluster = stream.state.clusters.get(&cluster)?;
            let mut copy = mirror.copy(&request, &stream.facts.connection, &info, node);
            if let Some(span) = stream.span() {
                let clock = stream.worker.clock();
                let child = span.child("mirror".to_owned(), stream.worker.dice().roll(), clock.wall(clock.now()));
                if mirror.traced { child } else { child.unsampled() }.inject(&mut copy);
            }
            if let Some(recorder) = stream.worker.recorder() {
                recorder.mirrored(&cluster.config.name, &copy);
            }
            mirror::Copy::new(cluster, copy, stream.worker.dice())
        });
        wanted.collect()
    }

    /// Sends the copies of a request that is whole before its head leaves. Who has the answer may look for the copies at
    /// once, so those to other endpoints leave before the request itself; its own endpoint sees it first, as with Envoy.
    async fn send_copies_first(&self, endpoint: &Endpoint) {
        let copies = self.mirrors.take();
        let (later, first) = copies.into_iter().partition(|copy| copy.goes_to(endpoint.address));
        self.mirrors.replace(first);
        let leaving = self.send_copies();
        // A turn to connect, one to write, some to spare; a mirror that takes longer does not hold the request.
        let mut waited = false;
        for _ in 0..TURNS_FOR_COPIES {
            if leaving.iter().any(|leaving| !leaving.get()) {
                waited = true;
                tokio::task::yield_now().await;
            }
        }
        // A server takes up a new connection later than it reads from one it has.
        if waited {
            tokio::time::sleep(FIRST_COPY).await;
        }
        self.mirrors.replace(later);
        self.send_copies();
    }

    /// Sends the copies, now that the whole request is here; each cell tells when its copy has left.
    fn send_copies(&self) -> Vec<Rc<Cell<bool>>> {
        let upload = &self.stream.upload;
        let mut leaving = Vec::new();
        for copy in self.mirrors.take() {
            if upload.can_repeat() {
                leaving.push(copy.send(&self.stream.worker, upload.pieces()));
            } else {
                self.cluster.stats.retry_or_shadow_abandoned.inc();
            }
        }
        leaving
    }
}

/// A retry that waits for its turn, counted.
struct Retrying<'c>(&'c crate::cluster::Circuit);

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.retries.end();
    }
}

/// How a try that was answered or broke off is spoken of in its span; any other was given up.
fn ended(outcome: &Result<bool, Failed>) -> Option<tracing::Outcome> {
    match outcome {
        Ok(_) | Err(Failed::Again { whole: true, .. }) => Some(tracing::Outcome::Complete),
        Err(Failed::Broken { broken, .. }) => Some(tracing::Outcome::Broken(broken.reset)),
        Err(_) => None,
    }
}

fn outcome_of(reset: Reset) -> Outcome {
    match reset {
        Reset::ConnectionTimeout => Outcome::Timeout,
        Reset::ConnectionTermination | Reset::RemoteReset | Reset::RemoteRefused | Reset::ProtocolError => {
            Outcome::Reset
        }
        Reset::LocalConnectionFailure | Reset::RemoteConnectionFailure | Reset::LocalReset | Reset::Overflow => {
            Outcome::ConnectFailed
        }
    }
}

/// Does an answer of this status mean that the origin speaks the protocol it was asked for?
fn switches(connect: bool, status: u16) -> bool {
    status == 101 || connect && (200..300).contains(&status)
}

/// An origin that did not switch protocols: its answer goes on without its body.
fn not_switched(status: u16, list: HeaderList) -> LocalReply {
    let mut reply = LocalReply::new(status, "websocket_handshake_unsuccessful").by(Author::Origin);
    reply.headers = list.into_iter().filter(|(name, _)| name != ":status").collect();
    reply
}

/// An answer's body, to be told in its head: to its end, of which no more than a message's length is kept.
async fn gather(body: &mut ReadAhead) -> Result<Vec<u8>, BodyError> {
    let mut gathered = Vec::new();
    while let Some(Piece::Data(data)) = body.next().await.transpose()? {
        let room = LONGEST_MESSAGE.saturating_sub(gathered.len());
        gathered.extend_from_slice(data.get(..room).unwrap_or(&data));
    }
    Ok(gathered)
}

/// An answer without its end. For Envoy's HTTP/1 codec that is no answer, whatever has become of the connection.
fn cut_off(is_http1: bool) -> Failed {
    let reset = if is_http1 { Reset::ProtocolError } else { Reset::ConnectionTermination };
    Failed::Broken { broken: reset.into(), sent: true }
}
