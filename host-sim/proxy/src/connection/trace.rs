//! A stream's own span: begun before filters see the request, finished when the stream is.

use std::sync::Arc;

use bytes::Bytes;

use super::Stream;
use crate::header_ops::Facts;
use crate::headers::{self, HeaderList};
use crate::tracing::{Reason, Span, Start};

/// What a traced stream carries.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Absent when the request came with a trace nobody can read.
    span: Option<Span>,
    /// The route's word for what is done, for a client that wants to know.
    answers: Option<Arc<str>>,
}

const OPERATION: &str = "x-envoy-decorator-operation";

impl Stream {
    /// Decides whether the request is traced, and begins its span.
    pub(super) fn begin_trace(&self) {
        let Some(tracing) = &self.manager.config.tracing else { return };
        let dice = self.worker.dice();
        let reason = tracing.decide(&mut self.request.borrow_mut(), dice.roll());
        self.count_trace(reason);
        let start = Start {
            name: tracing.name(&self.request.borrow()),
            at: self.facts.info.borrow().start,
            traced: reason.is_traced(),
            server: true,
            trace_dice: dice.roll_wide(),
            dice: dice.roll(),
        };
        let mut trace = Trace { span: tracing.span(&self.request.borrow(), start), answers: None };
        let decision = self.decision();
        let decorated = decision.route().and_then(|route| Some((route.operation.as_ref()?, route.propagate)));
        let decorated = decorated.filter(|(operation, _)| !operation.is_empty());
        if let Some((operation, _)) = decorated {
            trace.rename(operation);
        }
        let told = decorated.filter(|(_, propagate)| *propagate).map(|(operation, _)| operation);
        let mut request = self.request.borrow_mut();
        if tracing.egress {
            if let Some(operation) = told {
                headers::set_slot(&mut request, OPERATION, Bytes::copy_from_slice(operation.as_bytes()));
            }
        } else if let Some(operation) = headers::get(&request, OPERATION).cloned() {
            if !operation.is_empty() {
                trace.rename(&String::from_utf8_lossy(&operation));
            }
            headers::remove(&mut request, OPERATION.as_bytes());
        } else {
            trace.answers = told.cloned();
        }
        self.trace.replace(Some(trace));
    }

    fn count_trace(&self, reason: Reason) {
        let stats = &self.manager.stats;
        match reason {
            Reason::NotTraceable => &stats.tracing_not_traceable,
            Reason::Sampling => &stats.tracing_random_sampling,
            Reason::ServiceForced => &stats.tracing_service_forced,
            Reason::ClientForced => &stats.tracing_client_enabled,
        }
        .inc();
    }

    /// The operation's name travels with the answer: from us where we serve, to us where we ask.
    pub(super) fn trace_answer(&self, head: &mut HeaderList) {
        let mut trace = self.trace.borrow_mut();
        let (Some(trace), Some(tracing)) = (trace.as_mut(), &self.manager.config.tracing) else { return };
        if tracing.egress {
            if let Some(operation) = headers::get(head, OPERATION).cloned() {
                if !operation.is_empty() {
                    trace.rename(&String::from_utf8_lossy(&operation));
                }
                headers::remove(head, OPERATION.as_bytes());
            }
        } else if let Some(operation) = &trace.answers {
            headers::set_slot(head, OPERATION, Bytes::copy_from_slice(operation.as_bytes()));
        }
    }

    /// The span of what is done for this stream elsewhere, to be made from.
    pub(crate) fn span(&self) -> Option<Span> {
        self.trace.borrow().as_ref().and_then(|trace| trace.span.clone())
    }

    /// The stream is over.
    pub(super) fn end_trace(&self) {
        let Some(tracing) = &self.manager.config.tracing else { return };
        if let Some(span) = self.span() {
            self.with_facts(|facts| {
                let end = facts.stream.start + facts.stream.complete.unwrap_or_default();
                tracing.finish(&span, facts, end);
            });
        }
    }

    /// Everything that is known by now.
    pub(crate) fn with_facts<R>(&self, look: impl FnOnce(&Facts<'_>) -> R) -> R {
        let (request, response, trailers) = (self.request.borrow(), self.response.borrow(), self.trailers.borrow());
        let info = self.facts.info.borrow();
        look(&Facts {
            request: &request,
            response: (!response.is_empty()).then_some(&response),
            trailers: trailers.as_deref(),
            connection: &self.facts.connection,
            stream: &info,
            local_reply: &[],
        })
    }
}

impl Trace {
    fn rename(&mut self, operation: &str) {
        if let Some(span) = &mut self.span {
            span.rename(operation.to_owned());
        }
    }
}
