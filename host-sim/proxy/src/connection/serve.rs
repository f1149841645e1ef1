//! A client's connection from its first byte to its last: which protocol, then request by request.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::alarm::{Alarm, IdleTimer};
use super::counted::Counted;
use super::responder::{ClientGone, Http1Responder, Responder};
use super::stream::{Beginning, Stream};
use super::timers::Timers;
use super::wire::{Io, Wire};
use super::{BodySource, Phase, Remembered, serve_http2};
use crate::edge::{ConnectionInfo, Protocol};
use crate::headers::{self, HeaderList};
use crate::http1::{AnswerTo, BodyDecoder, BodyKind, HeadReader, Refusal, RequestHead, early_refusal, parse_request};
use crate::snapshot::Timeouts;
use crate::worker::{Manager, Open, Place, Worker};

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const CONTINUE_1_0: &[u8] = b"HTTP/1.0 100 Continue\r\n\r\n";

/// Serves a connection. `input` was read from it already; `alpn` is what TLS agreed on.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    place: Place,
    mut info: ConnectionInfo,
    io: Io,
    input: BytesMut,
    alpn: Option<Bytes>,
) {
    let Some(manager) = worker.state().manager(&place) else { return };
    let open = worker.connections.open();
    let remembered = Rc::new(Remembered::new(manager.config.lifetime));
    let wire = Wire::new(io, input);
    let http2 = match (manager.config.codec, alpn.as_deref()) {
        (xds::CodecType::Http1, _) => false,
        (xds::CodecType::Http2, _) | (_, Some(b"h2")) => true,
        (_, Some(_)) => false,
        (_, None) => match begins_http2(&wire, &IdleTimer::new(manager.config.timeouts.idle), &remembered, &open).await
        {
            Some(http2) => http2,
            None => return,
        },
    };
    if http2 {
        info.protocol = Protocol::Http2;
        let _counted = Counted::new(&worker, &manager, &info);
        return serve_http2::serve(worker, place, info, wire, (open, remembered)).await;
    }
    let connection = Connection {
        counted: Counted::new(&worker, &manager, &info),
        idle: IdleTimer::new(manager.config.timeouts.idle),
        lateness: Lateness::default(),
        remembered,
        current: (worker.generation(), manager),
        timers: Rc::default(),
        wire: Rc::new(wire),
        info: Rc::new(info),
        place,
        worker,
        open,
    };
    connection.serve().await;
}

/// Reads until it is clear; `None` when the client went before that, said nothing for too long, or is to go.
async fn begins_http2(wire: &Wire, idle: &IdleTimer, remembered: &Remembered, open: &Open) -> Option<bool> {
    loop {
        {
            let input = wire.input();
            let seen = input.len().min(PREFACE.len());
            if input.get(..seen) != PREFACE.get(..seen) {
                return Some(false);
            }
            if seen == PREFACE.len() {
                return Some(true);
            }
        }
        let more = poll_fn(|cx| match wire.poll_fill(cx) {
            Poll::Ready(filled) => Poll::Ready(filled.is_ok_and(|count| count > 0)),
            Poll::Pending if idle.poll_idle(cx).is_ready() || open.poll_closing(cx).is_ready() => Poll::Ready(false),
            Poll::Pending if remembered.lifetime.poll_unwanted(cx).is_ready() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        });
        if !more.await {
            return None;
        }
    }
}

/// An HTTP/1 connection.
struct Connection {
    worker: Rc<Worker>,
    place: Place,
    wire: Rc<Wire>,
    info: Rc<ConnectionInfo>,
    open: Open,
    counted: Counted,
    idle: IdleTimer,
    lateness: Lateness,
    remembered: Rc<Remembered>,
    timers: Rc<Timers>,
    current: (u64, Rc<Manager>),
}

/// What came of waiting for more of a head.
enum Filled {
    More,
    /// The client went, or is to go.
    Gone,
    Late(Refusal),
}

