//! `--bootstrap FILE`: an Envoy bootstrap, or what a live gateway's admin prints at `/config_dump`.
//!
//! A dump's dynamic parts become static ones: listeners get the route configuration their `rds` names, clusters the
//! endpoints of their EDS service, TLS contexts the secrets their SDS names. What a dump redacts (private keys) stays
//! redacted.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::inputs;

/// Reads the file, YAML or JSON, camelCase or snake_case, and returns it as one static bootstrap.
///
/// # Errors
/// An unreadable file; text that is neither; an unknown field, by path and name.
pub(crate) fn read(path: &Path) -> Result<xds::Bootstrap, Failure> {
    let bytes = inputs::bytes(path)?;
    let refused = |why: String| Failure::Manifests(vec![format!("{}: {why}", path.display())]);
    let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
    let mut value: Value = serde_saphyr::from_str(&text).map_err(|error| refused(error.to_string()))?;
    xds::snake_case_keys(&mut value);
    let value = match value.get_mut("configs").map(Value::take) {
        Some(configs) => from_dump(configs),
        None => value,
    };
    let mut bootstrap: xds::Bootstrap = serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        refused(format!("{field}: {}", error.into_inner()))
    })?;
    // Nobody is asked for more: what the file holds is served.
    bootstrap.dynamic_resources = None;
    Ok(bootstrap)
}

/// The parts of a `/config_dump` that make a gateway, as a bootstrap's JSON.
fn from_dump(mut configs: Value) -> Value {
    let mut parts = Parts::default();
    for dump in configs.as_array_mut().into_iter().flatten() {
        let kind = dump.get("@type").and_then(Value::as_str).unwrap_or("").to_owned();
        match kind.rsplit('.').next() {
            Some("BootstrapConfigDump") => parts.bootstrap = take(dump, "bootstrap"),
            Some("ListenersConfigDump") => {
                parts.listeners.extend(each(dump, "static_listeners", &["listener"]));
                parts.listeners.extend(each(dump, "dynamic_listeners", &["active_state", "listener"]));
            }
            Some("ClustersConfigDump") => {
                parts.clusters.extend(each(dump, "static_clusters", &["cluster"]));
                parts.clusters.extend(each(dump, "dynamic_active_clusters", &["cluster"]));
            }
            Some("RoutesConfigDump") => {
                parts.add_routes(each(dump, "static_route_configs", &["route_config"]));
                parts.add_routes(each(dump, "dynamic_route_configs", &["route_config"]));
            }
            Some("EndpointsConfigDump") => {
                parts.add_endpoints(each(dump, "static_endpoint_configs", &["endpoint_config"]));
                parts.add_endpoints(each(dump, "dynamic_endpoint_configs", &["endpoint_config"]));
            }
            Some("SecretsConfigDump") => {
                parts.secrets.extend(each(dump, "static_secrets", &["secret"]));
                parts.secrets.extend(each(dump, "dynamic_active_secrets", &["secret"]));
            }
            Some("EcdsConfigDump") => parts.add_filters(each(dump, "ecds_filters", &["ecds_filter"])),
            _ => {}
        }
    }
    parts.into_bootstrap()
}

#[derive(Default)]
struct Parts {
    bootstrap: Value,
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    secrets: Vec<Value>,
    routes: BTreeMap<String, Value>,
    endpoints: BTreeMap<String, Value>,
    filters: BTreeMap<String, Value>,
}

impl Parts {
    fn add_routes(&mut self, found: Vec<Value>) {
        self.routes.extend(found.into_iter().map(|route| (name(&route, "name"), untyped(route))));
    }

    fn add_endpoints(&mut self, found: Vec<Value>) {
        self.endpoints.extend(found.into_iter().map(|set| (name(&set, "cluster_name"), untyped(set))));
    }

    fn add_filters(&mut self, found: Vec<Value>) {
        self.filters
            .extend(found.into_iter().map(|mut filter| (name(&filter, "name"), take(&mut filter, "typed_config"))));
    }

