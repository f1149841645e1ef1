//! Calls a module makes to a cluster, over the same endpoints as any request.

use std::future::pending;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use vm::{CallId, GrpcRequest, HttpCall, HttpCallResponse};

use super::wasm::Plugin;
use crate::connection::{BodySource, Piece};
use crate::headers::{self, HeaderList};
use crate::local_reply::LocalReply;
use crate::upstream::Attempt;
use crate::worker::{Cluster, Surroundings};

/// A response larger than this is not kept whole: the call is reset, as in Envoy.
const LARGEST: usize = 1024 * 1024;
/// gRPC's "unavailable" and "unimplemented".
const UNAVAILABLE: u32 = 14;
const UNIMPLEMENTED: u32 = 12;

/// Makes an http call and tells the plugin how it ended.
pub(super) async fn http(plugin: Weak<Plugin>, call: CallId, request: HttpCall) {
    let Some(surroundings) = plugin.upgrade().map(|plugin| Rc::clone(plugin.surroundings())) else { return };
    let timeout = async {
        match request.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => pending().await,
        }
    };
    let response = tokio::select! {
        response = exchange(&surroundings, &request) => response,
        () = timeout => local(&LocalReply::upstream_timeout()),
    };
    if let Some(plugin) = plugin.upgrade()
        && plugin.ended(call)
    {
        plugin.enter(|vm| vm.on_http_call_response(call, response));
    }
}

async fn exchange(surroundings: &Rc<Surroundings>, request: &HttpCall) -> HttpCallResponse {
    let Some(cluster) = surroundings.cluster(&request.cluster) else { return HttpCallResponse::Reset };
    let trailers = request.trailers.clone();
    match answer(surroundings, &cluster, request.headers.clone(), request.body.clone(), trailers).await {
        Ok((headers, body, trailers)) => HttpCallResponse::Response { headers, body, trailers },
        Err(Failure::Reply(reply)) => local(&reply),
        Err(Failure::Broken) => HttpCallResponse::Reset,
    }
}

enum Failure {
    Reply(LocalReply),
    Broken,
}

type Whole = (HeaderList, Bytes, HeaderList);

async fn answer(
    surroundings: &Rc<Surroundings>,
    cluster: &Rc<Cluster>,
    head: HeaderList,
    body: Bytes,
    trailers: HeaderList,
) -> Result<Whole, Failure> {
    let Some(chosen) = cluster.pick(&surroundings.dice, None, &[], 1).map(Rc::clone) else {
        return Err(Failure::Reply(LocalReply::no_healthy_upstream()));
    };
    let unreachable =
        |broken: crate::upstream::Broken| Failure::Reply(LocalReply::upstream_reset(broken.reset, "", false));
    let protocol = cluster.config.protocol.for_client(false);
    let attempt =
        Attempt::open(cluster, &chosen, protocol, &head, surroundings.clock.now()).await.map_err(unreachable)?;
    let end = body.is_empty() && trailers.is_empty();
    attempt.send_head(&head, end).await.map_err(unreachable)?;
    if !end {
        if !body.is_empty() {
            attempt.send(Piece::Data(body)).await.map_err(unreachable)?;
        }
        if !trailers.is_empty() {
            attempt.send(Piece::Trailers(trailers)).await.map_err(unreachable)?;
        }
        attempt.finish().await.map_err(unreachable)?;
    }
    let mut head = attempt.head().await.map_err(unreachable)?;
    while head.status < 200 {
        head = attempt.head().await.map_err(unreachable)?;
    }
    let (body, trailers) = read(head.body).await?;
    attempt.complete(surroundings.clock.now());
    Ok((head.headers, body, trailers))
}

async fn read(mut source: BodySource) -> Result<(Bytes, HeaderList), Failure> {
    let (mut body, mut trailers) = (BytesMut::new(), HeaderList::new());
    while let Some(piece) = source.next().await {
        match piece {
            Ok(Piece::Data(data)) if body.len() + data.len() <= LARGEST => body.put(data),
            Ok(Piece::Trailers(list)) => trailers = list,
            Ok(Piece::Data(_)) | Err(_) => return Err(Failure::Broken),
        }
    }
    Ok((body.freeze(), trailers))
}

