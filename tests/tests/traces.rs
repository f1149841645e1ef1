//! `--otlp`: the spans a collector gets from host-sim are those it gets from the real Envoy, and so is the trace context an origin sees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod collector;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use collector::{Collector, Seen, Span};
use serde_json::{Value, json};
use tests::gateway::Gateway;
use tests::pair::Setup;
use tests::{envoy, host_sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MANIFESTS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: dead, namespace: default}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: default}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: ["a.example"]
  gateways: [istio-system/gateway]
  http:
  - {match: [{uri: {exact: /moved}}], redirect: {uri: /new}}
  - {match: [{uri: {exact: /tea}}], directResponse: {status: 418, body: {string: tea}}}
  - {match: [{uri: {prefix: /old}}], rewrite: {uri: /new, authority: b.example}, route: [{destination: {host: shop.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /bad}}], retries: {attempts: 2, retryOn: 5xx}, route: [{destination: {host: shop.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /silent}}], timeout: 0.4s, retries: {attempts: 0}, route: [{destination: {host: shop.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /dead}}], retries: {attempts: 0}, route: [{destination: {host: dead.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /nobody}}], route: [{destination: {host: nobody.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /copied}}], mirror: {host: shop.default.svc.cluster.local}, route: [{destination: {host: shop.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /late}}], fault: {abort: {httpStatus: 500, percentage: {value: 100}}}, route: [{destination: {host: shop.default.svc.cluster.local}}]}
  - {match: [{uri: {prefix: /shop}}], route: [{destination: {host: shop.default.svc.cluster.local}}]}
"#;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ABOVE: &str = "00f067aa0ba902b7";

/// What a client sends, how many spans are made of it, and how many requests reach the origin.
struct Case {
    name: &'static str,
    line: &'static str,
    headers: Vec<String>,
    body: &'static str,
    spans: usize,
    seen: usize,
}

fn cases() -> Vec<Case> {
    let case = |name, line, headers: &[&str], spans, seen| Case {
        name,
        line,
        headers: headers.iter().map(|line| (*line).to_owned()).collect(),
        body: "",
        spans,
        seen,
    };
    let parent = |version: &str, trace: &str, flags: &str| format!("traceparent: {version}-{trace}-{ABOVE}-{flags}");
    let long = parent("01", TRACE, "01-extra");
    vec![
        case("plain", "GET /shop?x=1", &[], 2, 1),
        case("moved", "GET /moved", &[], 1, 0),
        case("tea", "GET /tea", &[], 1, 0),
        case("rewritten", "GET /old/things", &[], 2, 1),
        case("tried again", "GET /bad", &[], 4, 3),
        case("silent", "GET /silent", &[], 2, 1),
        case("dead", "GET /dead", &[], 2, 0),
        case("dead call", "POST /dead", &["content-type: application/grpc", "te: trailers", "grpc-timeout: 1S"], 2, 0),
        case("nobody", "GET /nobody", &[], 1, 0),
        case("no route", "GET /elsewhere", &[], 1, 0),
        case("copied", "GET /copied", &[], 2, 2),
        case("aborted", "GET /late", &[], 1, 0),
        case("missing", "GET /shop/missing", &[], 2, 1),
        case(
            "a call that finds nothing",
            "POST /shop/grpc-5",
            &["content-type: application/grpc", "te: trailers"],
            2,
            1,
        ),
        case("a call that breaks", "POST /shop/grpc-13", &["content-type: application/grpc", "te: trailers"], 2, 1),
        case("below another", "GET /shop", &[&parent("00", TRACE, "01"), "tracestate: a=1", "tracestate: b=2"], 2, 1),
        case("below another, not recorded", "GET /shop", &[&parent("00", TRACE, "00")], 0, 1),
        case("of the future", "GET /shop", &[&parent("cc", TRACE, "03")], 2, 1),
        case("in capitals", "GET /shop", &[&parent("00", &TRACE.to_uppercase(), "01")], 2, 1),
        case("too long", "GET /shop", &[&long, "tracestate: a=1"], 0, 1),
        case("zero", "GET /shop", &[&parent("00", &"0".repeat(32), "01")], 0, 1),
        case("empty", "GET /shop", &["traceparent:"], 0, 1),
        case("asked for by the client", "GET /shop", &["x-client-trace-id: mine"], 2, 1),
        case(
            "forced from outside",
            "GET /shop",
            &["x-envoy-force-trace: 1", "x-envoy-decorator-operation: mine"],
            2,
            1,
        ),
        Case { body: "hello", ..case("with a body", "POST /shop", &[], 2, 1) },
    ]
}

impl Case {
    fn bytes(&self) -> String {
        let mut text =
            format!("{} HTTP/1.1\r\nhost: a.example\r\nuser-agent: {}\r\nconnection: close\r\n", self.line, self.name);
        self.headers.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
        if !self.body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        format!("{text}\r\n{}", self.body)
    }
}

async fn send(to: SocketAddr, bytes: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "no end: {bytes}");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Everything a gateway told, by case, in words that do not differ from run to run.
async fn told(gateway: &Gateway, collector: &Collector, cases: &[Case]) -> BTreeMap<&'static str, Value> {
    let address = gateway.ports[&80];
    for case in cases {
        send(address, &case.bytes()).await;
    }
    collector.wait_for(cases.iter().map(|case| case.spans).sum(), cases.iter().map(|case| case.seen).sum()).await;
    let (spans, seen) = collector.take();
    cases.iter().map(|case| (case.name, of_case(case.name, &spans, &seen))).collect()
}

