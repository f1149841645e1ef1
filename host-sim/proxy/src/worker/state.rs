//! A configuration as one worker runs it: compiled parts from the snapshot, with this worker's connections and counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Context, LoadBalancer};
use crate::snapshot::{ClusterConfig, ListenerConfig, ManagerConfig, Network, Snapshot};
use crate::stats::{ClusterStats, HttpStats, ListenerHttpStats, ListenerStats, Registry, TlsStats, WorkerStats};
use crate::upstream::{Endpoint, TlsTransport, Transport};

/// A configuration in use.
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clusters: HashMap<Arc<str>, Rc<Cluster>>,
    listeners: HashMap<Arc<str>, Rc<Listener>>,
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
    pub(crate) stats: Arc<HttpStats>,
    /// The same responses, by listener.
    pub(crate) listener_stats: Arc<ListenerHttpStats>,
}

/// A listener on this worker.
pub(crate) struct Listener {
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) stats: Arc<ListenerStats>,
    pub(crate) worker_stats: Arc<WorkerStats>,
    pub(crate) tls_stats: Arc<TlsStats>,
}

/// A cluster on this worker.
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
    pub(crate) transport: Transport,
    balancer: RefCell<LoadBalancer>,
    /// The health the balancer was laid out for.
    health: Cell<u64>,
    pub(crate) stats: Arc<ClusterStats>,
}

impl State {
    /// What a snapshot becomes on this worker. Clusters that did not change keep their connections.
    pub(crate) fn build(snapshot: &Arc<Snapshot>, previous: Option<&State>, registry: &Registry, worker: usize) -> State {
        let clusters = snapshot.clusters.iter().map(|(name, config)| {
            let kept = previous.and_then(|state| state.clusters.get(name)).filter(|cluster| cluster.config.source == config.source);
            let cluster = kept.map_or_else(|| Rc::new(Cluster::build(name, config, registry, worker)), Rc::clone);
            (Arc::clone(name), cluster)
        });
        let clusters = clusters.collect();
        let mut listeners = HashMap::new();
        let mut managers = HashMap::new();
        for listener in &snapshot.listeners {
            let at = listener.stats_name.as_str();
            let counted = Listener {
                config: Arc::clone(listener),
                stats: registry.listener(at, worker),
                worker_stats: registry.listener_worker(at, worker),
                tls_stats: registry.listener_tls(at, worker),
            };
            listeners.insert(Arc::clone(&listener.name), Rc::new(counted));
            for (chain, filter_chain) in listener.chains.iter().enumerate() {
                if let Network::Http(config) = &filter_chain.network {
                    let place = Place { listener: Arc::clone(&listener.name), chain };
                    let manager = Manager {
                        config: Arc::clone(config),
                        stats: registry.http(&config.stat_prefix, worker),
                        listener_stats: registry.listener_http(at, &config.stat_prefix, worker),
                    };
                    managers.insert(place, Rc::new(manager));
                }
            }
        }
        State { snapshot: Arc::clone(snapshot), clusters, listeners, managers }
    }

    /// A listener by its name.
    pub(crate) fn listener(&self, name: &str) -> Option<Rc<Listener>> {
        self.listeners.get(name).map(Rc::clone)
    }

    /// The connection manager of a filter chain.
    pub(crate) fn manager(&self, place: &Place) -> Option<Rc<Manager>> {
        self.managers.get(place).map(Rc::clone)
    }
}

impl Cluster {
    fn build(name: &Arc<str>, config: &Arc<ClusterConfig>, registry: &Registry, worker: usize) -> Cluster {
        let tls = config.tls.as_ref().map(|config_of| TlsTransport {
            config: Arc::clone(config_of),
            stats: registry.cluster_tls(&config.source, worker),
        });
        let transport = Transport {
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            max_requests: config.max_requests,
            tls,
            http2: config.http2,
        };
        let plan = &config.plan;
        let endpoints = plan.endpoints.iter().map(|endpoint| Rc::new(Endpoint::new(endpoint.address))).collect();
        let balancer = LoadBalancer::new(plan.policy, Arc::clone(&plan.endpoints), plan.panic_threshold, 0);
        Cluster {
            name: Arc::clone(name),
            config: Arc::clone(config),
            endpoints,
            transport,
            balancer: RefCell::new(balancer),
            health: Cell::new(0),
            stats: registry.cluster(&config.source, worker),
        }
    }

    /// The endpoint for a request. `tried` are endpoints to avoid; another is looked for up to `attempts` times.
    pub(crate) fn choose(
        &self,
        hash: Option<u64>,
        tried: &[usize],
        attempts: u32,
        now: Duration,
        dice: &mut dyn FnMut() -> u64,
    ) -> Option<usize> {
        let shared = &self.config.shared;
        shared.tick(now, dice);
        let mut balancer = self.balancer.borrow_mut();
        let version = shared.health_version();
        if self.health.replace(version) != version {
            let healthy = self.config.plan.endpoints.iter().enumerate();
            let healthy: Vec<bool> = healthy.map(|(at, endpoint)| endpoint.healthy && !shared.is_ejected(at)).collect();
            balancer.set_healthy(&healthy, dice());
        }
        balancer.pick(&mut Context {
            hash,
            random: dice,
            active: &|at| shared.active(at),
            avoid: &|at| tried.contains(&at),
            attempts,
        })
    }
}
