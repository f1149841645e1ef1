//! Traces: a span for every request and one for every try at an origin, named and tagged as Envoy's OpenTelemetry tracer names
//! and tags them; W3C trace context in and out; OTLP to a collector. Nothing of it happens without a provider.
//!
//! Source: `tracing/http_tracer_impl.cc`, `tracers/opentelemetry/` and `http/conn_manager_impl.cc` (`traceRequest`), and what
//! Envoy 1.40 sent to a collector. Two things are ours: the SDK's name in the resource, and the scope's name `host-sim`.

mod config;
mod context;
mod exporter;
mod sampling;
mod span;
mod tags;

pub(crate) use config::{Place, Tracing};
pub(crate) use exporter::Tracers;
pub(crate) use sampling::Reason;
pub(crate) use span::{Outcome, Span, Start};
pub(crate) use tags::Try;
