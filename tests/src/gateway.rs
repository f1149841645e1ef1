//! A running gateway, `host-sim` or Envoy: where its listeners are, and its admin server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::case::{Send, Version};
use crate::client::{self, Reply};
use crate::process::Process;

/// A gateway that says hello to everybody.
pub const HELLO: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs, namespace: default}
spec:
  hosts: ['*']
  gateways: [gw]
  http:
  - directResponse: {status: 200, body: {string: hello}}
";

/// A gateway that serves. It ends when this is dropped.
pub struct Gateway {
    /// The program.
    pub process: Process,
    /// Where each Gateway server's port listens on this machine.
    pub ports: BTreeMap<u16, SocketAddr>,
    /// The admin server.
    pub admin: SocketAddr,
}

impl Gateway {
    /// The body of an admin page.
    ///
    /// # Errors
    /// Anything but status 200.
    pub async fn admin(&self, path: &str) -> Result<String> {
        fetch(self.admin, path).await
    }
}

/// A GET with no header but `host`.
///
/// # Errors
/// Anything but status 200.
pub async fn fetch(from: SocketAddr, path: &str) -> Result<String> {
    let send = Send {
        method: "GET".into(),
        path: path.into(),
        headers: vec![("host".into(), from.to_string())],
        body: String::new(),
        port: 0,
        version: Version::Http11,
        tls: None,
        repeat: None,
        settle_ms: 0,
    };
    match client::exchange(from, &send, None, None).await? {
        Reply::Response(response) if response.status == 200 => Ok(response.body),
        other => bail!("GET {path} from {from}: {other:?}"),
    }
}

/// Asks `/ready` until the answer is yes.
///
/// # Errors
/// The process ended, or `patience` did; the message has the end of its log.
pub async fn ready(process: &Process, admin: SocketAddr, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = fetch(admin, "/ready").await;
        match answer {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() > deadline => bail!("not ready within {patience:?} ({e}):\n{}", process.tail()),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await, // /ready is asked, never told
        }
    }
}

/// Where each Gateway server's port listens, by the admin server's word.
///
/// # Errors
/// The page is not there, or says something else.
pub async fn listeners(admin: SocketAddr) -> Result<BTreeMap<u16, SocketAddr>> {
    let page = fetch(admin, "/listeners").await?;
    ports(&page).with_context(|| format!("/listeners: {page}"))
}

/// Istio names a listener by its port, and the page has the name and the address: `0.0.0.0_80::127.0.0.1:41002`.
fn ports(page: &str) -> Option<BTreeMap<u16, SocketAddr>> {
    let port = |line: &str| {
        let (name, address) = line.split_once("::")?;
        Some((name.rsplit('_').next()?.parse().ok()?, address.trim().parse().ok()?))
    };
    page.lines().map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_page_says_where_each_port_is() {
        let rows = [
            ("", Some(vec![])),
            ("0.0.0.0_80::127.0.0.1:41002\n", Some(vec![(80, 41002)])),
            ("0.0.0.0_80::127.0.0.1:1\n0.0.0.0_443::127.0.0.1:2\n", Some(vec![(80, 1), (443, 2)])),
            ("something else\n", None),
        ];
        for (page, expected) in rows {
            let expected =
                expected.map(|rows| rows.into_iter().map(|(port, at)| (port, ([127, 0, 0, 1], at).into())).collect());
            assert_eq!(ports(page), expected, "{page}");
        }
    }
}
