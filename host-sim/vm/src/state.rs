//! The data of a VM's store: everything a hostcall can reach.

use std::{cell::RefCell, collections::HashMap, hash::BuildHasherDefault, rc::Rc, sync::Arc, time::Duration};

use wasmtime::{Memory, ResourceLimiter, TypedFunc};

use crate::{
    abi::{AbiVersion, Direction, LogLevel, MapType, MetricType},
    callout::Callouts,
    context::{Root, Shutdown, Stream, Target},
    deadline::Deadline,
    headers::HeaderList,
    log_gate::LogGate,
    metrics::Metric,
    outcome::LocalReply,
    plugin::PluginConfig,
    script::Script,
    shared::Shared,
    shared_vm::RootPlace,
    trace::{Record, TraceSink},
    world::World,
};

/// The id of the first root context of a VM: ids are given from 1.
pub(crate) const FIRST_ROOT: u32 = 1;

/// What of the host a module may call now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its code initialises: log, WASI's arguments, environment, clock and dice.
    Initialising,
    /// Everything.
    Open,
    /// It allocates memory for an answer: log and clock.
    Allocating,
}

pub(crate) struct State {
    /// Which VM of the plugin this is, counted from 1.
    pub(crate) instance: u32,
    /// The plugin that is in the VM now.
    pub(crate) plugin: Rc<PluginConfig>,
    /// Its root context.
    pub(crate) root_id: u32,
    /// The other plugins of the VM.
    pub(crate) others: Vec<RootPlace>,
    /// The environment of the VM is that of the plugin it was made for.
    pub(crate) made_for: Rc<PluginConfig>,
    pub(crate) shared: Shared,
    pub(crate) world: Box<dyn World>,
    pub(crate) abi: AbiVersion,
    /// `None` until the module is instantiated.
    pub(crate) memory: Option<Memory>,
    pub(crate) malloc: Option<TypedFunc<u32, u32>>,
    pub(crate) phase: Phase,
    pub(crate) current: Target,
    /// 0: none. Given by `proxy_set_effective_context`, forgotten with every call into the VM.
    pub(crate) effective: u32,
    pub(crate) root: Root,
    pub(crate) streams: Streams,
    pub(crate) next_context: u32,
    /// `proxy_send_local_response` was called: what the callback returns does not count.
    pub(crate) stop_iteration: bool,
    /// Done once the call has returned, in order.
    pub(crate) deferred: Vec<Deferred>,
    pub(crate) metrics: MetricIds,
    pub(crate) callouts: Callouts,
    pub(crate) tick_period_millis: u32,
    pub(crate) tick_changed: bool,
    pub(crate) log: LogGate,
    pub(crate) bounds: Bounds,
    pub(crate) deadline: Deadline,
    /// Where a record of this run goes.
    pub(crate) trace: Option<TraceSink>,
    /// Where shared data come from in a run that is played again.
    pub(crate) script: Option<Rc<RefCell<Script>>>,
}

/// Streams by context id.
pub(crate) type Streams = HashMap<u32, Box<Stream>, BuildHasherDefault<IdHasher>>;

/// Context ids are already distinct small numbers: multiplying spreads them well enough.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl std::hash::Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// Something a module asked for that happens after its call has returned.
pub(crate) enum Deferred {
    Continue(u32, Direction),
    Reply(u32, LocalReply),
    Close(u32),
    /// A call that could not start, by its token.
    GrpcFailed(u32),
}

/// The metrics a VM has defined, by id: the low two bits are the kind, the rest counts from one.
#[derive(Default)]
pub(crate) struct MetricIds {
    counters: Vec<Arc<Metric>>,
    gauges: Vec<Arc<Metric>>,
    histograms: Vec<Arc<Metric>>,
}

/// A VM may hold so many ids, since each definition gives a new one even for the same name.
const MAX_METRIC_IDS: usize = 100_000;

impl MetricIds {
    fn kind(&self, kind: MetricType) -> &Vec<Arc<Metric>> {
        match kind {
            MetricType::Counter => &self.counters,
            MetricType::Gauge => &self.gauges,
            MetricType::Histogram => &self.histograms,
        }
    }

    /// A new id for a metric; `None` when there are too many.
    pub(crate) fn add(&mut self, kind: MetricType, metric: Arc<Metric>) -> Option<u32> {
        let ids = match kind {
            MetricType::Counter => &mut self.counters,
            MetricType::Gauge => &mut self.gauges,
            MetricType::Histogram => &mut self.histograms,
        };
        if ids.len() >= MAX_METRIC_IDS {
            return None;
        }
        ids.push(metric);
        Some(u32::try_from(ids.len()).ok()? * 4 + kind as u32)
    }

