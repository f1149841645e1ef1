//! Attributes: what `proxy_get_property` finds, and what `proxy_set_property` leaves.
//!
//! A path is segments joined by NUL. Envoy looks among its attributes, then among what modules have set, then for the plugin's own names.

use bytes::Bytes;

use crate::{
    abi::{MapType, Status},
    context::Target,
    filter_object::{self, Object},
    filter_state::{self, FilterState},
    headers::{self, HeaderList},
    property::Value,
    state::State,
};

/// The bytes of the attribute at `path`.
pub(crate) fn find(state: &State, path: &[u8]) -> Result<Bytes, Status> {
    // No path at all is a value without bytes.
    if path.is_empty() {
        return Err(Status::SerializationFailure);
    }
    // A NUL at the very end adds no segment, but for the first.
    let path = path.strip_suffix(b"\0").filter(|path| !path.is_empty()).unwrap_or(path);
    let segments: Vec<&[u8]> = path.split(|byte| *byte == 0).collect();
    lookup(state, &segments).ok_or(Status::NotFound)?.serialize()
}

/// The attribute at a path, before it is bytes.
pub(crate) fn lookup(state: &State, path: &[&[u8]]) -> Option<Value> {
    let (root, rest) = path.split_first()?;
    match *root {
        b"request" | b"response" => {
            if let Some(found) = message_attribute(state, root, rest) {
                return found;
            }
        }
        b"plugin_name" if state.target() != Target::Vm => return leaf(rest, &state.plugin.name),
        b"plugin_root_id" => return leaf(rest, &state.plugin.root_id),
        b"plugin_vm_id" => return leaf(rest, &state.plugin.vm_id),
        _ => {}
    }
    let Some(stream) = state.stream() else { return state.world.attribute(path) };
    if let Some(value) = stream.info.attribute(path) {
        return Some(value);
    }
    if let (b"xds", [b"node", ..]) = (*root, rest) {
        return state.world.attribute(path);
    }
    match (*root, rest) {
        (b"filter_state", [key]) => of_filter_state(stream.info.filter_state(key)?, key),
        (_, []) => module_state(state, root).map(|found| Value::Bytes(found.value)),
        _ => None,
    }
}

/// Filter state by its key, as far as it can be shown.
fn of_filter_state(value: Bytes, key: &[u8]) -> Option<Value> {
    match filter_object::named(key) {
        Some(Object::Hidden | Object::Proxy) => None,
        Some(Object::Address) => Some(Value::Map(Vec::new())),
        _ => Some(Value::Bytes(value)),
    }
}

/// Names that are Envoy's own.
const ROOTS: &[&[u8]] = &[
    b"request",
    b"response",
    b"connection",
    b"upstream",
    b"source",
    b"destination",
    b"metadata",
    b"filter_state",
    b"xds",
    b"connection_id",
    b"plugin_name",
    b"plugin_root_id",
    b"plugin_vm_id",
];

/// What a module has set under a name that is none of Envoy's.
pub(crate) fn module_state(state: &State, name: &[u8]) -> Option<FilterState> {
    if ROOTS.contains(&name) {
        return None;
    }
    filter_state::get(&*state.stream()?.info, &[b"wasm.", name].concat())
}

/// What a module has set, where a path of attributes ends at it.
pub(crate) fn set_by_module(state: &State, path: &[&[u8]]) -> Option<FilterState> {
    match path {
        [name] => module_state(state, name),
        [b"filter_state", key] if key.starts_with(b"wasm.") => filter_state::get(&*state.stream()?.info, key),
        _ => None,
    }
}

fn leaf(rest: &[&[u8]], text: &str) -> Option<Value> {
    rest.is_empty().then(|| Value::text(text))
}

