//! Bootstraps that Envoy refuses, by its constraints and loaders, and some that it takes: host-sim's verdict is the same, and says where.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::{Value, json};
use tests::{envoy, host_sim};

const LISTENER: &str = "/static_resources/listeners/0";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const ROUTES: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config";
const HOST: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
const ROUTE: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0";
const CLUSTER: &str = "/static_resources/clusters/0";

fn router() -> Value {
    json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}})
}

fn bootstrap() -> Value {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9}}}});
    json!({"static_resources": {
        "listeners": [{
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "h", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "s",
                "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
                ]}]},
                "http_filters": [router()],
            }}]}],
        }],
        "clusters": [{"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [endpoint]}]}}],
    }})
}

/// The bootstrap with one thing changed; `null` takes it away.
fn changed(at: &str, field: &str, to: Value) -> Value {
    let mut bootstrap = bootstrap();
    let place = bootstrap.pointer_mut(at).unwrap_or_else(|| panic!("{at}"));
    match (place, to) {
        (Value::Array(list), Value::Null) => list.clear(),
        (Value::Array(list), to) => list.push(to),
        (Value::Object(map), Value::Null) => drop(map.remove(field)),
        (Value::Object(map), to) => drop(map.insert(field.to_owned(), to)),
        _ => panic!("{at}"),
    }
    bootstrap
}

fn forwards(action: Value) -> Value {
    json!({"match": {"prefix": "/"}, "route": action})
}

fn cases() -> Vec<(&'static str, Value)> {
    let add = |value: &str| json!([{"header": {"key": "a", "value": value}}]);
    let manager = bootstrap().pointer(&format!("{LISTENER}/filter_chains/0/filters/0")).unwrap().clone();
    let cors = json!({"name": "cors", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}});
    let routes = &format!("{HOST}/routes");
    let second = |route: Value| changed(routes, "", route);
    let mirrored = |mirror: Value| second(forwards(json!({"cluster": "c", "request_mirror_policies": [mirror]})));
    let weighted = |clusters: Value| second(forwards(json!({"weighted_clusters": {"clusters": clusters}})));
    let socket = &format!("{CLUSTER}/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address");
    vec![
        ("nothing", changed(ROUTES, "name", json!("r"))),
        ("a virtual host without name", changed(HOST, "name", Value::Null)),
        ("a virtual host without domains", changed(HOST, "domains", Value::Null)),
        ("an empty domain", changed(HOST, "domains", json!([""]))),
        ("a star within a domain", changed(HOST, "domains", json!(["a.*.b"]))),
        ("a domain twice", changed(&format!("{ROUTES}/virtual_hosts"), "", json!({"name": "w", "domains": ["*"]}))),
        (
            "a virtual host's name twice",
            changed(&format!("{ROUTES}/virtual_hosts"), "", json!({"name": "v", "domains": ["x"]})),
        ),
        ("a cluster without name", changed(CLUSTER, "name", Value::Null)),
        (
            "endpoints without a cluster's name",
            changed(&format!("{CLUSTER}/load_assignment"), "cluster_name", Value::Null),
        ),
        (
            "endpoints with another cluster's name",
            changed(&format!("{CLUSTER}/load_assignment"), "cluster_name", json!("d")),
        ),
        ("no time to connect", changed(CLUSTER, "connect_timeout", json!("0s"))),
        ("a host's name in a static cluster", changed(socket, "address", json!("nothost"))),
        ("a port that is none", changed(socket, "port_value", json!(65536))),
        ("no prefix for statistics", changed(MANAGER, "stat_prefix", Value::Null)),
        ("a filter without name", changed(&format!("{MANAGER}/http_filters/0"), "name", Value::Null)),
        (
            "a network filter without name",
            changed(&format!("{LISTENER}/filter_chains/0/filters/0"), "name", Value::Null),
        ),
        ("two connection managers", changed(&format!("{LISTENER}/filter_chains/0/filters"), "", manager)),
        ("a filter behind the router", changed(&format!("{MANAGER}/http_filters"), "", cors)),
        ("two routers", changed(&format!("{MANAGER}/http_filters"), "", router())),
        ("a listener without chains", changed(&format!("{LISTENER}/filter_chains"), "", Value::Null)),
        ("a listener without address", changed(LISTENER, "address", Value::Null)),
        ("a listener without name", changed(LISTENER, "name", Value::Null)),
        ("a line break in a header", changed(ROUTES, "request_headers_to_add", add("x\r\nb"))),
        ("a line break in a header of a virtual host", changed(HOST, "response_headers_to_add", add("x\nb"))),
        ("a tabulator in a header", changed(ROUTES, "request_headers_to_add", add("x\tb"))),
        ("a command nobody knows", changed(ROUTES, "request_headers_to_add", add("%NOPE%"))),
        ("two actions", changed(ROUTE, "redirect", json!({"https_redirect": true}))),
        (
            "two schemes",
            second(json!({"match": {"prefix": "/"}, "redirect": {"https_redirect": true, "scheme_redirect": "http"}})),
        ),
        (
            "a fraction without a value",
            changed(&format!("{ROUTE}/match"), "runtime_fraction", json!({"runtime_key": "x"})),
        ),
        ("a prefix without a slash", changed(ROUTE, "match", json!({"prefix": "a"}))),
        ("a cluster nobody has", second(forwards(json!({"cluster": "nope"})))),
        ("a weighted cluster nobody has", weighted(json!([{"name": "nope", "weight": 1}]))),
        ("weights of nothing", weighted(json!([{"name": "c", "weight": 0}]))),
        ("a mirror without cluster", mirrored(json!({}))),
        ("a mirror nobody has", mirrored(json!({"cluster": "nope"}))),
        ("a status that is none", changed(&format!("{ROUTE}/direct_response"), "status", json!(600))),
    ]
}

#[test]
fn what_envoy_refuses_is_refused_and_what_it_takes_is_taken() {
    let program = host_sim::binary().unwrap();
    let envoy = envoy::binary().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    let mut wrong = Vec::new();
    let mut unknown_allowed = changed(&format!("{HOST}/routes"), "", forwards(json!({"cluster": "nope"})));
    unknown_allowed.pointer_mut(ROUTES).unwrap()["validate_clusters"] = json!(false);
    for (what, bootstrap) in cases().into_iter().chain([("a cluster nobody has, which may be", unknown_allowed)]) {
        std::fs::write(&file, bootstrap.to_string()).unwrap();
        // `explain` reads the whole configuration, and opens no socket.
        let arguments = ["explain", "--bootstrap", file.to_str().unwrap(), "http://a.example/"];
        let ours = Command::new(&program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&ours.stderr);
        let taken = match ours.status.code() {
            Some(0) => true,
            Some(3) => false,
            other => panic!("{what}: {other:?}: {said}"),
        };
        assert!(taken || said.contains('['), "{what}: no place in {said}");
        let Some(envoy) = &envoy else { continue };
        let validate = ["--mode", "validate", "--disable-hot-restart", "-l", "error", "-c", file.to_str().unwrap()];
        let theirs = Command::new(envoy).args(validate).output().unwrap();
        if theirs.status.success() != taken {
            let theirs = String::from_utf8_lossy(&theirs.stderr);
            wrong.push(format!("{what}: Envoy {theirs:?}, host-sim {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