/// How long a head that has begun may be in coming.
#[derive(Default)]
struct Lateness {
    head: Alarm,
    request: Alarm,
}

impl Lateness {
    fn begin(&self, timeouts: &Timeouts) {
        self.head.set(timeouts.headers);
        self.request.set(timeouts.request);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Filled> {
        match (self.head.poll(cx), self.request.poll(cx)) {
            (Poll::Ready(()), _) => Poll::Ready(Filled::Late(Refusal::HEAD_LATE)),
            (_, Poll::Ready(())) => Poll::Ready(Filled::Late(Refusal::REQUEST_LATE)),
            _ => Poll::Pending,
        }
    }
}

/// What a connection does after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    /// End it, but let the client read its last answer first.
    Linger,
    End,
}

impl Connection {
    /// Whether `https://` in a request line is believed: on TLS, or where somebody in front is trusted to have ended it.
    fn takes_https(&self, manager: &Manager) -> bool {
        let edge = &manager.config.edge;
        self.info.tls.is_some() || edge.xff_num_trusted_hops > 0 || !edge.use_remote_address
    }

    async fn serve(mut self) {
        let mut reader = HeadReader::default();
        loop {
            let Some(head) = self.next_head(&mut reader).await else { return };
            let manager = self.manager();
            let head = head.and_then(|head| parse_request(&head, manager.config.limits, self.takes_https(&manager)));
            let next = match head {
                Ok(head) => self.exchange(manager, head).await,
                Err(refusal) => self.refuse(manager, refusal).await,
            };
            self.counted.bytes(&self.wire);
            match next {
                Next::Request => self.idle.touch(),
                Next::Linger => return self.wire.linger(self.current.1.config.timeouts.delayed_close).await,
                Next::End => return,
            }
        }
    }

    /// The configuration of this request: a change of routes holds from the next request on.
    fn manager(&mut self) -> Rc<Manager> {
        if self.current.0 != self.worker.generation() {
            let manager = self.worker.state().manager(&self.place);
            self.current = (self.worker.generation(), manager.unwrap_or_else(|| Rc::clone(&self.current.1)));
        }
        Rc::clone(&self.current.1)
    }

