//! The public entry: a running gateway.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::access_log::LogFiles;
use crate::http_filters::Loader;
use crate::listener;
use crate::process::Process;
use crate::snapshot::{Compiler, Snapshot};
use crate::stats::{self, Registry};
use crate::tracing::{Place, Tracers};
use crate::worker::{Clock, Command, Listening, WorkerHandle, WorkerSetup};

/// What a gateway is started with.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Listeners, clusters, secrets. Addresses are bound as they stand; port 0 lets the kernel choose.
    pub bootstrap: xds::Bootstrap,
    /// Threads that serve; at least one.
    pub workers: usize,
    /// Stricter than Envoy, by the published list.
    pub hardened: bool,
    /// Makes dice reproducible.
    pub seed: Option<u64>,
    /// Where compiled modules are kept between runs; see [`vm::EngineConfig`].
    pub cache_dir: Option<PathBuf>,
    /// Where every callback and hostcall of every module is put on record.
    pub trace: Option<vm::TraceLog>,
}

/// Why a gateway did not start, or a change was refused. Nothing is served half.
#[derive(Debug, Error)]
pub enum StartError {
    /// A filter module is refused.
    #[error("plugin {plugin}: {reason}{}", logged(.log))]
    Module {
        /// `namespace.name` of the plugin.
        plugin: String,
        /// Why.
        reason: String,
        /// What the module itself said, a line each.
        log: Vec<String>,
    },
    /// The configuration asks for what cannot be done; every place, not the first.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// A certificate to be served has expired, or is not valid yet.
    #[error("{}", .0.join("\n"))]
    Certificate(Vec<String>),
    /// An address cannot be listened on.
    #[error("listener {listener}: {address}: {reason}")]
    Bind {
        /// The listener's name.
        listener: String,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
}

fn logged(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// A running gateway. Dropping it ends it at once; [`Gateway::drain`] ends it gently.
pub struct Gateway {
    workers: Vec<WorkerHandle>,
    tools: Tools,
    served: Mutex<Served>,
    ready: AtomicBool,
}

/// What every configuration of a gateway is compiled with.
struct Tools {
    engine: vm::Engine,
    shared: vm::Shared,
    registry: Registry,
    log_files: LogFiles,
    tracers: Tracers,
    clock: Clock,
    process: Process,
    hardened: bool,
}

impl Tools {
    fn compile(&self, bootstrap: xds::Bootstrap, previous: Option<&Snapshot>) -> Result<Arc<Snapshot>, StartError> {
        let loader = Loader {
            cut_fragment: cuts_fragment(&bootstrap),
            engine: &self.engine,
            hardened: self.hardened,
            log_files: &self.log_files,
            tracing: Place::new(&self.tracers),
        };
        let snapshot = Compiler { loader, registry: &self.registry, previous }.compile(bootstrap)?;
        let now = self.clock.wall(self.clock.now()).as_secs();
        let untimely = snapshot.untimely(i64::try_from(now).unwrap_or(i64::MAX));
        if untimely.is_empty() { Ok(Arc::new(snapshot)) } else { Err(StartError::Certificate(untimely)) }
    }
}

struct Served {
    listeners: Vec<Bound>,
    snapshot: Arc<Snapshot>,
}

struct Bound {
    name: Arc<str>,
    asked: SocketAddr,
    address: SocketAddr,
}

/// The end of a drain.
#[must_use = "a drain goes on by itself, but only this says when it is over"]
pub struct Drained(Vec<oneshot::Receiver<()>>);

impl Drained {
    /// Waits until the last request is answered and its connection closed.
    pub async fn finished(self) {
        for worker in self.0 {
            // A worker that is gone has drained.
            let _ = worker.await;
        }
    }
}

impl Gateway {
    /// Binds every listener, starts every worker and module, and serves.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
        let problem = |text: String| StartError::Config(vec![text]);
        let (count, clock) = (config.workers.max(1), Clock::start());
        let registry = Registry::new(config.bootstrap.stats_config.as_ref())
            .map_err(|error| problem(format!("stats_config: {error}")))?;
        let tools = Tools {
            engine: vm::Engine::new(vm::EngineConfig { cache_dir: config.cache_dir })
                .map_err(|error| problem(error.to_string()))?,
            shared: vm::Shared::new(vm::Quota::default()),
            log_files: LogFiles::new(registry.access_log()),
            tracers: Tracers::new(registry.clone()),
            clock,
            process: Process::new(&registry, count),
            registry,
            hardened: config.hardened,
        };
        let snapshot = tools.compile(config.bootstrap, None)?;
        let node_address = node_address();
        let seed = config.seed.unwrap_or_else(entropy);
        let setups = (0..count).map(|index| WorkerSetup {
            index,
            clock,
            seed,
            node_address,
            registry: tools.registry.clone(),
            shared: tools.shared.clone(),
            trace: config.trace.clone(),
        });
        let workers = setups.map(WorkerHandle::start).collect::<std::io::Result<Vec<_>>>();
        let workers = workers.map_err(|error| StartError::Config(vec![format!("a worker cannot start: {error}")]))?;
        let gateway = Gateway {
            workers,
            tools,
            served: Mutex::new(Served { listeners: Vec::new(), snapshot: Arc::clone(&snapshot) }),
            ready: AtomicBool::new(false),
        };
        gateway.switch(snapshot, None)?;
        gateway.ready.store(true, Ordering::Release);
        Ok(gateway)
    }

    /// Serves another configuration: whole, or not at all. Requests under way finish under the one they began with.
    ///
    /// # Errors
    /// See [`StartError`]; the last good configuration goes on being served.
    pub fn apply(&self, bootstrap: xds::Bootstrap) -> Result<(), StartError> {
        let previous = Arc::clone(&self.served().snapshot);
        self.switch(self.tools.compile(bootstrap, Some(&previous))?, None)
    }

    /// How often [`Gateway::refresh_names`] is worth calling; `None` while no cluster is found by DNS.
    pub fn dns_refresh(&self) -> Option<std::time::Duration> {
        self.served().snapshot.dns_refresh()
    }

    /// Asks DNS again about the names of clusters, and serves what changed; says whether something did. Blocks while it asks. A configuration that comes
    /// meanwhile is served as it is: its names were asked for when it was compiled.
    ///
    /// # Errors
    /// See [`Gateway::apply`].
    pub fn refresh_names(&self) -> Result<bool, StartError> {
        let previous = Arc::clone(&self.served().snapshot);
        if !previous.has_moved() {
            return Ok(false);
        }
        let moved = self.tools.compile(previous.bootstrap.as_ref().clone(), Some(&previous))?;
        self.switch(moved, Some(&previous))?;
        Ok(true)
    }

    /// Serves a snapshot; where it was made to replace one, only if that is still the one.
    fn switch(&self, snapshot: Arc<Snapshot>, instead_of: Option<&Arc<Snapshot>>) -> Result<(), StartError> {
        let mut served = self.served();
        if instead_of.is_some_and(|before| !Arc::ptr_eq(before, &served.snapshot)) {
            return Ok(());
        }
        let (kept, removed): (Vec<_>, Vec<_>) = std::mem::take(&mut served.listeners).into_iter().partition(|bound| {
            snapshot.listeners.iter().any(|listener| listener.name == bound.name && listener.address == bound.asked)
        });
        let restore = |served: &mut Served, kept: Vec<Bound>, removed: Vec<Bound>| {
            served.listeners = kept.into_iter().chain(removed).collect();
        };
        let added = match self.bind_missing(&snapshot, &kept) {
            Ok(added) => added,
            Err(error) => {
                restore(&mut served, kept, removed);
                return Err(error);
            }
        };
        if let Err(error) = self.prepare(&snapshot) {
            restore(&mut served, kept, removed);
            return Err(error);
        }
        let (bound, mut sockets): (Vec<_>, Vec<_>) = added.into_iter().unzip();
        let gone: Vec<Arc<str>> = removed.iter().map(|bound| Arc::clone(&bound.name)).collect();
        for worker in &self.workers {
            let mut mine = Vec::new();
            for (listener, rest) in bound.iter().zip(&mut sockets) {
                mine.extend(rest.pop().map(|socket| Listening { name: Arc::clone(&listener.name), socket }));
            }
            worker.tell(Command::Commit { added: mine, removed: gone.clone() });
        }
        served.listeners = kept.into_iter().chain(bound).collect();
        // At the start the first snapshot takes its own place.
        let before = (!Arc::ptr_eq(&served.snapshot, &snapshot)).then_some(served.snapshot.as_ref());
        self.tools.process.applied(before, &snapshot);
        served.snapshot = snapshot;
        Ok(())
    }

    fn bind_missing(
        &self,
        snapshot: &Snapshot,
        kept: &[Bound],
    ) -> Result<Vec<(Bound, Vec<std::net::TcpListener>)>, StartError> {
        let missing =
            snapshot.listeners.iter().filter(|listener| !kept.iter().any(|bound| bound.name == listener.name));
        missing
            .map(|listener| {
                let (address, sockets) =
                    listener::bind(listener.address, self.workers.len()).map_err(|error| StartError::Bind {
                        listener: listener.name.to_string(),
                        address: listener.address,
                        reason: error.to_string(),
                    })?;
                Ok((Bound { name: Arc::clone(&listener.name), asked: listener.address, address }, sockets))
            })
            .collect()
    }

    fn prepare(&self, snapshot: &Arc<Snapshot>) -> Result<(), StartError> {
        let (reply, replies) = mpsc::channel();
        for worker in &self.workers {
            worker.tell(Command::Prepare(Arc::clone(snapshot), reply.clone()));
        }
        drop(reply);
        let mut failed = None;
        for _ in &self.workers {
            match replies.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(StartError::Config(vec!["a worker is gone".to_owned()])),
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => {
                for worker in &self.workers {
                    worker.tell(Command::Abandon);
                }
                Err(error)
            }
        }
    }

    /// Takes no more connections; those that are open finish their request and are closed.
    pub fn drain(&self) -> Drained {
        self.ready.store(false, Ordering::Release);
        let ends = self.workers.iter().map(|worker| {
            let (done, end) = oneshot::channel();
            worker.tell(Command::Drain(done));
            end
        });
        Drained(ends.collect())
    }

    /// Sends the spans that wait for company. Blocks while it does.
    pub fn flush_traces(&self) {
        self.tools.tracers.flush();
    }

    /// Requests are served, and no drain has begun.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Listeners and the addresses they are bound to, in order of configuration.
    pub fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let served = self.served();
        let order = |bound: &Bound| served.snapshot.listeners.iter().position(|listener| listener.name == bound.name);
        let mut listeners: Vec<_> =
            served.listeners.iter().map(|bound| (order(bound), bound.name.to_string(), bound.address)).collect();
        listeners.sort();
        listeners.into_iter().map(|(_, name, address)| (name, address)).collect()
    }

