//! Who holds which series, and what they add up to.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use super::tags::{InvalidStatsConfig, Tags};
use super::{
    AccessLogStats, BreakerStats, ClusterManagerStats, ClusterStats, CorsStats, FaultStats, Filter, Group, HttpStats,
    ListenerHttpStats, ListenerManagerStats, ListenerStats, LocalRateLimitStats, MembershipStats, OutlierStats, Sample,
    ServerStats, TlsStats, TracingStats, WorkerStats, prometheus, text,
};
use crate::telemetry::Telemetry;

/// A worker thread's number.
pub type Worker = usize;

/// The scopes of series that are kept once per process.
const PROCESS: Worker = Worker::MAX;

/// All statistics of a process. Cheap to clone; asked at configuration time and when somebody prints, never on a request's way.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    groups: Mutex<BTreeMap<Key, Weak<dyn Group + Send + Sync>>>,
    tags: Tags,
}

/// A scope with its trailing dot, the kind of group, the worker.
type Key = (String, TypeId, Worker);

impl Registry {
    /// An empty registry; `stats_config` is the bootstrap's.
    ///
    /// # Errors
    /// A tag whose regex does not compile, or that is neither Envoy's nor has a rule.
    pub fn new(stats_config: Option<&Value>) -> Result<Self, InvalidStatsConfig> {
        let tags = Tags::new(stats_config)?;
        Ok(Self(Arc::new(Inner { groups: Mutex::default(), tags })))
    }

    /// The group of this scope that this worker counts in: the living one, or a new one at zero. `scope` has no trailing dot.
    pub fn group<G: Group + Default>(&self, scope: &str, worker: Worker) -> Arc<G> {
        let key = (format!("{}.", clean(scope)), TypeId::of::<G>(), worker);
        let mut groups = self.0.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let living: Option<Arc<dyn Any + Send + Sync>> = match groups.get(&key).and_then(Weak::upgrade) {
            Some(group) => Some(group),
            None => None,
        };
        if let Some(group) = living.and_then(|group| group.downcast::<G>().ok()) {
            return group;
        }
        let group = Arc::new(G::default());
        let shared: Arc<dyn Group + Send + Sync> = Arc::<G>::clone(&group);
        groups.insert(key, Arc::downgrade(&shared));
        group
    }

    /// `cluster.<name>.`
    pub fn cluster(&self, cluster: &xds::Cluster, worker: Worker) -> Arc<ClusterStats> {
        self.group(&cluster_scope(cluster), worker)
    }

    /// `cluster.<name>.`, what is said once for all workers.
    pub fn membership(&self, cluster: &xds::Cluster) -> Arc<MembershipStats> {
        self.group(&cluster_scope(cluster), PROCESS)
    }

    /// `cluster.<name>.circuit_breakers.`, once for all workers.
    pub fn breakers(&self, cluster: &xds::Cluster) -> Arc<BreakerStats> {
        self.group(&cluster_scope(cluster), PROCESS)
    }

    /// `cluster.<name>.outlier_detection.`, once for all workers.
    pub fn outliers(&self, cluster: &xds::Cluster) -> Arc<OutlierStats> {
        self.group(&cluster_scope(cluster), PROCESS)
    }

    /// `cluster.<name>.ssl.`
    pub fn cluster_tls(&self, cluster: &xds::Cluster, worker: Worker) -> Arc<TlsStats> {
        self.group(&format!("{}.ssl", cluster_scope(cluster)), worker)
    }

    /// `http.<stat_prefix>.`
    pub fn http(&self, stat_prefix: &str, worker: Worker) -> Arc<HttpStats> {
        self.group(&format!("http.{stat_prefix}"), worker)
    }

    /// `http.<stat_prefix>.fault.`
    pub fn fault(&self, stat_prefix: &str, worker: Worker) -> Arc<FaultStats> {
        self.group(&format!("http.{stat_prefix}"), worker)
    }

    /// `http.<stat_prefix>.cors.`
    pub fn cors(&self, stat_prefix: &str, worker: Worker) -> Arc<CorsStats> {
        self.group(&format!("http.{stat_prefix}"), worker)
    }

    /// `<stat_prefix>.http_local_rate_limit.`; the prefix is the filter's own.
    pub fn local_rate_limit(&self, stat_prefix: &str, worker: Worker) -> Arc<LocalRateLimitStats> {
        self.group(&format!("{stat_prefix}.http_local_rate_limit"), worker)
    }

    /// `listener.<address>.`; `address` is the listener's `stat_prefix` or, without one, the address it is bound to (`127.0.0.1:80`).
    pub fn listener(&self, address: &str, worker: Worker) -> Arc<ListenerStats> {
        self.group(&format!("listener.{address}"), worker)
    }

    /// `listener.<address>.worker_<worker>.`
    pub fn listener_worker(&self, address: &str, worker: Worker) -> Arc<WorkerStats> {
        self.group(&format!("listener.{address}.worker_{worker}"), worker)
    }

    /// `listener.<address>.ssl.`
    pub fn listener_tls(&self, address: &str, worker: Worker) -> Arc<TlsStats> {
        self.group(&format!("listener.{address}.ssl"), worker)
    }

    /// `listener.<address>.http.<stat_prefix>.`
    pub fn listener_http(&self, address: &str, stat_prefix: &str, worker: Worker) -> Arc<ListenerHttpStats> {
        self.group(&format!("listener.{address}.http.{stat_prefix}"), worker)
    }

    /// `server.`
    pub fn server(&self) -> Arc<ServerStats> {
        self.group("server", PROCESS)
    }

    /// `cluster_manager.`
    pub fn cluster_manager(&self) -> Arc<ClusterManagerStats> {
        self.group("cluster_manager", PROCESS)
    }

