//! One request and its answer: the life cycle that both protocols share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use vm::{Direction, LogMaps, Released};

use super::body::{BodySource, Piece};
use super::read_ahead::ReadAhead;
use super::responder::{ClientGone, Responder};
use super::timers::Timers;
use super::trace::Trace;
use super::{Facts, Phase, Remembered};
use crate::edge::{self, ConnectionInfo, Protocol};
use crate::header_ops::StreamInfo;
use crate::headers::{self, HeaderList};
use crate::http_filters::{Chain, Stop, Upload, Word, module_reply, router};
use crate::local_reply::{Author, Flag, Flags, LocalReply, RequestKind};
use crate::rate_limit::{Buckets, LocalRateLimit};
use crate::route::{self, Decision, PerFilter};
use crate::telemetry::Spoken;
use crate::worker::{Manager, State, Worker};

/// One request and its answer.
pub(crate) struct Stream {
    pub(crate) worker: Rc<Worker>,
    /// The configuration it began with.
    pub(crate) state: Rc<State>,
    pub(crate) manager: Rc<Manager>,
    pub(crate) facts: Rc<Facts>,
    pub(crate) responder: Responder,
    pub(crate) body: RefCell<ReadAhead>,
    pub(crate) request: RefCell<HeaderList>,
    pub(crate) upload: Upload,
    pub(crate) chain: Chain,
    pub(crate) began: Duration,
    pub(crate) kind: RequestKind,
    decision: RefCell<Option<Rc<Decision>>>,
    /// How it was chosen, until the recorder is told.
    untold: RefCell<Option<route::Trail>>,
    pub(super) response: RefCell<HeaderList>,
    pub(super) trailers: RefCell<Option<HeaderList>>,
    pub(super) trace: RefCell<Option<Trace>>,
    remembered: Rc<Remembered>,
    pub(crate) timers: Rc<Timers>,
    close: Cell<bool>,
    /// The port its authority named and that was dropped.
    pub(crate) stripped_port: Cell<Option<u32>>,
    /// The client went away before its request or its answer was complete.
    gone: Cell<bool>,
    /// The head said that nothing follows it.
    pub(crate) bodiless: bool,
    upgrade: Option<Bytes>,
}

/// What a stream begins with.
pub(crate) struct Beginning {
    pub(crate) connection: Rc<ConnectionInfo>,
    pub(crate) responder: Responder,
    pub(crate) request: HeaderList,
    pub(crate) body: BodySource,
    /// The client wants its connection closed afterwards.
    pub(crate) close: bool,
    /// It is no request and answered at once: modules are not shown it.
    pub(crate) early: bool,
    /// What the connection remembers between requests.
    pub(crate) remembered: Rc<Remembered>,
    pub(crate) timers: Rc<Timers>,
}

impl Stream {
    /// A request whose head was read.
    pub(crate) fn new(worker: &Rc<Worker>, manager: Rc<Manager>, beginning: Beginning) -> Stream {
        let Beginning { connection, responder, request, body, close, early, remembered, timers } = beginning;
        timers.begin(&manager.config.timeouts);
        let began = worker.clock().now();
        let bodiless = body.is_over();
        let info = StreamInfo {
            id: worker.dice().roll(),
            start: worker.clock().wall(began),
            request_complete: (bodiless && !early).then_some(Duration::ZERO),
            ..StreamInfo::default()
        };
        let facts = Rc::new(Facts::new(&connection, &manager, info));
        if let Some(recorder) = worker.recorder() {
            recorder.arrived(&request);
        }
        facts.request_header_bytes.set(byte_size(&request));
        manager.stats.downstream_rq_total.inc();
        manager.stats.downstream_rq_active.inc();
        match connection.protocol {
            Protocol::Http2 => manager.stats.downstream_rq_http2_total.inc(),
            Protocol::Http10 | Protocol::Http11 => manager.stats.downstream_rq_http1_total.inc(),
        }
        Stream {
            worker: Rc::clone(worker),
            state: worker.state(),
            chain: if early { Chain::pass_by(&manager.filters) } else { Chain::enter(&manager.filters, &facts) },
            timers,
            manager,
            facts,
            responder,
            body: RefCell::new(ReadAhead::new(body)),
            upload: Upload::default(),
            kind: RequestKind::of(&request),
            upgrade: edge::hop::upgrade(&request).cloned(),
            request: RefCell::new(request),
            began,
            decision: RefCell::default(),
            untold: RefCell::default(),
            response: RefCell::default(),
            trailers: RefCell::default(),
            trace: RefCell::default(),
            remembered,
            close: Cell::new(close),
            stripped_port: Cell::default(),
            gone: Cell::default(),
            bodiless,
        }
    }

