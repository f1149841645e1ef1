//! What Istio made of recorded cases, routed by the pure parts alone: the same requests reach the same clusters with the same heads, and
//! the answers that need no origin are the same, without a socket.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use proxy::edge::{self, ConnectionInfo, EdgeConfig, Protocol};
use proxy::header_ops::{Facts, StreamInfo};
use proxy::headers::{self, HeaderList};
use proxy::local_reply::{LocalReply, RequestKind};
use proxy::route::{Decision, RequestHead, RouteTable, RouterOptions, ssl_redirect};
use serde::Deserialize;

#[derive(Deserialize)]
struct Translation {
    case: String,
    routes: Vec<xds::RouteConfiguration>,
    endpoints: Vec<xds::ClusterLoadAssignment>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    send: Send,
    expect: Expect,
}

#[derive(Deserialize)]
struct Send {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    repeat: Option<u32>,
}

#[derive(Deserialize)]
struct Expect {
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    upstreams: Vec<Upstream>,
}

#[derive(Deserialize)]
struct Upstream {
    origin: String,
    path: String,
    headers: Vec<(String, String)>,
}

const NODE: &str = "192.0.2.77";

fn bytes(text: &str) -> Bytes {
    // In the records each character is one byte.
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect::<Vec<u8>>().into()
}

fn request_of(send: &Send) -> HeaderList {
    let host = send.headers.iter().find(|(name, _)| name == "host").map(|(_, value)| bytes(value)).expect("a host");
    let mut list = vec![
        (bytes(":authority"), host),
        (bytes(":path"), bytes(&send.path)),
        (bytes(":method"), bytes(&send.method)),
        (bytes(":scheme"), bytes("http")),
    ];
    let others = send.headers.iter().filter(|(name, _)| name != "host");
    // Blanks around a value are not part of it: the codec leaves them out.
    list.extend(
        others.map(|(name, value)| (bytes(&name.to_ascii_lowercase()), bytes(value.trim_matches([' ', '\t'])))),
    );
    list
}

fn connection() -> ConnectionInfo {
    ConnectionInfo {
        id: 1,
        remote: "127.0.0.1:50000".parse().expect("an address"),
        relay: None,
        local: "127.0.0.1:80".parse().expect("an address"),
        node_address: NODE.parse().expect("an address"),
        protocol: Protocol::Http11,
        tls: None,
    }
}

/// As Istio's gateways have it.
fn edge_config() -> EdgeConfig {
    let manager = xds::HttpConnectionManager {
        use_remote_address: Some(true),
        normalize_path: Some(true),
        server_name: "istio-envoy".to_owned(),
        forward_client_cert_details: xds::ForwardClientCertDetails::SanitizeSet,
        ..Default::default()
    };
    let mut config = EdgeConfig::compile(&manager).expect("a plain manager");
    config.path.cut_fragment = true;
    config
}

/// What the pure parts make of a request: a cluster and the head it gets, or an answer.
enum Outcome {
    Sent { cluster: String, head: HeaderList },
    Answered(LocalReply),
}

fn route(table: &RouteTable, send: &Send) -> Outcome {
    let (mut request, connection) = (request_of(send), connection());
    headers::join_slots(&mut request, headers::Side::Request);
    if let Err(reply) = edge::request(&mut request, &connection, &edge_config(), 7) {
        return Outcome::Answered(reply);
    }
    let head = RequestHead { headers: &request, random: 0, connection: &connection };
    let decision = table.decide(&head);
    let (explained, trail) = table.explain(&head);
    assert_eq!(format!("{:?}", explained.route().map(|r| &r.name)), format!("{:?}", decision.route().map(|r| &r.name)));
    assert_eq!(explained.destination(), decision.destination());
    assert_eq!(trail.rules.last().is_some_and(|rule| rule.matched), decision.route().is_some());
    let stream = StreamInfo::default();
    match &decision {
        Decision::Forward(route, destination) => {
            route.prepare(destination, &mut request, &connection, &stream, RouterOptions::default());
            Outcome::Sent { cluster: destination.cluster.to_string(), head: request }
        }
        Decision::Redirect(route) | Decision::Direct(route) => {
            let mut reply = route.reply(&Facts::of_request(&request, &connection, &stream)).expect("an answer");
            route.finalize_response(None, &mut reply.headers, &request, &connection, &stream);
            Outcome::Answered(reply)
        }
        Decision::SslRedirect(_) => Outcome::Answered(ssl_redirect(&request)),
        Decision::NotFound(_) => Outcome::Answered(LocalReply::route_not_found()),
    }
}

/// Names and values, sorted, without what a codec writes and what is random.
fn comparable(pairs: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let codec = ["content-length", "connection", "x-request-id", "server", "transfer-encoding"];
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| !codec.contains(&name.as_str())).collect();
    pairs.sort();
    pairs
}

