//! The way to a collector: the SDK gathers spans and writes OTLP, a thread of the SDK's own hands the bytes to our hyper.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};

use crate::stats::{Registry, TracingStats};

/// How long spans wait for company.
const PACE: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A collector's answer is not larger.
const LARGEST: usize = 1024 * 1024;

/// What is spoken with a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    Http,
    Grpc,
}

/// Where spans go, and in whose name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Collector {
    pub(super) wire: Wire,
    /// Scheme, authority and path, as the collector is addressed.
    pub(super) uri: String,
    /// Where it is; absent when its cluster has no endpoint.
    pub(super) address: Option<SocketAddr>,
    /// `service.name`
    pub(super) service: String,
}

/// The exporters of a process: the same collector is told by one exporter, whatever configuration asks for it.
#[derive(Clone)]
pub(crate) struct Tracers(Option<Arc<Shared>>);

struct Shared {
    /// Kept for the life of the gateway: what waits is not lost when a configuration no longer asks for it.
    running: Mutex<BTreeMap<Collector, Arc<Exporter>>>,
    registry: Registry,
}

impl fmt::Debug for Tracers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracers").finish_non_exhaustive()
    }
}

impl Tracers {
    /// None running; counts there.
    pub(crate) fn new(registry: Registry) -> Self {
        Self(Some(Arc::new(Shared { running: Mutex::default(), registry })))
    }

    /// Spans are made and nobody is told.
    pub(crate) fn silent() -> Self {
        Self(None)
    }

    pub(super) fn exporter(&self, collector: Collector) -> Result<Option<Arc<Exporter>>, String> {
        let Some(shared) = &self.0 else { return Ok(None) };
        let mut running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exporter) = running.get(&collector) {
            return Ok(Some(Arc::clone(exporter)));
        }
        let exporter = Arc::new(Exporter::start(&collector, shared.registry.tracing())?);
        running.insert(collector, Arc::clone(&exporter));
        Ok(Some(exporter))
    }

    /// Sends what waits. Blocks while it does.
    pub(crate) fn flush(&self) {
        let Some(shared) = &self.0 else { return };
        let running: Vec<_> = {
            let running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.values().cloned().collect()
        };
        for exporter in running {
            // What became of it is counted.
            let _ = exporter.0.force_flush();
        }
    }
}

/// Spans on their way to one collector.
pub(super) struct Exporter(BatchSpanProcessor);

impl Exporter {
    fn start(collector: &Collector, stats: Arc<TracingStats>) -> Result<Self, String> {
        let client = Client::new(collector).map_err(|error| format!("{}: {error}", collector.uri))?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&collector.uri)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| format!("{}: {error}", collector.uri))?;
        let counted = Counted { exporter, stats, uri: collector.uri.clone(), failed: AtomicBool::new(false) };
        let config = BatchConfigBuilder::default().with_scheduled_delay(PACE).build();
        let mut processor = BatchSpanProcessor::new(counted, config);
        processor.set_resource(&Resource::builder().with_service_name(collector.service.clone()).build());
        Ok(Self(processor))
    }

    /// Never waits: a queue that is full drops the span.
    pub(super) fn export(&self, span: SpanData) {
        self.0.on_end(span);
    }
}

/// Counts what arrived, and says so when nothing does.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    stats: Arc<TracingStats>,
    uri: String,
    failed: AtomicBool,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or_default();
        let result = self.exporter.export(batch).await;
        self.stats.timer_flushed.inc();
        match &result {
            Ok(()) => self.stats.spans_sent.add(count),
            Err(_) => self.stats.spans_dropped.add(count),
        }
        let failed = result.is_err();
        if let (Err(error), false) = (&result, self.failed.swap(failed, Ordering::Relaxed)) {
            log::warn!("spans do not reach {}: {error}", self.uri);
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// One connection an export, to where the collector's cluster says it is.
#[derive(Debug)]
struct Client {
    wire: Wire,
    address: Option<SocketAddr>,
}

impl Client {
    fn new(collector: &Collector) -> Result<Client, String> {
        let uri: Uri = collector.uri.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("a collector is reached over http:// here".to_owned());
        }
        Ok(Client { wire: collector.wire, address: collector.address })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let address = self.address.ok_or("its cluster has no endpoint")?;
        let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await?);
        match self.wire {
            Wire::Http => {
                let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
                tokio::spawn(connection);
                whole(sender.send_request(to_origin(request)?).await?).await
            }
            Wire::Grpc => {
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                accepted(sender.send_request(grpc(request)).await?).await
            }
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'c, 'f>(
        &'c self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'c: 'f,
        Self: 'f,
    {
        // The SDK's thread waits for its future by itself; sockets need a runtime.
        Box::pin(async move {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { tokio::time::timeout(PATIENCE, self.exchange(request)).await? })
        })
    }
}

/// An absolute URI becomes a path and a host, as an origin wants them.
fn to_origin(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, HttpError> {
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(hyper::header::HOST, authority.as_str().parse()?);
    }
    parts.uri = parts.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    Ok(Request::from_parts(parts, Full::new(body)))
}

/// The same message as a gRPC call.
fn grpc(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let (mut parts, message) = request.into_parts();
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message);
    parts.headers.insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/grpc"));
    parts.headers.insert(hyper::header::TE, hyper::header::HeaderValue::from_static("trailers"));
    parts.version = hyper::Version::HTTP_2;
    Request::from_parts(parts, Full::new(framed.freeze()))
}

async fn whole(response: Response<hyper::body::Incoming>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, Limited::new(body, LARGEST).collect().await?.to_bytes()))
}

/// A gRPC answer as the plain one the SDK expects.
async fn accepted(response: Response<hyper::body::Incoming>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = response.into_parts();
    let collected = Limited::new(body, LARGEST).collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = trailers.get("grpc-status").or_else(|| parts.headers.get("grpc-status"));
    let accepted = parts.status == StatusCode::OK && status.is_some_and(|status| status == "0");
    let mut plain = Response::new(Bytes::new());
    if !accepted {
        *plain.status_mut() = StatusCode::BAD_GATEWAY;
    }
    Ok(plain)
}