    fn into_bootstrap(mut self) -> Value {
        for cluster in &mut self.clusters {
            let own = name(cluster, "name");
            let service = cluster.pointer("/eds_cluster_config/service_name").and_then(Value::as_str).unwrap_or(&own);
            if let (Some(endpoints), Some(cluster)) = (self.endpoints.get(service).cloned(), cluster.as_object_mut()) {
                cluster.insert("load_assignment".to_owned(), endpoints);
                cluster.insert("type".to_owned(), "STATIC".into());
                cluster.remove("eds_cluster_config");
            }
        }
        for listener in &mut self.listeners {
            resolve(listener, &self.routes, &self.filters);
        }
        let untyped = |values: Vec<Value>| values.into_iter().map(untyped).collect::<Vec<_>>();
        serde_json::json!({
            "node": self.bootstrap.get("node"),
            "static_resources": {
                "listeners": untyped(self.listeners),
                "clusters": untyped(self.clusters),
                "secrets": untyped(self.secrets),
            },
        })
    }
}

/// Replaces `rds` by the route configuration and `config_discovery` by the filter's configuration, wherever they are.
fn resolve(value: &mut Value, routes: &BTreeMap<String, Value>, filters: &BTreeMap<String, Value>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, routes, filters)),
        Value::Object(map) => {
            let route = map.get("rds").and_then(|rds| routes.get(rds.get("route_config_name")?.as_str()?)).cloned();
            if let Some(mut route) = route {
                map.remove("rds");
                // Routes that come by themselves may be ahead of their clusters.
                if let Some(route) = route.as_object_mut() {
                    route.entry("validate_clusters").or_insert_with(|| false.into());
                }
                map.insert("route_config".to_owned(), route);
            }
            let filter = map.get("config_discovery").and(map.get("name")).and_then(|name| filters.get(name.as_str()?));
            if let Some(filter) = filter.cloned() {
                map.remove("config_discovery");
                map.insert("typed_config".to_owned(), filter);
            }
            map.values_mut().for_each(|item| resolve(item, routes, filters));
        }
        _ => {}
    }
}

fn each(dump: &mut Value, list: &str, path: &[&str]) -> Vec<Value> {
    let items = dump.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten().map(|item| path.iter().fold(item.take(), |mut at, key| take(&mut at, key))).collect()
}

fn take(value: &mut Value, key: &str) -> Value {
    value.get_mut(key).map(Value::take).unwrap_or_default()
}

fn name(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
}

/// Resources in a dump are Anys; where the type is known, the `@type` is only in the way.
fn untyped(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.remove("@type");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_becomes_one_static_bootstrap() {
        let dump = serde_json::json!([
            {"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [{"active_state": {"listener": {
                "@type": "x/envoy.config.listener.v3.Listener", "name": "0.0.0.0_80", "filter_chains": [{"filters": [{
                    "name": "hcm", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "rds": {"route_config_name": "http.80"}}}]}]}}}]},
            {"@type": "x/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [{"route_config": {
                "@type": "x/envoy.config.route.v3.RouteConfiguration", "name": "http.80"}}]},
            {"@type": "x/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [{"cluster": {
                "@type": "x/envoy.config.cluster.v3.Cluster", "name": "a", "type": "EDS",
                "eds_cluster_config": {"service_name": "svc-a"}}}]},
            {"@type": "x/envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs": [{"endpoint_config": {
                "@type": "x/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "svc-a"}}]},
        ]);
        let bootstrap: xds::Bootstrap = serde_json::from_value(from_dump(dump)).unwrap();
        let resources = bootstrap.static_resources.unwrap();
        let cluster = resources.clusters.first().unwrap();
        assert_eq!((cluster.r#type, cluster.load_assignment.is_some()), (Some(xds::DiscoveryType::Static), true));
        let filter = &resources.listeners[0].filter_chains[0].filters[0];
        let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &filter.typed_config else { panic!() };
        assert_eq!(manager.route_config.as_ref().unwrap().name, "http.80");
    }
}