fn latin1(value: &[u8]) -> String {
    value.iter().map(|b| char::from(*b)).collect()
}

fn as_sent(head: &HeaderList) -> Vec<(String, String)> {
    comparable(head.iter().filter_map(|(name, value)| {
        let name = if name == ":authority" { "host".to_owned() } else { latin1(name) };
        (!name.starts_with(':')).then(|| (name, latin1(value)))
    }))
}

fn recorded(headers: &[(String, String)]) -> Vec<(String, String)> {
    comparable(headers.iter().map(|(name, value)| (name.clone(), value.replace("NODE", NODE))))
}

fn check(case: &str, translation: &Translation, tables: &BTreeMap<u16, RouteTable>, exchange: &Exchange) -> bool {
    let send = &exchange.send;
    let Some(table) = tables.get(&send.port.unwrap_or(80)) else { return false };
    let what = format!("{case}: {} {} {:?}", send.method, send.path, send.headers);
    // Filters that answer themselves, draws and trouble at the origin are not routing.
    let filtered = ["cors", "fault"].iter().any(|area| case.starts_with(area)) && exchange.expect.upstreams.is_empty();
    if send.repeat.is_some() || filtered || exchange.expect.status.is_none() {
        return false;
    }
    match (route(table, send), exchange.expect.upstreams.first()) {
        (Outcome::Sent { cluster, head }, Some(upstream)) => {
            // `*` where Envoy drew one of several.
            let origin = upstream.origin.strip_prefix('o').unwrap_or_default();
            let addresses = translation.endpoints.iter().filter(|one| one.cluster_name == cluster);
            let addresses: Vec<_> = addresses
                .flat_map(|one| &one.endpoints)
                .flat_map(|one| &one.lb_endpoints)
                .filter_map(|one| {
                    Some(one.endpoint.as_ref()?.address.as_ref()?.socket_address.as_ref()?.address.clone())
                })
                .collect();
            assert!(
                upstream.origin == "*" || addresses.contains(&format!("127.77.0.{origin}")),
                "{what}: {cluster} {addresses:?}"
            );
            assert_eq!(headers::get(&head, ":path").map(|path| latin1(path)), Some(upstream.path.clone()), "{what}");
            assert_eq!(as_sent(&head), recorded(&upstream.headers), "{what}");
        }
        (Outcome::Sent { cluster, .. }, None) => {
            // No endpoint, a cluster nobody knows, or a refused connection: the route is right when the answer is the upstream's 5xx.
            assert!(
                exchange.expect.status >= Some(500),
                "{what}: sent to {cluster}, Envoy answered {:?}",
                exchange.expect.status
            );
        }
        (Outcome::Answered(reply), Some(upstream)) => {
            panic!("{what}: answered {reply:?}, Envoy sent it to {}", upstream.origin)
        }
        (Outcome::Answered(reply), None) => {
            let kind = RequestKind::of(&request_of(send));
            let (head, body) = reply.encode(&kind);
            assert_eq!(Some(reply.status), exchange.expect.status, "{what}");
            let sent =
                comparable(head.iter().filter(|(name, _)| name != ":status").map(|(n, v)| (latin1(n), latin1(v))));
            assert_eq!(sent, recorded(&exchange.expect.headers), "{what}");
            if let Some(want) = &exchange.expect.body {
                assert_eq!(latin1(&body), *want, "{what}");
            }
        }
    }
    let _ = &send.body;
    true
}

#[test]
fn recorded_requests_take_the_recorded_routes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let mut compared = 0;
    for entry in fs::read_dir(corpus.join("translation")).expect("the recorded translations") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        let translation: Translation = serde_json::from_str(&text).expect("a translation");
        let (area, name) = translation.case.split_once(" | ").expect("area | name");
        let tables = translation.routes.iter().filter_map(|config| {
            let port = config.name.split('.').nth(1).and_then(|port| port.parse::<u16>().ok())?;
            Some((port, RouteTable::compile(config).unwrap_or_else(|errors| panic!("{name}: {errors:?}"))))
        });
        let tables: BTreeMap<u16, RouteTable> = tables.filter(|(port, _)| *port == 80).collect();
        let cases = fs::read_to_string(corpus.join(format!("cases/{area}.yaml"))).expect("the recorded cases");
        let cases: Vec<Case> =
            serde_saphyr::from_multiple_with_options(&cases, serde_saphyr::options! { budget: None }).expect("cases");
        // A few translations were recorded for cases that are kept elsewhere.
        let Some(case) = cases.iter().find(|case| case.name == name) else { continue };
        compared +=
            case.exchanges.iter().filter(|exchange| check(&translation.case, &translation, &tables, exchange)).count();
    }
    assert!(compared > 130, "only {compared} exchanges were compared");
}
