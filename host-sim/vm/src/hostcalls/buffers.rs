//! Buffers: bodies, configurations, and what calls brought back.

use bytes::{Bytes, BytesMut};

use crate::{
    abi::{BufferType, Status},
    guest::{Answer, Guest, index, slice, word},
    state::State,
};

/// A buffer as `proxy_get_buffer_bytes` sees it now; most exist, empty, even when they make no sense.
fn readable(state: &State, buffer: BufferType) -> Result<&[u8], Status> {
    match buffer {
        BufferType::HttpRequestBody => {
            Ok(state.stream().and_then(|stream| stream.request.body.as_deref()).unwrap_or_default())
        }
        BufferType::HttpResponseBody => {
            Ok(state.stream().and_then(|stream| stream.response.body.as_deref()).unwrap_or_default())
        }
        BufferType::DownstreamData | BufferType::UpstreamData => Ok(&[]),
        BufferType::HttpCallResponseBody => {
            state.root.call_response.as_ref().map(|response| response.body.as_ref()).ok_or(Status::NotFound)
        }
        BufferType::GrpcReceive => Ok(state.root.grpc_message.as_deref().unwrap_or_default()),
        BufferType::VmConfiguration => Ok(&state.plugin.vm_configuration),
        BufferType::PluginConfiguration if state.root.configuration_in_view => Ok(&state.plugin.configuration),
        BufferType::PluginConfiguration => Err(Status::NotFound),
        BufferType::CallData => Ok(&state.root.call_data),
    }
}

/// Reading beyond the end is reading less, down to nothing; the sum of start and length does not wrap.
pub(super) fn get_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    len: u32,
    bytes_to: u32,
    size_to: u32,
) -> Answer {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let content = readable(guest.state(), buffer)?;
    let start = index(start).min(content.len());
    let end = (start + index(len)).min(content.len());
    let piece = content.get(start..end).map(Bytes::copy_from_slice).unwrap_or_default();
    guest.give(&piece, bytes_to, size_to)
}

pub(super) fn get_status(guest: &mut Guest<'_>, buffer: u32, len_to: u32, flags_to: u32) -> Answer {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let len = word(readable(guest.state(), buffer)?.len())?;
    guest.write_u32(len_to, len)?;
    guest.write_u32(flags_to, 0)
}

/// Envoy prepends (after dropping `len` bytes from the front) or appends; it does not insert.
pub(super) fn set_bytes(guest: &mut Guest<'_>, buffer: u32, start: u32, len: u32, data: u32, data_len: u32) -> Answer {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let (memory, state) = guest.split();
    readable(state, buffer)?;
    let data = slice(memory, data, data_len)?;
    let body = match buffer {
        BufferType::HttpRequestBody => state.stream_mut().and_then(|stream| stream.request.body.as_mut()),
        BufferType::HttpResponseBody => state.stream_mut().and_then(|stream| stream.response.body.as_mut()),
        _ => None,
    };
    let body = body.ok_or(Status::BadArgument)?;
    edit(body, index(start), index(len), data).ok_or_else(|| Status::BadArgument.into())
}

fn edit(body: &mut BytesMut, start: usize, len: usize, data: &[u8]) -> Option<()> {
    if start != 0 {
        return (start >= body.len()).then(|| body.extend_from_slice(data));
    }
    let rest = body.split_off(len.min(body.len()));
    let mut edited = BytesMut::with_capacity(data.len() + rest.len());
    edited.extend_from_slice(data);
    edited.extend_from_slice(&rest);
    *body = edited;
    Some(())
}

pub(super) fn get_configuration(guest: &mut Guest<'_>, value_to: u32, size_to: u32) -> Answer {
    let state = guest.state();
    let configuration = if state.root.configuration_in_view {
        state.plugin.configuration.clone()
    } else {
        state.plugin.vm_configuration.clone()
    };
    guest.give(&configuration, value_to, size_to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn edited(start: usize, len: usize, data: &str) -> Option<String> {
        let mut body = BytesMut::from("body");
        edit(&mut body, start, len, data.as_bytes())?;
        Some(String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn at_the_front_bytes_are_dropped_and_replaced() {
        assert_eq!(edited(0, 0, "a ").as_deref(), Some("a body"));
        assert_eq!(edited(0, 2, "mel").as_deref(), Some("meldy"));
        assert_eq!(edited(0, 4, "").as_deref(), Some(""));
        assert_eq!(edited(0, usize::MAX, "new").as_deref(), Some("new"));
    }

    #[test]
    fn behind_the_end_bytes_are_appended() {
        assert_eq!(edited(4, 0, "guard").as_deref(), Some("bodyguard"));
        assert_eq!(edited(99, 99, "!").as_deref(), Some("body!"));
    }

    #[test]
    fn inside_nothing_can_be_put() {
        assert_eq!(edited(1, 0, "x"), None);
        assert_eq!(edited(3, 1, "x"), None);
    }
}
