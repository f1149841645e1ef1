//! Starts the real Envoy: the judge.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::gateway::{self, Gateway};
use crate::process::Process;

/// V8 compiles modules at start, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Envoy's binary: `ENVOY_BIN`, or the one `make` installs into `.venv`. Where there is none, the reason is printed and the caller's test has
/// nothing to judge with; under `CI=true` that is a failure.
///
/// # Errors
/// No Envoy, and `CI=true`; or `ENVOY_BIN` names no file.
pub fn binary() -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os("ENVOY_BIN") {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(Some(path)) } else { bail!("ENVOY_BIN={} is no file", path.display()) };
    }
    let path = crate::repository().join(".venv/bin/envoy");
    if path.is_file() {
        return Ok(Some(path));
    }
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("no Envoy to judge with: {} is missing (`make test` installs it)", path.display());
    }
    eprintln!(
        "SKIPPED: no Envoy to judge with: {} is missing (`make test` installs it), ENVOY_BIN is not set",
        path.display()
    );
    Ok(None)
}

/// Starts Envoy on a bootstrap whose listeners and admin server ask for port 0, and waits until it is live. `folder` takes its files.
///
/// # Errors
/// Envoy refused the bootstrap or did not get live; the message has the end of its log.
pub async fn start(binary: &Path, bootstrap: &Value, folder: &Path, workers: u16) -> Result<Gateway> {
    let file = folder.join("envoy.json");
    std::fs::write(&file, serde_json::to_vec_pretty(bootstrap)?)?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).args(["--disable-hot-restart", "--concurrency", &workers.to_string()]);
    let address = folder.join("admin-address");
    command.arg("--admin-address-path").arg(&address);
    command.args(["--log-level", "warning", "--component-log-level", "main:info", "--drain-time-s", "1"]);
    let process = Process::start(&mut command)?;
    let started =
        |lines: &[String]| lines.iter().any(|line| line.contains("starting main dispatch loop")).then_some(());
    process.wait_for("the main loop", PATIENCE, started).await?;
    let admin = std::fs::read_to_string(address)?.trim().parse().context("the admin server's address")?;
    gateway::ready(&process, admin, PATIENCE).await?;
    let listeners: Value = serde_json::from_str(&gateway::fetch(admin, "/listeners?format=json").await?)?;
    Ok(Gateway { process, ports: ports(&listeners).context("/listeners")?, admin })
}

/// Istio names a listener by its port: `0.0.0.0_80`.
fn ports(listeners: &Value) -> Option<BTreeMap<u16, SocketAddr>> {
    let mut ports = BTreeMap::new();
    for listener in listeners.get("listener_statuses").and_then(Value::as_array).into_iter().flatten() {
        let port = listener.get("name")?.as_str()?.rsplit('_').next()?.parse().ok()?;
        let address = listener.get("local_address")?.get("socket_address")?;
        let at = format!("{}:{}", address.get("address")?.as_str()?, address.get("port_value")?);
        ports.insert(port, at.parse().ok()?);
    }
    Some(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_says_where_it_listens() {
        let listeners = serde_json::json!({"listener_statuses": [
            {"name": "0.0.0.0_80", "local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 4002}}}
        ]});
        assert_eq!(ports(&listeners), Some(BTreeMap::from([(80, ([127, 0, 0, 1], 4002).into())])));
    }
}
