//! Messages of Envoy's configuration as modules see them: whole as protobuf, their parts by path.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use vm::Value;

/// What is below a metadata's path; one that is not configured is there and empty.
pub(crate) fn metadata(of: Option<&xds::Metadata>, below: &[&[u8]]) -> Option<Value> {
    static NONE: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    dynamic_metadata(of.map_or(&NONE, |of| &of.filter_metadata), below)
}

/// The same of what filters have left.
pub(crate) fn dynamic_metadata(of: &BTreeMap<String, Map<String, Json>>, below: &[&[u8]]) -> Option<Value> {
    match below {
        [] => {
            let filter_metadata = of.iter().map(|(name, fields)| (name.clone(), Struct::of(fields))).collect();
            Some(message(&Metadata { filter_metadata }))
        }
        [b"filter_metadata"] => {
            Some(Value::Map(of.iter().map(|(name, fields)| (name.clone().into(), map(fields))).collect()))
        }
        [b"filter_metadata", name, below @ ..] => fields(of.get(text_of(name)?)?, below),
        _ => None,
    }
}

/// A place, or a part of its name.
pub(crate) fn locality(of: &xds::Locality, below: &[&[u8]]) -> Option<Value> {
    Some(match below {
        [] => message(&Locality::of(of)),
        [b"region"] => Value::text(of.region.as_str()),
        [b"zone"] => Value::text(of.zone.as_str()),
        [b"sub_zone"] => Value::text(of.sub_zone.as_str()),
        _ => return None,
    })
}

/// The gateway itself, or a part of it. Envoy adds what it was built with to the whole of it.
pub(crate) fn node(of: &xds::Node, below: &[&[u8]]) -> Option<Value> {
    let metadata = of.metadata.as_ref().and_then(Json::as_object);
    let place = of.locality.clone().unwrap_or_default();
    Some(match below {
        [] => message(&Node {
            id: of.id.clone(),
            cluster: of.cluster.clone(),
            metadata: metadata.map(Struct::of),
            locality: of.locality.as_ref().map(Locality::of),
            user_agent_name: USER_AGENT.to_owned(),
        }),
        [b"id"] => Value::text(of.id.as_str()),
        [b"cluster"] => Value::text(of.cluster.as_str()),
        [b"user_agent_name"] => Value::text(USER_AGENT),
        [b"metadata", below @ ..] => fields(metadata.unwrap_or(&Map::new()), below)?,
        [b"locality", below @ ..] => locality(&place, below)?,
        _ => return None,
    })
}

const USER_AGENT: &str = "envoy";

fn fields(of: &Map<String, Json>, below: &[&[u8]]) -> Option<Value> {
    match below {
        [] => Some(map(of)),
        [name] => of.get(text_of(name)?).map(value),
        [name, below @ ..] => fields(of.get(text_of(name)?)?.as_object()?, below),
    }
}

fn text_of(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()
}

fn map(fields: &Map<String, Json>) -> Value {
    Value::Map(fields.iter().map(|(name, field)| (name.clone().into(), value(field))).collect())
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Opaque,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::Number(number) => Value::Double(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(elements) => Value::List(elements.iter().map(value).collect()),
        Json::Object(fields) => map(fields),
    }
}

fn message(message: &impl prost::Message) -> Value {
    Value::Message(message.encode_to_vec().into())
}

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<Struct>,
    #[prost(message, optional, tag = "4")]
    locality: Option<Locality>,
    #[prost(string, tag = "6")]
    user_agent_name: String,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, PartialEq, prost::Message)]
struct Locality {
    #[prost(string, tag = "1")]
    region: String,
    #[prost(string, tag = "2")]
    zone: String,
    #[prost(string, tag = "3")]
    sub_zone: String,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Field>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
struct Field {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Field>,
}

impl Locality {
    fn of(place: &xds::Locality) -> Locality {
        Locality { region: place.region.clone(), zone: place.zone.clone(), sub_zone: place.sub_zone.clone() }
    }
}

impl Struct {
    fn of(fields: &Map<String, Json>) -> Struct {
        Struct { fields: fields.iter().map(|(name, field)| (name.clone(), Field::of(field))).collect() }
    }
}

impl Field {
    fn of(json: &Json) -> Field {
        let kind = match json {
            Json::Null => Kind::Null(0),
            Json::Bool(yes) => Kind::Bool(*yes),
            Json::Number(number) => Kind::Number(number.as_f64().unwrap_or_default()),
            Json::String(text) => Kind::Text(text.clone()),
            Json::Array(elements) => Kind::List(List { values: elements.iter().map(Field::of).collect() }),
            Json::Object(fields) => Kind::Struct(Struct::of(fields)),
        };
        Field { kind: Some(kind) }
    }
}
