//! Header lists, and the operations on them as Envoy's header map does them.

use bytes::{Bytes, BytesMut};

/// Headers in wire order: lower-case names, pseudo-headers first. The header type of the whole host side.
pub type HeaderList = Vec<(Bytes, Bytes)>;

/// The first value of `name`, which must be lower-case.
pub fn first<'a>(headers: &'a HeaderList, name: &[u8]) -> Option<&'a Bytes> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Sets `name` to one value: every copy is removed, and the new one is added where Envoy adds one.
pub fn set(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    remove(headers, &name);
    insert(headers, name, value);
}

/// Adds a copy of `name`. Headers that Envoy knows by a slot of their own hold one value: a second is joined to it by `,` (`; ` for a cookie).
pub fn add(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    if has_one_slot(&name)
        && let Some((_, existing)) = headers.iter_mut().find(|(key, _)| *key == name)
    {
        join(existing, &name, &value);
        return;
    }
    insert(headers, name, value);
}

/// Removes every copy of `name`; says whether there was one.
pub fn remove(headers: &mut HeaderList, name: &[u8]) -> bool {
    let before = headers.len();
    headers.retain(|(key, _)| key != name);
    headers.len() != before
}

/// The bytes of all names and values: what `proxy_get_header_map_size` answers.
pub fn byte_size(headers: &HeaderList) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// A pseudo-header goes behind the last one, anything else to the end.
fn insert(headers: &mut HeaderList, name: Bytes, value: Bytes) {
    if name.starts_with(b":") {
        let at = headers.iter().position(|(key, _)| !key.starts_with(b":")).unwrap_or(headers.len());
        headers.insert(at, (name, value));
    } else {
        headers.push((name, value));
    }
}

fn join(existing: &mut Bytes, name: &[u8], value: &Bytes) {
    if value.is_empty() {
        return;
    }
    if existing.is_empty() {
        *existing = value.clone();
        return;
    }
    let delimiter: &[u8] = if name == b"cookie" { b"; " } else { b"," };
    let mut joined = BytesMut::with_capacity(existing.len() + delimiter.len() + value.len());
    joined.extend_from_slice(existing);
    joined.extend_from_slice(delimiter);
    joined.extend_from_slice(value);
    *existing = joined.freeze();
}

/// Does Envoy's header map keep this header in a slot of its own (an "inline" header)?
fn has_one_slot(name: &[u8]) -> bool {
    ONE_SLOT.binary_search(&name).is_ok()
}

/// Sorted. Envoy's `header_map.h`, and what its linked extensions register; held to the real thing by the probe test.
const ONE_SLOT: &[&[u8]] = &[b":authority", b":method", b":path", b":scheme", b":status"];