fn local(reply: &LocalReply) -> HttpCallResponse {
    let (headers, body) = reply.encode(&crate::local_reply::RequestKind::default());
    HttpCallResponse::Response { headers, body, trailers: HeaderList::new() }
}

/// Makes a unary gRPC call and tells the plugin how it ended.
pub(super) async fn grpc(plugin: Weak<Plugin>, call: CallId, request: GrpcRequest, message: Bytes, timeout: Duration) {
    let Some(surroundings) = plugin.upgrade().map(|plugin| Rc::clone(plugin.surroundings())) else { return };
    let answered = match surroundings.cluster(&request.cluster) {
        None => Err((UNAVAILABLE, Bytes::from_static(b"Cluster not available"))),
        Some(cluster) => {
            let head = grpc_head(&request, timeout);
            let unary = unary(&surroundings, &cluster, head, frame(&message));
            tokio::time::timeout(timeout, unary).await.unwrap_or(Err((UNAVAILABLE, Bytes::new())))
        }
    };
    if let Some(plugin) = plugin.upgrade()
        && plugin.ended(call)
    {
        match answered {
            Ok(message) => plugin.enter(|vm| vm.on_grpc_message(call, message)),
            Err((status, text)) => plugin.enter(|vm| vm.on_grpc_close(call, status, text)),
        }
    }
}

async fn unary(
    surroundings: &Rc<Surroundings>,
    cluster: &Rc<Cluster>,
    head: HeaderList,
    body: Bytes,
) -> Result<Bytes, (u32, Bytes)> {
    let (head, body, trailers) = match answer(surroundings, cluster, head, body, HeaderList::new()).await {
        Ok(whole) => whole,
        Err(_) => return Err((UNAVAILABLE, Bytes::new())),
    };
    let status = |list: &HeaderList| {
        let status = headers::get(list, "grpc-status")?;
        std::str::from_utf8(status).ok()?.parse::<u32>().ok()
    };
    let text =
        || headers::get(&trailers, "grpc-message").or(headers::get(&head, "grpc-message")).cloned().unwrap_or_default();
    match status(&trailers).or_else(|| status(&head)) {
        Some(0) => Ok(body.get(5..).map(Bytes::copy_from_slice).unwrap_or_default()),
        Some(status) => Err((status, text())),
        None => Err((UNAVAILABLE, Bytes::new())),
    }
}

fn grpc_head(request: &GrpcRequest, timeout: Duration) -> HeaderList {
    let mut head: HeaderList = vec![
        (Bytes::from_static(b":method"), Bytes::from_static(b"POST")),
        (Bytes::from_static(b":path"), Bytes::from(format!("/{}/{}", request.service, request.method))),
        (Bytes::from_static(b":authority"), Bytes::from(request.cluster.clone())),
        (Bytes::from_static(b":scheme"), Bytes::from_static(b"http")),
        (Bytes::from_static(b"te"), Bytes::from_static(b"trailers")),
        (Bytes::from_static(b"grpc-timeout"), Bytes::from(format!("{}m", timeout.as_millis().min(99_999_999)))),
        (Bytes::from_static(b"content-type"), Bytes::from_static(b"application/grpc")),
    ];
    head.extend(request.metadata.iter().cloned());
    head
}

/// gRPC's frame: not compressed, so long.
fn frame(message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// A gRPC stream, which is not offered: it is closed at once.
pub(super) async fn unavailable(plugin: Weak<Plugin>, call: CallId) {
    tokio::task::yield_now().await;
    if let Some(plugin) = plugin.upgrade()
        && plugin.ended(call)
    {
        plugin.enter(|vm| vm.on_grpc_close(call, UNIMPLEMENTED, Bytes::from_static(b"gRPC streams are not offered")));
    }
}
