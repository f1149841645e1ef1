//! A configuration, compiled: everything that can be decided before the first connection. Immutable, shared by the workers.

mod cluster;
mod connection_manager;
mod constraints;
mod listener;
mod undone;

pub(crate) use cluster::AnswerLimits;
pub(crate) use cluster::ClusterConfig;
pub(crate) use connection_manager::{LifetimeLimits, ManagerConfig, Timeouts};
pub(crate) use listener::{Entrance, FilterChain, ListenerConfig, ListenerFilter, Network, TcpProxy, Transport};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::StartError;
use crate::http_filters::{ChainError, FilterKind, Loader};
use crate::stats::Registry;
use crate::tls::Secrets;
use crate::tracing::Place;

/// One configuration.
pub(crate) struct Snapshot {
    pub(crate) listeners: Vec<Arc<ListenerConfig>>,
    pub(crate) clusters: HashMap<Arc<str>, Arc<ClusterConfig>>,
    pub(crate) bootstrap: Arc<xds::Bootstrap>,
}

impl Snapshot {
    /// Our certificates whose time is over or has not come, each with its listener; `now` in seconds since 1970.
    pub(crate) fn untimely(&self, now: i64) -> Vec<String> {
        let mut found = Vec::new();
        for listener in &self.listeners {
            let certificates =
                listener.chains.iter().filter_map(|chain| chain.transport.tls()).flat_map(|tls| tls.untimely(now));
            found.extend(certificates.map(|certificate| format!("listener {}: {certificate}", listener.name)));
        }
        found
    }

    /// Does DNS say something else by now about some cluster's names? Asks the system, which may take a while.
    pub(crate) fn has_moved(&self) -> bool {
        self.clusters.values().any(|cluster| cluster.has_moved())
    }

    /// How often [`Snapshot::has_moved`] is worth asking; never without clusters that are found by DNS.
    pub(crate) fn dns_refresh(&self) -> Option<Duration> {
        self.clusters.values().filter_map(|cluster| cluster.dns_refresh()).min()
    }

    /// Whole days until the first of our certificates runs out; none without certificates.
    pub(crate) fn certificate_days(&self, now: i64) -> Option<u64> {
        let chains = self.listeners.iter().flat_map(|listener| &listener.chains);
        chains.filter_map(|chain| chain.transport.tls()).map(|tls| tls.days_left(now)).min()
    }

    /// Some filter of the gateway's own counts requests.
    pub(crate) fn has_buckets(&self) -> bool {
        let managers = self.listeners.iter().flat_map(|listener| &listener.chains);
        let mut filters = managers.flat_map(|chain| match &chain.network {
            Network::Http(manager) => manager.filters.as_slice(),
            Network::Tcp(_) => &[],
        });
        filters.any(|filter| matches!(filter.kind, FilterKind::LocalRateLimit { .. }))
    }
}

/// What configurations are compiled with.
pub(crate) struct Compiler<'c> {
    pub(crate) loader: Loader<'c>,
    pub(crate) registry: &'c Registry,
    /// Clusters that did not change are taken over, with what is counted for them.
    pub(crate) previous: Option<&'c Snapshot>,
}

impl Compiler<'_> {
    /// Compiles a whole bootstrap.
    ///
    /// # Errors
    /// Everything that cannot be done, each with its place in the configuration; or the first module that is refused.
    pub(crate) fn compile(&self, bootstrap: xds::Bootstrap) -> Result<Snapshot, StartError> {
        let mut problems = Vec::new();
        let nothing = xds::StaticResources::default();
        let resources = bootstrap.static_resources.as_ref().unwrap_or(&nothing);
        problems.extend(constraints::broken(resources));
        let secrets = Secrets::new(&resources.secrets);
        let mut clusters = HashMap::new();
        for (at, cluster) in resources.clusters.iter().enumerate() {
            match self.cluster(cluster, &secrets) {
                Ok(compiled) => {
                    if clusters.insert(Arc::clone(&compiled.name), compiled).is_some() {
                        problems.push(format!("clusters[{at}]: a second cluster is named \"{}\"", cluster.name));
                    }
                }
                Err(found) => problems
                    .extend(found.into_iter().map(|text| format!("clusters[{at}] \"{}\": {text}", cluster.name))),
            }
        }
        let tracing = Place { node: bootstrap.node.as_ref(), clusters: Some(&clusters), ..self.loader.tracing };
        let loader = Loader { tracing, ..self.loader };
        let mut listeners = Vec::new();
        for (at, listener) in resources.listeners.iter().enumerate() {
            match ListenerConfig::compile(listener, &secrets, &loader) {
                Ok(compiled) => listeners.push(Arc::new(compiled)),
                Err(ChainError::Module { plugin, reason }) => {
                    return Err(StartError::Module { plugin, reason, log: Vec::new() });
                }
                Err(ChainError::Config(found)) => {
                    problems
                        .extend(found.into_iter().map(|text| format!("listeners[{at}] \"{}\": {text}", listener.name)));
                }
            }
        }
        if problems.is_empty() {
            Ok(Snapshot { listeners, clusters, bootstrap: Arc::new(bootstrap) })
        } else {
            Err(StartError::Config(problems))
        }
    }

    fn cluster(&self, cluster: &xds::Cluster, secrets: &Secrets) -> Result<Arc<ClusterConfig>, Vec<String>> {
        let before = self.previous.and_then(|snapshot| snapshot.clusters.get(cluster.name.as_str()));
        match before.filter(|before| *before.source == *cluster && before.tls.is_none() && !before.has_moved()) {
            Some(before) => Ok(Arc::clone(before)),
            None => ClusterConfig::compile(cluster, secrets, self.registry).map(Arc::new),
        }
    }
}
