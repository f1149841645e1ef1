//! A configuration as one worker runs it: compiled parts from the snapshot, with this worker's connections, VMs and counters.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Cluster, Surroundings};
use crate::gateway::StartError;
use crate::http_filters::{Filter, Kind, Plugin, WasmConfig};
use crate::snapshot::{ManagerConfig, Network, Snapshot};
use crate::stats::{HttpStats, ListenerHttpStats, ListenerStats, TlsStats, WorkerStats};

/// A configuration in use.
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clusters: HashMap<Arc<str>, Rc<Cluster>, RandomState>,
    pub(crate) listeners: HashMap<Arc<str>, Rc<ListenerCounters>>,
    managers: HashMap<Place, Rc<Manager>>,
}

/// A listener's counters on this worker.
pub(crate) struct ListenerCounters {
    pub(crate) connections: Arc<ListenerStats>,
    pub(crate) here: Arc<WorkerStats>,
    pub(crate) tls: Arc<TlsStats>,
}

/// A filter chain of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) listener: Arc<str>,
    pub(crate) chain: usize,
}

/// A connection manager on this worker.
pub(crate) struct Manager {
    pub(crate) config: Arc<ManagerConfig>,
    pub(crate) filters: Rc<[Filter]>,
    pub(crate) stats: Arc<HttpStats>,
    pub(crate) listener_stats: Arc<ListenerHttpStats>,
}

impl State {
    /// What a snapshot becomes on this worker. Clusters that did not change keep their connections, plugins their VMs.
    ///
    /// # Errors
    /// A module that does not start.
    pub(crate) fn build(
        snapshot: &Arc<Snapshot>,
        around: &Rc<Surroundings>,
        previous: Option<&State>,
    ) -> Result<State, StartError> {
        // In one order always: a seed makes the same balancers.
        let mut sorted: Vec<_> = snapshot.clusters.iter().collect();
        sorted.sort_by_key(|(name, _)| Arc::clone(name));
        let clusters = sorted.into_iter().map(|(name, config)| {
            let kept = previous
                .and_then(|state| state.clusters.get(name))
                .filter(|cluster| Arc::ptr_eq(&cluster.config, config));
            let fresh = || {
                let stats = around.registry.cluster(&config.source, around.index);
                Rc::new(Cluster::build(config, stats, &around.dice, around.stage().cloned()))
            };
            (Arc::clone(name), kept.map_or_else(fresh, Rc::clone))
        });
        let mut state = State {
            snapshot: Arc::clone(snapshot),
            clusters: clusters.collect(),
            listeners: HashMap::new(),
            managers: HashMap::new(),
        };
        // Envoy has one VM per plugin and worker, however many listeners it is attached to.
        let mut plugins: Vec<Rc<Plugin>> = previous.map(State::plugins).unwrap_or_default();
        for listener in &snapshot.listeners {
            let address = listener.stat_address();
            let counters = ListenerCounters {
                connections: around.registry.listener(&address, around.index),
                here: around.registry.listener_worker(&address, around.index),
                tls: around.registry.listener_tls(&address, around.index),
            };
            state.listeners.insert(Arc::clone(&listener.name), Rc::new(counters));
            for (chain, filter_chain) in listener.chains.iter().enumerate() {
                let Network::Http(config) = &filter_chain.network else { continue };
                let manager = Manager::build(config, &address, around, &mut plugins)?;
                state.managers.insert(Place { listener: Arc::clone(&listener.name), chain }, Rc::new(manager));
            }
        }
        Ok(state)
    }

    /// The connection manager of a filter chain.
    pub(crate) fn manager(&self, place: &Place) -> Option<Rc<Manager>> {
        self.managers.get(place).map(Rc::clone)
    }

    /// `node.cluster` of the bootstrap.
    pub(crate) fn node_cluster(&self) -> &str {
        self.snapshot.bootstrap.node.as_ref().map_or("", |node| &node.cluster)
    }

    fn plugins(&self) -> Vec<Rc<Plugin>> {
        let filters = self.managers.values().flat_map(|manager| manager.filters.iter());
        filters
            .filter_map(|filter| if let Kind::Wasm(plugin) = &filter.kind { Some(Rc::clone(plugin)) } else { None })
            .collect()
    }
}

impl Manager {
    fn build(
        config: &Arc<ManagerConfig>,
        address: &str,
        around: &Rc<Surroundings>,
        plugins: &mut Vec<Rc<Plugin>>,
    ) -> Result<Manager, StartError> {
        let mut filters = Vec::with_capacity(config.filters.len());
        for filter in &config.filters {
            let mut running = |wasm: &WasmConfig| plugins.iter().find(|plugin| plugin.is_of(wasm)).map(Rc::clone);
            let filter =
                Filter::build(filter, &config.stat_prefix, around, &mut running).map_err(|(plugin, error)| {
                    let log = error.log().iter().map(|line| line.text.clone()).collect();
                    StartError::Module { plugin, reason: error.to_string(), log }
                })?;
            if let Kind::Wasm(plugin) = &filter.kind {
                plugins.push(Rc::clone(plugin));
            }
            filters.push(filter);
        }
        Ok(Manager {
            config: Arc::clone(config),
            filters: filters.into(),
            stats: around.registry.http(&config.stat_prefix, around.index),
            listener_stats: around.registry.listener_http(address, &config.stat_prefix, around.index),
        })
    }
}
