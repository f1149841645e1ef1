//! What each kind of filter does with a request's head, an answer's head, and the pieces of either body.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use vm::{Direction, Hold, Outcome, Released, StreamId, Verdict};

use super::chain::{Chain, Filter, Kind, Pass, Stop};
use super::mailbox::Word;
use super::wasm::Plugin;
use crate::connection::{BodyError, Piece, Stream, refused};
use crate::cors;
use crate::grpc_web::GrpcWeb;
use crate::headers::HeaderList;
use crate::http1::Refusal;
use crate::local_reply::{Flag, LocalReply};
use crate::rate_limit::{LocalRateLimit, RateLimits, Subject, Verdict as Limited};
use crate::route::PerFilter;

/// Pieces of a body that a filter let go.
pub(crate) type Pieces = SmallVec<[Piece; 2]>;

/// What a module made of a head or a piece.
enum Passed {
    On(Released),
    Held(Hold),
}

impl Chain {
    /// Takes the request's head down the chain.
    pub(crate) async fn request_headers(&self, stream: &Stream) -> Result<(), Stop> {
        for place in 0..self.filters.len() {
            let Some(filter) = self.filters.get(place) else { break };
            match stream.worker.recorder() {
                None => self.request_head(stream, place, filter).await?,
                Some(recorder) => {
                    let clock = stream.worker.clock();
                    recorder.filter_begins(place, &filter.name, filter.kind.name(), clock.now());
                    let passed = self.request_head(stream, place, filter).await;
                    recorder.filter_ends(&stream.request.borrow(), passed.is_ok(), clock.now());
                    passed?;
                }
            }
        }
        Ok(())
    }

    /// Shows the request's head to one filter.
    async fn request_head(&self, stream: &Stream, place: usize, filter: &Filter) -> Result<(), Stop> {
        match &filter.kind {
            Kind::Wasm(_) => self.module_request_headers(stream, place).await?,
            Kind::Fault(own, stats) => self.fault(stream, place, own, stats).await?,
            // Envoy's filter looks at routes that forward: redirects and direct responses answer preflights as they answer everything.
            Kind::Cors(_) if stream.decision().route().is_none_or(|route| route.forward().is_none()) => {}
            Kind::Cors(stats) => {
                let (policies, random) = (stream.per_filter_levels(&filter.name), stream.worker.dice().roll());
                let policies: SmallVec<[_; 4]> = policies
                    .into_iter()
                    .filter_map(|level| if let PerFilter::Cors(policy) = level { Some(policy) } else { None })
                    .collect();
                let verdict = cors::request(&policies, &stream.request.borrow(), random);
                match verdict {
                    cors::Verdict::Pass => {}
                    cors::Verdict::Mark(marks) => {
                        stats.origin_valid.inc();
                        self.remember(place, Pass::Cors(marks));
                    }
                    cors::Verdict::Preflight(reply) => {
                        stats.origin_valid.inc();
                        return Err(Stop::Reply(reply));
                    }
                }
            }
            Kind::GrpcWeb => {
                // The route is chosen before the content type changes.
                let disabled = matches!(stream.per_filter(&filter.name), Some(PerFilter::Disabled));
                let call = if disabled { None } else { GrpcWeb::request(&mut stream.request.borrow_mut()) };
                if let Some(call) = call {
                    self.remember_grpc_web(place, call);
                }
            }
            Kind::LocalRateLimit(own, stats) => self.rate_limit(stream, place, own.as_ref(), stats)?,
            Kind::RateLimit(limit) => self.ask_service(stream, place, &filter.name, limit).await?,
            Kind::HeaderMutation(own, most_specific_wins) => {
                let levels = mutation_levels(stream, &filter.name, *most_specific_wins);
                let (mut request, info) = (stream.request.borrow_mut(), stream.facts.info.borrow());
                own.apply_to_request(&mut request, &stream.facts.connection, &info);
                levels.iter().for_each(|level| level.apply_to_request(&mut request, &stream.facts.connection, &info));
            }
        }
        Ok(())
    }

