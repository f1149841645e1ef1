//! What istiod handed Envoy for recorded manifests is what we make of them: listeners, routes, clusters and endpoints, field by field.
//!
//! A recording has the discovery forms (RDS, EDS, SDS), a bootstrap the static ones; they are brought to one form here and nowhere else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{fs, path::PathBuf};

use istio::{Options, Source, read, translate};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Case {
    area: String,
    name: String,
    manifests: String,
    #[serde(default)]
    world: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    mesh: Option<String>,
    #[serde(flatten)]
    _rest: Map<String, Value>,
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus")
}

fn cases(area: &str) -> Vec<Case> {
    let text = fs::read_to_string(corpus().join(format!("cases/{area}.yaml"))).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn bootstrap(case: &Case) -> Value {
    let mut manifests = case.manifests.clone();
    if case.world.as_deref() == Some("standard") {
        manifests.push_str("\n---\n");
        manifests.push_str(&fs::read_to_string(corpus().join("world.yaml")).unwrap());
    }
    for name in &case.secrets {
        let data = json!({"tls.crt": "certificate", "tls.key": "key", "ca.crt": "authority"});
        let metadata = json!({"name": name, "namespace": "istio-system"});
        manifests.push_str(&format!(
            "\n---\n{}\n",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        ));
    }
    if let Some(mesh) = &case.mesh {
        let metadata = json!({"name": "istio", "namespace": "istio-system"});
        manifests.push_str(&format!(
            "\n---\n{}\n",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": mesh}})
        ));
    }
    let (resources, problems) = read(&[Source { name: "case.yaml".into(), text: manifests }]);
    assert!(problems.is_empty(), "{}: {problems:#?}", case.name);
    let labels = [("istio", "ingressgateway"), ("app", "istio-ingressgateway")];
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = Options { labels: Some(labels), ..Options::default() };
    let translation = translate(&resources, &options).unwrap_or_else(|problems| panic!("{}: {problems:#?}", case.name));
    serde_json::to_value(&translation.bootstrap).unwrap()["static_resources"].clone()
}

/// `false`, `""`, `0`, `{}` and `[]` mean absent in proto3; `metadata` and the direction were not recorded.
fn plain(value: Value) -> Value {
    let empty = |v: &Value| match v {
        Value::Bool(b) => !b,
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::Object(o) => o.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Null => true,
    };
    match value {
        Value::Object(map) => {
            let known = map
                .into_iter()
                .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "traffic_direction" | "sds_config"));
            known.map(|(key, value)| (key, plain(value))).filter(|(_, value)| !empty(value)).collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

/// Takes route tables out of the listeners.
fn split_routes(listeners: &mut Value) -> Vec<Value> {
    let mut tables = Vec::new();
    for chain in listeners
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .flat_map(|listener| listener["filter_chains"].as_array_mut().unwrap())
    {
        for filter in chain["filters"].as_array_mut().into_iter().flatten() {
            let Some(config) = filter["typed_config"].as_object_mut() else { continue };
            if let Some(table) = config.remove("route_config") {
                let source = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
                config.insert("rds".into(), json!({"config_source": source, "route_config_name": table["name"]}));
                tables.push(table);
            }
        }
    }
    tables
}

/// Takes endpoints out of the clusters that istiod sends them apart for.
fn split_endpoints(clusters: &mut Value) -> Vec<Value> {
    let mut endpoints = Vec::new();
    for cluster in clusters.as_array_mut().unwrap() {
        if cluster["type"].as_str().unwrap_or("STATIC") != "STATIC" {
            continue;
        }
        let name = cluster["name"].clone();
        let fields = cluster.as_object_mut().unwrap();
        endpoints.extend(fields.remove("load_assignment"));
        let source = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
        fields.insert("type".into(), "EDS".into());
        fields.insert("eds_cluster_config".into(), json!({"eds_config": source, "service_name": name}));
    }
    endpoints
}

fn compare(case: &str, kind: &str, key: &str, recorded: &Value, ours: &[Value], differences: &mut Vec<String>) {
    for recorded in recorded.as_array().into_iter().flatten() {
        let recorded = plain(recorded.clone());
        let name = &recorded[key];
        match ours.iter().cloned().map(plain).find(|own| own[key] == *name) {
            None => differences.push(format!("{case}: {kind} {name} is missing")),
            Some(own) if own != recorded => diff(&format!("{case}: {kind} {name}"), &recorded, &own, differences),
            Some(_) => {}
        }
    }
}

fn diff(path: &str, recorded: &Value, ours: &Value, differences: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let (x, y) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                diff(&format!("{path}.{key}"), x, y, differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(i, (x, y))| diff(&format!("{path}[{i}]"), x, y, differences));
        }
        (a, b) if a != b => differences.push(format!("{path}: istiod has {a}, we have {b}")),
        _ => {}
    }
}

#[test]
fn recorded_manifests_become_what_istiod_made_of_them() {
    let mut differences = Vec::new();
    let mut compared = 0;
    for entry in fs::read_dir(corpus().join("translation")).unwrap() {
        let recorded: Value = serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let (area, name) = recorded["case"].as_str().unwrap().split_once(" | ").unwrap();
        let case = cases(area).into_iter().find(|case| case.area == area && case.name == name);
        // Some recordings belong to cases that are not in the corpus.
        let Some(case) = case else { continue };
        let mut ours = bootstrap(&case);
        let tables = split_routes(&mut ours["listeners"]);
        let endpoints = split_endpoints(&mut ours["clusters"]);
        let listeners = ours["listeners"].as_array().unwrap();
        compare(name, "listener", "name", &recorded["listeners"], listeners, &mut differences);
        compare(name, "routes", "name", &recorded["routes"], &tables, &mut differences);
        compare(name, "cluster", "name", &recorded["clusters"], ours["clusters"].as_array().unwrap(), &mut differences);
        compare(name, "endpoints", "cluster_name", &recorded["endpoints"], &endpoints, &mut differences);
        if let Some(recorded) = recorded["listeners"].as_array() {
            assert_eq!(listeners.len(), recorded.len(), "{name}: listeners");
        }
        compared += 1;
    }
    assert!(compared > 25, "only {compared} recordings");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
