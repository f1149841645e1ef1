//! A cluster: its plan, what is spoken to its endpoints, how long anything may take; and what all workers count together.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Change, Circuit, ClusterPlan, Detector, Outcome};
use crate::stats::{BreakerStats, MembershipStats, OutlierStats, Registry};
use crate::tls;
use crate::upstream::{Http2Settings, Protocols};

/// A cluster, shared by the workers and by configurations that have it unchanged.
pub(crate) struct ClusterConfig {
    pub(crate) name: Arc<str>,
    /// What statistics and `%UPSTREAM_CLUSTER%` call it, where that is not its name.
    pub(crate) stat_name: Option<Arc<str>>,
    /// As it was configured.
    pub(crate) source: Arc<xds::Cluster>,
    pub(crate) metadata: Option<Arc<xds::Metadata>>,
    pub(crate) plan: ClusterPlan,
    pub(crate) protocol: ClusterProtocol,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_requests: Option<u64>,
    /// How old a connection may become that is to carry another request.
    pub(crate) max_age: Option<Duration>,
    /// How long one try may last.
    pub(crate) max_stream: Option<Duration>,
    pub(crate) answers: AnswerLimits,
    pub(crate) http2: Http2Settings,
    /// Trailers are sent to and read from HTTP/1 endpoints.
    pub(crate) trailers: bool,
    pub(crate) tls: Option<tls::Upstream>,
    /// What may be sent again is kept up to so many bytes.
    pub(crate) buffer_limit: usize,
    pub(crate) default_circuit: Circuit,
    pub(crate) high_circuit: Circuit,
    /// Requests under way at each endpoint.
    pub(crate) active: Vec<AtomicU64>,
    detector: Option<Mutex<Detector>>,
    /// Changes when balancers are told of endpoints that are left out or taken back.
    health: AtomicU64,
    told: Mutex<Told>,
    /// Balancers are to be told once the first change is over the merge window.
    waiting: AtomicBool,
    merge_window: Duration,
    pub(crate) membership: Arc<MembershipStats>,
    breakers: Arc<BreakerStats>,
    outliers: Option<Arc<OutlierStats>>,
}

/// What an origin's head may be; more is a protocol error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerLimits {
    /// `max_response_headers_kb`, in bytes.
    pub(crate) bytes: usize,
    /// `max_headers_count`.
    pub(crate) count: usize,
}

/// Envoy's default for an origin's head, in KiB.
const LONGEST_HEAD: usize = 60;
const MOST_HEADERS: usize = 100;

/// What balancers were last told.
#[derive(Default)]
struct Told {
    healthy: Vec<bool>,
    at: Option<Instant>,
    /// When they are to be told of what has changed since.
    due: Option<Instant>,
}

/// What is spoken to a cluster's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterProtocol {
    Always(Protocols),
    /// What the client speaks to us.
    AsDownstream,
}

impl ClusterProtocol {
    /// For a client that speaks HTTP/2, or not.
    pub(crate) fn for_client(self, http2: bool) -> Protocols {
        match self {
            ClusterProtocol::Always(protocol) => protocol,
            ClusterProtocol::AsDownstream if http2 => Protocols::Http2,
            ClusterProtocol::AsDownstream => Protocols::Http1,
        }
    }
}

const CONNECT: Duration = Duration::from_secs(5);
/// `dns_refresh_rate`'s default.
const DNS_REFRESH: Duration = Duration::from_secs(5);
/// `update_merge_window`'s default.
const MERGE_WINDOW: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(3600);
const BUFFER: usize = 1024 * 1024;