    /// `/stats`, and what modules count.
    pub fn stats_text(&self) -> String {
        self.tick();
        self.tools.registry.text(&stats::Filter::default(), self.module_stats())
    }

    /// `/stats/prometheus`
    pub fn stats_prometheus(&self) -> String {
        self.tick();
        self.tools.registry.prometheus(&stats::Filter::default(), self.module_stats())
    }

    /// `/stats` or `/stats/prometheus` with the query Envoy's admin takes.
    ///
    /// # Errors
    /// A filter that is no regular expression.
    pub fn stats(&self, query: &str, prometheus: bool) -> Result<String, stats::InvalidFilter> {
        let filter = stats::Filter::from_query(query)?;
        self.tick();
        let (registry, modules) = (&self.tools.registry, self.module_stats());
        Ok(if prometheus { registry.prometheus(&filter, modules) } else { registry.text(&filter, modules) })
    }

    /// What moves with time alone is brought up to date when somebody looks.
    fn tick(&self) {
        let (clock, snapshot) = (self.tools.clock, Arc::clone(&self.served().snapshot));
        self.tools.process.tick(clock.now(), clock.wall(clock.now()), &snapshot);
        snapshot.clusters.values().for_each(|cluster| cluster.show_breakers());
    }

    fn module_stats(&self) -> Vec<(String, stats::Sample)> {
        self.tools
            .shared
            .metrics()
            .snapshot()
            .into_iter()
            .map(|metric| (format!("wasmcustom.{}", metric.name), sample(metric.value)))
            .collect()
    }

