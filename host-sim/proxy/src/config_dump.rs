//! `/config_dump`: the configuration being served in the sections that Envoy's admin has and `istioctl proxy-config` reads, without what is secret.
//!
//! Source: `envoy/admin/v3/config_dump.proto`; what is redacted are the fields that Envoy's API marks `sensitive`.

use serde_json::{Map, Value, json};

/// The dump of a static configuration.
pub(crate) fn of(bootstrap: &xds::Bootstrap) -> Value {
    let mut whole = serde_json::to_value(bootstrap).unwrap_or_default();
    redact(&mut whole);
    let part = |name: &str| {
        let items = whole.pointer(&format!("/static_resources/{name}")).and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    };
    let (clusters, listeners, secrets) = (part("clusters"), part("listeners"), part("secrets"));
    let mut routes = Vec::new();
    listeners.iter().for_each(|listener| route_tables(listener, &mut routes));
    let section = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}ConfigDump");
    let list = |items: Vec<Value>, key: &str, message: &str| {
        items.into_iter().map(|item| json!({ key: typed(item, message) })).collect::<Vec<_>>()
    };
    let named = |secret: Value| {
        let name = secret.get("name").cloned().unwrap_or_default();
        json!({ "name": name, "secret": typed(secret, "envoy.extensions.transport_sockets.tls.v3.Secret") })
    };
    let secrets: Vec<_> = secrets.into_iter().map(named).collect();
    let clusters = list(clusters, "cluster", "envoy.config.cluster.v3.Cluster");
    let listeners = list(listeners, "listener", "envoy.config.listener.v3.Listener");
    let routes = list(routes, "route_config", "envoy.config.route.v3.RouteConfiguration");
    json!({ "configs": [
        { "@type": section("Bootstrap"), "bootstrap": whole },
        { "@type": section("Clusters"), "static_clusters": clusters },
        { "@type": section("Listeners"), "static_listeners": listeners },
        { "@type": section("Routes"), "static_route_configs": routes },
        { "@type": section("Secrets"), "static_secrets": secrets },
    ] })
}

fn typed(item: Value, message: &str) -> Value {
    let mut fields = Map::from_iter([("@type".to_owned(), format!("type.googleapis.com/{message}").into())]);
    if let Value::Object(own) = item {
        fields.extend(own);
    }
    Value::Object(fields)
}

/// Every `route_config` below a listener.
fn route_tables(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| route_tables(item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("route_config").filter(|table| table.is_object()).cloned());
            fields.iter().filter(|(name, _)| *name != "route_config").for_each(|(_, item)| route_tables(item, found));
        }
        _ => {}
    }
}

/// Fields that are secret whatever holds them.
const SENSITIVE: [&str; 5] = ["private_key", "private_key_provider", "password", "pkcs12", "session_ticket_keys"];

fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (name, item) in fields.iter_mut() {
                match name.as_str() {
                    name if SENSITIVE.contains(&name) => hide(item),
                    "generic_secret" => item.get_mut("secret").into_iter().for_each(hide),
                    _ => redact(item),
                }
            }
        }
        _ => {}
    }
}

/// Every text in it becomes Envoy's word for it, bytes its base64.
fn hide(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => {
            for (name, item) in fields.iter_mut() {
                match name.as_str() {
                    "@type" => {}
                    "inline_bytes" => *item = "W3JlZGFjdGVkXQ==".into(),
                    _ => hide(item),
                }
            }
        }
        Value::String(text) => "[redacted]".clone_into(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_envoys_and_keys_are_nobodys() {
        let bootstrap: xds::Bootstrap = serde_json::from_value(json!({ "static_resources": {
            "listeners": [{ "name": "l", "filter_chains": [{ "filters": [{ "name": "hcm", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "x", "route_config": { "name": "http.80" },
            } }] }] }],
            "clusters": [{ "name": "c" }],
            "secrets": [{ "name": "s", "tls_certificate": {
                "certificate_chain": { "inline_string": "public" },
                "private_key": { "inline_string": "private" }, "password": { "inline_bytes": "cHJpdmF0ZQ==" },
            } }],
        } })).unwrap();
        let dump = of(&bootstrap);
        for (path, expected) in [
            ("/configs/1/static_clusters/0/cluster/name", "c"),
            ("/configs/1/static_clusters/0/cluster/@type", "type.googleapis.com/envoy.config.cluster.v3.Cluster"),
            ("/configs/2/static_listeners/0/listener/name", "l"),
            ("/configs/3/static_route_configs/0/route_config/name", "http.80"),
            ("/configs/4/static_secrets/0/name", "s"),
            ("/configs/4/static_secrets/0/secret/tls_certificate/certificate_chain/inline_string", "public"),
            ("/configs/4/static_secrets/0/secret/tls_certificate/private_key/inline_string", "[redacted]"),
            ("/configs/4/static_secrets/0/secret/tls_certificate/password/inline_bytes", "W3JlZGFjdGVkXQ=="),
            ("/configs/0/bootstrap/static_resources/secrets/0/tls_certificate/private_key/inline_string", "[redacted]"),
        ] {
            assert_eq!(dump.pointer(path).and_then(Value::as_str), Some(expected), "{path} in {dump:#}");
        }
        let text = dump.to_string();
        assert!(!text.contains("\"private\"") && !text.contains("cHJpdmF0ZQ=="), "{text}");
    }
}
