//! Attribute values, and their bytes as `proxy_get_property` hands them out.

use bytes::{BufMut, Bytes};

use crate::{abi::Status, pairs};

/// A value of Envoy's attribute vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text and bytes: as they are.
    Bytes(Bytes),
    /// Eight bytes, little-endian. Ports, codes and flags are signed in Envoy.
    Int(i64),
    /// Eight bytes, little-endian.
    Uint(u64),
    /// Eight bytes, little-endian.
    Double(f64),
    /// One byte.
    Bool(bool),
    /// Nanoseconds as a signed integer.
    Duration(i64),
    /// Nanoseconds since 1970 as a signed integer.
    Timestamp(i64),
    /// Pairs, the values serialised by these same rules.
    Map(Vec<(Bytes, Value)>),
    /// Pairs of an element and nothing.
    List(Vec<Value>),
    /// A protobuf message, encoded.
    Message(Bytes),
    /// There, but without bytes: a bare root such as `request`, or null. Envoy answers "serialisation failure".
    Opaque,
}

impl Value {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Bytes(Bytes::from(text.into()))
    }

    /// The bytes a module gets.
    pub fn serialize(&self) -> Result<Bytes, Status> {
        Ok(match self {
            Value::Bytes(bytes) | Value::Message(bytes) => bytes.clone(),
            Value::Int(number) | Value::Duration(number) | Value::Timestamp(number) => {
                Bytes::copy_from_slice(&number.to_le_bytes())
            }
            Value::Uint(number) => Bytes::copy_from_slice(&number.to_le_bytes()),
            Value::Double(number) => Bytes::copy_from_slice(&number.to_le_bytes()),
            Value::Bool(yes) => Bytes::from_static(if *yes { &[1] } else { &[0] }),
            Value::Map(entries) => {
                let entries: Result<Vec<(Bytes, Bytes)>, Status> =
                    entries.iter().map(|(key, value)| Ok((key.clone(), value.serialize()?))).collect();
                encode(&entries?)
            }
            Value::List(elements) => {
                let elements: Result<Vec<(Bytes, Bytes)>, Status> =
                    elements.iter().map(|element| Ok((element.serialize()?, Bytes::new()))).collect();
                encode(&elements?)
            }
            Value::Opaque => return Err(Status::SerializationFailure),
        })
    }

    /// The value below this one under `key`: a map's entry or a list's element by number.
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Value::List(elements) => {
                std::str::from_utf8(key).ok()?.parse::<usize>().ok().and_then(|index| elements.get(index))
            }
            _ => None,
        }
    }
}

fn encode(entries: &[(Bytes, Bytes)]) -> Bytes {
    let mut out = Vec::with_capacity(pairs::encoded_len(entries));
    pairs::encode(entries, &mut |piece| out.put_slice(piece));
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn serialises(value: Value, bytes: &[u8]) {
        assert_eq!(value.serialize().as_deref(), Ok(bytes));
    }

    #[test]
    fn values_have_the_bytes_envoy_gives_them() {
        serialises(Value::text("GET"), b"GET");
        serialises(Value::Int(-2), &(-2i64).to_le_bytes());
        serialises(Value::Uint(8080), &8080u64.to_le_bytes());
        serialises(Value::Bool(true), &[1]);
        serialises(Value::Timestamp(1_000_000_000), &1_000_000_000i64.to_le_bytes());
        serialises(
            Value::Map(vec![(Bytes::from_static(b"a"), Value::text("b"))]),
            b"\x01\0\0\0\x01\0\0\0\x01\0\0\0a\0b\0",
        );
        serialises(Value::List(vec![Value::text("x")]), b"\x01\0\0\0\x01\0\0\0\0\0\0\0x\0\0");
    }

    #[test]
    fn a_bare_root_cannot_be_serialised() {
        assert_eq!(Value::Opaque.serialize(), Err(Status::SerializationFailure));
    }
}
