//! A configuration as one worker runs it: compiled parts from the snapshot, with this worker's connections and counters.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::snapshot::{ClusterConfig, ManagerConfig, Network, Snapshot};
use crate::upstream::{Endpoint, Transport};

/// A configuration in use.
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clusters: HashMap<Arc<str>, Rc<Cluster>>,
    managers: HashMap<Place, Rc<Manager>>,
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
}

/// A cluster on this worker.
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
    pub(crate) transport: Transport,
}

impl State {
    /// What a snapshot becomes on this worker. Clusters that did not change keep their connections.
    pub(crate) fn build(snapshot: &Arc<Snapshot>, previous: Option<&State>) -> State {
        let clusters = snapshot.clusters.iter().map(|(name, config)| {
            let kept = previous.and_then(|state| state.clusters.get(name)).filter(|cluster| cluster.config.source == config.source);
            let cluster = kept.map_or_else(|| Rc::new(Cluster::build(name, config)), Rc::clone);
            (Arc::clone(name), cluster)
        });
        let clusters = clusters.collect();
        let mut managers = HashMap::new();
        for listener in &snapshot.listeners {
            for (chain, filter_chain) in listener.chains.iter().enumerate() {
                if let Network::Http(config) = &filter_chain.network {
                    let place = Place { listener: Arc::clone(&listener.name), chain };
                    managers.insert(place, Rc::new(Manager { config: Arc::clone(config) }));
                }
            }
        }
        State { snapshot: Arc::clone(snapshot), clusters, managers }
    }

    /// The connection manager of a filter chain.
    pub(crate) fn manager(&self, place: &Place) -> Option<Rc<Manager>> {
        self.managers.get(place).map(Rc::clone)
    }
}

impl Cluster {
    fn build(name: &Arc<str>, config: &Arc<ClusterConfig>) -> Cluster {
        let transport = Transport {
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            max_requests: config.max_requests,
            tls: None,
            http2: config.http2,
        };
        let endpoints = config.endpoints.iter().map(|address| Rc::new(Endpoint::new(*address))).collect();
        Cluster { name: Arc::clone(name), config: Arc::clone(config), endpoints, transport }
    }
}
