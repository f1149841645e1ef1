//! The services behind the gateway: six origins under several names, some of them broken.

use serde_json::{Value, json};

use super::dice::Dice;

/// A service that rules can send to.
pub(super) struct Service {
    /// As a VirtualService in `default` would name it.
    pub(super) host: &'static str,
    /// Its port.
    pub(super) port: u16,
    /// Subsets that a DestinationRule can make, by the label `version`.
    pub(super) versions: &'static [&'static str],
}

/// What there is to send to.
pub(super) const SERVICES: &[Service] = &[
    Service { host: "shop", port: 80, versions: &["v1", "v2", "v3"] },
    Service { host: "shop.default.svc.cluster.local", port: 80, versions: &["v1", "v2", "v3"] },
    Service { host: "cart", port: 80, versions: &["v1"] },
    Service { host: "pay.prod.svc.cluster.local", port: 80, versions: &["v1"] },
    Service { host: "grpc", port: 80, versions: &["v1"] },
    Service { host: "multi.default.svc.cluster.local", port: 80, versions: &["v1", "v2"] },
    Service { host: "multi", port: 9000, versions: &["v1", "v2"] },
    Service { host: "ext.example.org", port: 80, versions: &["v1", "v2"] },
    Service { host: "ext.example.org", port: 8443, versions: &["v1"] },
    Service { host: "dead", port: 80, versions: &["v1"] },
    Service { host: "empty", port: 80, versions: &["v1"] },
    Service { host: "nowhere", port: 80, versions: &["v1"] },
    Service { host: "shop", port: 81, versions: &["v1"] },
];

/// Services, pods, slices and a ServiceEntry; origins are `net`.1 … `net`.6, `net`.9 refuses.
pub(super) fn resources(dice: &mut Dice, net: &str) -> Vec<Value> {
    let mut made = Vec::new();
    let plain = &[("http", 80)];
    made.extend(service("shop", "default", plain, net, &[(1, "v1"), (2, "v2"), (3, "v3")]));
    made.extend(service("cart", "default", plain, net, &[(4, "v1")]));
    made.extend(service("pay", "prod", plain, net, &[(5, "v1")]));
    made.extend(service("grpc", "default", &[("http2", 80)], net, &[(6, "v1")]));
    made.extend(service("multi", "default", &[("web", 80), ("grpc-x", 9000)], net, &[(4, "v1"), (6, "v2")]));
    made.extend(service("dead", "default", plain, net, &[(9, "v1")]));
    made.extend(service("empty", "default", plain, net, &[]));
    made.push(service_entry(dice, net));
    made
}

fn service(name: &str, namespace: &str, ports: &[(&str, u16)], net: &str, pods: &[(u8, &str)]) -> Vec<Value> {
    let pod = |(at, version): &(u8, &str)| {
        let (pod, ip) = (format!("{name}-{version}"), format!("{net}.{at}"));
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": namespace, "labels": {"app": name, "version": version}},
            "spec": {"containers": [{"name": "c", "image": "echo"}]},
            "status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        })
    };
    let endpoint = |(at, version): &(u8, &str)| {
        json!({
            "addresses": [format!("{net}.{at}")], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": format!("{name}-{version}"), "namespace": namespace},
        })
    };
    let service_ports: Vec<Value> = ports
        .iter()
        .map(|(name, port)| json!({"name": name, "port": port, "targetPort": 8080, "protocol": "TCP"}))
        .collect();
    let slice_ports: Vec<Value> =
        ports.iter().map(|(name, _)| json!({"name": name, "port": 8080, "protocol": "TCP"})).collect();
    let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
    let mut made = vec![
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "clusterIP": "10.0.7.1", "ports": service_ports},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{name}-x"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": slice_ports, "endpoints": endpoints,
        }),
    ];
    made.extend(pods.iter().map(pod));
    made
}

fn service_entry(dice: &mut Dice, net: &str) -> Value {
    let weight = dice.maybe(30, |dice| 1 + dice.below(3));
    let endpoint = |at: u8, version: &str| {
        let mut endpoint = json!({
            "address": format!("{net}.{at}"), "labels": {"version": version}, "ports": {"http": 8080, "second": 8080},
        });
        if let (Some(weight), Some(fields)) = (weight, endpoint.as_object_mut()) {
            fields.insert("weight".into(), json!(weight));
        }
        endpoint
    };
    let resolution = dice.pick(&["STATIC", "STATIC", "DNS"]);
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "ext", "namespace": "default"},
        "spec": {
            "hosts": ["ext.example.org"],
            "location": dice.pick(&["MESH_EXTERNAL", "MESH_INTERNAL"]),
            "resolution": resolution,
            "ports": [
                {"number": 80, "name": "http", "protocol": "HTTP"},
                {"number": 8443, "name": "second", "protocol": dice.pick(&["HTTP", "HTTP2", "GRPC"])},
            ],
            "endpoints": [endpoint(2, "v1"), endpoint(5, "v2")],
        },
    })
}