impl ClusterConfig {
    pub(crate) fn compile(
        cluster: &xds::Cluster,
        secrets: &tls::Secrets,
        registry: &Registry,
    ) -> Result<ClusterConfig, Vec<String>> {
        let undone = super::undone::of_cluster(cluster);
        let mut problems = super::undone::not_supported(&undone);
        let options = cluster.typed_extension_protocol_options.values().find_map(|options| match options {
            xds::ExtensionProtocolOptions::Http(options) => Some(options.as_ref().clone()),
            xds::ExtensionProtocolOptions::Other(_) => None,
        });
        let options = options.unwrap_or_default();
        let common = options.common_http_protocol_options.as_ref().or(cluster.common_http_protocol_options.as_ref());
        let downstream = options.use_downstream_protocol_config.as_ref();
        let http2 = options
            .explicit_http_config
            .as_ref()
            .or(downstream)
            .and_then(|config| config.http2_protocol_options.as_ref());
        let http2 = http2.or(cluster.http2_protocol_options.as_ref());
        let http1 = options
            .explicit_http_config
            .as_ref()
            .or(downstream)
            .and_then(|config| config.http_protocol_options.as_ref())
            .or(cluster.http_protocol_options.as_ref());
        let follows =
            downstream.is_some() || cluster.protocol_selection == xds::ClusterProtocolSelection::UseDownstreamProtocol;
        let protocol = match (follows, http2) {
            (true, _) => ClusterProtocol::AsDownstream,
            (false, Some(_)) => ClusterProtocol::Always(Protocols::Http2),
            (false, None) => ClusterProtocol::Always(Protocols::Http1),
        };
        let tls = tls(cluster, secrets).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let max_requests =
            common.and_then(|common| common.max_requests_per_connection).or(cluster.max_requests_per_connection);
        let kilobytes = common.and_then(|common| common.max_response_headers_kb);
        let kilobytes = kilobytes.and_then(|most| usize::try_from(most).ok()).unwrap_or(LONGEST_HEAD);
        let idle = common.and_then(|common| common.idle_timeout).map_or(IDLE, |timeout| timeout.0);
        let plan = ClusterPlan::compile(cluster, &mut resolve);
        let plan = plan.map_err(|found| problems.extend(found.iter().map(ToString::to_string)));
        let (Ok(plan), true) = (plan, problems.is_empty()) else { return Err(problems) };
        let circuit = |priority| Circuit::compile(cluster.circuit_breakers.as_ref(), priority);
        let detector = plan.outlier.clone().map(|policy| Mutex::new(Detector::new(policy, plan.endpoints.len())));
        let membership = registry.membership(cluster);
        let total = u64::try_from(plan.endpoints.len()).unwrap_or_default();
        let healthy = plan.endpoints.iter().filter(|endpoint| endpoint.healthy).count();
        membership.membership_total.set(total);
        membership.membership_healthy.set(u64::try_from(healthy).unwrap_or_default());
        Ok(ClusterConfig {
            name: cluster.name.as_str().into(),
            stat_name: Some(cluster.alt_stat_name.as_str()).filter(|name| !name.is_empty()).map(Into::into),
            source: Arc::new(cluster.clone()),
            metadata: cluster.metadata.clone().map(Arc::new),
            protocol,
            connect_timeout: cluster.connect_timeout.map_or(CONNECT, |timeout| timeout.0),
            idle_timeout: Some(idle).filter(|idle| !idle.is_zero()),
            max_requests: max_requests.filter(|most| *most > 0).map(u64::from),
            max_age: common.and_then(|common| common.max_connection_duration).map(|most| most.0),
            max_stream: common.and_then(|common| common.max_stream_duration).map(|most| most.0),
            answers: AnswerLimits {
                bytes: kilobytes.saturating_mul(1024),
                count: common
                    .and_then(|common| common.max_headers_count)
                    .and_then(|most| usize::try_from(most).ok())
                    .unwrap_or(MOST_HEADERS),
            },
            http2: Http2Settings {
                stream_window: http2.and_then(|options| options.initial_stream_window_size),
                connection_window: http2.and_then(|options| options.initial_connection_window_size),
            },
            trailers: http1.is_some_and(|options| options.enable_trailers),
            tls,
            buffer_limit: cluster
                .per_connection_buffer_limit_bytes
                .and_then(|limit| usize::try_from(limit).ok())
                .unwrap_or(BUFFER),
            default_circuit: circuit(xds::RoutingPriority::Default),
            high_circuit: circuit(xds::RoutingPriority::High),
            active: plan.endpoints.iter().map(|_| AtomicU64::new(0)).collect(),
            outliers: detector.is_some().then(|| registry.outliers(cluster)),
            detector,
            health: AtomicU64::new(0),
            told: Mutex::default(),
            waiting: AtomicBool::new(false),
            merge_window: cluster
                .common_lb_config
                .as_ref()
                .and_then(|config| config.update_merge_window)
                .map_or(MERGE_WINDOW, |window| window.0),
            membership,
            breakers: registry.breakers(cluster),
            plan,
        })
    }

