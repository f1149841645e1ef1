//! One span, from its beginning to the value the SDK exports.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::context::{self, Incoming};
use super::tags::Tags;
use crate::headers::HeaderList;

/// A span that has begun.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    trace: TraceId,
    id: SpanId,
    parent: Option<Above>,
    /// Only sampled spans are exported; the others are passed on in headers alone.
    sampled: bool,
    state: Bytes,
    kind: SpanKind,
    name: String,
    /// Since 1970.
    start: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Above {
    id: SpanId,
    remote: bool,
}

/// What a request's span begins with.
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) at: Duration,
    pub(crate) traced: bool,
    pub(crate) server: bool,
    /// For a trace that begins here.
    pub(crate) trace_dice: u128,
    pub(crate) dice: u64,
}

/// How a try at an origin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Complete,
    /// Given up by us: its answer was not wanted any more, or took too long.
    Canceled,
    /// Why it broke.
    Broken(crate::local_reply::Reset),
}

impl Span {
    /// A request's span; none where the request's own `traceparent` cannot be read.
    pub(super) fn of(request: &[(Bytes, Bytes)], start: Start) -> Option<Span> {
        let (trace, parent, sampled, state) = match context::extract(request) {
            Incoming::Unreadable => return None,
            Incoming::Nothing => (TraceId::from(start.trace_dice), None, true, Bytes::new()),
            Incoming::Parent(above) => {
                (above.trace, Some(Above { id: above.span, remote: true }), above.sampled, above.state)
            }
        };
        Some(Span {
            trace,
            id: SpanId::from(start.dice),
            parent,
            sampled: sampled && start.traced,
            state,
            kind: if start.server { SpanKind::Server } else { SpanKind::Client },
            name: start.name,
            start: start.at,
        })
    }

    /// What is done for it elsewhere.
    pub(crate) fn child(&self, name: String, dice: u64, start: Duration) -> Span {
        let parent = Some(Above { id: self.id, remote: false });
        Span { id: SpanId::from(dice), parent, kind: SpanKind::Client, name, start, ..self.clone() }
    }

    /// The same, not to be exported, here or further on.
    pub(crate) fn unsampled(self) -> Span {
        Span { sampled: false, ..self }
    }

    /// Is anybody going to see it?
    pub(crate) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Another name.
    pub(crate) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// Writes the trace context for whoever comes next.
    pub(crate) fn inject(&self, request: &mut HeaderList) {
        context::inject(request, self.trace, self.id, self.sampled, &self.state);
    }

    /// The finished span.
    pub(super) fn data(&self, tags: Tags, end: Duration) -> SpanData {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let failed = tags.failed(&self.kind);
        SpanData {
            span_context: SpanContext::new(self.trace, self.id, flags, false, self.trace_state()),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |above| above.id),
            parent_span_is_remote: self.parent.is_some_and(|above| above.remote),
            span_kind: self.kind.clone(),
            name: self.name.clone().into(),
            start_time: SystemTime::UNIX_EPOCH + self.start,
            end_time: SystemTime::UNIX_EPOCH + end,
            attributes: tags.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: InstrumentationScope::builder("host-sim")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }

    /// The SDK's own type holds what it can read; headers carry the bytes themselves.
    fn trace_state(&self) -> TraceState {
        std::str::from_utf8(&self.state).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}
