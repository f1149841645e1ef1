//! Origins without sockets: every endpoint is a connection in memory, answered by a function.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::connection::{Io, LocalExecutor};

/// A request as an origin sees it.
#[derive(Debug)]
pub struct Seen {
    /// The cluster the origin stands for.
    pub cluster: String,
    /// The endpoint that was tried.
    pub endpoint: SocketAddr,
    /// The request.
    pub request: Request<Bytes>,
}

/// What an origin does.
#[derive(Debug)]
pub enum Answer {
    /// Answers, after a while.
    Response(Duration, Response<Bytes>),
    /// Closes the connection without an answer.
    Reset,
}

/// How all origins answer.
pub type Origins = dyn Fn(Seen) -> Answer;

/// Bytes a connection in memory holds before its writer waits.
const ROOM: usize = 256 * 1024;

/// The way to all origins.
#[derive(Clone)]
pub(crate) struct Stage(Rc<Origins>);

#[derive(Debug, thiserror::Error)]
#[error("reset as asked")]
struct Reset;

impl Stage {
    pub(super) fn new(origins: Rc<Origins>) -> Stage {
        Stage(origins)
    }

    /// Opens a connection to an endpoint; TLS towards it is taken as done.
    pub(crate) fn open(&self, cluster: &str, endpoint: SocketAddr, http2: bool) -> Io {
        let (near, far) = tokio::io::duplex(ROOM);
        let (origins, cluster) = (Rc::clone(&self.0), cluster.to_owned());
        tokio::task::spawn_local(async move {
            if !http2 {
                // It ends with the connection, whichever side ends that.
                let _ = super::origin_http1::serve(far, &*origins, &cluster, endpoint).await;
                return;
            }
            let service = service_fn(move |request: Request<Incoming>| {
                let (origins, cluster) = (Rc::clone(&origins), cluster.clone());
                async move { answer(&*origins, cluster, endpoint, request).await }
            });
            // A reset is what was asked for; a gateway that went away is none of ours.
            let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
            let _ = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(far), service).await;
        });
        Io::Other(Box::new(near))
    }
}

async fn answer(
    origins: &Origins,
    cluster: String,
    endpoint: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Reset> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match origins(Seen { cluster, endpoint, request: Request::from_parts(head, body) }) {
        Answer::Reset => Err(Reset),
        Answer::Response(after, response) => {
            tokio::time::sleep(after).await;
            Ok(response.map(Full::new))
        }
    }
}

/// An origin that says 200 to everything, and remembers nothing.
pub fn always_200(_: Seen) -> Answer {
    Answer::Response(Duration::ZERO, Response::new(Bytes::new()))
}
