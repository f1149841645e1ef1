//! The least a proxy made of hyper can do: a server, a few kept connections to one origin, no rules. `/healthz` is answered on the spot.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Idle connections to the origin.
type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Serves on a port of the kernel's choice and says which, on one thread.
pub(crate) async fn serve(upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on {}", listener.local_addr()?);
    let idle = Idle::default();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let idle = Rc::clone(&idle);
        let service = service_fn(move |request| forward(request, Rc::clone(&idle), upstream));
        tokio::task::spawn_local(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
        );
    }
}

async fn forward(
    request: Request<Incoming>,
    idle: Idle,
    upstream: SocketAddr,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>> {
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

async fn connect(upstream: SocketAddr) -> Result<SendRequest<Incoming>> {
    let socket = TcpStream::connect(upstream).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
