//! The least a proxy made of hyper can do, for `make bench` to compare with: a server, a few kept connections to one origin, no rules;
//! `/healthz` is answered on the spot. `bare_proxy ADDR` forwards to ADDR; `bare_proxy ADDR guard` reads every head with the gateway's own
//! parser first, as a gateway would have to that leaves HTTP/1 to hyper and still answers what Envoy answers.

#![allow(clippy::print_stdout, reason = "a program that says where it listens")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::http1::{BodyKind, HeadLimits, HeadReader, parse_request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;
/// Idle connections to the origin.
type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (upstream, guarded) = match words.as_slice() {
        [upstream] => (upstream.parse()?, false),
        [upstream, "guard"] => (upstream.parse()?, true),
        _ => return Err("usage: bare_proxy UPSTREAM [guard]".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(serve(upstream, guarded)))
}

/// Serves on a port of the kernel's choice and says which, on one thread.
async fn serve(upstream: SocketAddr, guarded: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on {}", listener.local_addr()?);
    let idle = Idle::default();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        if guarded {
            serve_one(Guarded::new(socket), Rc::clone(&idle), upstream);
        } else {
            serve_one(socket, Rc::clone(&idle), upstream);
        }
    }
}

fn serve_one(socket: impl AsyncRead + AsyncWrite + Unpin + 'static, idle: Idle, upstream: SocketAddr) {
    let service = service_fn(move |request| forward(request, Rc::clone(&idle), upstream));
    tokio::task::spawn_local(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
    );
}

async fn forward(
    request: Request<Incoming>,
    idle: Idle,
    upstream: SocketAddr,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Failure> {
    if request.uri().path() == "/healthz" {
        let body = Full::new(Bytes::from_static(b"ok\n")).map_err(|never: Infallible| match never {});
        return Ok(Response::builder().header("content-type", "text/plain").body(body.boxed())?);
    }
    let kept = idle.borrow_mut().pop();
    let mut sender = match kept {
        Some(sender) if sender.is_ready() => sender,
        _ => connect(upstream).await?,
    };
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    // A small body has arrived with its head, so the connection is free again by the time the next request wants one.
    idle.borrow_mut().push(sender);
    Ok(response.map(BodyExt::boxed))
}

async fn connect(upstream: SocketAddr) -> Result<SendRequest<Incoming>, Failure> {
    let socket = TcpStream::connect(upstream).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// A socket whose heads are judged before hyper sees them. It knows of no bodies: a request with one ends the connection.
struct Guarded {
    socket: TcpStream,
    reader: HeadReader,
    seen: BytesMut,
}

impl Guarded {
    fn new(socket: TcpStream) -> Self {
        Self { socket, reader: HeadReader::default(), seen: BytesMut::with_capacity(4096) }
    }

    fn judge(&mut self) -> std::io::Result<()> {
        let limits = HeadLimits::default();
        let refused = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        while let Some(head) = self.reader.take(&mut self.seen, limits.bytes).map_err(|_| refused())? {
            match parse_request(&head, limits, false) {
                Ok(head) if head.body == BodyKind::None => {}
                _ => return Err(refused()),
            }
        }
        Ok(())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        this.seen.extend_from_slice(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(this.judge())
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