fn of_case(name: &str, spans: &[Span], seen: &[Seen]) -> Value {
    let own = spans.iter().find(|span| span.tag("user_agent") == Some(name));
    let mine: Vec<&Span> = spans
        .iter()
        .filter(|span| own.is_some_and(|own| span.trace == own.trace && (span.id == own.id || span.parent == own.id)))
        .collect();
    let mut spans: Vec<Value> = mine.iter().map(|span| words(span, own)).collect();
    spans.sort_by_key(ToString::to_string);
    let mut seen: Vec<Value> =
        seen.iter().filter(|seen| seen.header("user-agent") == name).map(|seen| context(seen, &mine)).collect();
    seen.sort_by_key(ToString::to_string);
    json!({ "spans": spans, "seen": seen })
}

fn words(span: &Span, own: Option<&Span>) -> Value {
    let parent = match span.parent.as_str() {
        "" => "nobody",
        ABOVE => "the client's",
        other if own.is_some_and(|own| own.id == other) => "the request's",
        _ => "a stranger's",
    };
    let tags: BTreeMap<&str, String> =
        span.tags.iter().map(|(name, value)| (name.as_str(), same(name, value))).collect();
    assert_eq!(tags.len(), span.tags.len(), "a tag twice: {:?}", span.tags);
    let trace = if span.trace == TRACE { "the client's" } else { "new" };
    json!({
        "name": span.name, "kind": span.kind, "parent": parent, "trace": trace, "state": span.state, "flags": span.flags,
        "status": span.status, "tags": tags, "service": span.service,
    })
}

fn same(name: &str, value: &str) -> String {
    match name {
        "guid:x-request-id" => format!("a UUID marked {}", &value[14..15]),
        "upstream_address" | "peer.address" => value.split(':').next().unwrap_or_default().to_owned(),
        _ => value.to_owned(),
    }
}

fn context(seen: &Seen, spans: &[&Span]) -> Value {
    let parent = seen.header("traceparent");
    let fields: Vec<&str> = parent.split('-').collect();
    let parent = match fields.as_slice() {
        [version, trace, id, flags] if *id != ABOVE && id.len() == 16 && *id != "0000000000000000" => {
            let trace = if *trace == TRACE { "the client's" } else { "new" };
            let of = spans.iter().find(|span| span.id == *id).map_or("a span nobody was told of", |span| &span.name);
            format!("{version}-{trace}-{of}-{flags}")
        }
        _ => format!("as it came: {parent}"),
    };
    json!({
        "parent": parent,
        "state": seen.header("tracestate"),
        "operation": seen.header("x-envoy-decorator-operation"),
        "id": seen.header("x-request-id").get(14..15),
        "path": seen.path,
    })
}

fn setup(manifest: &std::path::Path, collector: &Collector, dead: SocketAddr) -> Setup {
    let flags = [
        "--no-echo".to_owned(),
        format!("--backend=shop.default.svc.cluster.local={}", collector.address),
        format!("--backend=dead.default.svc.cluster.local={dead}"),
        format!("--otlp={}", collector.url()),
    ];
    Setup {
        manifests: vec![manifest.to_path_buf()],
        flags: flags.into(),
        ports: [80].into(),
        workers: 1,
        ..Setup::default()
    }
}

/// Envoy waits five seconds for company otherwise.
fn hurried(mut bootstrap: Value) -> Value {
    let flags = json!({ "tracing.opentelemetry.flush_interval_ms": 50, "tracing.opentelemetry.min_flush_spans": 1 });
    let layer = json!({ "name": "hurried", "static_layer": flags });
    bootstrap["layered_runtime"]["layers"].as_array_mut().expect("Istio's runtime flags").push(layer);
    bootstrap
}

#[tokio::test]
async fn spans_and_trace_context_are_envoys() {
    compare(false).await;
}

#[tokio::test]
async fn a_collector_may_speak_grpc() {
    compare(true).await;
}

async fn compare(grpc: bool) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("manifests.yaml");
    std::fs::write(&manifest, MANIFESTS).unwrap();
    let dead = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let cases: Vec<Case> = cases().into_iter().filter(|case| !grpc || case.name == "plain").collect();
    let ours = Collector::start(grpc).await;
    let gateway = {
        let setup = setup(&manifest, &ours, dead);
        setup.host_sim(&setup.flags).await.unwrap()
    };
    let told_by_us = told(&gateway, &ours, &cases).await;
    for case in &cases {
        let told = &told_by_us[case.name];
        let count = |list: &str| told[list].as_array().map_or(0, Vec::len);
        assert_eq!((count("spans"), count("seen")), (case.spans, case.seen), "{}: {told:#}", case.name);
    }
    let Some(binary) = envoy::binary().unwrap() else { return };
    let theirs = Collector::start(grpc).await;
    let setup = setup(&manifest, &theirs, dead);
    let bootstrap = setup.bootstrap(&host_sim::binary().unwrap(), &setup.flags).unwrap();
    let gateway = envoy::start(&binary, &hurried(bootstrap), 1).await.unwrap();
    let told_by_envoy = told(&gateway, &theirs, &cases).await;
    let different: Vec<_> = cases.iter().filter(|case| told_by_us[case.name] != told_by_envoy[case.name]).collect();
    for case in &different {
        eprintln!("{}: Envoy {:#}\nhost-sim {:#}", case.name, told_by_envoy[case.name], told_by_us[case.name]);
    }
    assert!(different.is_empty(), "{} of {} cases differ", different.len(), cases.len());
}
