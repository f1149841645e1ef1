//! Calls to clusters: http, unary gRPC, gRPC streams. They always belong to the plugin, whichever stream asked.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    abi::{LogLevel, Status},
    callout::CallKind,
    grpc_service,
    guest::{Answer, Exit, Guest, put, slice},
    headers::{self, HeaderList},
    log_gate::escape,
    outcome::{CallId, Event, GrpcRequest, HttpCall},
    state::{Deferred, State},
    world::ClusterState,
};

use super::headers::own_pairs;

#[allow(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn http_call(
    guest: &mut Guest<'_>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout_millis: u32,
    id_to: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let cluster = slice(memory, cluster, cluster_len)?.to_vec();
    let body = Bytes::copy_from_slice(slice(memory, body, body_len)?);
    let headers = own_pairs(memory, headers, headers_len)?;
    let trailers = own_pairs(memory, trailers, trailers_len)?;
    // Envoy writes the id whatever comes of it, and first of all to know that it can.
    put(memory, id_to, &[0; 4])?;
    let token = start_http_call(state, cluster, headers, body, trailers, timeout_millis)?;
    guest.write_u32(id_to, token)
}

fn start_http_call(
    state: &mut State,
    cluster: Vec<u8>,
    mut headers: HeaderList,
    body: Bytes,
    trailers: HeaderList,
    timeout_millis: u32,
) -> Result<u32, Status> {
    let timeout = i32::try_from(timeout_millis).map_err(|_| Status::BadArgument)?;
    let reachable = state.world.cluster(&cluster);
    let complete =
        [&b":path"[..], b":method", b":authority"].iter().all(|name| headers::first(&headers, name).is_some());
    if reachable == ClusterState::Unknown || !complete {
        return Err(Status::BadArgument);
    }
    if !body.is_empty() {
        headers::set(&mut headers, Bytes::from_static(b"content-length"), Bytes::from(body.len().to_string()));
    }
    let call = admit(state, CallKind::Http, reachable)?;
    let timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout_millis)));
    let cluster = String::from_utf8_lossy(&cluster).into_owned();
    state
        .callouts
        .events
        .push(Event::HttpCall { call, request: HttpCall { cluster, headers, body, trailers, timeout } });
    Ok(call.token)
}

/// Takes an id, and books the call if it can start.
fn admit(state: &mut State, kind: CallKind, reachable: ClusterState) -> Result<CallId, Status> {
    let token = state.callouts.next_token(kind);
    if reachable != ClusterState::Ready {
        // A gRPC client says so twice: at once, and to the callback.
        if kind != CallKind::Http {
            state.deferred.push(Deferred::GrpcFailed(token));
        }
        return Err(Status::InternalFailure);
    }
    book(state, token)
}

/// Books a call that can start, if there is room for it.
fn book(state: &mut State, token: u32) -> Result<CallId, Status> {
    if !state.callouts.has_room() {
        let name = state.plugin.name.clone();
        state.report(
            LogLevel::Warn,
            &format!("wasm plugin {name}: a call was refused, too many are under way (Envoy would grow)"),
        );
        return Err(Status::InternalFailure);
    }
    state.callouts.open(token);
    Ok(CallId { instance: state.instance, token })
}

/// A number is spent on a name even where it cannot be written down.
pub(super) fn resolve_dns(guest: &mut Guest<'_>, address: u32, address_len: u32, token_to: u32) -> Answer {
    let (memory, state) = guest.split();
    let name = Bytes::copy_from_slice(slice(memory, address, address_len)?);
    let token = state.callouts.next_token(CallKind::Dns);
    guest.write_u32(token_to, token >> 2)?;
    let state = guest.state();
    let call = book(state, token)?;
    state.callouts.events.push(Event::ResolveDns { call, name });
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_call(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    message: u32,
    message_len: u32,
    timeout_millis: u32,
    id_to: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let parts = GrpcParts {
        target: slice(memory, target, target_len)?,
        service: slice(memory, service, service_len)?,
        method: slice(memory, method, method_len)?,
    };
    let metadata = own_pairs(memory, metadata, metadata_len)?;
    let message = Bytes::copy_from_slice(slice(memory, message, message_len)?);
    let (call, request) = start_grpc(state, parts, metadata, CallKind::GrpcCall)?;
    state.callouts.events.push(Event::GrpcCall {
        call,
        request,
        message,
        timeout: Duration::from_millis(u64::from(timeout_millis)),
    });
    guest.write_u32(id_to, call.token)
}

#[allow(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_stream(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    id_to: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let parts = GrpcParts {
        target: slice(memory, target, target_len)?,
        service: slice(memory, service, service_len)?,
        method: slice(memory, method, method_len)?,
    };
    let metadata = own_pairs(memory, metadata, metadata_len)?;
    let (call, request) = start_grpc(state, parts, metadata, CallKind::GrpcStream)?;
    state.callouts.events.push(Event::GrpcStream { call, request });
    guest.write_u32(id_to, call.token)
}

