//! What the filters' own tests share: a gateway with plugins, in host-sim and in the real Envoy, and many requests at once.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::gateway::Gateway;
use tests::pair::Setup;
use tests::repository;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything is answered by the gateway itself, so that nothing but the filter is counted.
const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: istio-system}
spec:
  hosts: ['*']
  gateways: [gateway]
  http:
    - name: canary
      match: [{headers: {x-sluice-destination: {exact: canary}}}]
      headers: {response: {set: {seen: '%REQ(:PATH)%'}}}
      directResponse: {status: 202}
    - headers: {response: {set: {seen: '%REQ(:PATH)%'}}}
      directResponse: {status: 200}
";

/// A plugin as its manifest. JSON is YAML.
pub(crate) fn plugin(module: &str, config: &Value) -> String {
    let file = repository().join(format!("target/filters/{module}.wasm"));
    assert!(file.is_file(), "{} is missing: run `make build` first", file.display());
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": module, "namespace": "istio-system"},
        "spec": {
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
            "url": format!("file://{}", file.display()),
            "failStrategy": "FAIL_CLOSE",
            "pluginConfig": config,
        },
    })
    .to_string()
}

/// What to start: the gateway, these documents, so many workers. Keep the folder while it is in use.
pub(crate) fn setup(documents: &[String], workers: u16) -> (tempfile::TempDir, Setup) {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("gateway.yaml");
    std::fs::write(&file, [&[GATEWAY.to_owned()], documents].concat().join("\n---\n")).unwrap();
    let setup = Setup { manifests: vec![file], ports: [80].into(), workers, ..Setup::default() };
    (folder, setup)
}

/// The address clients ask.
pub(crate) fn address(gateway: &Gateway) -> SocketAddr {
    gateway.ports[&80]
}

/// An answer, and when it was asked for and read.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) asked: Instant,
    pub(crate) read: Instant,
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection that is kept.
pub(crate) struct Connection(TcpStream, SocketAddr);

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Connection {
        Connection(TcpStream::connect(address).await.unwrap(), address)
    }

    /// Sends one request and reads the answer; headers as they stand on the wire, each line ended.
    pub(crate) async fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.send("GET", path, headers).await
    }

    /// The same with another method; no body.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &str) -> Answer {
        let asked = Instant::now();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = complete(&bytes, asked) {
                return answer;
            }
            let mut more = [0; 4096];
            let n = self.0.read(&mut more).await.unwrap();
            assert!(n > 0, "{} closed: {}", self.1, String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&more[..n]);
        }
    }
}

fn complete(bytes: &[u8], asked: Instant) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    (body.len() >= length.unwrap_or(0)).then(|| Answer {
        asked,
        read: Instant::now(),
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// What clients see of a gateway, within a time that no machine is too slow for: who waits for ever would say nothing.
pub(crate) async fn within<T>(gateway: &Gateway, clients: impl Future<Output = T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(120);
    match tokio::time::timeout(PATIENCE, clients).await {
        Ok(seen) => seen,
        Err(_) => panic!("not over after {PATIENCE:?}; the gateway's log ends:\n{}", gateway.process.tail()),
    }
}

/// A runtime for one test.
pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
