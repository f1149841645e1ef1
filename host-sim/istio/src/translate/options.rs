//! What the user says about the gateway beside the manifests.

use std::collections::BTreeMap;

/// Choices of a translation.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Labels of the gateway workload. `None`: those that the Gateways' selectors ask for.
    pub labels: Option<BTreeMap<String, String>>,
    /// Namespace of the gateway workload. `None`: that of a Deployment or Pod with these labels, else `istio-system`.
    pub node_namespace: Option<String>,
    /// Where services really are; goes before everything the manifests say.
    pub backends: Vec<Backend>,
    /// Name embedded echo backends for services whose endpoints are not known.
    pub echo: bool,
    /// Kinds to go on without where they ask for what is not carried out here.
    pub allow_unsupported: Vec<String>,
}

/// `--backend HOST[:PORT][/SUBSET]=ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Service, as `shop`, `shop.default` or in full.
    pub host: String,
    /// One port of it, or all.
    pub port: Option<u16>,
    /// One subset of it, or all endpoints.
    pub subset: Option<String>,
    /// IP address or host name.
    pub address: String,
    /// Port at that address.
    pub address_port: u16,
}

impl Options {
    /// Whether the user says to go on without what is not carried out of this kind.
    pub(crate) fn allows(&self, kind: &str) -> bool {
        self.allow_unsupported.iter().any(|allowed| allowed == kind)
    }
}

impl Backend {
    /// Whether this backend stands for the service `host` (in full).
    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.host == host
            || host
                .strip_prefix(self.host.as_str())
                .is_some_and(|rest| rest.starts_with('.') && !self.host.contains(".svc."))
    }
}
