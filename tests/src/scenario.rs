//! A scenario: manifests, plugins, requests and what is expected of them, executed in the real Envoy and in `host-sim`. Both answers must be what
//! is expected, and the same in everything else too. `tests/cases/README.md` describes the form.

mod expectation;
mod plugin;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::case::{Answer, Send};
use crate::certs::Certificates;
use crate::compare;
use crate::pair::{Pair, Setup};
use crate::replay::title;
use expectation::Expectation;
use plugin::Plugin;

/// One document of `tests/cases/*.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A sentence: what holds.
    pub name: String,
    /// Files and folders of the repository; `tests/cases/world.yaml` when there are none.
    #[serde(default)]
    manifests: Vec<String>,
    /// More manifests.
    #[serde(default)]
    yaml: String,
    /// Filters, attached as WasmPlugins.
    #[serde(default)]
    plugins: Vec<Plugin>,
    /// Which origin stands for a service.
    #[serde(default = "stable_and_canary")]
    backends: BTreeMap<String, String>,
    /// Secrets in `istio-system` by name, and the fresh certificate each holds: `cert-a`, or `cert-m` with the CA of `client`.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// More arguments of `host-sim`.
    #[serde(default)]
    flags: Vec<String>,
    /// Worker threads of either gateway.
    #[serde(default = "one")]
    workers: u16,
    /// The configuration is refused, and this stands in the module's log.
    refused: Option<String>,
    /// The requests, sent one after another.
    #[serde(default)]
    requests: Vec<Step>,
}

/// A request and what is expected of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    send: Send,
    #[serde(default)]
    expect: Expectation,
}

fn stable_and_canary() -> BTreeMap<String, String> {
    ["stable", "canary"].map(|name| (format!("{name}.default.svc.cluster.local"), name.to_owned())).into()
}

fn one() -> u16 {
    1
}

/// What a scenario showed.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests whose answers were compared with Envoy's.
    pub compared: usize,
    /// Everything that is not as it should be.
    pub wrong: Vec<String>,
}

/// Every scenario of `tests/cases`, with the file it stands in.
///
/// # Errors
/// An unreadable file, or a document that is no scenario.
pub fn all() -> Result<Vec<(String, Scenario)>> {
    let folder = crate::repository().join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| {
        file.extension().is_some_and(|e| e == "yaml") && file.file_stem().is_some_and(|stem| stem != "world")
    });
    files.sort();
    let mut scenarios = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let parsed: Vec<Scenario> = serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())?;
        scenarios.extend(parsed.into_iter().map(|scenario| (name.clone(), scenario)));
    }
    Ok(scenarios)
}

impl Scenario {
    /// Executes the scenario.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        if let Err(e) = self.execute(&mut report).await {
            report.wrong.push(format!("{e:#}"));
        }
        report
    }

    async fn execute(&self, report: &mut Report) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let certificates = Certificates::fresh()?;
        let setup = self.setup(folder.path(), &certificates)?;
        if let Some(words) = &self.refused {
            return refuse(&setup, words, report).await;
        }
        let pair = setup.start().await?.with(certificates);
        for step in &self.requests {
            step.check(&pair, report).await?;
        }
        Ok(())
    }

    fn setup(&self, folder: &Path, certificates: &Certificates) -> Result<Setup> {
        let named: Vec<PathBuf> = self.manifests.iter().map(|path| crate::repository().join(path)).collect();
        let mut manifests =
            if named.is_empty() { vec![crate::repository().join("tests/cases/world.yaml")] } else { named };
        let mut documents = vec![self.yaml.clone()];
        for plugin in &self.plugins {
            documents.push(plugin.manifest()?);
        }
        for (name, certificate) in &self.secrets {
            let named = |word: &str| format!("\n  name: {word}\n");
            documents.push(certificates.secret(certificate)?.replace(&named(certificate), &named(name)));
        }
        if documents.iter().any(|text| !text.trim().is_empty()) {
            let file = folder.join("scenario.yaml");
            std::fs::write(&file, documents.join("\n---\n"))?;
            manifests.push(file);
        }
        let ports: BTreeSet<u16> = self.requests.iter().map(|step| step.send.port).chain([80]).collect();
        Ok(Setup {
            manifests,
            flags: self.flags.clone(),
            backends: self.backends.clone(),
            ports,
            workers: self.workers,
        })
    }
}

impl Step {
    async fn check(&self, pair: &Pair, report: &mut Report) -> Result<()> {
        let title = title(&self.send);
        let (envoy, host_sim) = pair.ask(&self.send, self.expect.sees()).await?;
        let judged = [("Envoy", envoy.as_ref()), ("host-sim", Some(&host_sim))];
        for (who, answer) in judged {
            let missed = answer.and_then(|answer| self.expect.missed_by(answer));
            report.wrong.extend(missed.map(|what| format!("{title}: {who}: {what}")));
        }
        if let Some(envoy) = &envoy {
            report.compared += 1;
            let envoy = self.expect.masked(envoy);
            // What a busy machine does to either is no difference between them.
            let quick = |answer: &Answer| answer.ms.unwrap_or(0) <= compare::FAST_MS;
            let busy = |what: &String| compare::is_about_time(what) && quick(&envoy) && quick(&host_sim);
            let difference = compare::difference(&envoy, &host_sim).filter(|what| !busy(what));
            report.wrong.extend(difference.map(|what| format!("{title}: host-sim: {what}")));
        }
        Ok(())
    }
}

/// Both must refuse: host-sim with exit code 4 and the words in its log, Envoy by not serving.
async fn refuse(setup: &Setup, words: &str, report: &mut Report) -> Result<()> {
    let refusal = setup.refusal().await?;
    if refusal.code != Some(4) || !refusal.log.contains(words) {
        report.wrong.push(format!("host-sim: exit {:?}, {words:?} expected in:\n{}", refusal.code, refusal.log));
    }
    if let Some(log) = refusal.envoy {
        report.compared += 1;
        if !log.contains(words) {
            report.wrong.push(format!("Envoy: {words:?} expected in:\n{log}"));
        }
    }
    Ok(())
}