/// What heads and trailers say. `None` leaves the answer to the gateway; `Some(None)` is "not found".
///
/// Envoy reads them through pointers that are gone once the callback said "continue": so `request.path` is not found in a response callback, and is back in the log.
fn message_attribute(state: &State, root: &[u8], rest: &[&[u8]]) -> Option<Option<Value>> {
    let stream = state.stream()?;
    let (field, below) = rest.split_first()?;
    let (map, header): (MapType, &[u8]) = match (root, *field) {
        (b"request", b"path") => (MapType::RequestHeaders, b":path"),
        (b"request", b"host") => (MapType::RequestHeaders, b":authority"),
        (b"request", b"scheme") => (MapType::RequestHeaders, b":scheme"),
        (b"request", b"method") => (MapType::RequestHeaders, b":method"),
        (b"request", b"referer") => (MapType::RequestHeaders, b"referer"),
        (b"request", b"useragent") => (MapType::RequestHeaders, b"user-agent"),
        (b"request", b"id") => (MapType::RequestHeaders, b"x-request-id"),
        (b"request", b"url_path") => {
            return Some(path_of(stream.readable(MapType::RequestHeaders)).map(|(path, _)| Value::Bytes(path)));
        }
        (b"request", b"query") => {
            return Some(path_of(stream.readable(MapType::RequestHeaders)).map(|(_, query)| Value::Bytes(query)));
        }
        (b"request", b"headers") => return Some(header_of(stream.readable(MapType::RequestHeaders), below)),
        (b"response", b"headers") => return Some(header_of(stream.readable(MapType::ResponseHeaders), below)),
        (b"response", b"trailers") => return Some(header_of(stream.readable(MapType::ResponseTrailers), below)),
        _ => return None,
    };
    let found = stream.readable(map).and_then(|headers| headers::first(headers, header)).filter(|_| below.is_empty());
    Some(found.cloned().map(Value::Bytes))
}

/// Path and query of the target, empty where there are none.
fn path_of(headers: Option<&HeaderList>) -> Option<(Bytes, Bytes)> {
    let target = headers::first(headers?, b":path").cloned().unwrap_or_default();
    let Some(mark) = target.iter().position(|byte| *byte == b'?') else { return Some((target, Bytes::new())) };
    let query = target.slice(mark + 1..);
    let end = query.iter().position(|byte| *byte == b'#').unwrap_or(query.len());
    Some((target.slice(..mark), query.slice(..end)))
}

/// `request.headers` is a map whose keys are found in any case, and whose values are all copies of a header, joined. It is there, empty, even when its headers are not.
fn header_of(headers: Option<&HeaderList>, below: &[&[u8]]) -> Option<Value> {
    match below {
        [] => Some(whole_map(headers.map(Vec::as_slice).unwrap_or_default())),
        [name] => joined(headers?, &name.to_ascii_lowercase()),
        _ => None,
    }
}

fn joined(headers: &[(Bytes, Bytes)], name: &[u8]) -> Option<Value> {
    let copies: Vec<&[u8]> = headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref()).collect();
    if copies.is_empty() { None } else { Some(Value::Bytes(Bytes::from(copies.join(&b","[..])))) }
}

fn whole_map(headers: &[(Bytes, Bytes)]) -> Value {
    let mut entries: Vec<(Bytes, Value)> = Vec::new();
    for (name, _) in headers {
        if entries.iter().all(|(seen, _)| seen != name) {
            entries.extend(joined(headers, name).map(|value| (name.clone(), value)));
        }
    }
    Value::Map(entries)
}

/// Sets what later filters of the stream, and the log, find under `path`. A property declared read-only takes one value, whoever sets it.
pub(crate) fn set(state: &mut State, path: &[u8], value: &[u8]) -> Result<(), Status> {
    let stream = state.stream().ok_or(Status::NotFound)?;
    let key = [b"wasm.", path].concat();
    let declared = match filter_state::get(&*stream.info, &key) {
        Some(known) if known.declared.read_only => return Err(Status::BadArgument),
        // It stays what it was declared to be when it was first set.
        Some(known) => known.declared,
        None => state.root.declared.get(path).copied().unwrap_or_default(),
    };
    filter_state::set(&*stream.info, &key, FilterState { value: Bytes::copy_from_slice(value), declared });
    Ok(())
}
