//! Embedded echo backends: a service nobody runs answers with what it was asked.
//!
//! An answer is 200 with JSON `{origin, method, path, headers, body}`. Request headers steer it, so that retries, timeouts
//! and outlier detection can be seen without writing a server: `x-echo-status: 503` (or `503,503,200` by attempt, told
//! apart by `x-request-id`), `x-echo-delay: 250ms`, `x-echo-headers: name=value;name=value`, `x-echo-reset: 1` (closes the
//! connection without an answer).

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// Request bodies above this many bytes are cut off in the answer.
const BODY_LIMIT: usize = 64 * 1024;
/// A delay asked for by header never lasts longer.
const DELAY_LIMIT: Duration = Duration::from_secs(60);
/// How many requests' attempts are remembered.
const ATTEMPTS_REMEMBERED: usize = 4096;

/// A running echo backend on a loopback port of the kernel's choice; it ends with the runtime it was started on.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
}

/// One backend: its name, and which attempts it has seen.
pub(crate) struct Origin {
    name: String,
    attempts: Mutex<VecDeque<(String, usize)>>,
}

impl EchoServer {
    /// Starts a backend that calls itself `name`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says when no loopback port can be had.
    pub async fn start(name: impl Into<String>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let origin = Arc::new(Origin::new(name.into()));
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&origin)))),
                    // Out of file descriptors, say: wait for some to come back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(stream: TcpStream, origin: Arc<Origin>) {
    let service = service_fn(move |request| {
        let origin = Arc::clone(&origin);
        async move { answer(&origin, request).await }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    // A reset is an error of the service, on purpose; a client that went away is none of ours.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("reset as asked")]
struct Reset;

async fn answer(origin: &Origin, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (delay, response) = origin.respond(&head, &body);
    tokio::time::sleep(delay).await;
    response.map(|response| response.map(Full::new)).ok_or(Reset)
}

struct Steering {
    status: StatusCode,
    delay: Duration,
    headers: hyper::HeaderMap,
    reset: bool,
}

impl Steering {
    fn read(origin: &Origin, head: &Parts) -> Self {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let status = header("x-echo-status").and_then(|list| {
            let attempt =
                if list.contains(',') { header("x-request-id").map_or(0, |id| origin.attempt(id)) } else { 0 };
            nth_or_last(list, attempt)
        });
        Self {
            status: status.unwrap_or(StatusCode::OK),
            delay: header("x-echo-delay").and_then(duration).unwrap_or_default().min(DELAY_LIMIT),
            headers: header("x-echo-headers").map(pairs).unwrap_or_default(),
            reset: header("x-echo-reset").is_some(),
        }
    }
}

impl Origin {
    /// An origin that calls itself `name`.
    pub(crate) fn new(name: String) -> Self {
        Self { name, attempts: Mutex::default() }
    }

    /// What it answers and after how long; no answer when it is to close the connection.
    pub(crate) fn respond(&self, head: &Parts, body: &[u8]) -> (Duration, Option<Response<Bytes>>) {
        let steering = Steering::read(self, head);
        if steering.reset {
            return (steering.delay, None);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
        let authority = head.uri.authority().map(|a| ("host".to_owned(), a.as_str().to_owned()));
        let seen = serde_json::json!({
            "origin": self.name,
            "method": head.method.as_str(),
            "path": head.uri.path_and_query().map_or("/", |target| target.as_str()),
            "headers": authority.into_iter().chain(headers).collect::<Vec<_>>(),
            "body": text(body.get(..BODY_LIMIT).unwrap_or(body)),
        });
        let mut response = Response::new(Bytes::from(seen.to_string()));
        *response.status_mut() = steering.status;
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        response.headers_mut().extend(steering.headers);
        (steering.delay, Some(response))
    }

    /// How many requests with this id came before.
    fn attempt(&self, id: &str) -> usize {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seen)) = attempts.iter_mut().find(|(known, _)| known == id) {
            *seen += 1;
            return *seen;
        }
        if attempts.len() == ATTEMPTS_REMEMBERED {
            attempts.pop_front();
        }
        attempts.push_back((id.to_owned(), 0));
        0
    }
}

fn nth_or_last(list: &str, n: usize) -> Option<StatusCode> {
    list.split(',').nth(n).or_else(|| list.rsplit(',').next())?.trim().parse().ok()
}

fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok(),
    }
}

fn pairs(text: &str) -> hyper::HeaderMap {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let name: hyper::header::HeaderName = name.trim().parse().ok()?;
        Some((name, value.trim().parse().ok()?))
    };
    text.split(';').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_of_a_list_holds_for_all_later_attempts() {
        let cases = [("503,503,200", 0, 503), ("503,503,200", 2, 200), ("503,503,200", 9, 200), ("418", 0, 418)];
        for (list, attempt, status) in cases {
            assert_eq!(nth_or_last(list, attempt).map(|s| s.as_u16()), Some(status), "{list} {attempt}");
        }
        assert_eq!(nth_or_last("soon", 0), None);
    }

    #[test]
    fn a_delay_is_in_milliseconds_or_seconds() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        for text in ["", "250", "-1s", "NaNs", "infs", "1h"] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_id_counts_its_attempts() {
        let origin = Origin::new("a".to_owned());
        assert_eq!([origin.attempt("x"), origin.attempt("y"), origin.attempt("x")], [0, 0, 1]);
    }
}
