//! Header maps: requests, responses, their trailers, and what calls brought back.

use bytes::Bytes;

use crate::{
    abi::{AbiVersion, MapType, Status},
    guest::{Answer, Exit, Guest, put, slice, word},
    headers::{self, HeaderList, MapKind},
    pairs,
    plugin::Fidelity,
    state::State,
    validate,
};

fn map_type(map: u32) -> Result<MapType, Status> {
    MapType::from_wire(map).ok_or(Status::BadArgument)
}

/// Only maps of the stream itself are ever written.
fn kind(map: MapType) -> MapKind {
    match map {
        MapType::RequestHeaders => MapKind::RequestHeaders,
        MapType::ResponseHeaders => MapKind::ResponseHeaders,
        MapType::ResponseTrailers => MapKind::ResponseTrailers,
        _ => MapKind::RequestTrailers,
    }
}

/// Names are compared and stored in lower case. A request's `host` is its `:authority`.
fn name(map: MapType, name: &[u8]) -> Bytes {
    if map == MapType::RequestHeaders && name.eq_ignore_ascii_case(b"host") {
        return Bytes::from_static(b":authority");
    }
    Bytes::from(name.to_ascii_lowercase())
}

pub(super) fn get_value(
    guest: &mut Guest<'_>,
    map: u32,
    key: u32,
    key_len: u32,
    value_to: u32,
    size_to: u32,
) -> Answer {
    let map = map_type(map)?;
    let (memory, state) = guest.split();
    let key = slice(memory, key, key_len)?;
    let value = match find(state, map, key) {
        Ok(value) => value,
        Err(Status::NotFound) if state.abi == AbiVersion::V0_1_0 => Bytes::new(),
        Err(status) => return Err(status.into()),
    };
    guest.give(&value, value_to, size_to)
}

/// The first copy alone: Envoy does the same.
fn find(state: &State, map: MapType, key: &[u8]) -> Result<Bytes, Status> {
    let Some(headers) = state.readable(map) else {
        let logging = state.stream().is_some_and(|stream| stream.log.is_some());
        return Err(if logging { Status::NotFound } else { Status::BadArgument });
    };
    let found = if key.iter().any(u8::is_ascii_uppercase) || key == b"host" {
        headers::first(headers, &name(map, key))
    } else {
        headers::first(headers, key)
    };
    found.cloned().ok_or(Status::NotFound)
}

/// Serialised straight into the module's memory: sized first, then written behind the allocation.
pub(super) fn get_pairs(guest: &mut Guest<'_>, map: u32, pairs_to: u32, size_to: u32) -> Answer {
    let map = map_type(map)?;
    let state = guest.state();
    let headers = match state.readable(map) {
        Some(headers) if !headers.is_empty() => headers,
        _ => return guest.give(&[], pairs_to, size_to),
    };
    let size = word(pairs::encoded_len(headers))?;
    let pointer = guest.allocate(size)?;
    let (memory, state) = guest.split();
    let mut at = pointer;
    let mut result = Ok(());
    if let Some(headers) = state.readable(map) {
        pairs::encode(headers, &mut |piece| {
            if result.is_ok() {
                result = put(memory, at, piece);
            }
            at = at.saturating_add(word(piece.len()).unwrap_or(u32::MAX));
        });
    }
    result?;
    put(memory, pairs_to, &pointer.to_le_bytes())?;
    Ok(put(memory, size_to, &size.to_le_bytes())?)
}

pub(super) fn get_size(guest: &mut Guest<'_>, map: u32, size_to: u32) -> Answer {
    let map = map_type(map)?;
    let headers = guest.state().writable(map).ok_or(Status::BadArgument)?;
    let size = word(headers::byte_size(headers))?;
    guest.write_u32(size_to, size)
}

pub(super) fn add_value(guest: &mut Guest<'_>, map: u32, key: u32, key_len: u32, value: u32, value_len: u32) -> Answer {
    write(guest, map, (key, key_len), (value, value_len), headers::add)
}

pub(super) fn replace_value(
    guest: &mut Guest<'_>,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Answer {
    write(guest, map, (key, key_len), (value, value_len), |headers, _, name, value| headers::set(headers, name, value))
}

fn write(
    guest: &mut Guest<'_>,
    map: u32,
    key: (u32, u32),
    value: (u32, u32),
    how: fn(&mut HeaderList, MapKind, Bytes, Bytes),
) -> Answer {
    let map = map_type(map)?;
    let (memory, state) = guest.split();
    let (key, value) = (slice(memory, key.0, key.1)?, slice(memory, value.0, value.1)?);
    let hardened = state.plugin.fidelity == Fidelity::Hardened;
    let headers = state.writable(map).ok_or(Status::BadArgument)?;
    let (key, value) = (name(map, key), Bytes::copy_from_slice(value));
    if hardened {
        validate::write(map, &key, &value).map_err(|_| Status::BadArgument)?;
    }
    how(headers, kind(map), key, value);
    state.headers_modified(map);
    Ok(())
}

pub(super) fn remove_value(guest: &mut Guest<'_>, map: u32, key: u32, key_len: u32) -> Answer {
    let map = map_type(map)?;
    let (memory, state) = guest.split();
    let key = name(map, slice(memory, key, key_len)?);
    let hardened = state.plugin.fidelity == Fidelity::Hardened;
    let headers = state.writable(map).ok_or(Status::BadArgument)?;
    if hardened {
        validate::removal(map, &key).map_err(|_| Status::BadArgument)?;
    }
    headers::remove(headers, &key);
    state.headers_modified(map);
    Ok(())
}

/// A buffer that is not pairs empties the map, in Envoy; hardened, it is refused and nothing changes.
pub(super) fn set_pairs(guest: &mut Guest<'_>, map: u32, pairs: u32, pairs_len: u32) -> Answer {
    let map = map_type(map)?;
    let (memory, state) = guest.split();
    let buffer = slice(memory, pairs, pairs_len)?;
    let hardened = state.plugin.fidelity == Fidelity::Hardened;
    let current = state.writable(map).ok_or(Status::BadArgument)?;
    let new = match read_pairs(buffer) {
        Ok(new) => new,
        Err(_) if hardened => return Err(Status::BadArgument.into()),
        Err(_) => Vec::new(),
    };
    let mut list = HeaderList::with_capacity(new.len());
    for (key, value) in new {
        headers::add(&mut list, kind(map), name(map, &key), value);
    }
    if hardened {
        validate::replacement(map, current, &list).map_err(|_| Status::BadArgument)?;
    }
    *current = list;
    state.headers_modified(map);
    Ok(())
}

/// Pairs out of guest memory, names as they are.
fn read_pairs(buffer: &[u8]) -> Result<HeaderList, pairs::Malformed> {
    let ranges = pairs::decode(buffer)?;
    let whole = Bytes::copy_from_slice(buffer);
    Ok(ranges.into_iter().map(|(key, value)| (whole.slice(key), whole.slice(value))).collect())
}

/// Headers for a reply or a call, names in lower case; what is not pairs is none.
pub(super) fn own_pairs(memory: &[u8], pairs: u32, pairs_len: u32) -> Result<HeaderList, Exit> {
    let buffer = slice(memory, pairs, pairs_len)?;
    let list = read_pairs(buffer).unwrap_or_default();
    Ok(list
        .into_iter()
        .map(|(key, value)| {
            (if key.iter().any(u8::is_ascii_uppercase) { Bytes::from(key.to_ascii_lowercase()) } else { key }, value)
        })
        .collect())
}
