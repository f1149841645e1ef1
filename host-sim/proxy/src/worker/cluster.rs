//! A cluster as one worker runs it: its balancer, its connections, its counters.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Dice;
use crate::cluster::{Context, LoadBalancer, PreviousPriorities};
use crate::explain::Stage;
use crate::snapshot::ClusterConfig;
use crate::stats::ClusterStats;
use crate::upstream::Endpoint;

/// A cluster on this worker.
pub(crate) struct Cluster {
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
    pub(crate) stats: Arc<ClusterStats>,
    /// Where its endpoints are, when they are in memory.
    pub(crate) stage: Option<Stage>,
    balancer: RefCell<LoadBalancer>,
    health_seen: Cell<u64>,
}

impl Cluster {
    pub(super) fn build(
        config: &Arc<ClusterConfig>,
        stats: Arc<ClusterStats>,
        dice: &Dice,
        stage: Option<Stage>,
    ) -> Cluster {
        let plan = &config.plan;
        let balancer = LoadBalancer::new(plan.policy, Arc::clone(&plan.endpoints), plan.panic_threshold, dice.roll());
        let endpoints = plan.endpoints.iter().enumerate();
        Cluster {
            config: Arc::clone(config),
            endpoints: endpoints.map(|(index, endpoint)| Rc::new(Endpoint::new(index, endpoint.address))).collect(),
            stats,
            stage,
            balancer: RefCell::new(balancer),
            health_seen: Cell::new(0),
        }
    }

    /// What statistics and spans call it.
    pub(crate) fn observable_name(&self) -> &str {
        self.config.stat_name.as_ref().unwrap_or(&self.config.name)
    }

    /// Chooses an endpoint, other than those already tried if it can be helped.
    pub(crate) fn pick(&self, dice: &Dice, hash: Option<u64>, tried: &[usize], attempts: u32) -> Option<&Rc<Endpoint>> {
        self.pick_from(dice, hash, (tried, attempts), None)
    }

    /// The same for a retry that leaves out priorities, too.
    pub(crate) fn pick_from(
        &self,
        dice: &Dice,
        hash: Option<u64>,
        (tried, attempts): (&[usize], u32),
        previous: Option<&mut PreviousPriorities>,
    ) -> Option<&Rc<Endpoint>> {
        let mut balancer = self.balancer.borrow_mut();
        if let Some((health, healthy)) = self.config.health_since(self.health_seen.get()) {
            balancer.set_healthy(&healthy, dice.roll());
            self.health_seen.set(health);
        }
        let loads = previous.and_then(|previous| previous.loads(&balancer.available()));
        let picked = balancer.pick(&mut Context {
            loads,
            hash,
            random: &mut || dice.roll(),
            active: &|host| self.config.active.get(host).map_or(0, |active| active.load(Ordering::Relaxed)),
            avoid: &|host| tried.contains(&host),
            attempts,
        });
        picked.and_then(|host| self.endpoints.get(host))
    }
}
