//! The span of one try at an origin, where tries have spans; finished when it is dropped, whatever came of it.

use std::cell::{Cell, RefCell};

use crate::connection::Stream;
use crate::header_ops::Facts;
use crate::headers;
use crate::tracing::{Outcome, Span, Try};
use crate::upstream::{Endpoint, Head};

/// One try.
pub(super) struct TrySpan<'s> {
    stream: &'s Stream,
    span: Span,
    outcome: RefCell<Try>,
    finished: Cell<bool>,
}

impl<'s> TrySpan<'s> {
    /// Begins it, and writes the trace context the origin is to see; without spans for tries that of the request's own.
    pub(super) fn begin(stream: &'s Stream, cluster: &str, endpoint: &Endpoint, attempt: u32) -> Option<TrySpan<'s>> {
        let tracing = stream.manager.config.tracing.as_ref()?;
        let parent = stream.span()?;
        if !tracing.spawns {
            parent.inject(&mut stream.request.borrow_mut());
            return None;
        }
        let clock = stream.worker.clock();
        let span =
            parent.child(format!("router {cluster} egress"), stream.worker.dice().roll(), clock.wall(clock.now()));
        span.inject(&mut stream.request.borrow_mut());
        let (address, outcome) = (endpoint.address, Outcome::Canceled);
        let one = Try { attempt, address, protocol: None, status: None, answer: None, outcome };
        Some(TrySpan { stream, span, outcome: RefCell::new(one), finished: Cell::new(false) })
    }

    /// A connection was found, and this is spoken on it.
    pub(super) fn connected(&self, protocol: &'static str) {
        self.outcome.borrow_mut().protocol = Some(protocol);
    }

    /// The origin answered.
    pub(super) fn answered(&self, head: &Head) {
        let mut one = self.outcome.borrow_mut();
        one.status = Some(head.status);
        one.answer = headers::has(&head.headers, "grpc-status").then(|| head.headers.clone());
    }

    /// It is over, and this is how.
    pub(super) fn over(&self, outcome: Outcome) {
        self.outcome.borrow_mut().outcome = outcome;
        self.finish();
    }

    fn finish(&self) {
        if self.finished.replace(true) {
            return;
        }
        let Some(tracing) = &self.stream.manager.config.tracing else { return };
        let clock = self.stream.worker.clock();
        let end = clock.wall(clock.now());
        self.stream.with_facts(|facts: &Facts<'_>| tracing.finish_try(&self.span, facts, &self.outcome.borrow(), end));
    }
}

impl Drop for TrySpan<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
