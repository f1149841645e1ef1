//! Istio's own translation as the judge of ours: a program that links istiod (`tests/istiod`), asked one file after another.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::recorded::Translation;

/// Filters that only Istio's own Envoy has: taken out, as they were for the recorded translations.
const ISTIO_ONLY: [&str; 4] = ["istio.metadata_exchange", "istio.alpn", "istio.stats", "envoy.filters.http.grpc_stats"];

/// istiod's translation, running.
pub struct Istiod(Mutex<Running>);

struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What istiod makes of manifests.
pub enum Translated {
    /// Listeners, routes, clusters and endpoints of the gateway.
    Yes(Box<Translation>),
    /// The webhook's words.
    Refused(String),
}

impl Istiod {
    /// The program `make istiod` builds.
    #[must_use]
    pub fn program() -> PathBuf {
        crate::repository().join("target/tools/bin/istiod-translate")
    }

    /// Starts it.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start() -> Result<Self> {
        let program = Self::program();
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{}: `make istiod` builds it", program.display()))?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("its pipes")?;
        Ok(Self(Mutex::new(Running { child, stdin, stdout: BufReader::new(stdout) })))
    }

    /// Translates one file of manifests.
    ///
    /// # Errors
    /// istiod failed at it, or went away.
    pub fn translate(&self, file: &Path) -> Result<Translated> {
        let mut running = self.0.lock().map_err(|_| anyhow::anyhow!("a translation panicked"))?;
        writeln!(running.stdin, "{}", file.display())?;
        let mut line = String::new();
        running.stdout.read_line(&mut line)?;
        let mut answer: Value = serde_json::from_str(&line).with_context(|| format!("istiod said {line:?}"))?;
        let text = |field: &str| answer.get(field).and_then(Value::as_str).map(str::to_owned);
        if let Some(words) = text("refused") {
            return Ok(Translated::Refused(words));
        }
        if let Some(words) = text("error") {
            bail!("istiod: {words}");
        }
        strip(&mut answer);
        Ok(Translated::Yes(Box::new(Translation::of(String::new(), answer)?)))
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        if let Ok(running) = self.0.get_mut() {
            running.child.kill().unwrap_or_default();
            running.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// Takes out what needs Istio's own Envoy or a control plane: its filters, mutual TLS between workloads, tracing.
fn strip(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                !ISTIO_ONLY.contains(&name) && name != "tlsMode-istio"
            });
            items.iter_mut().for_each(strip);
        }
        Value::Object(fields) => {
            fields.remove("tracing");
            fields.values_mut().for_each(strip);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_istios_envoy_has_is_taken_out() {
        let mut value = json!({"listeners": [{"filters": [
            {"name": "istio.alpn"}, {"name": "router", "typed_config": {"tracing": {}, "b": [{"name": "tlsMode-istio"}]}},
        ]}]});
        strip(&mut value);
        assert_eq!(value, json!({"listeners": [{"filters": [{"name": "router", "typed_config": {"b": []}}]}]}));
    }
}
