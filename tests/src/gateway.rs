//! A running gateway, `host-sim` or Envoy: where its listeners are, and its admin server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::case::Send;
use crate::client::{self, Reply};
use crate::process::Process;

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