    /// The metric of an id of a known kind.
    pub(crate) fn get(&self, kind: MetricType, id: u32) -> Option<&Metric> {
        let index = usize::try_from((id / 4).checked_sub(1)?).ok()?;
        self.kind(kind).get(index).map(AsRef::as_ref)
    }
}

/// What the store may grow to.
pub(crate) struct Bounds {
    pub(crate) memory: usize,
    /// Bytes of linear memory now.
    pub(crate) in_use: usize,
    /// A growth was refused since this was last cleared.
    pub(crate) refused: bool,
}

/// Rust modules have tables of some hundred entries; a table of 2^32 is an attack.
const MAX_TABLE_ELEMENTS: usize = 100_000;

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory;
        if fits {
            self.in_use = desired;
        } else {
            self.refused = true;
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        10
    }
}

impl State {
    /// The context hostcalls act for: the effective one if the module set it and it still exists.
    pub(crate) fn target(&self) -> Target {
        match self.effective {
            0 => self.current,
            id if id == self.root_id => Target::Root,
            id if self.streams.contains_key(&id) => Target::Stream(id),
            _ => self.current,
        }
    }

    /// The stream hostcalls act for, if it is one.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match self.target() {
            Target::Stream(id) => self.streams.get(&id).map(AsRef::as_ref),
            Target::Vm | Target::Root => None,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self.target() {
            Target::Stream(id) => self.streams.get_mut(&id).map(AsMut::as_mut),
            Target::Vm | Target::Root => None,
        }
    }

    /// The map a hostcall may read.
    pub(crate) fn readable(&self, map: MapType) -> Option<&HeaderList> {
        match map {
            MapType::GrpcInitialMetadata => self.root.grpc_initial_metadata.as_ref(),
            MapType::GrpcTrailingMetadata => self.root.grpc_trailing_metadata.as_ref(),
            MapType::HttpCallResponseHeaders => self.root.call_response.as_ref().map(|response| &response.headers),
            MapType::HttpCallResponseTrailers => self
                .root
                .call_response
                .as_ref()
                .map(|response| &response.trailers)
                .filter(|trailers| !trailers.is_empty()),
            _ => self.stream()?.readable(map),
        }
    }

    /// The map a hostcall may write.
    pub(crate) fn writable(&mut self, map: MapType) -> Option<&mut HeaderList> {
        self.stream_mut()?.writable(map)
    }

    /// Up to ABI 0.2.1, and so for every module there is, a write to the request's head asks for a new route.
    pub(crate) fn headers_modified(&mut self, map: MapType) {
        if map == MapType::RequestHeaders
            && let Some(stream) = self.stream_mut()
        {
            stream.route_cleared = true;
        }
    }

    /// Envoy's prefix of a log line: ` name root vm` for a stream, ` root vm` for the plugin; empty parts are left out.
    pub(crate) fn log_prefix(&self) -> String {
        let plugin = &self.plugin;
        let parts: &[&str] = match self.target() {
            Target::Vm => &[],
            Target::Root => &[&plugin.root_id, &plugin.vm_id],
            Target::Stream(_) => &[&plugin.name, &plugin.root_id, &plugin.vm_id],
        };
        parts.iter().filter(|part| !part.is_empty()).fold(String::new(), |prefix, part| prefix + " " + part)
    }

    /// A line of the module's log.
    pub(crate) fn log(&mut self, level: LogLevel, text: &[u8]) {
        if level < self.world.log_level() && !self.log.is_captured() {
            return;
        }
        let prefix = format!("wasm log{}: ", self.log_prefix());
        self.log.line(&mut *self.world, level, &prefix, text);
    }

    /// A line about the module.
    pub(crate) fn report(&mut self, level: LogLevel, text: &str) {
        self.log.line(&mut *self.world, level, "", text.as_bytes());
    }

    /// Puts a line on record, if there is one.
    pub(crate) fn note(&self, record: impl FnOnce() -> Record) {
        if let Some(trace) = &self.trace {
            (trace.borrow_mut())(&record());
        }
    }

    /// Did the last call leave nothing to be done?
    pub(crate) fn asked_for_nothing(&self) -> bool {
        self.deferred.is_empty()
            && self.callouts.events.is_empty()
            && !self.tick_changed
            && self.root.shutdown != Shutdown::Finished
    }

    /// The tick the module asked for.
    pub(crate) fn tick_period(&self) -> Option<Duration> {
        (self.tick_period_millis > 0).then(|| Duration::from_millis(u64::from(self.tick_period_millis)))
    }

    pub(crate) fn allocate_context(&mut self) -> u32 {
        loop {
            let id = self.next_context;
            self.next_context = self.next_context.wrapping_add(1);
            if !self.is_context(id) {
                return id;
            }
        }
    }
}