struct GrpcParts<'a> {
    target: &'a [u8],
    service: &'a [u8],
    method: &'a [u8],
}

/// The target is an encoded `GrpcService`, or else a cluster's name.
fn start_grpc(
    state: &mut State,
    parts: GrpcParts<'_>,
    metadata: HeaderList,
    kind: CallKind,
) -> Result<(CallId, GrpcRequest), Exit> {
    let (cluster, reachable) = match grpc_service::parse(parts.target) {
        Some(service) => {
            let Some(cluster) = service.cluster else {
                state.callouts.next_token(kind);
                let name = state.plugin.name.clone();
                let target = escape(parts.target, 100);
                state.report(LogLevel::Warn, &format!("wasm plugin {name}: the gRPC target {target:?} reads as a protobuf message without a target: Envoy 1.40 aborts here"));
                return Err(Status::BadArgument.into());
            };
            let reachable = state.world.cluster(&cluster);
            (cluster, if reachable == ClusterState::Unknown { ClusterState::NoEndpoint } else { reachable })
        }
        None => match state.world.cluster(parts.target) {
            ClusterState::Unknown => return Err(Status::ParseFailure.into()),
            reachable => (parts.target.to_vec(), reachable),
        },
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let call = admit(state, kind, reachable)?;
    Ok((
        call,
        GrpcRequest { cluster: text(&cluster), service: text(parts.service), method: text(parts.method), metadata },
    ))
}

pub(super) fn grpc_send(
    guest: &mut Guest<'_>,
    token: u32,
    message: u32,
    message_len: u32,
    end_of_stream: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let message = Bytes::copy_from_slice(slice(memory, message, message_len)?);
    if CallKind::of(token) != CallKind::GrpcStream {
        return Err(Status::BadArgument.into());
    }
    state.callouts.get(token).ok_or(Status::NotFound)?;
    let call = CallId { instance: state.instance, token };
    state.callouts.events.push(Event::GrpcSend { call, message, end_of_stream: end_of_stream != 0 });
    Ok(())
}

/// Ends a call; closes our side of a stream, which lives on until its peer has closed too.
pub(super) fn grpc_close(guest: &mut Guest<'_>, token: u32) -> Answer {
    let state = guest.state();
    if CallKind::of(token) != CallKind::GrpcStream {
        return cancel(state, token);
    }
    let closed = state.callouts.get(token).ok_or(Status::NotFound)?;
    closed.local = true;
    if closed.remote {
        state.callouts.close(token);
    }
    let call = CallId { instance: state.instance, token };
    state.callouts.events.push(Event::GrpcClose { call });
    Ok(())
}

pub(super) fn grpc_cancel(guest: &mut Guest<'_>, token: u32) -> Answer {
    cancel(guest.state(), token)
}

fn cancel(state: &mut State, token: u32) -> Answer {
    match CallKind::of(token) {
        CallKind::GrpcCall | CallKind::GrpcStream => {}
        CallKind::Http | CallKind::Dns => return Err(Status::BadArgument.into()),
    }
    if !state.callouts.close(token) {
        return Err(Status::NotFound.into());
    }
    let call = CallId { instance: state.instance, token };
    state.callouts.events.push(Event::Cancel { call });
    Ok(())
}
