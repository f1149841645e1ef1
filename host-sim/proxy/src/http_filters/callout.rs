//! Http calls a module makes to a cluster, over the same endpoints as any request; and names it wants the addresses of.

use std::future::pending;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use vm::{CallId, HttpCall, HttpCallResponse};

use super::wasm::Plugin;
use crate::connection::{BodySource, Piece};
use crate::headers::{self, HeaderList};
use crate::local_reply::LocalReply;
use crate::upstream::{Attempt, Broken, Outline};
use crate::worker::{Cluster, Surroundings};

/// A response larger than this is not kept whole: the call is reset, as in Envoy.
const LARGEST: usize = 1024 * 1024;

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

/// Looks a name up and tells the plugin what was found. A request that is only explained asks nobody.
pub(super) async fn resolve(plugin: Weak<Plugin>, call: CallId, name: Bytes) {
    let Some(surroundings) = plugin.upgrade().map(|plugin| Rc::clone(plugin.surroundings())) else { return };
    let addresses = match std::str::from_utf8(&name) {
        Ok(name) if is_local(name) => vec![Ipv6Addr::LOCALHOST.into()],
        Ok(name) if surroundings.recorder().is_none() => match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => one_family(found.map(|address| address.ip()).collect()),
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    if let Some(plugin) = plugin.upgrade()
        && plugin.ended(call)
    {
        plugin.enter(|vm| vm.on_dns(call, &addresses));
    }
}

/// Names no server is asked for (RFC 6761, 6.3).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// IPv6, or where there is none IPv4.
fn one_family(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    if addresses.iter().any(IpAddr::is_ipv6) {
        addresses.retain(IpAddr::is_ipv6);
    }
    addresses
}

async fn exchange(surroundings: &Rc<Surroundings>, request: &HttpCall) -> HttpCallResponse {
    let Some(cluster) = surroundings.cluster(&request.cluster) else { return HttpCallResponse::Reset };
    let trailers = request.trailers.clone();
    let mut head = request.headers.clone();
    mark_internal(&mut head, request.timeout);
    match answer(surroundings, &cluster, head, request.body.clone(), trailers).await {
        Ok((headers, body, trailers)) => HttpCallResponse::Response { headers, body, trailers },
        Err(Failure::Reply(reply)) => local(&reply),
        Err(Failure::Broken) => HttpCallResponse::Reset,
    }
}

/// Calls of the gateway's own carry Envoy's mark, and say how long they will wait.
pub(super) fn mark_internal(head: &mut HeaderList, timeout: Option<Duration>) {
    headers::set_slot(head, "x-envoy-internal", Bytes::from_static(b"true"));
    if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) {
        headers::set_slot(head, "x-envoy-expected-rq-timeout-ms", Bytes::from(timeout.as_millis().to_string()));
    }
}

/// How long the upstream took, counted from the end of the request.
pub(super) fn say_how_long(head: &mut HeaderList, took: Duration) {
    headers::set_slot(head, "x-envoy-upstream-service-time", Bytes::from(took.as_millis().to_string()));
}

/// The answer to a call that broke off before its answer began.
pub(super) fn unreachable(broken: &Broken) -> LocalReply {
    let mut reply = LocalReply::upstream_reset(broken.reset, "", false);
    reply.details = LocalReply::upstream_reset(broken.reset, &broken.transport, false).details;
    reply
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
    let unreachable = |broken: Broken| Failure::Reply(unreachable(&broken));
    let protocol = cluster.config.protocol.for_client(false);
    let attempt = Attempt::open(cluster, &chosen, protocol, &Outline::of(&head), surroundings.clock.now())
        .await
        .map_err(unreachable)?;
    let end = body.is_empty() && trailers.is_empty();
    attempt.write_head(&head, end).map_err(unreachable)?;
    attempt.begin(end).await.map_err(unreachable)?;
    if !end {
        if !body.is_empty() {
            attempt.send(Piece::Data(body)).await.map_err(unreachable)?;
        }
        if !trailers.is_empty() {
            attempt.send(Piece::Trailers(trailers)).await.map_err(unreachable)?;
        }
        attempt.finish().await.map_err(unreachable)?;
    }
    let sent = surroundings.clock.now();
    let mut head = attempt.head().await.map_err(unreachable)?;
    while head.status < 200 {
        head = attempt.head().await.map_err(unreachable)?;
    }
    say_how_long(&mut head.headers, surroundings.clock.now().saturating_sub(sent));
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
