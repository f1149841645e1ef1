//! One stream's way through the filters of its chain: what each filter remembers of it, and the order of things.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use vm::{Admission, Direction, StreamId};

use super::config::FilterKind;
use super::mailbox::Mailbox;
use super::{FilterConfig, Plugin};
use crate::connection::{Facts, Stream};
use crate::grpc_web::GrpcWeb;
use crate::headers::HeaderList;
use crate::local_reply::LocalReply;
use crate::rate_limit::{Bucket, GlobalRateLimit, LocalRateLimit};
use crate::stats::{CorsStats, FaultStats, LocalRateLimitStats};

/// A filter as one worker runs it.
pub(crate) struct Filter {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
}

/// What a filter is, and what this worker has of it.
pub(crate) enum Kind {
    Wasm(Rc<Plugin>),
    Fault(Arc<crate::fault::Fault>, Arc<FaultStats>),
    Cors(Arc<CorsStats>),
    GrpcWeb,
    LocalRateLimit(Option<Arc<LocalRateLimit>>, Arc<LocalRateLimitStats>),
    RateLimit(Arc<GlobalRateLimit>),
    HeaderMutation(crate::header_ops::HeaderMutations, bool),
}

impl Kind {
    /// What an explanation calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Wasm(_) => "wasm",
            Kind::Fault(..) => "fault",
            Kind::Cors(_) => "cors",
            Kind::GrpcWeb => "grpc_web",
            Kind::LocalRateLimit(..) => "local_ratelimit",
            Kind::RateLimit(_) => "ratelimit",
            Kind::HeaderMutation(..) => "header_mutation",
        }
    }
}

/// What a filter remembers of a stream between its request and its answer.
#[derive(Default)]
pub(super) enum Pass {
    /// Nothing.
    #[default]
    Nothing,
    /// A module's stream.
    Wasm(StreamId),
    /// The module's VM is dead and the request must not pass.
    WasmDead,
    /// Headers for the answer.
    Cors(HeaderList),
    /// A call of gRPC-Web's.
    GrpcWeb(Box<GrpcWeb>),
    /// Whose bucket the answer tells about.
    Limited(Arc<LocalRateLimit>, Arc<Bucket>),
    /// Headers a rate limit service has for the answer.
    Told(HeaderList),
    /// Bytes a second for the answer's body.
    Slowed(u64),
}

/// A filter ends the request's way.
pub(crate) enum Stop {
    /// With an answer.
    Reply(LocalReply),
    /// Without one.
    Reset(&'static str),
    /// The client, or what it sends, is no more.
    Gone,
}

/// One stream's way.
pub(crate) struct Chain {
    pub(super) filters: Rc<[Filter]>,
    pub(super) passes: RefCell<SmallVec<[Pass; 4]>>,
    pub(super) mailbox: Rc<Mailbox>,
    /// An answer's head has come to the filters.
    pub(super) answered: Cell<bool>,
    sees_request_body: Cell<bool>,
    sees_response_body: Cell<bool>,
}

impl Chain {
    /// Announces a stream to every module of the chain.
    pub(crate) fn enter(filters: &Rc<[Filter]>, facts: &Rc<Facts>) -> Chain {
        let (mut sees_request_body, mut sees_response_body) = (false, false);
        let mut passes = SmallVec::with_capacity(filters.len());
        for filter in filters.iter() {
            let Kind::Wasm(plugin) = &filter.kind else {
                passes.push(Pass::Nothing);
                continue;
            };
            let info: Rc<dyn vm::StreamInfo> = Rc::<Facts>::clone(facts);
            passes.push(match plugin.enter(|vm| vm.create_stream(info)) {
                Admission::Stream(id) => {
                    sees_request_body |= plugin.config.sees_request_body;
                    sees_response_body |= plugin.config.sees_response_body;
                    Pass::Wasm(id)
                }
                Admission::Bypass => Pass::Nothing,
                Admission::Fail => Pass::WasmDead,
            });
        }
        Chain {
            filters: Rc::clone(filters),
            passes: RefCell::new(passes),
            mailbox: Rc::default(),
            answered: Cell::new(false),
            sees_request_body: Cell::new(sees_request_body),
            sees_response_body: Cell::new(sees_response_body),
        }
    }

    /// A way past every module, for an answer to what is no request.
    pub(crate) fn pass_by(filters: &Rc<[Filter]>) -> Chain {
        Chain {
            filters: Rc::clone(filters),
            passes: RefCell::new(filters.iter().map(|_| Pass::Nothing).collect()),
            mailbox: Rc::default(),
            answered: Cell::new(false),
            sees_request_body: Cell::new(false),
            sees_response_body: Cell::new(false),
        }
    }

    /// Have the filters been shown the head of an answer?
    pub(crate) fn has_answer(&self) -> bool {
        self.answered.get()
    }