    async fn fault(
        &self,
        stream: &Stream,
        place: usize,
        own: &Arc<crate::fault::Fault>,
        stats: &crate::stats::FaultStats,
    ) -> Result<(), Stop> {
        let Some(name) = self.filters.get(place).map(|filter| &filter.name) else { return Ok(()) };
        let fault = match stream.per_filter(name) {
            Some(PerFilter::Fault(fault)) => fault,
            Some(PerFilter::Disabled) => return Ok(()),
            _ => Arc::clone(own),
        };
        let decision = stream.decision();
        let cluster = decision.destination().map(|destination| destination.cluster.as_ref());
        if !fault.applies(&stream.request.borrow(), cluster) {
            return Ok(());
        }
        if fault.max_active().is_some_and(|most| stats.active_faults.value() >= u64::from(most)) {
            stats.faults_overflow.inc();
            return Ok(());
        }
        let dice = stream.worker.dice();
        let delay = fault.delay(&stream.request.borrow(), dice.roll());
        let told =
            |verdict: String| stream.worker.recorder().iter().for_each(|recorder| recorder.verdict(verdict.clone()));
        if let Some(delay) = delay {
            stats.active_faults.inc();
            let _active = Active(&stats.active_faults);
            stats.delays_injected.inc();
            told(format!("delayed by {delay:?}"));
            stream.facts.info.borrow_mut().flags.insert(Flag::DelayInjected);
            self.hold_back(stream, delay).await?;
        }
        let abort = fault.abort(&stream.request.borrow(), dice.roll());
        if let Some(abort) = abort {
            stats.aborts_injected.inc();
            told(format!("aborted with {abort}"));
            return Err(Stop::Reply(abort.reply()));
        }
        if let Some(rate) = fault.response_rate(&stream.request.borrow(), dice.roll()) {
            stats.response_rl_injected.inc();
            self.remember(place, Pass::Slowed(rate));
        }
        Ok(())
    }