    /// `listener_manager.`
    pub fn listener_manager(&self) -> Arc<ListenerManagerStats> {
        self.group("listener_manager", PROCESS)
    }

    /// `istiocustom.`
    pub fn telemetry(&self, worker: Worker) -> Arc<Telemetry> {
        self.group("istiocustom", worker)
    }

    /// `access_log.`
    pub fn access_log(&self) -> Arc<AccessLogStats> {
        self.group("access_log", PROCESS)
    }

    /// `tracing.opentelemetry.`
    pub fn tracing(&self) -> Arc<TracingStats> {
        self.group("tracing.opentelemetry", PROCESS)
    }

    /// `/stats`: `name: value`, sorted, histograms last. `modules` are the series of modules, under their full names (`wasmcustom.…`).
    pub fn text(&self, filter: &Filter, modules: impl IntoIterator<Item = (String, Sample)>) -> String {
        text::print(&self.samples(filter, modules))
    }

    /// `/stats/prometheus`. `modules` as for [`Self::text`].
    pub fn prometheus(&self, filter: &Filter, modules: impl IntoIterator<Item = (String, Sample)>) -> String {
        prometheus::print(&self.samples(filter, modules), &self.0.tags)
    }

    /// Every series the filter lets through, added up over the workers.
    pub fn samples(
        &self,
        filter: &Filter,
        modules: impl IntoIterator<Item = (String, Sample)>,
    ) -> BTreeMap<String, Sample> {
        let mut samples: BTreeMap<String, Sample> = modules.into_iter().collect();
        for (scope, group) in self.living() {
            group.see(&mut |name, sample| {
                let name = format!("{scope}{name}");
                match samples.get_mut(&name) {
                    Some(so_far) => so_far.merge(sample),
                    None => drop(samples.insert(name, sample)),
                }
            });
        }
        samples.retain(|name, sample| filter.shows(name, sample));
        samples
    }

    /// The groups somebody holds, with their scopes; forgets the others.
    fn living(&self) -> Vec<(String, Arc<dyn Group + Send + Sync>)> {
        let mut groups = self.0.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| group.strong_count() > 0);
        groups.iter().filter_map(|((scope, ..), group)| Some((scope.clone(), group.upgrade()?))).collect()
    }
}

fn cluster_scope(cluster: &xds::Cluster) -> String {
    let name = if cluster.alt_stat_name.is_empty() { &cluster.name } else { &cluster.alt_stat_name };
    format!("cluster.{name}")
}

/// As Envoy cleans a name: `://` and `:/` and `:` and NUL become `_`.
fn clean(name: &str) -> String {
    name.replace("://", "_").replace(":/", "_").replace([':', '\0'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new(None).unwrap()
    }

    fn shows(registry: &Registry, line: &str) {
        let text = registry.text(&Filter::default(), []);
        assert!(text.lines().any(|printed| printed == line), "{line:?} is missing in\n{text}");
    }

    #[test]
    fn the_copies_of_all_workers_are_added_up() {
        let registry = registry();
        let workers: Vec<_> = (0..3).map(|worker| registry.http("in", worker)).collect();
        for (worker, count) in workers.iter().zip([1, 10, 100]) {
            worker.downstream_rq_total.add(count);
            worker.downstream_cx_active.add(count);
        }
        workers[0].downstream_cx_active.dec();
        shows(&registry, "http.in.downstream_rq_total: 111");
        shows(&registry, "http.in.downstream_cx_active: 110");
    }

    #[test]
    fn a_gauge_may_fall_in_another_worker_than_it_rose() {
        let registry = registry();
        let (one, other) = (registry.http("in", 0), registry.http("in", 1));
        one.downstream_cx_active.inc();
        other.downstream_cx_active.dec();
        shows(&registry, "http.in.downstream_cx_active: 0");
    }

    #[test]
    fn a_scope_that_is_asked_for_again_goes_on_counting() {
        let registry = registry();
        let before = registry.http("in", 0);
        before.rq_total.inc();
        let after = registry.http("in", 0);
        drop(before);
        after.rq_total.inc();
        shows(&registry, "http.in.rq_total: 2");
    }

    #[test]
    fn what_nobody_holds_is_gone() {
        let registry = registry();
        registry.http("in", 0).rq_total.inc();
        assert_eq!(registry.text(&Filter::default(), []), "");
        let again = registry.http("in", 0);
        assert_eq!(again.rq_total.value(), 0);
    }

    #[test]
    fn colons_in_names_become_underscores() {
        let registry = registry();
        let _listener = registry.listener("127.0.0.1:8080", 0);
        shows(&registry, "listener.127.0.0.1_8080.downstream_cx_total: 0");
        let _mine = registry.listener_worker("[::1]:80", 1);
        shows(&registry, "listener.[__1]_80.worker_1.downstream_cx_total: 0");
    }

    #[test]
    fn a_cluster_goes_by_its_alternative_name() {
        let registry = registry();
        let named = |name: &str, alt: &str| xds::Cluster {
            name: name.to_owned(),
            alt_stat_name: alt.to_owned(),
            ..xds::Cluster::default()
        };
        let plain = registry.cluster(&named("a", ""), 0);
        let istio = registry.cluster(&named("outbound|80||b", "outbound|80||b;"), 0);
        plain.charge_response(503, false);
        istio.charge_response(200, true);
        shows(&registry, "cluster.a.upstream_rq_503: 1");
        shows(&registry, "cluster.a.external.upstream_rq_5xx: 1");
        shows(&registry, "cluster.outbound|80||b;.internal.upstream_rq_completed: 1");
    }
}
