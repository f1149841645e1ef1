//! The value of a patch, read as the message its kind says.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use xds::{HttpFilterConfig, NetworkFilterConfig, PerFilterConfig};

use super::Patch;
use crate::{
    manifest::{
        decode::Free,
        node::{Node, Value as Tree},
    },
    problem::{Position, Problem},
    resource::envoy_filter::ApplyTo,
};

/// The value in proto names, defaults left out, TypedStructs opened: the JSON form of the message it is.
pub(super) fn read(patch: &Patch<'_>, free: &Free) -> Result<Value, Box<Problem>> {
    let mut value = free.0.json();
    proto_names(&mut value);
    let read = match patch.apply_to {
        ApplyTo::Listener => canonical::<xds::Listener>(value, |_| None),
        ApplyTo::FilterChain => canonical::<xds::FilterChain>(value, |_| None),
        ApplyTo::NetworkFilter => canonical::<xds::NetworkFilter>(value, unknown_network_filter),
        ApplyTo::HttpFilter => canonical::<xds::HttpFilter>(value, unknown_http_filter),
        ApplyTo::RouteConfiguration => canonical::<xds::RouteConfiguration>(value, |message| {
            let hosts = message.virtual_hosts.iter().find_map(|host| unknown_per_filter(&host.typed_per_filter_config));
            hosts.or_else(|| unknown_per_filter(&message.typed_per_filter_config))
        }),
        ApplyTo::VirtualHost => canonical::<xds::VirtualHost>(value, |message| {
            let routes = message.routes.iter().find_map(|route| unknown_per_filter(&route.typed_per_filter_config));
            routes.or_else(|| unknown_per_filter(&message.typed_per_filter_config))
        }),
        ApplyTo::HttpRoute => {
            canonical::<xds::Route>(value, |message| unknown_per_filter(&message.typed_per_filter_config))
        }
        ApplyTo::Cluster => canonical::<xds::Cluster>(value, |_| None),
        ApplyTo::ListenerFilter => canonical::<xds::ListenerFilter>(value, unknown_listener_filter),
        ApplyTo::ExtensionConfig | ApplyTo::Bootstrap => Err(format!("applyTo {:?} is not supported", patch.apply_to)),
        ApplyTo::Invalid => Err("missing applyTo".to_owned()),
    };
    read.map_err(|reason| {
        let at = blamed(&reason).and_then(|field| find_key(&free.0, field));
        let problem = patch.problem(reason);
        Box::new(Problem { at: at.unwrap_or(problem.at), ..problem })
    })
}

/// Through the type and back. `unknown` names a filter in the message that does not run here.
fn canonical<T: DeserializeOwned + Serialize>(
    value: Value,
    unknown: impl Fn(&T) -> Option<String>,
) -> Result<Value, String> {
    let message: T = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if let Some(name) = unknown(&message) {
        return Err(format!(
            "{name} does not run here: the filters that do are wasm, fault, cors, local_ratelimit, ratelimit, header_mutation and router; \
             of listener filters tls_inspector and proxy_protocol"
        ));
    }
    serde_json::to_value(&message).map_err(|error| error.to_string())
}

fn unknown_listener_filter(filter: &xds::ListenerFilter) -> Option<String> {
    match &filter.typed_config {
        Some(xds::ListenerFilterConfig::Other(any)) => Some(any.type_name().to_owned()),
        _ => None,
    }
}

fn unknown_http_filter(filter: &xds::HttpFilter) -> Option<String> {
    match &filter.typed_config {
        Some(HttpFilterConfig::Other(any)) => Some(any.type_name().to_owned()),
        None if filter.config_discovery.is_some() => Some(format!("{} by config_discovery", filter.name)),
        _ => None,
    }
}

fn unknown_network_filter(filter: &xds::NetworkFilter) -> Option<String> {
    match &filter.typed_config {
        Some(NetworkFilterConfig::Other(any)) => Some(any.type_name().to_owned()),
        Some(NetworkFilterConfig::HttpConnectionManager(manager)) => {
            manager.http_filters.iter().find_map(unknown_http_filter)
        }
        _ => None,
    }
}

fn unknown_per_filter(configs: &std::collections::BTreeMap<String, PerFilterConfig>) -> Option<String> {
    configs.values().find_map(|config| match config {
        PerFilterConfig::Other(any) => Some(any.type_name().to_owned()),
        _ => None,
    })
}

/// Fields whose keys are the user's and not names of fields.
const USER_KEYS: [&str; 6] =
    ["filter_metadata", "filterMetadata", "key_values", "keyValues", "json_format", "jsonFormat"];

/// `mergeSlashes` is `merge_slashes`; keys that are not field names stay.
fn proto_names(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let is_struct =
                map.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with("google.protobuf.Struct"));
            let fields: Map<String, Value> = std::mem::take(map);
            for (key, mut value) in fields {
                if !is_struct && !USER_KEYS.contains(&key.as_str()) {
                    proto_names(&mut value);
                }
                map.insert(proto_name(&key), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(proto_names),
        _ => {}
    }
}

fn proto_name(key: &str) -> String {
    let camel = key.starts_with(|c: char| c.is_ascii_lowercase()) && key.bytes().all(|c| c.is_ascii_alphanumeric());
    if !camel {
        return key.to_owned();
    }
    let mut name = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// The field an error of the types speaks of: "unknown field `x`".
fn blamed(reason: &str) -> Option<&str> {
    let start = reason.find("unknown field `")? + "unknown field `".len();
    reason.get(start..)?.split('`').next()
}

/// Where a field of that name, in either spelling, stands.
fn find_key(node: &Node, field: &str) -> Option<Position> {
    match &node.value {
        Tree::Map(entries) => entries.iter().find_map(|entry| {
            let here = (entry.key == field || proto_name(&entry.key) == field).then_some(entry.at);
            here.or_else(|| find_key(&entry.value, field))
        }),
        Tree::List(items) => items.iter().find_map(|item| find_key(item, field)),
        _ => None,
    }
}
