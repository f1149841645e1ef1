//! `rate-limit`'s `global`: a rate limit service asked by gRPC. Against a small service that answers as it is told, in every way a service can fail; and
//! against the real envoyproxy/ratelimit on Redis, three gateways sharing one limit.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod filters;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use bytes::Bytes;
use filters::{Connection, address, block, plugin, setup};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tests::pair::Setup;
use tests::rate_limit_service::RateLimitService;

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: ratelimit, namespace: infra}
spec: {ports: [{name: grpc, port: 8081}]}
";

/// The small service below is hyper's, which takes no authority with Istio's `|` in it, as Envoy sends a cluster's name: a cluster with a name of its own.
fn cluster(service: SocketAddr) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: rls, namespace: istio-system}}
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {{context: GATEWAY}}
    patch:
      operation: ADD
      value:
        name: rls
        type: STATIC
        connect_timeout: 1s
        typed_extension_protocol_options:
          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
            '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
            explicit_http_config: {{http2_protocol_options: {{}}}}
        load_assignment:
          cluster_name: rls
          endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]
",
        service.ip(),
        service.port()
    )
}

fn config(cluster: &str) -> Value {
    let rule = |name: &str, deny: bool| {
        json!({
            "name": name,
            "match": [{"uri": {"prefix": format!("/{name}")}}],
            "limit": {"requests": 1_000_000, "per": "1s"},
            "rateLimitHeaders": "off",
            "global": {
                "cluster": cluster,
                "domain": "shop", "timeout": "2s", "failureModeDeny": deny,
                "descriptors": [{"entries": [{"key": "user", "from": {"header": "x-user"}}]}],
            },
        })
    };
    json!({"rules": [rule("open", false), rule("closed", true)]})
}

fn gateways_with(service: SocketAddr) -> (tempfile::TempDir, Setup) {
    setup(&[cluster(service), plugin("rate-limit", &config("rls"))], 1)
}

fn gateways(service: SocketAddr) -> (tempfile::TempDir, Setup) {
    let istios = config("outbound|8081||ratelimit.infra.svc.cluster.local");
    let (folder, mut setup) = setup(&[SERVICE.to_owned(), plugin("rate-limit", &istios)], 1);
    setup.flags = ["--backend".to_owned(), format!("ratelimit.infra.svc.cluster.local={service}")].into();
    (folder, setup)
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The user's name says how the service behaves.
async fn behave(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.uri().path(), "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let says = |word: &str| asked.windows(word.len()).any(|window| window == word.as_bytes());
    if says("silent") {
        std::future::pending::<()>().await;
    }
    let message: &[u8] = match () {
        () if says("allow") => &[8, 1],
        () if says("deny") => &[8, 2],
        () if says("garbage") => &[0xff, 0xff, 0xff],
        () => &[],
    };
    let response = Response::builder().header("content-type", "application/grpc");
    if says("error") {
        return Ok(response.header("grpc-status", "14").body(Full::default().boxed_unsync()).unwrap());
    }
    let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    frame.extend_from_slice(message);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(trailers)) });
    Ok(response.body(body.boxed_unsync()).unwrap())
}

/// A service on a thread of its own.
struct Service {
    at: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), hyper::service::service_fn(behave)));
            }
        };
        let thread = std::thread::spawn(move || {
            block(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Service { at, stop, thread }
    }

    /// Gone, and its connections with it.
    fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

async fn check(who: &str, to: SocketAddr, table: &[(&str, &str, u16)]) {
    let mut connection = Connection::to(to).await;
    for (path, user, status) in table {
        let answer = connection.get(path, &format!("x-user: {user}\r\n")).await;
        assert_eq!(answer.status, *status, "{who}: {path} {user}\n{}\n{}", answer.head, answer.body);
    }
}

#[test]
fn a_service_that_fails_is_answered_for_as_configured() {
    let service = Service::start();
    let (_folder, setup) = gateways_with(service.at);
    block(async {
        let pair = setup.start().await.unwrap();
        let mut all = vec![("host-sim", address(&pair.host_sim))];
        all.extend(pair.envoy.as_ref().map(|envoy| ("Envoy", address(envoy))));
        for (who, to) in &all {
            let table = [
                ("/open", "allow", 200),
                ("/open", "deny", 429),
                ("/open", "error", 200),
                ("/open", "garbage", 200),
                ("/open", "nothing", 200),
                ("/open", "silent", 200),
                ("/closed", "allow", 200),
                ("/closed", "deny", 429),
                ("/closed", "error", 500),
                ("/closed", "garbage", 500),
                ("/closed", "nothing", 500),
                ("/closed", "silent", 500),
                ("/other", "deny", 200),
            ];
            check(who, *to, &table).await;
        }
        service.stop();
        for (who, to) in &all {
            check(who, *to, &[("/open", "deny", 200), ("/closed", "allow", 500)]).await;
        }
    });
}

#[test]
fn gateways_share_a_limit_through_the_real_service() {
    let limit = "domain: shop\ndescriptors:\n  - key: user\n    rate_limit: {unit: day, requests_per_unit: 5}\n";
    block(async {
        let Some(mut service) = RateLimitService::start(limit).await.unwrap() else { return };
        let (_folder, setup) = gateways(service.address);
        let pair = setup.start().await.unwrap();
        let other = setup.host_sim(&setup.flags).await.unwrap();
        let mut all = vec![address(&pair.host_sim), address(&other)];
        all.extend(pair.envoy.as_ref().map(address));
        let mut connections = Vec::new();
        for to in all {
            connections.push(Connection::to(to).await);
        }
        let mut statuses = Vec::new();
        for round in 0..9 {
            let at = round % connections.len();
            statuses.push(connections[at].get("/closed", "x-user: ann\r\n").await.status);
        }
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429, 429], "{}", pair.host_sim.process.tail());
        let last = connections[0].get("/closed", "x-user: ann\r\n").await;
        let wait = last.head.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse::<u64>().ok());
        assert!(wait.is_some_and(|wait| (1..=86_400).contains(&wait)), "{}", last.head);
        assert_eq!(connections[1].get("/closed", "x-user: bob\r\n").await.status, 200);
        // The service stays, its store goes: no answer.
        service.lose_its_store();
        assert_eq!(connections[0].get("/closed", "x-user: bob\r\n").await.status, 500);
        assert_eq!(connections[0].get("/open", "x-user: bob\r\n").await.status, 200);
    });
}
