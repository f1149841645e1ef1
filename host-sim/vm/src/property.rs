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

/// What a value is, for a record of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "as the values are called")]
pub enum Kind {
    #[default]
    Bytes,
    Int,
    Uint,
    Double,
    Bool,
    Duration,
    Timestamp,
    Map,
    List,
    Message,
    Opaque,
}

impl Value {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Bytes(_) => Kind::Bytes,
            Value::Int(_) => Kind::Int,
            Value::Uint(_) => Kind::Uint,
            Value::Double(_) => Kind::Double,
            Value::Bool(_) => Kind::Bool,
            Value::Duration(_) => Kind::Duration,
            Value::Timestamp(_) => Kind::Timestamp,
            Value::Map(_) => Kind::Map,
            Value::List(_) => Kind::List,
            Value::Message(_) => Kind::Message,
            Value::Opaque => Kind::Opaque,
        }
    }

    /// The value of this kind that has these bytes. Elements and entries are bytes; so is what has not the size of its kind.
    pub(crate) fn of_kind(kind: Kind, bytes: Bytes) -> Value {
        let number = || <[u8; 8]>::try_from(&bytes[..]).ok();
        let value = match kind {
            Kind::Bytes => None,
            Kind::Int => number().map(|number| Value::Int(i64::from_le_bytes(number))),
            Kind::Uint => number().map(|number| Value::Uint(u64::from_le_bytes(number))),
            Kind::Double => number().map(|number| Value::Double(f64::from_le_bytes(number))),
            Kind::Bool => bytes.first().map(|byte| Value::Bool(*byte != 0)),
            Kind::Duration => number().map(|number| Value::Duration(i64::from_le_bytes(number))),
            Kind::Timestamp => number().map(|number| Value::Timestamp(i64::from_le_bytes(number))),
            Kind::Map => decode(&bytes).map(|entries| {
                Value::Map(entries.into_iter().map(|(key, value)| (key, Value::Bytes(value))).collect())
            }),
            Kind::List => decode(&bytes)
                .map(|elements| Value::List(elements.into_iter().map(|(element, _)| Value::Bytes(element)).collect())),
            Kind::Message => Some(Value::Message(bytes.clone())),
            Kind::Opaque => Some(Value::Opaque),
        };
        value.unwrap_or(Value::Bytes(bytes))
    }

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

fn decode(bytes: &Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let pairs = pairs::decode(bytes).ok()?;
    Some(pairs.into_iter().map(|(key, value)| (bytes.slice(key), bytes.slice(value))).collect())
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
    fn what_is_on_record_comes_back() {
        for value in [
            Value::text("GET"),
            Value::Int(-2),
            Value::Double(0.5),
            Value::Bool(true),
            Value::Duration(7),
            Value::Map(vec![(Bytes::from_static(b"a"), Value::text("b"))]),
            Value::List(vec![Value::text("x")]),
        ] {
            let bytes = value.serialize().unwrap();
            assert_eq!(Value::of_kind(value.kind(), bytes), value);
        }
    }

    #[test]
    fn a_bare_root_cannot_be_serialised() {
        assert_eq!(Value::Opaque.serialize(), Err(Status::SerializationFailure));
    }
}
