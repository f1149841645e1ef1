//! Limits asked of a rate limit service, as Istio's documentation attaches them: host-sim and the real Envoy in front of the same service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::case::{Send, Version};
use tests::compare;
use tests::pair::Setup;
use tokio::net::TcpListener;

/// Answers by what a descriptor contains: `over`, `slow`, `broken`, else within the limit.
async fn service(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service_fn(answer))
                .await;
        });
    }
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let says = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
    if says("slow") {
        tokio::time::sleep(Duration::from_millis(400)).await; // longer than the gateway waits
    }
    // Code, one status (10 a minute, 3 left, whole in 42 s), a header for the answer, one for the request, a body.
    let code = if says("over") { 2 } else { 1 };
    let mut message = vec![8, code];
    message.extend(b"\x12\x11\x08\x01\x12\x07\x08\x0a\x10\x02\x1a\x01n\x18\x03\x22\x02\x08\x2a");
    message.extend(b"\x1a\x10\x0a\x06x-told\x12\x06client\x22\x10\x0a\x06x-told\x12\x06origin");
    if code == 2 {
        message.extend(b"\x2a\x05slow!");
    }
    let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    framed.extend(message);
    let status = if says("broken") || path != "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit" {
        "13"
    } else {
        "0"
    };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    Ok(http::Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap())
}

fn manifests(service: SocketAddr, deny: bool) -> String {
    let origin = "127.0.0.1";
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: vs, namespace: default}}
spec:
  hosts: ["*"]
  gateways: [istio-system/gw]
  http:
  - match: [{{uri: {{prefix: /direct}}}}]
    directResponse: {{status: 200}}
  - route: [{{destination: {{host: shop.default.svc.cluster.local, port: {{number: 80}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: default}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: ratelimit, namespace: default}}
spec:
  hosts: [ratelimit.example]
  ports: [{{number: 8081, name: grpc, protocol: GRPC}}]
  resolution: STATIC
  endpoints: [{{address: {origin}, ports: {{grpc: {port}}}}}]
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: limit, namespace: istio-system}}
spec:
  workloadSelector: {{labels: {{istio: ingressgateway}}}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager, subFilter: {{name: envoy.filters.http.router}}}}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.ratelimit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
          domain: shop
          failure_mode_deny: {deny}
          timeout: 0.2s
          enable_x_ratelimit_headers: DRAFT_VERSION_03
          response_headers_to_add: [{{header: {{key: x-limited, value: "%REQ(:PATH)%"}}}}]
          rate_limit_service:
            transport_api_version: V3
            grpc_service: {{envoy_grpc: {{cluster_name: "outbound|8081||ratelimit.example", authority: ratelimit.example}}}}
  - applyTo: VIRTUAL_HOST
    match: {{context: GATEWAY}}
    patch:
      operation: MERGE
      value:
        rate_limits:
        - actions: [{{request_headers: {{header_name: x-kind, descriptor_key: kind}}}}]
"#,
        port = service.port()
    )
}

fn get(path: &str, headers: &[(&str, &str)]) -> Send {
    let headers = [("host", "shop.example")].iter().chain(headers);
    Send {
        method: "GET".into(),
        path: path.into(),
        headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: String::new(),
        port: 80,
        version: Version::Http11,
        tls: None,
        repeat: None,
        settle_ms: 0,
    }
}

#[tokio::test]
async fn what_the_service_says_is_done_as_in_envoy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(service(listener));
    for deny in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, manifests(at, deny)).unwrap();
        let setup = Setup {
            manifests: vec![file],
            flags: ["--no-echo", "--labels", tests::replay::LABELS].map(str::to_owned).into(),
            backends: BTreeMap::from([("shop.default.svc.cluster.local".to_owned(), "shop".to_owned())]),
            ports: BTreeSet::from([80]),
            workers: 1,
        };
        let pair = setup.start().await.unwrap();
        let kind = |kind| get("/a", &[("x-kind", kind)]);
        let grpc = get("/a", &[("x-kind", "over"), ("content-type", "application/grpc")]);
        let unasked = [get("/a", &[]), get("/direct", &[("x-kind", "over")])];
        let mut statuses = Vec::new();
        for send in [kind("fine"), kind("over"), kind("slow"), kind("broken"), grpc].into_iter().chain(unasked) {
            let (envoy, ours) = pair.ask(&send, 0).await.unwrap();
            if let Some(envoy) = envoy {
                assert_eq!(compare::difference(&envoy, &ours), None, "deny {deny}: {send:?}\n{envoy:#?}\n{ours:#?}");
            }
            let tests::case::Outcome::Response { status, .. } = ours.outcome else { panic!("{ours:?}") };
            statuses.push(status);
        }
        let failed = if deny { 500 } else { 200 };
        assert_eq!(statuses, [200, 429, failed, failed, 200, 200, 200], "deny {deny}");
    }
}
