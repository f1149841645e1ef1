//! An HTTP/2 origin that answers as a gRPC service would, and as one that misbehaves. It remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// A running origin; it ends with the process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Receiver<String>,
    ends: Receiver<String>,
}

impl Origin {
    /// Heads of requests since this was last asked: names and values, sorted.
    pub(crate) fn take_seen(&self) -> String {
        self.seen.try_iter().collect::<Vec<_>>().join("; ")
    }

    /// How the next request that ends has ended.
    pub(crate) fn wait_for_an_end(&self) -> String {
        self.ends.recv_timeout(Duration::from_secs(20)).expect("a request ends")
    }
}

/// Starts one.
pub(crate) fn start() -> Origin {
    let ((seen_by, seen), (ended, ends)) = (channel(), channel());
    let (address_by, address) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            address_by.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let (seen_by, ended) = (seen_by.clone(), ended.clone());
                let service =
                    hyper::service::service_fn(move |request| answer(request, seen_by.clone(), ended.clone()));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
    });
    Origin { address: address.recv().unwrap(), seen, ends }
}

type Frames = tokio::sync::mpsc::UnboundedSender<Result<Frame<Bytes>, Broken>>;

async fn answer(
    request: http::Request<Incoming>,
    seen: Sender<String>,
    ended: Sender<String>,
) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    let mut lines: Vec<String> =
        head.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap_or("?"))).collect();
    lines.sort();
    let path = head.uri.path().to_owned();
    let _ = seen.send(format!("{} {} {}", head.method, head.uri, lines.join(" ")));
    let method = path.strip_prefix("/test.Echo/").unwrap_or("");
    let (frames, pieces) = tokio::sync::mpsc::unbounded_channel();
    let mut response = Response::builder().header("content-type", "application/grpc").header("x-initial", "yes");
    match method {
        "Bare" => {
            response = response.header("grpc-status", "5").header("grpc-message", "not%20here");
            drop(frames);
            return Ok(response.body(Answer::Empty).unwrap());
        }
        "Status503" => return Ok(response.status(503).body(Answer::Empty).unwrap()),
        "" => {
            let _ = frames.send(Ok(Frame::data(Bytes::from_static(b"plain"))));
            drop(frames);
        }
        _ => {
            let method = method.to_owned();
            tokio::spawn(async move { converse(&method, body, frames, ended).await });
        }
    }
    Ok(response.body(Answer::Pieces(pieces)).unwrap())
}

async fn converse(method: &str, mut body: Incoming, frames: Frames, ended: Sender<String>) {
    let mut buffer = BytesMut::new();
    let data = |bytes: Bytes| drop(frames.send(Ok(Frame::data(bytes))));
    let end = |status: &'static str, message: &'static str| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        if !message.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(message));
        }
        trailers.insert("x-trailing", HeaderValue::from_static("yes"));
        let _ = frames.send(Ok(Frame::trailers(trailers)));
    };
    loop {
        match body.frame().await {
            None => break,
            Some(Err(_)) => return drop(ended.send(format!("/test.Echo/{method} broke off"))),
            Some(Ok(frame)) => buffer.put(frame.into_data().unwrap_or_default()),
        }
        while let Some(message) = take(&mut buffer) {
            match method {
                "Unary" | "Chat" => data(framed(&[b"echo:", &message[..]].concat())),
                "Fail" => return end("7", "no%20entry"),
                "Compressed" => return data(Bytes::from_static(&[1, 0, 0, 0, 1, b'x'])),
                "Reset" => return drop(frames.send(Err(Broken))),
                "Nonsense" => return end("soup", ""),
                "Broken" => {
                    data(framed(&message));
                    return;
                }
                "Empty" => return end("0", ""),
                // `Never`, and what nobody has thought of.
                _ => std::future::pending().await,
            }
        }
    }
    let _ = ended.send(format!("/test.Echo/{method} ended"));
    end("0", "");
}

fn take(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().unwrap());
    let length = usize::try_from(length).unwrap();
    if buffer.len() < 5 + length {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(length).freeze())
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// A response's body.
enum Answer {
    Empty,
    Pieces(tokio::sync::mpsc::UnboundedReceiver<Result<Frame<Bytes>, Broken>>),
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken, as asked")
    }
}

impl std::error::Error for Broken {}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Answer::Empty => Poll::Ready(None),
            Answer::Pieces(pieces) => pieces.poll_recv(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Empty)
    }
}
