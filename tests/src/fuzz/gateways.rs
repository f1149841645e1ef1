//! Gateways: one or two, with servers on a few ports.

use serde_json::{Value, json};

use super::{
    dice::{Dice, Message},
    words,
};

/// Every port a Gateway may listen on.
pub(super) const PORTS: &[u16] = &[80, 8080, 443, 8443];

/// Gateways by the name a VirtualService would use.
pub(super) fn resources(dice: &mut Dice) -> Vec<Value> {
    let mut made = vec![gateway(dice, "gw", "istio-system", false)];
    if dice.chance(25) {
        made.push(gateway(dice, "gw2", "default", true));
    }
    made
}

fn gateway(dice: &mut Dice, name: &str, namespace: &str, second: bool) -> Value {
    let mut servers = vec![if second { secure(dice, name, 0) } else { plain(dice, 80, "http", "HTTP") }];
    if dice.chance(25) {
        servers.push(plain(dice, 80, "http-b", "HTTP"));
    }
    if dice.chance(20) {
        let protocol = dice.pick(&["HTTP2", "HTTP", "GRPC", "GRPC-WEB"]);
        servers.push(plain(dice, 8080, "web", protocol));
    }
    if dice.chance(20) {
        servers.push(secure(dice, name, 1));
        if dice.chance(40) {
            servers.push(secure(dice, name, 2));
        }
    }
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers},
    })
}

fn plain(dice: &mut Dice, port: u16, name: &str, protocol: &str) -> Value {
    let hosts = hosts(dice);
    let tls = dice.maybe(8, |_| json!({"httpsRedirect": true}));
    Message::default()
        .with("port", json!({"number": port, "name": name, "protocol": protocol}))
        .with("hosts", hosts)
        .perhaps("tls", tls)
        .into()
}

/// TLS that ends at the gateway; the secrets are those of [`super::case`].
fn secure(dice: &mut Dice, gateway: &str, at: usize) -> Value {
    let (mode, secret) = match dice.below(5) {
        0 => ("MUTUAL", "cert-m"),
        1 => ("OPTIONAL_MUTUAL", "cert-m"),
        _ => ("SIMPLE", "cert-a"),
    };
    let tls = Message::default()
        .with("mode", mode)
        .with("credentialName", secret)
        .perhaps("minProtocolVersion", dice.maybe(20, |dice| dice.pick(&["TLSV1_2", "TLSV1_3", "TLS_AUTO"])))
        .perhaps("maxProtocolVersion", dice.maybe(10, |_| "TLSV1_3"));
    let port = if dice.chance(80) { 443 } else { 8443 };
    let hosts = if at == 2 { vec!["pay.example".to_owned(), "other.com".to_owned()] } else { hosts(dice) };
    json!({
        "port": {"number": port, "name": format!("https-{gateway}-{at}"), "protocol": "HTTPS"},
        "hosts": hosts,
        "tls": Value::from(tls),
    })
}

fn hosts(dice: &mut Dice) -> Vec<String> {
    if dice.chance(50) {
        return vec!["*".into()];
    }
    let mut hosts: Vec<String> = dice.some(words::HOSTS, 1, 3).into_iter().map(str::to_owned).collect();
    for host in &mut hosts {
        let prefix = if dice.chance(80) { "" } else { dice.pick(&["default/", "./", "*/", "prod/"]) };
        *host = format!("{prefix}{host}");
    }
    hosts
}
