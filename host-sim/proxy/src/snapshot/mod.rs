//! A configuration, compiled: everything that can be decided before the first connection. Immutable, shared by the workers.

mod cluster;
mod listener;
mod manager;
mod resolve;

pub(crate) use cluster::{ClusterConfig, UpstreamTls};
pub(crate) use listener::{ChainTls, FilterChain, ListenerConfig, Network, TcpProxy};
pub(crate) use manager::ManagerConfig;

use std::collections::HashMap;
use std::sync::Arc;

use crate::access_log::LogFiles;
use crate::tls::{Secrets, Untimely};

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
    pub(crate) fn compile(bootstrap: xds::Bootstrap, logs: &LogFiles) -> Result<Snapshot, Vec<String>> {
        let mut problems = Vec::new();
        let resources = bootstrap.static_resources.clone().unwrap_or_default();
        let secrets = Secrets::new(&resources.secrets);
        let mut clusters = HashMap::new();
        for (at, cluster) in resources.clusters.iter().enumerate() {
            match ClusterConfig::compile(cluster, &secrets) {
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
            match ListenerConfig::compile(listener, &secrets, logs) {
                Ok(compiled) => listeners.push(Arc::new(compiled)),
                Err(found) => problems.extend(found.into_iter().map(|text| format!("listeners[{at}] \"{}\": {text}", listener.name))),
            }
        }
        if problems.is_empty() { Ok(Snapshot { listeners, clusters, bootstrap: Arc::new(bootstrap) }) } else { Err(problems) }
    }

    /// Our certificates whose time is over or has not come, each with its listener; `now` in seconds since 1970.
    pub(crate) fn untimely(&self, now: i64) -> Vec<String> {
        let mut found = Vec::new();
        for listener in &self.listeners {
            let of_chain = |chain: &FilterChain| match &chain.tls {
                Some(ChainTls::Ready(side)) => side.untimely(now),
                _ => Vec::new(),
            };
            let untimely = listener.chains.iter().flat_map(of_chain);
            found.extend(untimely.map(|one: Untimely| format!("listener {}: {one}", listener.name)));
        }
        found
    }

    /// Whole days until the first of our certificates runs out.
    pub(crate) fn certificate_days(&self, now: i64) -> Option<u64> {
        let chains = self.listeners.iter().flat_map(|listener| &listener.chains);
        chains.filter_map(|chain| if let Some(ChainTls::Ready(side)) = &chain.tls { Some(side.days_left(now)) } else { None }).min()
    }
}
