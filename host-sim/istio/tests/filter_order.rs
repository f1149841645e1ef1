//! The HTTP filters of a gateway listener stand in the order istiod puts them in.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{fs, path::PathBuf};

use istio::{Options, Source, read, translate};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    manifests: String,
    http_filters_on_port_80: Vec<String>,
}

const GATEWAY: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
";

/// Filters of Istio's own build of Envoy, and those of what is not carried out here.
const NOT_OURS: [&str; 7] = [
    "istio.metadata_exchange",
    "istio.alpn",
    "istio.stats",
    "istio_authn",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.rbac",
    "extensions.istio.io/trafficextension/istio-system.luax",
];

#[test]
fn filters_stand_where_istiod_puts_them() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/filter-order.yaml");
    let cases: Vec<Case> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() > 20, "only {} recordings", cases.len());
    for case in cases {
        let text = format!("{}{GATEWAY}", case.manifests);
        let (resources, problems) = read(&[Source { name: "case.yaml".into(), text }]);
        assert!(problems.is_empty(), "{problems:#?}\n{}", case.manifests);
        let labels = [("istio", "ingressgateway"), ("app", "istio-ingressgateway")];
        let allowed =
            ["AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication", "WasmPlugin", "TrafficExtension"];
        let options = Options {
            labels: Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            allow_unsupported: allowed.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        let translation =
            translate(&resources, &options).unwrap_or_else(|problems| panic!("{problems:#?}\n{}", case.manifests));
        let listener = &translation.bootstrap.static_resources.unwrap().listeners[0];
        let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) =
            &listener.filter_chains[0].filters[0].typed_config
        else {
            panic!("no connection manager");
        };
        let ours: Vec<_> = manager.http_filters.iter().map(|filter| filter.name.as_str()).collect();
        let recorded: Vec<_> =
            case.http_filters_on_port_80.iter().map(String::as_str).filter(|name| !NOT_OURS.contains(name)).collect();
        assert_eq!(ours, recorded, "{}", case.manifests);
    }
}
