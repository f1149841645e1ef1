//! Origins: small servers that answer what they saw, obey `x-origin-*` request headers, and write down every request.
//!
//! They speak HTTP/1.1 and HTTP/2 with prior knowledge on one port, as the recorded ones did, and run on a thread of their own so that a busy test
//! does not slow them.

mod http1;
mod http2;
mod ports;
mod steer;

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::case::{Headers, Seen};
use crate::latin1;
use crate::record::KEY;
use steer::Steering;

/// Running origins. They stop when this is dropped.
pub struct Origins {
    records: Arc<Records>,
    addresses: Vec<(String, SocketAddr)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _alone: Option<File>,
}

impl Origins {
    /// `o1` … `o6` on the addresses of the corpus, 127.77.0.1 … 127.77.0.6, port 8080. Waits while another run on this machine has them.
    ///
    /// # Errors
    /// A lock file or an address that cannot be had.
    pub fn recorded() -> Result<Self> {
        let alone = ports::alone()?;
        let wanted = (1..=6)
            .map(|i| (format!("o{i}"), SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, 0, i)), 8080)))
            .collect();
        Self::start(wanted, Some(alone))
    }

    /// `o1` … `o6` on port 8080 of the addresses `net`.1 … `net`.6, where `net` is the first of 127.78.0, 127.78.1, … that is free: a hash over
    /// addresses comes out the same every time, and two runs do not wait for each other.
    ///
    /// # Errors
    /// A machine on which 256 such runs are under way.
    pub fn on_a_net() -> Result<(Self, String)> {
        let mut last = None;
        for third in 0..=u8::MAX {
            let wanted: Vec<_> = (1..=6)
                .map(|i| (format!("o{i}"), SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 78, third, i)), 8080)))
                .collect();
            match wanted.iter().map(|(_, at)| std::net::TcpListener::bind(at)).collect::<Result<Vec<_>, _>>() {
                Err(e) => last = Some(e),
                Ok(sockets) => {
                    let bound = wanted.into_iter().zip(sockets).map(|((name, _), socket)| (name, socket)).collect();
                    return Ok((Self::serve_on(bound, None)?, format!("127.78.{third}")));
                }
            }
        }
        Err(last.context("no net was tried")?.into())
    }

    /// One origin per name, each on a loopback port of the kernel's choice.
    ///
    /// # Errors
    /// A machine without loopback.
    pub fn anywhere(names: &[&str]) -> Result<Self> {
        Self::start(
            names
                .iter()
                .map(|name| ((*name).to_owned(), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)))
                .collect(),
            None,
        )
    }

    /// Where the origin of this name listens.
    ///
    /// # Errors
    /// A name nobody was given.
    pub fn address(&self, name: &str) -> Result<SocketAddr> {
        self.addresses
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, at)| *at)
            .with_context(|| format!("no origin is called {name}"))
    }

    /// The requests that carried this key, in order of arrival, each in the corpus's form but for masks. They are forgotten here.
    #[must_use]
    pub fn take(&self, key: &str) -> Vec<Seen> {
        self.records.lock().remove(key).unwrap_or_default()
    }

    /// Waits until this many requests have carried the key, at most for `patience`.
    pub async fn wait_for(&self, key: &str, count: usize, patience: Duration) {
        let mut changed = self.records.changed.subscribe();
        let enough = async {
            while self.records.lock().get(key).map_or(0, Vec::len) < count && changed.changed().await.is_ok() {}
        };
        let _ = tokio::time::timeout(patience, enough).await;
    }

    fn start(wanted: Vec<(String, SocketAddr)>, alone: Option<File>) -> Result<Self> {
        let mut listeners = Vec::new();
        for (name, at) in wanted {
            let listener = ports::listen(at).with_context(|| format!("origin {name} on {at}"))?;
            listeners.push((name, listener));
        }
        Self::serve_on(listeners, alone)
    }

    fn serve_on(listeners: Vec<(String, std::net::TcpListener)>, alone: Option<File>) -> Result<Self> {
        let records = Arc::new(Records::default());
        let (stop, stopped) = oneshot::channel();
        let mut addresses = Vec::new();
        for (name, listener) in &listeners {
            listener.set_nonblocking(true)?;
            addresses.push((name.clone(), listener.local_addr()?));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&records);
        let thread = std::thread::Builder::new().name("origins".into()).spawn(move || {
            runtime.block_on(async {
                for (name, listener) in listeners {
                    let origin = Arc::new(Origin { name, records: Arc::clone(&shared) });
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        tokio::spawn(accept(listener, origin));
                    }
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { records, addresses, stop: Some(stop), thread: Some(thread), _alone: alone })
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What reached the origins, by key.
#[derive(Default)]
struct Records {
    seen: Mutex<HashMap<String, Vec<Seen>>>,
    changed: watch::Sender<()>,
}

impl Records {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Seen>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down and says how many of its key came before.
    fn note(&self, key: &str, seen: Seen) -> usize {
        let mut records = self.lock();
        let list = records.entry(key.to_owned()).or_default();
        let before = list.len();
        list.push(seen);
        self.changed.send_replace(());
        before
    }
}

/// One origin, shared by its connections.
struct Origin {
    name: String,
    records: Arc<Records>,
}

/// A request, whatever protocol it came by. Strings stand for bytes.
struct Request {
    method: String,
    path: String,
    headers: Headers,
    body: Vec<u8>,
    proto: Option<String>,
}

impl Origin {
    /// Writes the request down and decides the answer. No answer: the connection (or stream) is to be cut.
    async fn answer(&self, request: Request) -> Option<Answer> {
        let headers: Headers = request.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let key = headers.iter().find(|(name, _)| name == KEY).map_or("", |(_, value)| value).to_owned();
        let steering = Steering::read(&headers);
        let answer = serde_json::json!({"origin": &self.name, "method": &request.method, "path": &request.path});
        let body = (!request.body.is_empty()).then(|| latin1::decode(&request.body));
        let attempt = self.records.note(
            &key,
            Seen {
                origin: self.name.clone(),
                method: request.method,
                path: request.path,
                headers,
                body,
                proto: request.proto,
            },
        );
        if !steering.delay.is_zero() {
            tokio::time::sleep(steering.delay).await; // the request asked for it
        }
        if steering.reset {
            return None;
        }
        let body = python_style(&answer);
        let mut headers: Headers = vec![
            ("content-type".into(), "application/json".into()),
            ("content-length".into(), body.len().to_string()),
            ("x-origin".into(), self.name.clone()),
        ];
        headers.extend(steering.headers.iter().cloned());
        Some(Answer { status: steering.status(attempt), headers, body })
    }
}

/// What an origin says.
struct Answer {
    status: u16,
    headers: Headers,
    body: String,
}

/// The recorded origins put a space behind `:` and `,`, which is part of the recorded `content-length`; and they escaped what is not ASCII.
fn python_style(answer: &serde_json::Value) -> String {
    let text = |field: &str| {
        let json = answer.get(field).map(ToString::to_string).unwrap_or_default();
        json.chars().map(|c| if c.is_ascii() && c != '\u{7f}' { c.to_string() } else { escaped(c) }).collect::<String>()
    };
    format!("{{\"origin\": {}, \"method\": {}, \"path\": {}}}", text("origin"), text("method"), text("path"))
}

fn escaped(c: char) -> String {
    if c == '\u{7f}' { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }
}

async fn accept(listener: TcpListener, origin: Arc<Origin>) {
    while let Ok((socket, _)) = listener.accept().await {
        let origin = Arc::clone(&origin);
        tokio::spawn(async move {
            let _ = serve(socket, origin).await; // a peer that breaks off is a peer that breaks off
        });
    }
}

async fn serve(socket: TcpStream, origin: Arc<Origin>) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut first = [0; 3];
    while socket.peek(&mut first).await? < first.len() {
        socket.readable().await?;
        if socket.peek(&mut first).await? == 0 {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    if &first == b"PRI" { http2::serve(socket, origin).await } else { http1::serve(socket, origin).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_bytes_of_the_recorded_origins() {
        let say = |path: &str| python_style(&serde_json::json!({"origin": "o1", "method": "GET", "path": path}));
        assert_eq!(say("/"), r#"{"origin": "o1", "method": "GET", "path": "/"}"#);
        assert_eq!(say("/").len(), 46); // the content-length that stands in the corpus
        assert_eq!(say("/\u{ff}\"\\"), r#"{"origin": "o1", "method": "GET", "path": "/\u00ff\"\\"}"#);
    }
}