    /// Answers it. May be dropped half-way when the client goes; [`Stream::finish`] comes after either way.
    pub(crate) async fn run(&self) {
        let stopped = match self.admit() {
            Ok(()) => {
                self.begin_trace();
                // Pinned where it is made: it is large, and would be copied on its way.
                self.in_time(pin!(self.forward())).await
            }
            Err(reply) => {
                // What is none has the route of its head as it stands, if that says how the client came.
                drop(self.decision());
                Err(Stop::Reply(reply))
            }
        };
        // A module may hold an answer of our own as well.
        if let Err(stop) = stopped
            && let Err(overdue) = self
                .in_time(pin!(async {
                    self.stop(stop).await;
                    Ok(())
                }))
                .await
        {
            self.stop(overdue).await;
        }
    }

    /// Until something takes too long.
    async fn in_time(&self, mut work: Pin<&mut impl Future<Output = Result<(), Stop>>>) -> Result<(), Stop> {
        if self.request_is_over() || self.upgrade.is_some() {
            self.timers.request_is_over();
        }
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            self.timers.poll(cx).map(|overdue| {
                overdue.count(&self.manager.stats);
                self.timers.heard(overdue);
                Err(Stop::Reply(overdue.reply(self.request_is_over())))
            })
        })
        .await
    }

    /// Ends the stream before its time. What the client has been sent so far reaches it.
    async fn stop(&self, stop: Stop) {
        if self.responder.has_begun() && self.responder.flush().await.is_err() {
            self.gone.set(true);
            return;
        }
        match stop {
            // A client that went away has nobody to be told.
            Stop::Reply(reply) if !self.responder.has_begun() => drop(self.reply(reply).await),
            stop => self.break_off(stop),
        }
    }

    /// How long it has been going on.
    fn age(&self) -> Duration {
        self.worker.clock().now().saturating_sub(self.began)
    }

    /// Accounts for it; says whether the answer was complete.
    pub(crate) fn finish(&self, gone: bool) -> bool {
        let took = self.age();
        let complete = self.responder.is_complete();
        let status = {
            let mut info = self.facts.info.borrow_mut();
            info.complete = Some(took);
            if (gone || self.gone.get()) && !complete {
                info.flags.insert(Flag::DownstreamConnectionTermination);
                info.details = Some("downstream_remote_disconnect".into());
                self.manager.stats.downstream_rq_rx_reset.inc();
            }
            info.response_code
        };
        if let Some(recorder) = self.worker.recorder() {
            recorder.finished(&self.facts.info.borrow());
        }
        let protocol = match crate::local_reply::is_grpc(&self.request.borrow()) {
            false => Spoken::Http,
            true => self.with_facts(|facts| Spoken::Grpc(crate::header_ops::grpc_status(facts))),
        };
        self.worker.surroundings.telemetry.finished(&self.facts.info.borrow(), &self.request.borrow(), protocol);
        let stats = &self.manager.stats;
        stats.downstream_rq_active.dec();
        stats.downstream_rq_time.record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if let Some(status) = status {
            stats.charge_response(status);
            self.manager.listener_stats.charge_response(status);
        }
        self.end_trace();
        self.chain.leave(self);
        if !self.manager.config.access_log.is_empty() {
            self.log();
        }
        complete
    }

    fn log(&self) {
        self.with_facts(|facts| self.manager.config.access_log.iter().for_each(|log| log.log(facts)));
    }

    /// The connection ends after the answer.
    pub(crate) fn closes(&self) -> bool {
        self.close.get()
    }

    /// Nothing more of the request will come.
    pub(crate) fn request_is_over(&self) -> bool {
        self.body.try_borrow().is_ok_and(|body| body.has_come())
    }

    /// Reads the request's body on while a filter holds what is before it, as far as may be buffered. Ready when the body is broken.
    pub(crate) fn poll_read_on(&self, cx: &mut Context<'_>) -> Poll<Stop> {
        let mut body = self.body.borrow_mut();
        let before = body.bytes();
        // Whoever holds the stream waits for something else.
        let _ = body.poll_read(cx, self.buffer_limit());
        if body.bytes() != before {
            self.touch();
        }
        if body.has_come() {
            self.timers.request_is_over();
        }
        body.failure().map_or(Poll::Pending, |error| Poll::Ready(error.into()))
    }

    /// Is it HTTP/2?
    pub(crate) fn is_http2(&self) -> bool {
        self.facts.connection.protocol == Protocol::Http2
    }

    /// The protocol it asks to switch to.
    pub(crate) fn upgrade(&self) -> Option<&Bytes> {
        self.upgrade.as_ref()
    }

    /// The client we believe.
    pub(crate) fn client(&self) -> IpAddr {
        self.facts.info.borrow().remote.unwrap_or(self.facts.connection.remote).ip()
    }

    /// Bodies held by a filter may not grow beyond this.
    pub(crate) fn buffer_limit(&self) -> usize {
        match self.is_http2() {
            true => usize::try_from(self.manager.config.stream_window()).unwrap_or(usize::MAX),
            false => self.manager.config.buffer_limit,
        }
    }

    /// Something moved.
    pub(crate) fn touch(&self) {
        self.timers.touch();
    }

    /// Brings the head into the form filters and routes see.
    fn admit(&self) -> Result<(), LocalReply> {
        let mut request = self.request.borrow_mut();
        let (edge, connection) = (&self.manager.config.edge, &self.facts.connection);
        let admitted = edge::request(&mut request, connection, edge, self.worker.dice().roll_wide())?;
        self.stripped_port.set(admitted.stripped_port);
        self.facts.info.borrow_mut().remote = Some(std::net::SocketAddr::new(admitted.client, admitted.port));
        if let Some(recorder) = self.worker.recorder() {
            recorder.admitted(&request);
        }
        Ok(())
    }

    async fn forward(&self) -> Result<(), Stop> {
        if let Some(kind) = self.switches_to()
            && !self.allows_upgrade(&kind)
        {
            self.manager.stats.downstream_rq_ws_on_non_ws_route.inc();
            return Err(Stop::Reply(LocalReply::upgrade_refused()));
        }
        self.chain.request_headers(self).await?;
        let decision = self.decision();
        // Envoy counts redirects among the direct responses.
        let stats = &self.manager.stats;
        stats.rq_total.inc();
        match decision.as_ref() {
            Decision::Forward(route, destination) => router::forward(self, route, destination).await,
            Decision::Redirect(route) | Decision::Direct(route) => {
                stats.rq_direct_response.inc();
                let reply = self.with_facts(|facts| route.reply(facts));
                route.rewrite_redirected(&mut self.request.borrow_mut(), self.manager.config.router);
                reply.map_or(Ok(()), |reply| Err(Stop::Reply(reply)))
            }
            Decision::SslRedirect(_) => {
                stats.rq_direct_response.inc();
                Err(Stop::Reply(route::ssl_redirect(&self.request.borrow())))
            }
            Decision::NotFound(_) => {
                stats.no_route.inc();
                Err(Stop::Reply(LocalReply::route_not_found()))
            }
        }
    }

    /// The route, chosen when it is first asked for, and again after a filter changed the request.
    pub(crate) fn decision(&self) -> Rc<Decision> {
        let decision = self.decided();
        if let Some(recorder) = self.worker.recorder()
            && let Some(trail) = self.untold.take()
        {
            recorder.routed(self.manager.config.routes.name(), &decision, trail);
        }
        decision
    }

    /// The same, while nothing depends on it but what modules may ask.
    pub(crate) fn decided(&self) -> Rc<Decision> {
        let mut cached = self.decision.borrow_mut();
        let decision = cached.get_or_insert_with(|| {
            let request = self.request.borrow();
            let mut info = self.facts.info.borrow_mut();
            let head = route::RequestHead { headers: &request, random: info.id, connection: &self.facts.connection };
            // Where nobody says how the client came, there is no route: one trusted hop may say so.
            let unsaid = headers::get(&request, "x-forwarded-proto").is_none_or(Bytes::is_empty);
            let decision = match self.worker.recorder() {
                _ if unsaid => Decision::NotFound(None),
                None => self.manager.config.routes.decide(&head),
                Some(_) => {
                    let (decision, trail) = self.manager.config.routes.explain(&head);
                    self.untold.replace(Some(trail));
                    decision
                }
            };
            info.is_routed = decision.route().is_some();
            if let Some(route) = decision.route() {
                info.route_name = Arc::clone(&route.name);
                info.virtual_host = Arc::clone(&route.virtual_host.name);
                info.route_metadata.clone_from(&route.metadata);
                info.virtual_host_metadata.clone_from(&route.virtual_host.metadata);
                if let Some(forward) = route.forward() {
                    let elapsed = self.age();
                    self.timers.routed(forward.idle_timeout, forward.stream.of(&request).0, elapsed);
                }
            }
            // A cluster that is not there has no name in Envoy's eyes.
            let cluster = decision.destination().and_then(|destination| self.state.clusters.get(&destination.cluster));
            info.upstream.cluster = cluster.map(|cluster| Arc::clone(&cluster.config.name));
            info.upstream.cluster_metadata = cluster.and_then(|cluster| cluster.config.metadata.clone());
            info.upstream.cluster_stat_name = cluster.and_then(|cluster| cluster.config.stat_name.clone());
            Rc::new(decision)
        });
        Rc::clone(decision)
    }

    /// A filter's most specific configuration on the route.
    pub(crate) fn per_filter(&self, name: &str) -> Option<PerFilter> {
        let decision = self.decision();
        decision.route().and_then(|route| route.per_filter(name, decision.destination()).cloned())
    }

    /// A filter's configurations on the route, the most specific first.
    pub(crate) fn per_filter_levels(&self, name: &str) -> SmallVec<[PerFilter; 4]> {
        let decision = self.decision();
        let levels =
            decision.route().map(|route| route.per_filter_levels(name, decision.destination()).cloned().collect());
        levels.unwrap_or_default()
    }

    /// This connection's own buckets, for a limit that counts per connection.
    pub(crate) fn connection_buckets(&self, limit: &Arc<LocalRateLimit>) -> Option<Rc<Buckets>> {
        self.remembered.buckets(limit)
    }

    /// The protocol it wants to be spoken: CONNECT counts as one.
    pub(crate) fn switches_to(&self) -> Option<Bytes> {
        let connects =
            || headers::get(&self.request.borrow(), ":method").filter(|method| *method == "CONNECT").cloned();
        self.upgrade.clone().or_else(connects)
    }

    /// Where there is no route, that is what is said.
    fn allows_upgrade(&self, kind: &[u8]) -> bool {
        let decision = self.decision();
        if matches!(*decision, Decision::NotFound(_)) {
            return true;
        }
        let by_route = decision.route().and_then(|route| route.allows_upgrade(kind));
        let known = |upgrade: &String| upgrade.as_bytes().eq_ignore_ascii_case(kind);
        by_route.unwrap_or_else(|| self.manager.config.upgrades.iter().any(known))
    }

    /// Goes on with what a module let go of the request.
    pub(crate) fn resume_request(&self, released: Released) {
        if let Some(head) = released.headers {
            self.request.replace(head);
        }
        if !released.body.is_empty() {
            self.upload.push(Piece::Data(released.body));
        }
        if let Some(trailers) = released.trailers {
            self.upload.push(Piece::Trailers(trailers));
        }
        self.route_cleared(Direction::Request, released.route_cleared);
    }

    /// A module changed the request, or asked for it: the route is chosen anew.
    pub(crate) fn route_cleared(&self, direction: Direction, cleared: bool) {
        if cleared && direction == Direction::Request {
            self.decision.replace(None);
            self.untold.replace(None);
        }
    }

    /// What a module held of a stream that goes no further, kept for the log and the answer's own filters.
    pub(crate) fn take_back(&self, direction: Direction, released: Released) {
        if let Some(head) = released.headers {
            match direction {
                Direction::Request => self.request.replace(head),
                Direction::Response => self.response.replace(head),
            };
        }
    }

    /// What a module's word from outside its callbacks means.
    pub(crate) fn stopped(&self, direction: Direction, word: Word) -> Stop {
        match word {
            Word::Reply(reply, released) => {
                self.take_back(direction, released);
                Stop::Reply(module_reply(reply))
            }
            Word::Fail(released) => {
                self.take_back(direction, released);
                Stop::Reply(module_reply(vm::LocalReply::wasm_failure()))
            }
            Word::Reset | Word::Resume(..) => Stop::Reset("wasm_close_stream"),
        }
    }

    /// Counts a piece of the request.
    pub(crate) fn received(&self, piece: Option<Piece>) -> Option<Piece> {
        let mut info = self.facts.info.borrow_mut();
        if let Some(Piece::Data(data)) = &piece {
            info.bytes_received = info.bytes_received.saturating_add(u64::try_from(data.len()).unwrap_or_default());
        }
        piece
    }

    /// Answers without an origin.
    pub(crate) async fn reply(&self, mut reply: LocalReply) -> Result<(), ClientGone> {
        if let Some(recorder) = self.worker.recorder() {
            recorder.replied(&reply);
        }
        let author = reply.author;
        {
            let mut info = self.facts.info.borrow_mut();
            // What the parser says is in the log alone, not yet known to whoever forms the answer.
            let known = if author == Author::Parser { Flags::NONE } else { reply.flags };
            known.iter().for_each(|flag| info.flags.insert(flag));
            info.details = Some(std::mem::take(&mut reply.details));
        }
        let flags_behind = reply.flags;
        if reply.status == 400 || self.upgrade.is_some() {
            self.close.set(true);
        }
        let decision = self.decision.borrow().clone();
        if let Some(decision) = decision
            && let Some(route) = decision.route()
            // A filter's answer is changed by the route only where the route forwards; a redirect's and a direct response's changes are for its own.
            && (author == Author::Route || route.forward().is_some() && author != Author::Preflight)
        {
            let (request, mut info) = (self.request.borrow(), self.facts.info.borrow_mut());
            let before = self.worker.recorder().map(|_| reply.headers.clone());
            // An origin that did not switch is quoted behind what the route says, and where to go with another path stands there, too.
            let quoted = if author.is_quoted() { std::mem::take(&mut reply.headers) } else { Vec::new() };
            info.elapsed = Some(self.age());
            route.finalize_response(
                decision.destination(),
                &mut reply.headers,
                &request,
                &self.facts.connection,
                &info,
            );
            reply.headers.extend(quoted);
            if let Some(content_type) = route.content_type().filter(|_| author == Author::Route) {
                headers::set_slot(&mut reply.headers, "content-type", content_type.clone());
            }
            if let Some((recorder, before)) = self.worker.recorder().zip(before) {
                recorder.finalized(&before, &reply.headers);
            }
            let counts = route.virtual_host.attempt_count_in_response && author.knows_of_tries();
            if counts && info.upstream.attempts > 0 {
                route::write_attempt_count(&mut reply.headers, info.upstream.attempts);
            }
        }
        let (mut head, mut body) = self.encoded(reply);
        flags_behind.iter().for_each(|flag| self.facts.info.borrow_mut().flags.insert(flag));
        let end = body.is_empty();
        // What takes the place of an answer that filters have seen goes past them, as in Envoy.
        let mut shown = !self.chain.has_answer();
        if shown {
            if !end && self.chain.gathers(&head) {
                self.chain.gathered(&mut head, &std::mem::take(&mut body));
            }
            match self.held_answer(head, end).await {
                Ok(filtered) => head = filtered,
                Err(Stop::Reply(instead)) => {
                    (head, body) = self.encoded(instead);
                    shown = false;
                }
                Err(_) => return Err(ClientGone),
            }
        }
        let end = body.is_empty();
        // It hands the connection over to nobody, whatever its status.
        self.write_head(head, end, false).await?;
        if end {
            return Ok(());
        }
        if shown && self.chain.sees_body(Direction::Response) {
            match self.chain.piece(self, Direction::Response, Some(Piece::Data(body)), true).await {
                Ok(pieces) => {
                    for piece in pieces {
                        self.send(piece).await?;
                    }
                }
                Err(stop) => {
                    self.break_off(stop);
                    return self.responder.flush().await;
                }
            }
        } else {
            self.send(Piece::Data(body)).await?;
        }
        self.responder.finish().await
    }

    /// An answer of our own as it goes out, in the form that the connection manager gives it.
    fn encoded(&self, mut reply: LocalReply) -> (HeaderList, Bytes) {
        let is_preflight = reply.author == Author::Preflight;
        if !is_preflight && let Some(mapping) = &self.manager.config.local_replies {
            let mut info = self.facts.info.borrow_mut();
            info.elapsed = Some(self.age());
            let before = reply.status;
            let mapper = mapping.apply(&mut reply, &self.request.borrow(), &self.facts.connection, &mut info);
            if let Some(recorder) = self.worker.recorder().filter(|_| mapper.is_some() || mapping.has_form()) {
                recorder.mapped(mapper, before, reply.status);
            }
        }
        reply.encode(&RequestKind { grpc: self.kind.grpc && !is_preflight, ..self.kind })
    }

    /// Takes the head of an answer of our own up the chain. Where a module holds it, the rest of the request is read.
    async fn held_answer(&self, head: HeaderList, end: bool) -> Result<HeaderList, Stop> {
        let mut filtering = pin!(self.chain.response_headers(self, head, end));
        poll_fn(|cx| {
            let filtered = filtering.as_mut().poll(cx);
            if filtered.is_pending() {
                // What is wrong with a request that is being answered does not matter any more.
                let _ = self.poll_read_on(cx);
            }
            filtered
        })
        .await
    }

    /// Ends an answer that has begun.
    fn break_off(&self, stop: Stop) {
        let mut info = self.facts.info.borrow_mut();
        match stop {
            Stop::Reply(reply) => {
                reply.flags.iter().for_each(|flag| info.flags.insert(flag));
                info.details = Some(reply.details);
            }
            Stop::Reset(details) => info.details = Some(details.into()),
            Stop::Gone => self.gone.set(true),
        }
    }

    /// Sends an answer's head, which has been up the chain, to the client.
    pub(crate) async fn send_head(&self, head: HeaderList, end: bool) -> Result<(), ClientGone> {
        let handed_over = self.is_handed_over(&head);
        self.write_head(head, end, handed_over).await
    }

    /// `handed_over`: from this head on the connection is another protocol's.
    async fn write_head(&self, mut head: HeaderList, end: bool, handed_over: bool) -> Result<(), ClientGone> {
        let date = self.worker.date.at(self.worker.clock().wall(self.worker.clock().now()));
        self.trace_answer(&mut head);
        edge::response(&mut head, Some(&self.request.borrow()), &self.manager.config.edge, &date);
        if !self.is_http2() && !handed_over {
            let phase = self.remembered.lifetime.phase();
            let ending = self.worker.connections.is_draining() || phase == Phase::Ending;
            let http10 = self.facts.connection.protocol == Protocol::Http10;
            // Without chunks, what says no length is as long as its connection lasts.
            let endless = http10 && !headers::has(&head, "content-length");
            // A request that is answered before it is over cannot be followed by another.
            let close = self.close.get() || ending || endless || !self.request_is_over();
            self.close.set(close);
            let says_close = close || phase == Phase::Draining;
            if says_close || http10 {
                let word: &[u8] = if says_close { b"close" } else { b"keep-alive" };
                headers::set_slot(&mut head, "connection", Bytes::from_static(word));
            }
        }
        let status = headers::status(&head);
        self.facts.info.borrow_mut().response_code = status;
        if let Some(recorder) = self.worker.recorder() {
            recorder.sent(status, &head);
        }
        self.facts.response_header_bytes.set(byte_size(&head));
        self.touch();
        let sent = self.responder.head(&head, end).await;
        self.response.replace(head);
        sent
    }

    /// From this head on the connection is another protocol's.
    fn is_handed_over(&self, head: &[(Bytes, Bytes)]) -> bool {
        let connect = headers::is_connect(&self.request.borrow());
        let accepted =
            headers::get(head, ":status").is_some_and(|status| status.len() == 3 && status.starts_with(b"2"));
        edge::hop::upgrade(head).is_some() || connect && accepted
    }

    /// Sends a piece of the answer's body.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), ClientGone> {
        match &piece {
            Piece::Data(data) => {
                let mut info = self.facts.info.borrow_mut();
                info.bytes_sent = info.bytes_sent.saturating_add(u64::try_from(data.len()).unwrap_or_default());
            }
            Piece::Trailers(list) => drop(self.trailers.replace(Some(list.clone()))),
        }
        self.touch();
        self.responder.send(piece).await
    }

    /// The headers, lent to modules while they log.
    pub(crate) fn take_log_maps(&self) -> LogMaps {
        let response = self.response.take();
        LogMaps {
            request_headers: Some(self.request.take()),
            response_headers: (!response.is_empty()).then_some(response),
            response_trailers: self.trailers.take(),
        }
    }

    /// And back.
    pub(crate) fn put_log_maps(&self, maps: LogMaps) {
        self.request.replace(maps.request_headers.unwrap_or_default());
        self.response.replace(maps.response_headers.unwrap_or_default());
        self.trailers.replace(maps.response_trailers);
    }
}

fn byte_size(list: &[(Bytes, Bytes)]) -> u64 {
    let bytes: usize = list.iter().map(|(name, value)| name.len() + value.len()).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
