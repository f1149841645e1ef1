//! Starts the real Envoy: the judge.

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
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let found =
        find(std::env::var_os("ENVOY_BIN").map(PathBuf::from), crate::repository().join(".venv/bin/envoy"), ci)?;
    if let Err(why) = &found {
        eprintln!("SKIPPED: {why}");
    }
    Ok(found.ok())
}

/// The binary, or why a test may go without.
fn find(named: Option<PathBuf>, installed: PathBuf, ci: bool) -> Result<Result<PathBuf, String>> {
    match named {
        Some(path) if path.is_file() => return Ok(Ok(path)),
        Some(path) => bail!("ENVOY_BIN={} is no file", path.display()),
        None if installed.is_file() => return Ok(Ok(installed)),
        None => {}
    }
    let why = format!(
        "no Envoy to judge with: {} is missing (`make test` installs it), ENVOY_BIN is not set",
        installed.display()
    );
    if ci { bail!(why) } else { Ok(Err(why)) }
}

/// Starts Envoy on a bootstrap whose listeners and admin server ask for port 0, and waits until it is live.
///
/// # Errors
/// Envoy refused the bootstrap or did not get live; the message has the end of its log.
pub async fn start(binary: &Path, bootstrap: &Value, workers: u16) -> Result<Gateway> {
    let folder = tempfile::tempdir()?; // read at the start, never again
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, serde_json::to_vec_pretty(bootstrap)?)?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).args(["--disable-hot-restart", "--concurrency", &workers.to_string()]);
    let address = folder.path().join("admin-address");
    command.arg("--admin-address-path").arg(&address);
    command.args(["--log-level", "error", "--component-log-level", "main:info,wasm:warning", "--drain-time-s", "1"]);
    command.args(["--file-flush-interval-msec", "20"]); // access logs that are waited for
    let process = Process::start(&mut command)?;
    let started =
        |lines: &[String]| lines.iter().any(|line| line.contains("starting main dispatch loop")).then_some(());
    process.wait_for("the main loop", PATIENCE, started).await?;
    let admin = std::fs::read_to_string(address)?.trim().parse().context("the admin server's address")?;
    gateway::ready(&process, admin, PATIENCE).await?;
    let ports = gateway::listeners(admin).await?;
    Ok(Gateway { process, ports, admin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_envoy_is_said_and_in_ci_it_is_a_failure() {
        let (here, nowhere) = (PathBuf::from(file!()), PathBuf::from("/nonexistent/envoy"));
        let here = crate::repository().join(here);
        assert_eq!(find(Some(here.clone()), nowhere.clone(), true).unwrap(), Ok(here.clone()));
        assert_eq!(find(None, here.clone(), true).unwrap(), Ok(here));
        assert!(find(Some(nowhere.clone()), nowhere.clone(), false).is_err());
        assert!(find(None, nowhere.clone(), true).is_err());
        assert!(find(None, nowhere, false).unwrap().unwrap_err().contains("no Envoy"));
    }
}
