//! The same manifests, the same modules, the same origins, twice: in the real Envoy, through the bootstrap that `host-sim envoy` prints, and in
//! `host-sim run`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::case::{Answer, Send};
use crate::certs::Certificates;
use crate::gateway::Gateway;
use crate::host_sim::Run;
use crate::origins::Origins;
use crate::process::Process;
use crate::replay::{self, Bodies};
use crate::{envoy, host_sim};

/// A module compiles in a second or two, on a machine that may be busy.
const REFUSAL: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Manifest files and folders.
    pub manifests: Vec<PathBuf>,
    /// More arguments of `host-sim run` and `host-sim envoy`.
    pub flags: Vec<String>,
    /// Which origin stands for a service, `HOST[:PORT][/SUBSET]` to an origin's name.
    pub backends: BTreeMap<String, String>,
    /// The Gateway servers' ports that are asked.
    pub ports: BTreeSet<u16>,
    /// Worker threads of either gateway.
    pub workers: u16,
}

/// Two running gateways and their origins.
pub struct Pair {
    /// The judge; absent on a machine without Envoy.
    pub envoy: Option<Gateway>,
    /// The judged.
    pub host_sim: Gateway,
    origins: Origins,
    certificates: Certificates,
}

/// How a configuration was refused.
pub struct Refusal {
    /// What `host-sim run` exited with.
    pub code: Option<i32>,
    /// What it said.
    pub log: String,
    /// What Envoy said, where there is one.
    pub envoy: Option<String>,
}

impl Setup {
    fn origins(&self) -> Result<Origins> {
        let names: BTreeSet<&str> = self.backends.values().map(String::as_str).collect();
        Origins::anywhere(&names.into_iter().collect::<Vec<_>>())
    }

    fn flags(&self, origins: &Origins) -> Result<Vec<String>> {
        let mut flags = self.flags.clone();
        for (service, origin) in &self.backends {
            flags.extend(["--backend".into(), format!("{service}={}", origins.address(origin)?)]);
        }
        Ok(flags)
    }

    /// Starts both gateways on a configuration that neither may serve.
    ///
    /// # Errors
    /// `host-sim` serves it.
    pub async fn refusal(&self) -> Result<Refusal> {
        let program = host_sim::binary()?;
        let origins = self.origins()?;
        let flags = self.flags(&origins)?;
        let envoy = match self.envoy(&flags).await {
            Ok(envoy) => envoy.map(|gateway| gateway.process.log()),
            Err(e) => Some(format!("{e:#}")),
        };
        let mut command = Command::new(&program);
        command.current_dir(crate::repository()).arg("run").args(&flags).args(["--admin", "127.0.0.1:0"]);
        for file in &self.manifests {
            command.arg("-f").arg(file);
        }
        for port in &self.ports {
            command.args(["--port-map", &format!("{port}=0")]);
        }
        let mut process = Process::start(&mut command)?;
        let status = process.ended(REFUSAL).await.context("host-sim serves what it should refuse")?;
        Ok(Refusal { code: status.code(), log: process.log(), envoy })
    }

    /// Starts both.
    ///
    /// # Errors
    /// Either refuses to start; the message has its words.
    pub async fn start(&self) -> Result<Pair> {
        let origins = self.origins()?;
        let flags = self.flags(&origins)?;
        let (envoy, host_sim) = (self.envoy(&flags).await?, self.host_sim(&flags).await?);
        Ok(Pair { envoy, host_sim, origins, certificates: Certificates::fresh()? })
    }

    /// Starts `host-sim run` alone, with these arguments instead of the setup's own.
    ///
    /// # Errors
    /// It refuses to start; the message has its words.
    pub async fn host_sim(&self, flags: &[String]) -> Result<Gateway> {
        let program = host_sim::binary()?;
        let files: Vec<&Path> = self.manifests.iter().map(PathBuf::as_path).collect();
        let mut run = Run::manifests(&program, &files).with(flags).with(["--workers", &self.workers.to_string()]);
        for port in &self.ports {
            run = run.port(*port);
        }
        run.start().await.context("host-sim run")
    }

    /// Starts Envoy alone, on what `host-sim envoy` prints with these arguments; nothing on a machine without Envoy.
    ///
    /// # Errors
    /// It refuses to start; the message has its words.
    pub async fn envoy(&self, flags: &[String]) -> Result<Option<Gateway>> {
        let Some(binary) = envoy::binary()? else { return Ok(None) };
        let bootstrap = self.bootstrap(&host_sim::binary()?, flags)?;
        let gateway = envoy::start(&binary, &bootstrap, self.workers).await;
        gateway.map(Some).context("Envoy, given what host-sim printed")
    }

    /// What `host-sim envoy` prints for these manifests, all listeners on ports of the kernel's choice.
    ///
    /// # Errors
    /// It prints no JSON; the message has its words.
    pub fn bootstrap(&self, program: &Path, flags: &[String]) -> Result<Value> {
        let mut command = Command::new(program);
        command.current_dir(crate::repository()).arg("envoy").args(flags).args(["--admin", "127.0.0.1:0"]);
        for file in &self.manifests {
            command.arg("-f").arg(file);
        }
        for port in &self.ports {
            command.args(["--port-map", &format!("{port}=0")]);
        }
        let output = command.output()?;
        if !output.status.success() {
            bail!("host-sim envoy: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("host-sim envoy prints JSON")
    }
}

impl Pair {
    /// The same pair, asked with these certificates: those its manifests were made with.
    #[must_use]
    pub fn with(self, certificates: Certificates) -> Self {
        Self { certificates, ..self }
    }

    /// One request to each: Envoy's answer (if there is one here) and host-sim's, bodies included. `sees` requests are waited for at the origins.
    ///
    /// # Errors
    /// A request that cannot be sent at all.
    pub async fn ask(&self, send: &Send, sees: usize) -> Result<(Option<Answer>, Answer)> {
        let ask = async |gateway: &Gateway, sees: usize| {
            replay::ask(send, &gateway.ports, &self.origins, &self.certificates, Bodies::All, sees).await
        };
        let envoy = match &self.envoy {
            None => None,
            Some(gateway) => Some(ask(gateway, sees).await?),
        };
        let sees = envoy.as_ref().map_or(sees, |envoy| envoy.upstreams.len());
        Ok((envoy, ask(&self.host_sim, sees).await?))
    }
}
