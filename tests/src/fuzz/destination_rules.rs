//! DestinationRules: subsets, balancing, pools and outliers.

use serde_json::{Value, json};

use super::dice::{Dice, Message};

const HOSTS: &[(&str, &str, &[&str])] = &[
    ("shop", "default", &["v1", "v2", "v3"]),
    ("cart.default.svc.cluster.local", "default", &["v1"]),
    ("pay", "prod", &["v1"]),
    ("grpc", "default", &["v1"]),
    ("multi", "default", &["v1", "v2"]),
    ("ext.example.org", "default", &["v1", "v2"]),
    ("*.default.svc.cluster.local", "istio-system", &["v1"]),
];

/// One rule for most services.
pub(super) fn resources(dice: &mut Dice) -> Vec<Value> {
    let mut made = Vec::new();
    for (at, (host, namespace, versions)) in HOSTS.iter().enumerate() {
        let last = at + 1 == HOSTS.len();
        if dice.chance(if last { 4 } else { 85 }) {
            made.push(rule(dice, host, namespace, versions, at));
        }
    }
    made
}

fn rule(dice: &mut Dice, host: &str, namespace: &str, versions: &[&str], at: usize) -> Value {
    let subsets: Vec<Value> = versions
        .iter()
        .map(|version| {
            Message::default()
                .with("name", *version)
                .with("labels", json!({"version": version}))
                .perhaps("trafficPolicy", dice.maybe(12, |dice| policy(dice, false)))
                .into()
        })
        .collect();
    let spec = Message::default()
        .with("host", host)
        .with("subsets", subsets)
        .perhaps("trafficPolicy", dice.maybe(35, |dice| policy(dice, true)))
        .perhaps("exportTo", dice.maybe(4, |dice| json!([dice.pick(&["*", ".", "istio-system"])])));
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": format!("dr{at}"), "namespace": namespace}, "spec": Value::from(spec),
    })
}

fn policy(dice: &mut Dice, with_ports: bool) -> Value {
    let ports = (with_ports && dice.chance(12)).then(|| {
        let settings = blocks(dice).with("port", json!({"number": 80}));
        vec![Value::from(settings)]
    });
    blocks(dice).perhaps("portLevelSettings", ports).into()
}

/// Istio refuses a message without fields; one of them then.
fn filled(message: Message, name: &str, value: impl Into<Value>) -> Message {
    if message.is_empty() { message.with(name, value) } else { message }
}

fn blocks(dice: &mut Dice) -> Message {
    let blocks = Message::default()
        .perhaps("loadBalancer", dice.maybe(60, balancer))
        .perhaps("connectionPool", dice.maybe(30, pool))
        .perhaps("outlierDetection", dice.maybe(10, outliers))
        .perhaps("tls", dice.maybe(8, |_| json!({"mode": "DISABLE"})));
    filled(blocks, "loadBalancer", json!({"simple": "ROUND_ROBIN"}))
}

fn balancer(dice: &mut Dice) -> Value {
    if dice.chance(40) {
        return json!({"simple": dice.pick(&["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "LEAST_CONN", "UNSPECIFIED"])});
    }
    let key = match dice.below(6) {
        0 | 1 => Message::default().with("httpHeaderName", dice.pick(&["x-user", "X-Env", "cookie"])),
        2 => Message::default().with("useSourceIp", true),
        3 => Message::default().with("httpQueryParameterName", "v"),
        _ => {
            let cookie = Message::default()
                .with("name", dice.pick(&["sid", "user"]))
                .perhaps("path", dice.maybe(40, |dice| dice.pick(&["/", "/a"])))
                .perhaps("ttl", dice.maybe(70, |dice| dice.pick(&["0s", "60s", "1h"])));
            Message::default().with("httpCookie", cookie)
        }
    };
    let hash = match dice.below(4) {
        0 | 1 => key.with("maglev", json!({"tableSize": 1009})),
        2 => key.with("ringHash", json!({"minimumRingSize": 64})),
        _ => key,
    };
    json!({"consistentHash": Value::from(hash)})
}

fn pool(dice: &mut Dice) -> Value {
    let http = dice.maybe(70, |dice| {
        let http = Message::default()
            .perhaps("maxRequestsPerConnection", dice.maybe(30, |dice| 1 + dice.below(2)))
            .perhaps("h2UpgradePolicy", dice.maybe(30, |dice| dice.pick(&["UPGRADE", "DO_NOT_UPGRADE", "DEFAULT"])))
            .perhaps("useClientProtocol", dice.maybe(12, |_| true))
            .perhaps("maxRetries", dice.maybe(20, |dice| 1 + dice.below(2)))
            .perhaps("http1MaxPendingRequests", dice.maybe(20, |_| 100))
            .perhaps("http2MaxRequests", dice.maybe(20, |_| 100))
            .perhaps("idleTimeout", dice.maybe(20, |_| "30s"));
        filled(http, "maxRetries", 3)
    });
    let tcp = dice.maybe(40, |dice| {
        let tcp = Message::default()
            .perhaps("maxConnections", dice.maybe(50, |_| 100))
            .perhaps("connectTimeout", dice.maybe(50, |_| "1s"))
            .perhaps("tcpKeepalive", dice.maybe(20, |_| json!({"probes": 3, "time": "60s"})));
        filled(tcp, "maxConnections", 50)
    });
    filled(Message::default().perhaps("http", http).perhaps("tcp", tcp), "tcp", json!({"maxConnections": 50})).into()
}

fn outliers(dice: &mut Dice) -> Value {
    Message::default()
        .with("baseEjectionTime", "300s")
        .with("interval", "300s")
        .with("maxEjectionPercent", *dice.any(&[10, 50, 100]).unwrap_or(&100))
        .perhaps("consecutive5xxErrors", dice.maybe(70, |dice| dice.below(4)))
        .perhaps("consecutiveGatewayErrors", dice.maybe(30, |dice| dice.below(3)))
        .perhaps("minHealthPercent", dice.maybe(20, |_| 50))
        .into()
}
