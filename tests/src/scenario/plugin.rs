//! A filter of a scenario, as the WasmPlugin a user would write.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// One filter on the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugin {
    /// The module, `target/filters/<module>.wasm`.
    module: String,
    /// The plugin's name; the module's when absent.
    name: Option<String>,
    /// `pluginConfig`.
    #[serde(default)]
    config: Value,
    /// `failStrategy`.
    #[serde(default = "closed")]
    fail: String,
    /// `phase`: AUTHN, AUTHZ, STATS.
    phase: Option<String>,
    /// `priority`: the higher, the earlier.
    priority: Option<i64>,
}

fn closed() -> String {
    "FAIL_CLOSE".into()
}

impl Plugin {
    /// The WasmPlugin. JSON is YAML.
    ///
    /// # Errors
    /// The module has not been built.
    pub(super) fn manifest(&self) -> Result<String> {
        let file = crate::repository().join(format!("target/filters/{}.wasm", self.module));
        if !file.is_file() {
            bail!("{} is missing: run `make build` first", file.display());
        }
        let mut spec = json!({
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
            "url": format!("file://{}", file.display()),
            "failStrategy": self.fail,
        });
        let fields = spec.as_object_mut().context("an object")?;
        if !self.config.is_null() {
            fields.insert("pluginConfig".into(), self.config.clone());
        }
        fields.extend(self.phase.iter().map(|phase| ("phase".to_owned(), json!(phase))));
        fields.extend(self.priority.iter().map(|priority| ("priority".to_owned(), json!(priority))));
        let plugin = json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": self.name.as_ref().unwrap_or(&self.module), "namespace": "istio-system"},
            "spec": spec,
        });
        Ok(plugin.to_string())
    }
}