    /// The circuit breaker of a priority.
    pub(crate) fn circuit(&self, high: bool) -> &Circuit {
        if high { &self.high_circuit } else { &self.default_circuit }
    }

    /// Which endpoints may be used; `None` while nothing changed since `seen`.
    pub(crate) fn health_since(&self, seen: u64) -> Option<(u64, Vec<bool>)> {
        if self.waiting.load(Ordering::Acquire) {
            let mut told = self.told();
            if told.due.is_some_and(|due| due <= Instant::now()) {
                self.tell(&mut told);
            }
        }
        let health = self.health.load(Ordering::Acquire);
        (health != seen).then(|| (health, self.told().healthy.clone()))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Balancers learn of a change at once, but of others soon behind it together, as in Envoy: a merge window after the first of those.
    fn health_changed(&self) {
        let (mut told, now) = (self.told(), Instant::now());
        if told.at.is_none_or(|at| now.duration_since(at) > self.merge_window) {
            self.tell(&mut told);
        } else if told.due.is_none() {
            told.due = Some(now + self.merge_window);
            self.waiting.store(true, Ordering::Release);
        }
    }

    fn tell(&self, told: &mut Told) {
        let detector = self.detector.as_ref().map(|detector| detector.lock().unwrap_or_else(PoisonError::into_inner));
        let ejected = |host| detector.as_ref().is_some_and(|detector| detector.is_ejected(host));
        let endpoints = self.plan.endpoints.iter().enumerate();
        *told = Told {
            healthy: endpoints.map(|(host, endpoint)| endpoint.healthy && !ejected(host)).collect(),
            at: Some(Instant::now()),
            due: None,
        };
        self.waiting.store(false, Ordering::Release);
        self.health.fetch_add(1, Ordering::Release);
    }

    /// Tells the outlier detection what came of a try.
    pub(crate) fn report(&self, host: usize, outcome: Outcome, now: Duration, random: u64) {
        let Some(detector) = &self.detector else { return };
        let change = detector.lock().unwrap_or_else(PoisonError::into_inner).report(host, outcome, now, random);
        self.changed(change.as_slice());
    }

    /// The cluster as `/clusters` shows it.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let name = &self.name;
        let mut text = String::new();
        for (priority, circuit) in [("default", &self.default_circuit), ("high", &self.high_circuit)] {
            let limits = [
                ("connections", &circuit.connections),
                ("pending_requests", &circuit.pending),
                ("requests", &circuit.requests),
                ("retries", &circuit.retries),
            ];
            for (what, gauge) in limits {
                // A string takes everything.
                let _ = writeln!(text, "{name}::{priority}_priority::max_{what}::{}", gauge.max());
            }
        }
        let _ = writeln!(text, "{name}::added_via_api::false");
        for (endpoint, active) in self.plan.endpoints.iter().zip(&self.active) {
            let address = endpoint.address;
            let healthy = if endpoint.healthy { "healthy" } else { "/failed_eds_health" };
            let _ = writeln!(text, "{name}::{address}::rq_active::{}", active.load(Ordering::Relaxed));
            let _ = writeln!(text, "{name}::{address}::hostname::{}", endpoint.hostname.as_deref().unwrap_or_default());
            let _ = writeln!(text, "{name}::{address}::health_flags::{healthy}");
            let _ = writeln!(text, "{name}::{address}::weight::{}", endpoint.weight);
            let _ = writeln!(text, "{name}::{address}::priority::{}", endpoint.priority);
        }
        text
    }

