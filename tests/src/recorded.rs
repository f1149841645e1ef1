//! What istiod gave Envoy for a recorded case, as a bootstrap with everything in it: `translation/<case>.json` without a control plane.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::certs::Certificates;

/// The runtime flags of Istio's own bootstrap; the recorded Envoy had them.
#[must_use]
pub fn istio_runtime() -> Value {
    json!({"layers": [{"name": "istio", "static_layer": {
        "envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_deprecated_use_original_dst": true,
        "envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update": false,
        "envoy.reloadable_features.fixed_heap_use_allocated": true,
        "envoy.reloadable_features.http_reject_path_with_fragment": false,
        "re2.max_program_size.error_level": "32768",
    }}]})
}

/// A recorded translation.
pub struct Translation {
    /// `area | case name`.
    pub case: String,
    listeners: Vec<Value>,
    routes: HashMap<String, Value>,
    clusters: Vec<Value>,
    endpoints: HashMap<String, Value>,
}

impl Translation {
    /// Reads `translation/<case>.json`.
    ///
    /// # Errors
    /// An unreadable file, or one of another form.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file: Value = serde_json::from_str(&text)?;
        Self::of(text_of(&file, "case")?.to_owned(), file)
    }

    /// The same from its JSON: `listeners`, `routes`, `clusters`, `endpoints`.
    ///
    /// # Errors
    /// JSON of another form.
    pub fn of(case: String, mut file: Value) -> Result<Self> {
        let mut list = |field: &str| match file.get_mut(field).map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let by = |items: Vec<Value>, field: &str| -> Result<HashMap<String, Value>> {
            items.into_iter().map(|item| Ok((text_of(&item, field)?.to_owned(), item))).collect()
        };
        let (listeners, clusters) = (list("listeners"), list("clusters"));
        let (routes, endpoints) = (by(list("routes"), "name")?, by(list("endpoints"), "cluster_name")?);
        Ok(Self { case, listeners, routes, clusters, endpoints })
    }

    /// Every translation of the corpus.
    ///
    /// # Errors
    /// An unreadable folder or file.
    pub fn all() -> Result<Vec<Self>> {
        let folder = crate::corpus().join("translation");
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        files.iter().map(|file| Self::load(file)).collect()
    }

    /// This translation with the listener of another where it has none: a case whose file has no listener had the plain HTTP listener on port 80.
    #[must_use]
    pub fn listening_on(mut self, plain: &Value) -> Self {
        if self.listeners.is_empty() {
            self.listeners.push(plain.clone());
        }
        self
    }

    /// The same as one static bootstrap: loopback listeners on ports of the kernel's choice, routes, endpoints and secrets inline.
    ///
    /// # Errors
    /// A reference to something the file does not have.
    pub fn bootstrap(&self, certificates: &Certificates) -> Result<Value> {
        let listeners =
            self.listeners.clone().into_iter().map(|l| self.listener(l, certificates)).collect::<Result<Vec<_>>>()?;
        let clusters = self.clusters.iter().map(|c| self.cluster(c.clone())).collect::<Result<Vec<_>>>()?;
        let here = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        Ok(json!({
            "admin": {"address": here},
            "layered_runtime": istio_runtime(),
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }))
    }

    /// This case's HTTP listener on port 80, for cases whose file has none.
    ///
    /// # Errors
    /// It has none either.
    pub fn plain_listener(&self) -> Result<&Value> {
        self.listeners.iter().find(|l| l.get("name") == Some(&json!("0.0.0.0_80"))).context("a listener on port 80")
    }

    fn listener(&self, mut listener: Value, certificates: &Certificates) -> Result<Value> {
        *at(&mut listener, "/address/socket_address")? = json!({"address": "127.0.0.1", "port_value": 0});
        for chain in at(&mut listener, "/filter_chains")?.as_array_mut().into_iter().flatten() {
            for filter in at(chain, "/filters")?.as_array_mut().into_iter().flatten() {
                let Some(config) = filter.get_mut("typed_config").and_then(Value::as_object_mut) else { continue };
                let Some(rds) = config.remove("rds") else { continue };
                let name = text_of(&rds, "route_config_name")?;
                let routes = self.routes.get(name).with_context(|| format!("no routes are called {name}"))?;
                config.insert("route_config".into(), routes.clone());
            }
            if let Some(tls) =
                chain.pointer_mut("/transport_socket/typed_config/common_tls_context").and_then(Value::as_object_mut)
            {
                inline_secrets(tls, certificates)?;
            }
        }
        Ok(listener)
    }

    fn cluster(&self, mut cluster: Value) -> Result<Value> {
        let name = text_of(&cluster, "name")?.to_owned();
        let fields = cluster.as_object_mut().context("a cluster")?;
        if fields.remove("eds_cluster_config").is_some() {
            fields.insert("type".into(), json!("STATIC"));
            let endpoints = self.endpoints.get(&name).with_context(|| format!("no endpoints for {name}"))?;
            fields.insert("load_assignment".into(), endpoints.clone());
        }
        Ok(cluster)
    }
}

/// Istio's names for secrets: `kubernetes://cert-m`, and `kubernetes://cert-m-cacert` for the CA that clients must show.
fn inline_secrets(tls: &mut serde_json::Map<String, Value>, certificates: &Certificates) -> Result<()> {
    if let Some(names) = tls.remove("tls_certificate_sds_secret_configs") {
        let mut inline = Vec::new();
        for secret in names.as_array().into_iter().flatten() {
            let name = text_of(secret, "name")?;
            let leaf = certificates.leaf(name.rsplit('/').next().unwrap_or(name))?;
            inline.push(json!({
                "certificate_chain": {"inline_string": leaf.certificate},
                "private_key": {"inline_string": leaf.key},
            }));
        }
        tls.insert("tls_certificates".into(), Value::Array(inline));
    }
    if tls.remove("combined_validation_context").is_some() {
        tls.insert("validation_context".into(), json!({"trusted_ca": {"inline_string": certificates.ca()}}));
    }
    if tls.keys().any(|key| key.contains("sds")) {
        bail!("a secret reference that is not inlined: {:?}", tls.keys());
    }
    Ok(())
}

fn text_of<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value.get(field).and_then(Value::as_str).with_context(|| format!("no {field} in {value}"))
}

fn at<'a>(value: &'a mut Value, pointer: &str) -> Result<&'a mut Value> {
    value.pointer_mut(pointer).with_context(|| format!("no {pointer}"))
}
