//! A collector that reads OTLP, over HTTP or gRPC, and an origin at the same address that writes down what reaches it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use prost::Message;
use tokio::sync::watch;

/// A span as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) flags: u32,
    pub(crate) status: i32,
    pub(crate) service: String,
    pub(crate) tags: Vec<(String, String)>,
}

/// A request as the origin saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Span {
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Seen {
    /// All copies, with `,` between; nothing for none.
    pub(crate) fn header(&self, name: &str) -> String {
        let all: Vec<_> =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        all.join(",")
    }
}

#[derive(Default)]
struct Heard {
    spans: Vec<Span>,
    seen: Vec<Seen>,
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    grpc: bool,
    heard: Arc<Mutex<Heard>>,
    changed: watch::Receiver<()>,
}

impl Collector {
    pub(crate) async fn start(grpc: bool) -> Collector {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (change, changed) = watch::channel(());
        let (heard, change) = (Arc::new(Mutex::new(Heard::default())), Arc::new(change));
        let shared = Arc::clone(&heard);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (heard, change) = (Arc::clone(&shared), Arc::clone(&change));
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, Arc::clone(&heard), Arc::clone(&change)));
                    // A client that leaves has what it wants.
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Collector { address, grpc, heard, changed }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.grpc { "grpc" } else { "http" }, self.address)
    }

    /// Waits until so much was heard.
    pub(crate) async fn wait_for(&self, spans: usize, seen: usize) {
        let mut changed = self.changed.clone();
        let enough = async {
            loop {
                changed.borrow_and_update();
                let (got, met) = self.count();
                if got >= spans && met >= seen {
                    return;
                }
                changed.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), enough).await;
        assert!(waited.is_ok(), "{:?} spans and requests of {:?}", self.count(), (spans, seen));
    }

    fn count(&self) -> (usize, usize) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (heard.spans.len(), heard.seen.len())
    }

    /// Everything heard so far.
    pub(crate) fn take(&self) -> (Vec<Span>, Vec<Seen>) {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        (heard.spans, heard.seen)
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(
    request: Request<Incoming>,
    heard: Arc<Mutex<Heard>>,
    change: Arc<watch::Sender<()>>,
) -> Result<Answer, hyper::Error> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut body = body.collect().await?.to_bytes();
    let grpc = path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    if grpc || path == "/v1/traces" {
        if grpc {
            body.advance(5);
        }
        let message = ExportTraceServiceRequest::decode(body).unwrap();
        heard.lock().unwrap_or_else(PoisonError::into_inner).spans.extend(spans(message));
        change.send_replace(());
        return Ok(if grpc { accepted() } else { plain(200, "") });
    }
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let seen = Seen { path: path.clone(), headers: headers.collect() };
    heard.lock().unwrap_or_else(PoisonError::into_inner).seen.push(seen);
    change.send_replace(());
    Ok(match path.as_str() {
        "/silent" => std::future::pending().await,
        "/bad" => plain(503, "bad"),
        "/shop/missing" => plain(404, "missing"),
        _ => match path.strip_prefix("/shop/grpc-") {
            Some(status) => {
                let mut answer = plain(200, "");
                answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                answer.headers_mut().insert("grpc-status", status.parse().unwrap());
                answer
            }
            None => plain(200, "hello"),
        },
    })
}

fn plain(status: u16, body: &'static str) -> Answer {
    Response::builder().status(status).body(Full::new(Bytes::from(body)).boxed()).unwrap()
}

fn accepted() -> Answer {
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let body = message.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn spans(message: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for resource in message.resource_spans {
        let attributes = resource.resource.map(|resource| tags(resource.attributes)).unwrap_or_default();
        let service = attributes.into_iter().find(|(name, _)| name == "service.name").map(|(_, value)| value);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
            all.push(Span {
                name: span.name,
                kind: span.kind,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                flags: span.flags,
                status: span.status.map(|status| status.code).unwrap_or_default(),
                service: service.clone().unwrap_or_default(),
                tags: tags(span.attributes),
            });
        }
    }
    all
}

fn tags(list: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Option<Any>| match value {
        Some(Any::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    list.into_iter().map(|one| (one.key, text(one.value.and_then(|value| value.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