    /// What modules keep in shared data under this VM's id, by the beginning of the key.
    pub fn shared_data(&self, vm_id: &[u8], prefix: &[u8]) -> Vec<(Vec<u8>, bytes::Bytes)> {
        self.tools.shared.data().beginning_with(vm_id, prefix)
    }

    /// The modules' monotonic clock, in nanoseconds.
    pub fn monotonic(&self) -> u64 {
        u64::try_from(self.tools.clock.now().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What finished requests amount to, by route and destination.
    pub fn traffic(&self) -> Vec<crate::telemetry::Traffic> {
        crate::telemetry::traffic(&self.telemetry())
    }

    /// The last requests of every worker, the newest first.
    pub fn recent(&self) -> Vec<crate::telemetry::Finished> {
        let mut all: Vec<_> = self.telemetry().iter().flat_map(|worker| worker.recent()).collect();
        all.sort_by_key(|request| std::cmp::Reverse(request.start));
        all
    }

    fn telemetry(&self) -> Vec<Arc<crate::telemetry::Telemetry>> {
        (0..self.workers.len()).map(|worker| self.tools.registry.telemetry(worker)).collect()
    }

    /// The configuration being served.
    pub fn bootstrap(&self) -> Arc<xds::Bootstrap> {
        Arc::clone(&self.served().snapshot.bootstrap)
    }

    /// `/clusters`
    pub fn clusters_text(&self) -> String {
        let snapshot = Arc::clone(&self.served().snapshot);
        let mut clusters: Vec<_> = snapshot.clusters.values().collect();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        clusters.iter().map(|cluster| cluster.text()).collect()
    }

    /// `/config_dump`
    pub fn config_dump(&self) -> serde_json::Value {
        crate::config_dump::of(&self.bootstrap())
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        // A panic while it was held left it whole: it is replaced in one step.
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `envoy.reloadable_features.http_reject_path_with_fragment` is switched off, as Istio's bootstrap does. The last layer wins.
pub(crate) fn cuts_fragment(bootstrap: &xds::Bootstrap) -> bool {
    const FLAG: &str = "envoy.reloadable_features.http_reject_path_with_fragment";
    let layers = bootstrap.layered_runtime.iter().flat_map(|runtime| &runtime.layers);
    let mut values = layers.filter_map(|layer| layer.static_layer.as_ref()?.get(FLAG));
    values
        .next_back()
        .is_some_and(|rejects| *rejects == serde_json::json!(false) || *rejects == serde_json::json!("false"))
}

/// The address of this machine that others see, which Envoy writes where a peer is on loopback: that of the default route.
fn node_address() -> IpAddr {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    asked.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn sample(value: vm::metrics::SnapshotValue) -> stats::Sample {
    use vm::metrics::{BUCKETS, SnapshotValue};
    match value {
        SnapshotValue::Counter(count) => stats::Sample::Counter(count),
        SnapshotValue::Gauge(value) => stats::Sample::Gauge { value, used: true },
        SnapshotValue::Histogram { counts, sum } => {
            stats::Sample::Histogram(stats::Distribution::of_buckets(BUCKETS.into_iter().zip(counts), sum))
        }
    }
}
