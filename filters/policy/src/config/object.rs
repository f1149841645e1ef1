//! Objects are objects: serde would also take a list of a struct's fields in order, which nobody means to write.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

/// A type whose derived reader is kept apart (`#[serde(remote = "Self")]`), so that it can be given an object only.
pub(crate) trait Fields<'de>: Sized {
    fn from_fields<A: MapAccess<'de>>(fields: MapAccessDeserializer<A>) -> Result<Self, A::Error>;
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Fields<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_fields(MapAccessDeserializer::new(map))
    }
}

pub(crate) fn read<'de, T: Fields<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// Reads these types from objects alone.
macro_rules! objects {
    ($($type:ty),* $(,)?) => { $(
        impl<'de> $crate::config::object::Fields<'de> for $type {
            fn from_fields<A: serde::de::MapAccess<'de>>(
                fields: serde::de::value::MapAccessDeserializer<A>,
            ) -> Result<Self, A::Error> {
                <$type>::deserialize(fields)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::object::read(deserializer)
            }
        }
    )* };
}
pub(crate) use objects;
