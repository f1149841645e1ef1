//! One request and its answer: the life cycle that both protocols share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::body::{BodySource, Piece};
use super::responder::{ClientGone, Responder};
use crate::edge::{self, ConnectionInfo, Protocol};
use crate::header_ops::StreamInfo;
use crate::headers::{self, HeaderList};
use crate::http_filters::router;
use crate::local_reply::{Flag, LocalReply, RequestKind};
use crate::route::{self, Decision};
use crate::worker::{Manager, State, Worker};

/// One request and its answer.
pub(crate) struct Stream {
    pub(crate) worker: Rc<Worker>,
    /// The configuration it began with.
    pub(crate) state: Rc<State>,
    pub(crate) manager: Rc<Manager>,
    pub(crate) connection: Rc<ConnectionInfo>,
    pub(crate) responder: Responder,
    pub(crate) body: RefCell<BodySource>,
    pub(crate) request: RefCell<HeaderList>,
    pub(crate) info: RefCell<StreamInfo>,
    pub(crate) began: Duration,
    decision: RefCell<Option<Rc<Decision>>>,
    response: RefCell<HeaderList>,
    kind: RequestKind,
    close: Cell<bool>,
    upgrade: Option<Bytes>,
}

impl Stream {
    /// A request whose head was read. `close`: the client wants its connection closed afterwards.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        manager: Rc<Manager>,
        connection: &Rc<ConnectionInfo>,
        responder: Responder,
        request: HeaderList,
        body: BodySource,
        close: bool,
    ) -> Stream {
        let began = worker.clock.now();
        let info = StreamInfo { id: worker.dice.roll(), start: worker.clock.wall(began), ..StreamInfo::default() };
        Stream {
            worker: Rc::clone(worker),
            state: worker.state(),
            manager,
            connection: Rc::clone(connection),
            responder,
            body: RefCell::new(body),
            kind: RequestKind::of(&request),
            upgrade: edge::hop::upgrade(&request).cloned(),
            request: RefCell::new(request),
            info: RefCell::new(info),
            began,
            decision: RefCell::default(),
            response: RefCell::default(),
            close: Cell::new(close),
        }
    }

    /// Answers it. May be dropped half-way when the client goes; [`Stream::finish`] comes after either way.
    pub(crate) async fn run(&self) {
        // A client that went away has nobody to be told.
        let _ = match self.admit() {
            Ok(()) => self.filtered().await,
            Err(reply) => self.reply(reply).await,
        };
    }

    /// Accounts for it; says whether the answer was complete.
    pub(crate) fn finish(&self, gone: bool) -> bool {
        let mut info = self.info.borrow_mut();
        info.complete = Some(self.worker.clock.now().saturating_sub(self.began));
        let complete = self.responder.is_complete();
        if gone && !complete {
            info.flags.insert(Flag::DownstreamConnectionTermination);
            info.details = "downstream_remote_disconnect".into();
        }
        complete
    }

    /// The connection ends after the answer.
    pub(crate) fn closes(&self) -> bool {
        self.close.get()
    }

    /// Nothing more of the request will come.
    pub(crate) fn request_is_over(&self) -> bool {
        self.body.try_borrow().is_ok_and(|body| body.is_over())
    }

    /// Is it HTTP/2?
    pub(crate) fn is_http2(&self) -> bool {
        self.connection.protocol == Protocol::Http2
    }

    /// The protocol it asks to switch to.
    pub(crate) fn upgrade(&self) -> Option<&Bytes> {
        self.upgrade.as_ref()
    }

    /// Brings the head into the form filters and routes see.
    fn admit(&self) -> Result<(), LocalReply> {
        let mut request = self.request.borrow_mut();
        let edge = &self.manager.config.edge;
        let admitted = edge::request(&mut request, &self.connection, edge, self.worker.dice.roll_wide());
        let admitted = admitted.inspect_err(|reply| {
            if reply.status == 400 {
                self.close.set(true);
            }
        })?;
        self.info.borrow_mut().remote = Some(std::net::SocketAddr::new(admitted.client, self.connection.remote.port()));
        Ok(())
    }

    async fn filtered(&self) -> Result<(), ClientGone> {
        if let Some(kind) = &self.upgrade
            && !self.allows_upgrade(kind)
        {
            self.close.set(true);
            return self.reply(LocalReply::upgrade_refused()).await;
        }
        let decision = self.decision();
        match decision.as_ref() {
            Decision::Forward(route, destination) => router::forward(self, route, destination).await,
            Decision::Redirect(route) | Decision::Direct(route) => {
                let reply = route.reply(&self.request.borrow());
                match reply {
                    Some(reply) => self.reply(reply).await,
                    None => Ok(()),
                }
            }
            Decision::SslRedirect(_) => {
                let reply = route::ssl_redirect(&self.request.borrow());
                self.reply(reply).await
            }
            Decision::NotFound(_) => self.reply(LocalReply::route_not_found()).await,
        }
    }

    /// The route, chosen when it is first asked for, and again after [`Stream::clear_route`].
    pub(crate) fn decision(&self) -> Rc<Decision> {
        let mut cached = self.decision.borrow_mut();
        let decision = cached.get_or_insert_with(|| {
            let request = self.request.borrow();
            let head = route::RequestHead { headers: &request, random: self.info.borrow().id, connection: &self.connection };
            let decision = self.manager.config.routes.decide(&head);
            if let Some(route) = decision.route() {
                let mut info = self.info.borrow_mut();
                info.route_name = std::sync::Arc::clone(&route.name);
                info.virtual_host = std::sync::Arc::clone(&route.virtual_host.name);
            }
            Rc::new(decision)
        });
        Rc::clone(decision)
    }

    /// The request has changed: the route is to be chosen anew.
    pub(crate) fn clear_route(&self) {
        self.decision.replace(None);
    }

    fn allows_upgrade(&self, kind: &[u8]) -> bool {
        let by_route = self.decision().route().and_then(|route| route.allows_upgrade(kind));
        let known = |upgrade: &String| upgrade.as_bytes().eq_ignore_ascii_case(kind);
        by_route.unwrap_or_else(|| self.manager.config.upgrades.iter().any(known))
    }

    /// Answers without an origin.
    pub(crate) async fn reply(&self, mut reply: LocalReply) -> Result<(), ClientGone> {
        {
            let mut info = self.info.borrow_mut();
            reply.flags.iter().for_each(|flag| info.flags.insert(flag));
            info.details = std::mem::take(&mut reply.details);
        }
        // Envoy closes an HTTP/1 connection after every 400 of its own, however it is dressed.
        if reply.status == 400 {
            self.close.set(true);
        }
        let decision = self.decision.borrow().clone();
        if let Some(decision) = decision
            && let Some(route) = decision.route()
        {
            let (request, info) = (self.request.borrow(), self.info.borrow());
            route.finalize_response(decision.destination(), &mut reply.headers, &request, &self.connection, &info);
            let attempts = info.upstream.attempts;
            if route.virtual_host.attempt_count_in_response && attempts > 0 {
                route::write_attempt_count(&mut reply.headers, attempts);
            }
        }
        let (head, body) = reply.encode(&self.kind);
        let end = body.is_empty();
        self.send_head(head, end).await?;
        if !end {
            self.send(Piece::Data(body)).await?;
            self.responder.finish().await?;
        }
        Ok(())
    }

    /// Sends the answer's head on its way through the filters to the client.
    pub(crate) async fn send_head(&self, mut head: HeaderList, end: bool) -> Result<(), ClientGone> {
        let now = self.worker.clock.now();
        let date = self.worker.date.at(self.worker.clock.wall(now));
        edge::response(&mut head, Some(&self.request.borrow()), &self.manager.config.edge, &date);
        let switched = headers::get(&head, ":status").is_some_and(|status| status == "101");
        if !self.is_http2() && !switched {
            // A request that is answered before it is over cannot be followed by another.
            let close = self.close.get() || self.worker.connections.is_draining() || !self.request_is_over();
            self.close.set(close);
            if close {
                headers::set_slot(&mut head, "connection", Bytes::from_static(b"close"));
            }
        }
        let status = headers::get(&head, ":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        self.info.borrow_mut().response_code = status;
        let sent = self.responder.head(&head, end).await;
        self.response.replace(head);
        sent
    }

    /// Sends a piece of the answer's body.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), ClientGone> {
        if let Piece::Data(data) = &piece {
            let mut info = self.info.borrow_mut();
            info.bytes_sent = info.bytes_sent.saturating_add(u64::try_from(data.len()).unwrap_or_default());
        }
        self.responder.send(piece).await
    }
}
