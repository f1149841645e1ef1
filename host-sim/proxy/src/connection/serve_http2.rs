//! An HTTP/2 connection: hyper frames it, every request becomes a stream of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::header::{CONTENT_LENGTH, HOST};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, oneshot};

use super::http2::{self, Outgoing};
use super::http2_flood::{FloodLimits, Watched};
use super::responder::{Http2Responder, Responder};
use super::stream::{Beginning, Stream};
use super::wire::Wire;
use super::{BodySource, LocalExecutor, Remembered};
use crate::edge::ConnectionInfo;
use crate::headers;
use crate::http1::Underscores;
use crate::worker::{Manager, Open, Place, Worker};

/// Envoy's defaults.
const MAX_STREAMS: u32 = 1024;
const CONNECTION_WINDOW: u32 = 24 * 1024 * 1024;

struct Shared {
    worker: Rc<Worker>,
    place: Place,
    info: Rc<ConnectionInfo>,
    current: RefCell<(u64, Rc<Manager>)>,
    remembered: Rc<Remembered>,
    /// Rings when a request is none: Envoy's codec then gives the whole connection up.
    broken: Notify,
}

/// Serves the connection to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    place: Place,
    info: ConnectionInfo,
    wire: Wire,
    (open, remembered): (Open, Rc<Remembered>),
) {
    let Some(manager) = worker.state().manager(&place) else { return };
    let options = manager.config.http2.clone();
    let stream_window = manager.config.stream_window();
    let limits = manager.config.limits;
    let shared = Rc::new(Shared {
        current: RefCell::new((worker.generation(), manager)),
        worker,
        place,
        info: Rc::new(info),
        remembered,
        broken: Notify::new(),
    });
    let service = service_fn(|request| answer(Rc::clone(&shared), request));
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(options.max_concurrent_streams.unwrap_or(MAX_STREAMS))
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(options.initial_connection_window_size.unwrap_or(CONNECTION_WINDOW))
        .max_header_list_size(u32::try_from(limits.bytes).unwrap_or(u32::MAX));
    if options.allow_connect {
        builder.enable_connect_protocol();
    }
    let mut connection = pin!(
        builder.serve_connection(TokioIo::new(Watched::new(wire.into_stream(), FloodLimits::of(&options))), service)
    );
    let mut ending = false;
    let mut broken = pin!(shared.broken.notified());
    poll_fn(|cx| {
        if broken.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let lifetime = &shared.remembered.lifetime;
        if !ending && (open.poll_closing(cx).is_ready() || lifetime.poll_drain(cx).is_ready()) {
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(cx) {
            // How it ended, its streams have been told.
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

async fn answer(shared: Rc<Shared>, request: Request<Incoming>) -> Result<Response<Outgoing>, h2::Error> {
    if !is_sayable(request.uri(), request.method()) || !is_well_formed(&request) {
        shared.current.borrow().1.stats.downstream_cx_protocol_error.inc();
        shared.broken.notify_one();
        return Err(h2::Reason::PROTOCOL_ERROR.into());
    }
    let limits = shared.current.borrow().1.config.limits;
    let underscore = |name: &http::HeaderName| name.as_str().contains('_');
    let refused = limits.underscores == Underscores::Reject && request.headers().keys().any(underscore);
    if refused || request.headers().len() + pseudo_headers(&request) > limits.count {
        return Err(h2::Reason::INTERNAL_ERROR.into());
    }
    let (head, response) = oneshot::channel();
    tokio::task::spawn_local(exchange(shared, request, head));
    match response.await {
        Ok(response) => Ok(response),
        // The stream ended without an answer: only a reset is left to say.
        Err(_) => Err(h2::Reason::INTERNAL_ERROR.into()),
    }
}

/// They count as headers, as every crumb of a cookie does.
fn pseudo_headers(request: &Request<Incoming>) -> usize {
    let uri = request.uri();
    let said = [uri.path_and_query().is_some(), uri.scheme().is_some(), uri.authority().is_some()];
    1 + said.iter().filter(|said| **said).count()
}

/// What hyper lets through and Envoy's codec does not: no host, two of them, a length that is none or said twice.
fn is_well_formed<B>(request: &Request<B>) -> bool {
    let (uri, headers) = (request.uri(), request.headers());
    let lengths = headers.get_all(CONTENT_LENGTH);
    let hosts = headers.get_all(HOST);
    let one_length = lengths.iter().count() <= 1 && lengths.iter().all(|length| !length.is_empty());
    let one_host = hosts.iter().count() <= 1 && hosts.iter().all(|host| !host.is_empty());
    one_length && one_host && (uri.authority().is_some() || headers.contains_key(HOST))
}

/// Envoy's codec takes no path or authority that is none.
fn is_sayable(uri: &hyper::Uri, method: &Method) -> bool {
    let path = uri.path_and_query().map(|path| path.as_str());
    let path_ok = path.is_none_or(|path| path.starts_with('/') || path == "*" && method == Method::OPTIONS);
    path_ok && uri.authority().is_none_or(|authority| !authority.as_str().contains('@'))
}

async fn exchange(shared: Rc<Shared>, request: Request<Incoming>, head: oneshot::Sender<Response<Outgoing>>) {
    shared.remembered.lifetime.request();
    let (parts, body) = request.into_parts();
    let mut list = http2::request_list(&parts);
    let manager = shared.manager();
    // What is to be refused was refused.
    let _ = manager.config.limits.underscores.pass(&mut list);
    if !manager.config.edge.proxy_100_continue && headers::expects_continue(&list) {
        // hyper has no way to say 100; the body is read all the same.
        headers::remove(&mut list, b"expect");
    }
    let responder = Responder::Http2(Http2Responder::new(head));
    let stream = Stream::new(
        &shared.worker,
        manager,
        Beginning {
            connection: Rc::clone(&shared.info),
            responder,
            request: list,
            body: BodySource::http2(body),
            close: false,
            early: false,
            remembered: Rc::clone(&shared.remembered),
            timers: Rc::default(),
        },
    );
    let gone = {
        let mut running = pin!(stream.run());
        let mut leaving = pin!(async {
            match &stream.responder {
                Responder::Http2(responder) => responder.gone().await,
                Responder::Http1(_) => {}
            }
        });
        poll_fn(|cx| {
            if running.as_mut().poll(cx).is_ready() {
                Poll::Ready(false)
            } else if leaving.as_mut().poll(cx).is_ready() {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        })
        .await
    };
    if !stream.finish(gone) {
        stream.responder.reset().await;
    }
}

impl Shared {
    fn manager(&self) -> Rc<Manager> {
        let mut current = self.current.borrow_mut();
        if current.0 != self.worker.generation() {
            let manager = self.worker.state().manager(&self.place);
            *current = (self.worker.generation(), manager.unwrap_or_else(|| Rc::clone(&current.1)));
        }
        Rc::clone(&current.1)
    }
}
