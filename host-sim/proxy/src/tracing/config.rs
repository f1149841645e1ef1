//! A connection manager's `tracing`, compiled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::exporter::{Collector, Exporter, Tracers, Wire};
use super::sampling::{self, Sampling};
use super::tags::{self, Tags, Try};
use super::{Reason, Span, Start};
use crate::header_ops::Facts;
use crate::headers::{self, HeaderList};
use crate::snapshot::ClusterConfig;

/// Where a connection manager stands, as far as its spans say so.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    pub(crate) tracers: &'p Tracers,
    pub(crate) node: Option<&'p xds::Node>,
    /// Where collectors are.
    pub(crate) clusters: Option<&'p HashMap<Arc<str>, Arc<ClusterConfig>>>,
    /// `traffic_direction: OUTBOUND`, which Istio's gateways have: spans are named for where requests go.
    pub(crate) egress: bool,
}

impl<'p> Place<'p> {
    /// Nowhere yet.
    pub(crate) fn new(tracers: &'p Tracers) -> Place<'p> {
        Place { tracers, node: None, clusters: None, egress: false }
    }
}

/// How a connection manager traces.
pub(crate) struct Tracing {
    sampling: Sampling,
    pub(super) max_path: usize,
    pub(super) custom_tags: Vec<CustomTag>,
    /// Every try at an origin has a span of its own.
    pub(crate) spawns: bool,
    pub(crate) egress: bool,
    pub(super) node: Node,
    /// Absent where nobody is to be told.
    exporter: Option<Arc<Exporter>>,
}

/// The bootstrap's node, as spans name it.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) zone: String,
}

/// A tag somebody asked for.
pub(super) struct CustomTag {
    name: String,
    source: Source,
}

enum Source {
    Constant(String),
    Header { name: String, default: String },
}

/// `max_path_tag_length`'s default.
const MAX_PATH: u32 = 256;

impl Tracing {
    /// Absent without a provider, and with one that does not run here, which the log names.
    ///
    /// # Errors
    /// A provider of the kind that runs here, configured as it cannot run.
    pub(crate) fn compile(config: &xds::Tracing, place: &Place<'_>) -> Result<Option<Tracing>, String> {
        let Some(provider) = &config.provider else { return Ok(None) };
        let Some(xds::TracerConfig::OpenTelemetry(tracer)) = &provider.typed_config else {
            log::warn!("tracing.provider \"{}\" does not run here: requests are not traced", provider.name);
            return Ok(None);
        };
        for (field, used) in [
            ("verbose", config.verbose),
            ("operation", !config.operation.is_empty()),
            ("upstream_operation", !config.upstream_operation.is_empty()),
            ("provider.typed_config.sampler", tracer.sampler.is_some()),
            ("provider.typed_config.resource_detectors", !tracer.resource_detectors.is_empty()),
        ] {
            if used {
                log::warn!("tracing.{field} is ignored");
            }
        }
        let collector = collector(tracer, place).map_err(|why| format!("tracing.provider: {why}"))?;
        let percent =
            |set: &Option<xds::Percent>| set.as_ref().map_or(100.0, |percent| percent.value.clamp(0.0, 100.0));
        Ok(Some(Tracing {
            sampling: Sampling {
                client: whole(percent(&config.client_sampling)),
                random: whole((percent(&config.random_sampling) * 100.0).round()),
                overall: whole(percent(&config.overall_sampling)),
            },
            max_path: usize::try_from(config.max_path_tag_length.unwrap_or(MAX_PATH)).unwrap_or(usize::MAX),
            custom_tags: config.custom_tags.iter().map(CustomTag::compile).collect::<Result<_, _>>()?,
            spawns: config.spawn_upstream_span.unwrap_or(false),
            egress: place.egress,
            node: Node {
                id: place.node.map(|node| node.id.clone()).unwrap_or_default(),
                zone: place.node.and_then(|node| Some(node.locality.as_ref()?.zone.clone())).unwrap_or_default(),
            },
            exporter: place.tracers.exporter(collector)?,
        }))
    }

    /// Is this request traced? Its `x-request-id` says so from now on.
    pub(crate) fn decide(&self, request: &mut HeaderList, dice: u64) -> Reason {
        sampling::decide(self.sampling, request, dice)
    }

