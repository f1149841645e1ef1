//! A configuration, compiled: everything that can be decided before the first connection. Immutable, shared by the workers.

mod cluster;
mod listener;
mod manager;
mod resolve;

pub(crate) use cluster::ClusterConfig;
pub(crate) use listener::{ListenerConfig, Network};
pub(crate) use manager::ManagerConfig;

use std::collections::HashMap;
use std::sync::Arc;

/// One configuration.
pub(crate) struct Snapshot {
    pub(crate) listeners: Vec<Arc<ListenerConfig>>,
    pub(crate) clusters: HashMap<Arc<str>, Arc<ClusterConfig>>,
    pub(crate) bootstrap: Arc<xds::Bootstrap>,
}

impl Snapshot {
    /// Compiles a whole bootstrap.
    ///
    /// # Errors
    /// Everything that cannot be done, each with its place in the configuration.
    pub(crate) fn compile(bootstrap: xds::Bootstrap) -> Result<Snapshot, Vec<String>> {
        let mut problems = Vec::new();
        let resources = bootstrap.static_resources.clone().unwrap_or_default();
        let mut clusters = HashMap::new();
        for (at, cluster) in resources.clusters.iter().enumerate() {
            match ClusterConfig::compile(cluster) {
                Ok(compiled) => {
                    let name: Arc<str> = cluster.name.as_str().into();
                    if clusters.insert(name, Arc::new(compiled)).is_some() {
                        problems.push(format!("clusters[{at}]: a second cluster is named \"{}\"", cluster.name));
                    }
                }
                Err(found) => problems.extend(found.into_iter().map(|text| format!("clusters[{at}] \"{}\": {text}", cluster.name))),
            }
        }
        let mut listeners = Vec::new();
        for (at, listener) in resources.listeners.iter().enumerate() {
            match ListenerConfig::compile(listener) {
                Ok(compiled) => listeners.push(Arc::new(compiled)),
                Err(found) => problems.extend(found.into_iter().map(|text| format!("listeners[{at}] \"{}\": {text}", listener.name))),
            }
        }
        if problems.is_empty() { Ok(Snapshot { listeners, clusters, bootstrap: Arc::new(bootstrap) }) } else { Err(problems) }
    }
}
