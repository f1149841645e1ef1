//! What configurations are compiled with when nothing is served.

use std::path::PathBuf;
use std::sync::Arc;

use crate::access_log::LogFiles;
use crate::gateway::{StartError, cuts_fragment};
use crate::http_filters::Loader;
use crate::snapshot::{Compiler, Snapshot};
use crate::stats::Registry;
use crate::tracing::{Place, Tracers};

/// Engine, statistics, and what modules share.
pub(super) struct Kit {
    pub(super) shared: vm::Shared,
    pub(super) registry: Registry,
    pub(super) hardened: bool,
    engine: vm::Engine,
    log_files: LogFiles,
    tracers: Tracers,
}

impl Kit {
    pub(super) fn new(
        bootstrap: &xds::Bootstrap,
        cache_dir: Option<PathBuf>,
        hardened: bool,
    ) -> Result<Kit, StartError> {
        let problem = |text: String| StartError::Config(vec![text]);
        let registry = Registry::new(bootstrap.stats_config.as_ref())
            .map_err(|error| problem(format!("stats_config: {error}")))?;
        Ok(Kit {
            engine: vm::Engine::new(vm::EngineConfig { cache_dir }).map_err(|error| problem(error.to_string()))?,
            shared: vm::Shared::new(vm::Quota::default()),
            log_files: LogFiles::new(registry.access_log()),
            tracers: Tracers::silent(),
            registry,
            hardened,
        })
    }

    pub(super) fn compile(&self, bootstrap: xds::Bootstrap) -> Result<Arc<Snapshot>, StartError> {
        let loader = Loader {
            cut_fragment: cuts_fragment(&bootstrap),
            engine: &self.engine,
            hardened: self.hardened,
            log_files: &self.log_files,
            tracing: Place::new(&self.tracers),
        };
        Compiler { loader, registry: &self.registry, previous: None }.compile(bootstrap).map(Arc::new)
    }

    /// Nothing is shared from now on that was before.
    pub(super) fn forget(&mut self) {
        self.shared = vm::Shared::new(vm::Quota::default());
    }

    /// What modules have counted so far, under their own names.
    pub(super) fn counters(&self) -> Vec<(String, u64)> {
        let counter = |metric: vm::metrics::Snapshot| match metric.value {
            vm::metrics::SnapshotValue::Counter(count) => Some((metric.name, count)),
            _ => None,
        };
        self.shared.metrics().snapshot().into_iter().filter_map(counter).collect()
    }
}