    /// How often its names are asked about again; nothing for a cluster without names.
    pub(crate) fn dns_refresh(&self) -> Option<Duration> {
        let named = matches!(self.source.r#type, Some(xds::DiscoveryType::StrictDns | xds::DiscoveryType::LogicalDns));
        named.then(|| self.source.dns_refresh_rate.map_or(DNS_REFRESH, |rate| rate.0))
    }

    /// Do its names lead elsewhere than when it was compiled? While a name cannot be resolved nothing has changed.
    pub(crate) fn has_moved(&self) -> bool {
        if self.dns_refresh().is_none() {
            return false;
        }
        let mut all_known = true;
        let mut ask = |name: &str| {
            let found = resolve(name);
            all_known &= !found.is_empty();
            found
        };
        let Ok(plan) = ClusterPlan::compile(&self.source, &mut ask) else { return false };
        let addresses = |plan: &ClusterPlan| plan.endpoints.iter().map(|endpoint| endpoint.address).collect::<Vec<_>>();
        let (mut now, mut before) = (addresses(&plan), addresses(&self.plan));
        // Servers answer in an order of their own each time.
        now.sort_unstable();
        before.sort_unstable();
        all_known && now != before
    }

    /// How often [`ClusterConfig::tick`] is due, if at all.
    pub(crate) fn tick_interval(&self) -> Option<Duration> {
        self.plan.outlier.as_ref().map(|outlier| outlier.interval)
    }

    /// Says in the statistics which circuit breakers are open now.
    pub(crate) fn show_breakers(&self) {
        let (stats, default, high) = (&self.breakers, &self.default_circuit, &self.high_circuit);
        for (gauge, full) in [
            (&stats.default_cx_open, !default.connections.has_room()),
            (&stats.default_rq_open, !default.requests.has_room()),
            (&stats.default_rq_pending_open, !default.pending.has_room()),
            (&stats.default_rq_retry_open, !default.has_room_for_retry()),
            (&stats.high_cx_open, !high.connections.has_room()),
            (&stats.high_rq_open, !high.requests.has_room()),
            (&stats.high_rq_pending_open, !high.pending.has_room()),
            (&stats.high_rq_retry_open, !high.has_room_for_retry()),
        ] {
            gauge.set(u64::from(full));
        }
    }

    /// Takes endpoints back whose time is over.
    pub(crate) fn tick(&self, now: Duration, random: &mut dyn FnMut() -> u64) {
        let Some(detector) = &self.detector else { return };
        let changes = detector.lock().unwrap_or_else(PoisonError::into_inner).tick(now, random);
        self.changed(&changes);
    }

    fn changed(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.health_changed();
        for change in changes {
            let Some(stats) = &self.outliers else { continue };
            match change {
                Change::Ejected { host, cause } => {
                    log::debug!("cluster {}: endpoint {host} is left out: {cause:?}", self.name);
                    stats.ejections_active.inc();
                    stats.ejections_enforced_total.inc();
                    stats.ejections_total.inc();
                    if *cause == crate::cluster::Cause::Consecutive5xx {
                        stats.ejections_consecutive_5xx.inc();
                        stats.ejections_enforced_consecutive_5xx.inc();
                    }
                    self.membership.membership_healthy.dec();
                }
                Change::Returned { .. } => {
                    stats.ejections_active.dec();
                    self.membership.membership_healthy.inc();
                }
            }
        }
    }
}

fn tls(cluster: &xds::Cluster, secrets: &tls::Secrets) -> Result<Option<tls::Upstream>, String> {
    let everyone = |entry: &&xds::TransportSocketMatch| entry.r#match.as_ref().is_none_or(serde_json::Map::is_empty);
    let matched =
        cluster.transport_socket_matches.iter().find(everyone).and_then(|entry| entry.transport_socket.as_ref());
    match matched.or(cluster.transport_socket.as_ref()).and_then(|socket| socket.typed_config.as_ref()) {
        None | Some(xds::TransportSocketConfig::RawBuffer(_)) => Ok(None),
        Some(xds::TransportSocketConfig::UpstreamTls(context)) => {
            tls::Upstream::build(context, secrets).map(Some).map_err(|error| format!("transport_socket: {error}"))
        }
        Some(other) => Err(format!("transport_socket: {} is not supported", other.type_name())),
    }
}

/// Asks the system for a name's addresses, once per configuration.
fn resolve(name: &str) -> Vec<IpAddr> {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| address.ip()).collect(),
        Err(error) => {
            log::warn!("{name}: {error}");
            Vec::new()
        }
    }
}