    /// The module's stream at this place.
    pub(super) fn wasm(&self, place: usize) -> Option<(&Rc<Plugin>, StreamId)> {
        match (&self.filters.get(place)?.kind, self.passes.borrow().get(place)?) {
            (Kind::Wasm(plugin), Pass::Wasm(id)) => Some((plugin, *id)),
            _ => None,
        }
    }

    /// Places of modules, in the order of the chain.
    fn modules(&self) -> SmallVec<[usize; 4]> {
        (0..self.filters.len()).filter(|place| self.wasm(*place).is_some()).collect()
    }

    /// Places of filters that bodies go through, in the order pieces of this direction meet them.
    pub(super) fn body_filters(&self, direction: Direction) -> SmallVec<[usize; 4]> {
        let sees = |place: &usize| matches!(self.passes.borrow().get(*place), Some(Pass::Wasm(_) | Pass::GrpcWeb(_)));
        let places = (0..self.filters.len()).filter(sees);
        match direction {
            Direction::Request => places.collect(),
            Direction::Response => places.rev().collect(),
        }
    }

    /// Does some filter look at bodies or trailers of this direction?
    pub(crate) fn sees_body(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.sees_request_body.get(),
            Direction::Response => self.sees_response_body.get(),
        }
    }

    /// The request is a call of gRPC-Web's.
    pub(super) fn remember_grpc_web(&self, place: usize, call: GrpcWeb) {
        self.remember(place, Pass::GrpcWeb(Box::new(call)));
        self.sees_request_body.set(true);
        self.sees_response_body.set(true);
    }

    /// Does the body of this answer, which has one, belong into its head?
    pub(crate) fn gathers(&self, head: &[(Bytes, Bytes)]) -> bool {
        let translates = self.passes.borrow().iter().any(|pass| matches!(pass, Pass::GrpcWeb(_)));
        translates && GrpcWeb::gathers(head)
    }

    /// Puts it there.
    pub(crate) fn gathered(&self, head: &mut HeaderList, body: &[u8]) {
        for pass in self.passes.borrow_mut().iter_mut() {
            if let Pass::GrpcWeb(call) = pass {
                call.gathered(head, body);
            }
        }
    }

    pub(super) fn remember(&self, place: usize, pass: Pass) {
        if let Some(slot) = self.passes.borrow_mut().get_mut(place) {
            *slot = pass;
        }
    }

    /// The module is not called any more for this stream, but still told of its end.
    pub(super) fn pass_is_dead(&self, place: usize) -> bool {
        matches!(self.passes.borrow().get(place), Some(Pass::WasmDead))
    }

    /// The stream is over: modules log it and are done with it, in the order of the chain.
    pub(crate) fn leave(&self, stream: &Stream) {
        let modules = self.modules();
        if modules.is_empty() {
            return;
        }
        let mut maps = stream.take_log_maps();
        for place in &modules {
            if let Some((plugin, id)) = self.wasm(*place) {
                maps = plugin.enter(|vm| vm.on_log(id, maps));
            }
        }
        for place in &modules {
            if let Some((plugin, id)) = self.wasm(*place) {
                plugin.enter(|vm| vm.on_done(id));
                if self.mailbox.known.get() {
                    plugin.forget(id);
                }
            }
        }
        stream.put_log_maps(maps);
    }
}

impl Filter {
    /// A filter on this worker.
    pub(crate) fn build(
        config: &FilterConfig,
        stat_prefix: &str,
        surroundings: &Rc<crate::worker::Surroundings>,
        previous: &mut dyn FnMut(&super::WasmConfig) -> Option<Rc<Plugin>>,
    ) -> Result<Filter, (String, vm::StartError)> {
        let (registry, worker) = (&surroundings.registry, surroundings.index);
        let kind = match &config.kind {
            FilterKind::Wasm(wasm) => Kind::Wasm(match previous(wasm) {
                Some(plugin) => plugin,
                None => Plugin::start(wasm, surroundings).map_err(|error| (wasm.plugin.name.clone(), error))?,
            }),
            FilterKind::Fault(fault) => Kind::Fault(Arc::clone(fault), registry.fault(stat_prefix, worker)),
            FilterKind::Cors => Kind::Cors(registry.cors(stat_prefix, worker)),
            FilterKind::GrpcWeb => Kind::GrpcWeb,
            FilterKind::LocalRateLimit { stat_prefix, limit } => {
                Kind::LocalRateLimit(limit.clone(), registry.local_rate_limit(stat_prefix, worker))
            }
            FilterKind::RateLimit(limit) => Kind::RateLimit(Arc::clone(limit)),
            FilterKind::HeaderMutation { mutations, most_specific_wins } => {
                Kind::HeaderMutation(mutations.clone(), *most_specific_wins)
            }
        };
        Ok(Filter { name: Arc::clone(&config.name), kind })
    }
}