    /// The next whole head; `None` when the connection is over.
    async fn next_head(&self, reader: &mut HeadReader) -> Option<Result<Bytes, Refusal>> {
        let limit = self.current.1.config.limits.bytes;
        let mut timed = false;
        loop {
            match reader.take(&mut self.wire.input(), limit) {
                Ok(Some(head)) => return Some(Ok(head)),
                Ok(None) => {}
                Err(_) => return Some(Err(Refusal::TOO_LARGE)),
            }
            if let Some(refusal) = early_refusal(&self.wire.input()) {
                return Some(Err(refusal));
            }
            let waiting = !reader.has_begun();
            if !waiting && !timed {
                // Its first bytes may have come while the protocol was still to be told.
                self.lateness.begin(&self.current.1.config.timeouts);
                timed = true;
            }
            let filled = poll_fn(|cx| match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => Poll::Ready(Filled::More),
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Filled::Gone),
                Poll::Pending if waiting => self.poll_unwanted(cx),
                Poll::Pending => self.lateness.poll(cx),
            });
            match filled.await {
                Filled::More => {}
                Filled::Gone => return None,
                Filled::Late(refusal) => return Some(Err(refusal)),
            }
        }
    }

    /// Has a connection without a request been idle for too long, or is it to end?
    fn poll_unwanted(&self, cx: &mut Context<'_>) -> Poll<Filled> {
        if self.idle.poll_idle(cx).is_ready() {
            self.current.1.stats.downstream_cx_idle_timeout.inc();
            return Poll::Ready(Filled::Gone);
        }
        if self.remembered.lifetime.poll_unwanted(cx).is_ready() {
            self.current.1.stats.downstream_cx_max_duration_reached.inc();
            return Poll::Ready(Filled::Gone);
        }
        self.open.poll_closing(cx).map(|()| Filled::Gone)
    }

    /// An expectation is answered before anything looks at the request.
    async fn bid_continue(&self, manager: &Manager, http10: bool) -> Result<(), ClientGone> {
        manager.stats.charge_response(100);
        self.wire.output().extend_from_slice(if http10 { CONTINUE_1_0 } else { CONTINUE });
        self.wire.flush().await.map_err(|_| ClientGone)
    }

    async fn exchange(&self, manager: Rc<Manager>, mut head: RequestHead) -> Next {
        self.remembered.lifetime.request();
        if self.remembered.lifetime.is_spent() {
            manager.stats.downstream_cx_max_requests_reached.inc();
        }
        let bidden = head.expects && !manager.config.edge.proxy_100_continue;
        if bidden {
            headers::remove(&mut head.headers, b"expect");
            if self.bid_continue(&manager, head.http10).await.is_err() {
                return Next::End;
            }
        }
        let to_head = headers::get(&head.headers, ":method").is_some_and(|method| method == "HEAD");
        let to = AnswerTo { head: to_head, http10: head.http10 };
        let responder = Responder::Http1(Http1Responder::new(&self.wire, to, manager.config.trailers));
        let body = BodySource::http1(&self.wire, BodyDecoder::new(head.body, manager.config.body_rules()));
        let tunnel = head.body == BodyKind::Tunnel;
        let connection = match head.http10 {
            true => Rc::new(ConnectionInfo { protocol: Protocol::Http10, ..(*self.info).clone() }),
            false => Rc::clone(&self.info),
        };
        let default_host = manager.config.edge.default_host_for_http_10.as_ref().filter(|_| head.http10);
        if let (Some(host), false) = (default_host, headers::has(&head.headers, ":authority")) {
            head.headers.insert(0, (Bytes::from_static(b":authority"), host.clone()));
        }
        let stream = Stream::new(
            &self.worker,
            manager,
            Beginning {
                connection,
                responder,
                request: head.headers,
                body,
                close: head.close,
                early: false,
                remembered: Rc::clone(&self.remembered),
                timers: Rc::clone(&self.timers),
            },
        );
        if bidden {
            stream.facts.info.borrow_mut().response_code = Some(100);
        }
        let gone = {
            let mut running = pin!(stream.run());
            poll_fn(|cx| {
                if running.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                // Only silence is expected between the end of a request and the end of its answer.
                let watched = stream.request_is_over() && self.wire.poll_gone(cx).is_ready();
                if watched { Poll::Ready(true) } else { Poll::Pending }
            })
            .await
        };
        let complete = stream.finish(gone);
        match (complete, stream.closes()) {
            _ if gone || tunnel => Next::End,
            (true, false) if self.remembered.lifetime.phase() == Phase::Ending => Next::End,
            (true, false) => Next::Request,
            (true, true) if stream.request_is_over() => Next::End,
            (true, true) => Next::Linger,
            (false, _) => Next::End,
        }
    }

    /// Answers a head that is no request.
    async fn refuse(&self, manager: Rc<Manager>, refusal: Refusal) -> Next {
        super::refused::count(refusal, &manager.stats);
        let stream = Stream::new(
            &self.worker,
            manager,
            Beginning {
                connection: Rc::clone(&self.info),
                responder: Responder::Http1(Http1Responder::new(
                    &self.wire,
                    AnswerTo { head: false, http10: refusal.http10 },
                    false,
                )),
                request: HeaderList::new(),
                body: BodySource::Empty,
                close: true,
                early: true,
                remembered: Rc::clone(&self.remembered),
                timers: Rc::clone(&self.timers),
            },
        );
        let answered = stream.reply(super::refused::refused(refusal)).await;
        stream.finish(answered.is_err());
        match answered {
            Ok(()) => Next::Linger,
            Err(ClientGone) => Next::End,
        }
    }
}