    /// A request's span; none where its own `traceparent` cannot be read.
    pub(crate) fn span(&self, request: &[(Bytes, Bytes)], start: Start) -> Option<Span> {
        Span::of(request, Start { server: self.spawns || !self.egress, ..start })
    }

    /// What a request's span is called where its route has no word for it.
    pub(crate) fn name(&self, request: &[(Bytes, Bytes)]) -> String {
        if !self.egress {
            return "ingress".to_owned();
        }
        let host = headers::get(request, ":authority").map(|host| tags::text(host)).unwrap_or_default();
        format!("egress {host}")
    }

    /// A request is over.
    pub(crate) fn finish(&self, span: &Span, facts: &Facts<'_>, end: Duration) {
        self.export(span, end, || Tags::of_request(facts, self));
    }

    /// A try at an origin is over.
    pub(crate) fn finish_try(&self, span: &Span, facts: &Facts<'_>, one: &Try, end: Duration) {
        self.export(span, end, || Tags::of_try(facts, self, one));
    }

    fn export(&self, span: &Span, end: Duration, tags: impl FnOnce() -> Tags) {
        if let Some(exporter) = self.exporter.as_ref().filter(|_| span.is_sampled()) {
            exporter.export(span.data(tags(), end));
        }
    }
}

impl CustomTag {
    fn compile(tag: &xds::CustomTag) -> Result<CustomTag, String> {
        let source = if let Some(literal) = &tag.literal {
            Source::Constant(literal.value.clone())
        } else if let Some(header) = &tag.request_header {
            Source::Header { name: header.name.to_ascii_lowercase(), default: header.default_value.clone() }
        } else if let Some(variable) = &tag.environment {
            Source::Constant(std::env::var(&variable.name).unwrap_or_else(|_| variable.default_value.clone()))
        } else {
            return Err(format!(
                "tracing.custom_tags \"{}\": only literal, request_header and environment are supported",
                tag.tag
            ));
        };
        Ok(CustomTag { name: tag.tag.clone(), source })
    }

    /// Nothing where there is no value.
    pub(super) fn of(&self, request: &[(Bytes, Bytes)]) -> Option<(String, String)> {
        let value = match &self.source {
            Source::Constant(value) => value.clone(),
            Source::Header { name, default } => {
                headers::get(request, name).map_or_else(|| default.clone(), |value| tags::text(value))
            }
        };
        (!value.is_empty()).then(|| (self.name.clone(), value))
    }
}

fn collector(tracer: &xds::OpenTelemetryConfig, place: &Place<'_>) -> Result<Collector, String> {
    let address = |cluster: &str| {
        let known = place.clusters.and_then(|clusters| clusters.get(cluster));
        let known = known.ok_or_else(|| format!("there is no cluster \"{cluster}\""))?;
        if known.tls.is_some() {
            return Err(format!("cluster \"{cluster}\" speaks TLS; collectors are reached in plain text here"));
        }
        Ok(known.plan.endpoints.first().map(|endpoint| endpoint.address))
    };
    let service = if tracer.service_name.is_empty() { "unknown_service:envoy" } else { &tracer.service_name };
    if let Some(http) = tracer.http_service.as_ref().and_then(|service| service.http_uri.as_ref()) {
        let address = address(&http.cluster)?;
        return Ok(Collector { wire: Wire::Http, uri: http.uri.clone(), address, service: service.to_owned() });
    }
    let grpc = tracer.grpc_service.as_ref().and_then(|service| service.envoy_grpc.as_ref());
    let grpc = grpc.ok_or("http_service or grpc_service.envoy_grpc is needed")?;
    let authority = if grpc.authority.is_empty() { &grpc.cluster_name } else { &grpc.authority };
    let host: String = authority.chars().map(|c| if c == '|' { '_' } else { c }).collect();
    let uri = format!("http://{host}/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    Ok(Collector { wire: Wire::Grpc, uri, address: address(&grpc.cluster_name)?, service: service.to_owned() })
}

/// Envoy counts in whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10,000")]
fn whole(number: f64) -> u64 {
    number as u64
}