    /// Waits. What comes of the body meanwhile is read, so that a request that is complete is known to be.
    async fn hold_back(&self, stream: &Stream, delay: Duration) -> Result<(), Stop> {
        let mut over = pin!(tokio::time::sleep(delay));
        poll_fn(|cx| match stream.poll_read_on(cx) {
            Poll::Ready(stop) => Poll::Ready(Err(stop)),
            Poll::Pending => over.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    fn rate_limit(
        &self,
        stream: &Stream,
        place: usize,
        own: Option<&Arc<LocalRateLimit>>,
        stats: &crate::stats::LocalRateLimitStats,
    ) -> Result<(), Stop> {
        let Some(name) = self.filters.get(place).map(|filter| &filter.name) else { return Ok(()) };
        let limit = match stream.per_filter(name) {
            Some(PerFilter::LocalRateLimit(limit)) => limit,
            Some(PerFilter::Disabled) => return Ok(()),
            _ => match own {
                Some(limit) => Arc::clone(limit),
                None => return Ok(()),
            },
        };
        let decision = stream.decision();
        let none = RateLimits::default();
        // Redirects and direct responses have no actions, those of their virtual host included.
        let route = decision.route().filter(|route| route.forward().is_some());
        let of_route = route.and_then(|route| route.forward()).map_or(&none, |forward| &forward.rate_limits);
        let of_host = route.map_or(&none, |route| &route.virtual_host.rate_limits);
        let cluster = decision.destination().map(|destination| Arc::clone(&destination.cluster)).unwrap_or_default();
        let verdict = {
            let request = stream.request.borrow();
            let subject = Subject {
                request: &request,
                client: stream.client(),
                source_cluster: stream.state.node_cluster(),
                destination_cluster: &cluster,
            };
            let dice = stream.worker.dice();
            let buckets = stream.connection_buckets(&limit);
            limit.request(
                &subject,
                of_route,
                of_host,
                buckets.as_deref(),
                (dice.roll(), dice.roll()),
                stream.worker.clock().now(),
            )
        };
        if matches!(verdict, Limited::Off) {
            return Ok(());
        }
        stats.enabled.inc();
        if let Some(recorder) = stream.worker.recorder() {
            recorder.verdict(verdict.to_string());
        }
        match verdict {
            Limited::Off => {}
            Limited::Allowed(bucket) => {
                stats.ok.inc();
                self.remember(place, Pass::Limited(limit, bucket));
            }
            Limited::Tolerated(bucket) => {
                stats.rate_limited.inc();
                limit.tolerate(&mut stream.request.borrow_mut(), &stream.facts.connection, &stream.facts.info.borrow());
                self.remember(place, Pass::Limited(limit, bucket));
            }
            Limited::Denied(bucket) => {
                stats.rate_limited.inc();
                stats.enforced.inc();
                let reply =
                    limit.reply(&stream.request.borrow(), &stream.facts.connection, &stream.facts.info.borrow());
                self.remember(place, Pass::Limited(limit, bucket));
                return Err(Stop::Reply(reply));
            }
        }
        Ok(())
    }

    async fn module_request_headers(&self, stream: &Stream, place: usize) -> Result<(), Stop> {
        if self.pass_is_dead(place) {
            return Err(Stop::Reply(module_reply(vm::LocalReply::wasm_failure())));
        }
        let Some((plugin, id)) = self.wasm(place) else { return Ok(()) };
        if plugin.config.asks {
            stream.decided();
        }
        let head = stream.request.take();
        let end = stream.upload.is_over_for_filters(&stream.body);
        let outcome = plugin.enter(|vm| vm.on_request_headers(id, head, end));
        let mut passed = self.judge(stream, place, plugin, id, Direction::Request, outcome).await?;
        if end && matches!(passed, Passed::Held(Hold::HeadersOnly)) {
            // Nothing will come that could be shown to the module.
            passed = Passed::On(self.wait(stream, place, plugin, id, Direction::Request).await?);
        }
        while let Passed::Held(Hold::HeadersOnly) = passed {
            // The head waits for what the module makes of the body.
            let next = poll_fn(|cx| stream.body.borrow_mut().poll_next(cx)).await;
            // The end is a call of its own, also where the length was known before.
            let last = !matches!(next, Some(Ok(Piece::Data(_))));
            let outcome = match next {
                Some(Ok(Piece::Data(data))) => plugin.enter(|vm| vm.on_request_body(id, data, false)),
                Some(Ok(Piece::Trailers(list))) => plugin.enter(|vm| vm.on_request_trailers(id, list)),
                Some(Err(error)) => return Err(error.into()),
                None => plugin.enter(|vm| vm.on_request_body(id, Bytes::new(), true)),
            };
            passed = match self.judge(stream, place, plugin, id, Direction::Request, outcome).await? {
                Passed::Held(_) if last => Passed::On(self.wait(stream, place, plugin, id, Direction::Request).await?),
                Passed::Held(_) => Passed::Held(Hold::HeadersOnly),
                on => on,
            };
        }
        if let Passed::On(released) = passed {
            stream.resume_request(released);
        }
        Ok(())
    }

    /// What a verdict means; waits where the module wants to be waited for.
    async fn judge(
        &self,
        stream: &Stream,
        place: usize,
        plugin: &Rc<Plugin>,
        id: StreamId,
        direction: Direction,
        outcome: Outcome,
    ) -> Result<Passed, Stop> {
        match outcome.verdict {
            Verdict::Continue => Ok(Passed::On(outcome.released)),
            Verdict::Pause(Hold::All | Hold::AllAndBuffer) => {
                Ok(Passed::On(self.wait(stream, place, plugin, id, direction).await?))
            }
            Verdict::Pause(hold) => {
                plugin.introduce(id, &self.mailbox, place);
                Ok(Passed::Held(hold))
            }
            Verdict::Reply(reply) => {
                stream.take_back(direction, outcome.released);
                Err(Stop::Reply(module_reply(reply)))
            }
            Verdict::Reset => Err(Stop::Reset("wasm_close_stream")),
            Verdict::Fail => {
                stream.take_back(direction, outcome.released);
                Err(Stop::Reply(module_reply(vm::LocalReply::wasm_failure())))
            }
        }
    }

    /// Waits until a paused module lets go.
    async fn wait(
        &self,
        stream: &Stream,
        place: usize,
        plugin: &Rc<Plugin>,
        id: StreamId,
        direction: Direction,
    ) -> Result<Released, Stop> {
        plugin.introduce(id, &self.mailbox, place);
        loop {
            let next = poll_fn(|cx| match self.mailbox.poll_take(place, cx) {
                Poll::Pending if direction == Direction::Request => stream.poll_read_on(cx).map(Err),
                word => word.map(Ok),
            });
            match next.await? {
                Word::Resume(way, released) if way == direction => return Ok(released),
                Word::Resume(..) => {}
                other => return Err(stream.stopped(direction, other)),
            }
        }
    }

    /// A module ends the stream from outside its callbacks.
    pub(crate) fn poll_stop(
        &self,
        stream: &Stream,
        direction: Direction,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Stop> {
        if !self.mailbox.known.get() {
            return std::task::Poll::Pending;
        }
        self.mailbox.poll_end(cx).map(|(_, word)| stream.stopped(direction, word))
    }

    /// Takes a piece down (or up) the chain; `last` when nothing follows, `None` for a piece that is only the end.
    pub(crate) async fn piece(
        &self,
        stream: &Stream,
        direction: Direction,
        piece: Option<Piece>,
        last: bool,
    ) -> Result<Pieces, Stop> {
        let (mut data, mut trailers) = match piece {
            Some(Piece::Data(data)) => (data, None),
            Some(Piece::Trailers(list)) => (Bytes::new(), Some(list)),
            None => (Bytes::new(), None),
        };
        let only_trailers = trailers.is_some();
        for place in self.body_filters(direction) {
            if let Some(Pass::GrpcWeb(call)) = self.passes.borrow_mut().get_mut(place) {
                match direction {
                    Direction::Request => {
                        data = call.request_body(data, last && trailers.is_none()).map_err(Stop::Reply)?;
                    }
                    Direction::Response => {
                        data = call.response_body(data);
                        // Filters above see that there were some.
                        trailers = trailers.map(|list| {
                            data = joined(std::mem::take(&mut data), call.trailers(&list));
                            HeaderList::new()
                        });
                    }
                }
                if data.is_empty() && trailers.is_none() && !last {
                    return Ok(Pieces::new());
                }
                continue;
            }
            let Some((plugin, id)) = self.wasm(place) else { continue };
            let mut released = Released { body: data, trailers, ..Released::default() };
            let resumed = self.mailbox.resumed(place, direction);
            let mut held = false;
            if !only_trailers || !released.body.is_empty() {
                let end = last && released.trailers.is_none();
                let body = std::mem::take(&mut released.body);
                let outcome = match direction {
                    Direction::Request => plugin.enter(|vm| vm.on_request_body(id, body, end)),
                    Direction::Response => plugin.enter(|vm| vm.on_response_body(id, body, end)),
                };
                match self.judge(stream, place, plugin, id, direction, outcome).await? {
                    Passed::On(on) => {
                        released.body = on.body;
                        released.trailers = released.trailers.or(on.trailers);
                        stream.route_cleared(direction, on.route_cleared);
                    }
                    Passed::Held(_) => held = true,
                }
                let limit = stream.buffer_limit();
                if held && plugin.ask(|vm| vm.buffered(id, direction)) > limit {
                    return Err(Stop::Reply(match direction {
                        Direction::Request => LocalReply::payload_too_large(),
                        Direction::Response => LocalReply::response_too_large(),
                    }));
                }
            }
            if let Some(list) = released.trailers.take() {
                let outcome = match direction {
                    Direction::Request => plugin.enter(|vm| vm.on_request_trailers(id, list)),
                    Direction::Response => plugin.enter(|vm| vm.on_response_trailers(id, list)),
                };
                let on = match self.judge(stream, place, plugin, id, direction, outcome).await? {
                    Passed::On(on) => on,
                    Passed::Held(_) => self.wait(stream, place, plugin, id, direction).await?,
                };
                released.body = joined(released.body, on.body);
                released.trailers = on.trailers;
            } else if held && last {
                let on = self.wait(stream, place, plugin, id, direction).await?;
                released.body = on.body;
                released.trailers = on.trailers;
            }
            if let Some(resumed) = resumed {
                released.body = joined(resumed.body, released.body);
            }
            if released.body.is_empty() && released.trailers.is_none() && !last {
                return Ok(Pieces::new());
            }
            (data, trailers) = (released.body, released.trailers);
        }
        let data = (!data.is_empty()).then_some(Piece::Data(data));
        let trailers = trailers.filter(|list| !list.is_empty());
        Ok(data.into_iter().chain(trailers.map(Piece::Trailers)).collect())
    }

    /// Takes an answer's head up the chain; `end` when nothing follows it.
    pub(crate) async fn response_headers(
        &self,
        stream: &Stream,
        mut head: HeaderList,
        end: bool,
    ) -> Result<HeaderList, Stop> {
        self.answered.set(true);
        for place in (0..self.filters.len()).rev() {
            let Some(filter) = self.filters.get(place) else { break };
            if let Some(recorder) = stream.worker.recorder() {
                recorder.response_reaches(Some(place), &head);
            }
            if let Kind::HeaderMutation(own, most_specific_wins) = &filter.kind {
                let levels = mutation_levels(stream, &filter.name, *most_specific_wins);
                let (request, info) = (stream.request.borrow(), stream.facts.info.borrow());
                own.apply_to_response(&mut head, &request, &stream.facts.connection, &info);
                levels
                    .iter()
                    .for_each(|level| level.apply_to_response(&mut head, &request, &stream.facts.connection, &info));
                continue;
            }
            if let Some((plugin, id)) = self.wasm(place) {
                let outcome = plugin.enter(|vm| vm.on_response_headers(id, head, end));
                let released = match self.judge(stream, place, plugin, id, Direction::Response, outcome).await? {
                    Passed::On(released) => released,
                    // The answer's body cannot be shown before its head went by: the head waits for the module alone.
                    Passed::Held(_) => self.wait(stream, place, plugin, id, Direction::Response).await?,
                };
                head = released.headers.unwrap_or_default();
                continue;
            }
            match self.passes.borrow().get(place) {
                Some(Pass::Cors(marks)) => cors::mark(&mut head, marks.clone()),
                Some(Pass::GrpcWeb(call)) => call.response(&mut head),
                Some(Pass::Told(more)) => head.extend(more.iter().cloned()),
                Some(Pass::Limited(limit, bucket)) => limit.response(&mut head, bucket, stream.worker.clock().now()),
                _ => {}
            }
        }
        if let Some(recorder) = stream.worker.recorder() {
            recorder.response_reaches(None, &head);
        }
        Ok(head)
    }

    /// Bytes a second the answer's body may flow at.
    pub(crate) fn response_rate(&self) -> Option<u64> {
        self.passes.borrow().iter().find_map(|pass| if let Pass::Slowed(rate) = pass { Some(*rate) } else { None })
    }
}

impl From<BodyError> for Stop {
    fn from(error: BodyError) -> Stop {
        match error {
            BodyError::Gone => Stop::Gone,
            BodyError::Malformed => Stop::Reply(refused(Refusal::CODEC)),
            BodyError::Characters => Stop::Reply(refused(Refusal::CHARACTERS)),
            BodyError::TrailersTooLarge => Stop::Reply(refused(Refusal::TOO_LARGE)),
        }
    }
}

/// A fault that is running, counted until it is dropped.
struct Active<'a>(&'a crate::stats::Gauge);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn mutation_levels(
    stream: &Stream,
    name: &str,
    most_specific_wins: bool,
) -> SmallVec<[Arc<crate::header_ops::HeaderMutations>; 4]> {
    let levels = stream.per_filter_levels(name);
    let levels = levels
        .into_iter()
        .filter_map(|level| if let PerFilter::HeaderMutation(level) = level { Some(level) } else { None });
    let mut levels: SmallVec<[_; 4]> = levels.collect();
    if most_specific_wins {
        levels.reverse();
    }
    levels
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    if second.is_empty() {
        return first;
    }
    [first, second].concat().into()
}

/// A module's answer as the gateway gives it.
pub(crate) fn module_reply(reply: vm::LocalReply) -> LocalReply {
    let status = u16::try_from(reply.status).unwrap_or(500);
    let mut local = LocalReply::new(status, reply.details).body(reply.body);
    local.headers = reply.headers;
    local.grpc_status = reply.grpc_status;
    local
}
