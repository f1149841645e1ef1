//! Starts `host-sim`, the program a user has, on ports of the kernel's choice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::gateway::{self, Gateway};
use crate::process::Process;

/// Starting takes milliseconds; a cold module compiles in a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test: `HOST_SIM_BIN`, or `target/release/host-sim` as `make build` leaves it.
///
/// # Errors
/// It is not there, or older than the sources: a test must not judge yesterday's program.
pub fn binary() -> Result<PathBuf> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = FOUND.get() {
        return Ok(path.clone());
    }
    let path = find()?;
    Ok(FOUND.get_or_init(|| path).clone())
}

fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOST_SIM_BIN") {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { bail!("HOST_SIM_BIN={} is no file", path.display()) };
    }
    let path = crate::repository().join("target/release/host-sim");
    let built = modified(&path).with_context(|| format!("{} is missing: run `make build` first", path.display()))?;
    // Cargo's own list of what went in. `cargo test` builds the program but writes no list, and is never behind.
    let sources = std::fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    for source in sources.split_once(": ").map_or("", |(_, list)| list).split_whitespace() {
        if modified(Path::new(source)).is_ok_and(|changed| changed > built) {
            bail!("{} is older than {source}: run `make build` first", path.display());
        }
    }
    Ok(path)
}

fn modified(path: &Path) -> Result<std::time::SystemTime> {
    Ok(std::fs::metadata(path)?.modified()?)
}

/// How to run it.
pub struct Run<'a> {
    binary: &'a Path,
    arguments: Vec<String>,
    ports: BTreeSet<u16>,
}

impl<'a> Run<'a> {
    /// `host-sim run` with Envoy's answers, on the manifests in `files`.
    #[must_use]
    pub fn manifests(binary: &'a Path, files: &[&Path]) -> Self {
        let mut arguments = vec!["run".to_owned(), "--fidelity".into(), "envoy".into()];
        for file in files {
            arguments.extend(["-f".into(), file.display().to_string()]);
        }
        Self { binary, arguments, ports: BTreeSet::new() }
    }

    /// A Gateway server's port whose address on this machine is wanted.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports.insert(port);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn with<I: IntoIterator<Item = impl Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ended (manifests refused, say) or did not get ready; the message has its words.
    pub async fn start(self) -> Result<Gateway> {
        let mut command = Command::new(self.binary);
        command.current_dir(crate::repository()); // arguments name files of the repository
        command.args(&self.arguments).args(["--admin", "127.0.0.1:0"]);
        for port in &self.ports {
            command.args(["--port-map", &format!("{port}=0")]);
        }
        let process = Process::start(&mut command)?;
        let admin = process
            .wait_for("the admin server's address", PATIENCE, |lines| lines.iter().find_map(|l| admin(l)))
            .await?;
        gateway::ready(&process, admin, PATIENCE).await?;
        let ports = gateway::listeners(admin).await?;
        Ok(Gateway { process, ports, admin })
    }
}

/// `admin on 127.0.0.1:15000`, whatever stands around it.
fn admin(line: &str) -> Option<SocketAddr> {
    line.split_once("admin on ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_says_where_the_admin_server_is() {
        let at = Some(([127, 0, 0, 1], 41001).into());
        for (line, address) in
            [("admin on 127.0.0.1:41001", at), ("port 80 on 127.0.0.1:41002", None), ("admin on fire", None)]
        {
            assert_eq!(admin(line), address, "{line}");
        }
    }
}
