//! Moving a stream: continue, close, answer; and whose stream it is.
//!
//! All of it happens once the module's call has returned.

use bytes::Bytes;

use crate::{
    abi::{Direction, Status, StreamType},
    context::{Shutdown, Target},
    guest::{Answer, Guest, slice},
    outcome::LocalReply,
    plugin::Fidelity,
    state::{Deferred, State},
    validate,
};

use super::headers::own_pairs;

pub(super) fn continue_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    match StreamType::from_wire(stream).ok_or(Status::BadArgument)? {
        StreamType::Request => resume(guest.state(), Direction::Request),
        StreamType::Response => resume(guest.state(), Direction::Response),
        // This is no network filter: there is nothing to continue.
        StreamType::Downstream => {}
        StreamType::Upstream => return Err(Status::Unimplemented.into()),
    }
    Ok(())
}

pub(super) fn continue_request(guest: &mut Guest<'_>) -> Answer {
    resume(guest.state(), Direction::Request);
    Ok(())
}

pub(super) fn continue_response(guest: &mut Guest<'_>) -> Answer {
    resume(guest.state(), Direction::Response);
    Ok(())
}

/// Whichever half goes on, it is the request's maps that vanish at once.
fn resume(state: &mut State, direction: Direction) {
    let Target::Stream(id) = state.target() else { return };
    state.deferred.push(Deferred::Continue(id, direction));
    if let Some(stream) = state.stream_mut() {
        stream.hide_request();
    }
}

pub(super) fn close_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    let stream = StreamType::from_wire(stream).ok_or(Status::BadArgument)?;
    let state = guest.state();
    if let (StreamType::Request | StreamType::Response, Target::Stream(id)) = (stream, state.target()) {
        state.deferred.push(Deferred::Close(id));
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn send_local_response(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc_status: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let details = slice(memory, details, details_len)?;
    let body = slice(memory, body, body_len)?;
    let headers = own_pairs(memory, headers, headers_len)?;
    let mut reply = LocalReply {
        status,
        details: without_white_space(details),
        headers,
        body: Bytes::copy_from_slice(body),
        // 0 to 16 are gRPC's; anything else, -1 above all, means none.
        grpc_status: (grpc_status <= 16).then_some(grpc_status),
    };
    if state.plugin.fidelity == Fidelity::Hardened {
        validate::reply(&mut reply).map_err(|_| Status::BadArgument)?;
    }
    if let Target::Stream(id) = state.target() {
        state.deferred.push(Deferred::Reply(id, reply));
    }
    state.stop_iteration = true;
    Ok(())
}

/// Details stand in the access log, where a space separates fields.
fn without_white_space(details: &[u8]) -> String {
    String::from_utf8_lossy(details)
        .chars()
        .map(|character| if character.is_ascii_whitespace() || character == '\x0b' { '_' } else { character })
        .collect()
}

pub(super) fn clear_route_cache(guest: &mut Guest<'_>) -> Answer {
    if let Some(stream) = guest.state().stream_mut() {
        stream.route_cleared = true;
    }
    Ok(())
}

/// 0 is the VM's own context: it stands for whoever was called.
pub(super) fn set_effective_context(guest: &mut Guest<'_>, context: u32) -> Answer {
    let state = guest.state();
    if !state.is_context(context) {
        return Err(Status::BadArgument.into());
    }
    state.effective = context;
    Ok(())
}

/// The plugin says that it has finished; only of interest after it said that it had not.
pub(super) fn done(guest: &mut Guest<'_>) -> Answer {
    let state = guest.state();
    if state.root.shutdown != Shutdown::Pending {
        return Err(Status::NotFound.into());
    }
    state.root.shutdown = Shutdown::Finished;
    Ok(())
}
