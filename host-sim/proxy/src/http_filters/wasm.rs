//! Modules: loaded once, one VM per plugin and worker, and what a VM asks for besides its verdict on a stream.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use vm::{CallId, Callback, ClusterState, Event, LogLevel, QueueId, StreamId, Vm, World};

use super::config::ChainError;
use super::mailbox::{Mailbox, Word};
use super::{callout, grpc};
use crate::data_source::read_named;
use crate::worker::{Command, Surroundings};

/// A plugin, its module loaded.
pub(crate) struct WasmConfig {
    pub(crate) module: vm::Module,
    pub(crate) plugin: vm::PluginConfig,
    source: xds::WasmPluginConfig,
    /// It may ask what is known of a request, its route included.
    pub(crate) asks: bool,
    /// It looks at bodies or trailers of requests.
    pub(crate) sees_request_body: bool,
    /// The same for answers.
    pub(crate) sees_response_body: bool,
}

/// What chains are compiled with: modules are loaded, logs opened, runtime flags obeyed.
#[derive(Clone, Copy)]
pub(crate) struct Loader<'l> {
    /// A target's `#fragment` is cut off instead of refused.
    pub(crate) cut_fragment: bool,
    pub(crate) log_files: &'l crate::access_log::LogFiles,
    pub(crate) engine: &'l vm::Engine,
    pub(crate) hardened: bool,
    /// Who is told of spans, and in whose name.
    pub(crate) tracing: crate::tracing::Place<'l>,
}

const RELOAD_BACKOFF: Duration = Duration::from_secs(1);

impl Loader<'_> {
    /// Reads and loads the module of a filter.
    pub(super) fn load(&self, wasm: &xds::Wasm) -> Result<WasmConfig, ChainError> {
        let source = wasm.config.clone().unwrap_or_default();
        let refused = |reason: String| ChainError::Module { plugin: source.name.clone(), reason };
        let vm_config = source.vm_config.clone().unwrap_or_default();
        let bytes = code(vm_config.code.as_ref()).map_err(refused)?;
        let module = self.engine.load(&bytes).map_err(|error| refused(error.to_string()))?;
        let failure = failure_policy(&source).map_err(refused)?;
        let text = |text: Option<&str>| text.map(|text| Bytes::copy_from_slice(text.as_bytes())).unwrap_or_default();
        let environment = vm_config.environment_variables.clone().unwrap_or_default();
        let host = environment.host_env_keys.iter().filter_map(|key| Some((key.clone(), std::env::var(key).ok()?)));
        let capabilities = source.capability_restriction_config.as_ref();
        let plugin = vm::PluginConfig {
            name: source.name.clone(),
            module_file: module_file(vm_config.code.as_ref()),
            root_id: source.root_id.clone(),
            vm_id: vm_config.vm_id.clone(),
            vm_configuration: text(vm_config.configuration_string()),
            configuration: text(source.configuration_string()),
            env: host.chain(environment.key_values.clone()).collect(),
            failure,
            allow_on_headers_stop_iteration: source.allow_on_headers_stop_iteration.unwrap_or_default(),
            allowed_capabilities: capabilities.map(|config| config.allowed_capabilities.keys().cloned().collect()),
            fidelity: if self.hardened { vm::Fidelity::Hardened } else { vm::Fidelity::Envoy },
            ..vm::PluginConfig::default()
        };
        let sees = |body, trailers| module.exports(body) || module.exports(trailers);
        Ok(WasmConfig {
            asks: module.imports("proxy_get_property") || module.imports("proxy_call_foreign_function"),
            sees_request_body: sees(Callback::OnRequestBody, Callback::OnRequestTrailers),
            sees_response_body: sees(Callback::OnResponseBody, Callback::OnResponseTrailers),
            module,
            plugin,
            source,
        })
    }
}

/// Where it is, wherever a replay is then started from.
fn module_file(code: Option<&xds::AsyncDataSource>) -> Option<String> {
    let file = code?.local.as_ref()?.filename.as_ref()?;
    Some(std::path::absolute(file).map_or_else(|_| file.clone(), |path| path.display().to_string()))
}

fn code(code: Option<&xds::AsyncDataSource>) -> Result<Vec<u8>, String> {
    let Some(local) = code.and_then(|code| code.local.as_ref()) else {
        return Err("its module is not here: vm_config.code.local is needed".to_owned());
    };
    if local.filename.is_none() && local.inline_bytes.is_none() {
        return Err("vm_config.code.local needs filename or inline_bytes".to_owned());
    }
    read_named(local)
}

fn failure_policy(config: &xds::WasmPluginConfig) -> Result<vm::FailurePolicy, String> {
    Ok(match (config.failure_policy, config.fail_open) {
        (xds::FailurePolicy::Unspecified, true) => vm::FailurePolicy::LegacyOpen,
        (_, true) => return Err("fail_open and failure_policy exclude each other".to_owned()),
        (xds::FailurePolicy::Unspecified | xds::FailurePolicy::FailClosed, false) => vm::FailurePolicy::Closed,
        (xds::FailurePolicy::FailOpen, false) => vm::FailurePolicy::Open,
        (xds::FailurePolicy::FailReload, false) => {
            let backoff = config.reload_config.as_ref().and_then(|reload| reload.backoff.as_ref()?.base_interval);
            vm::FailurePolicy::Reload { backoff: backoff.map_or(RELOAD_BACKOFF, |interval| interval.0) }
        }
    })
}

/// A plugin on this worker.
pub(crate) struct Plugin {
    pub(crate) config: Arc<WasmConfig>,
    vm: RefCell<Vm>,
    streams: Rc<Streams>,
    calls: RefCell<HashMap<CallId, Call>>,
    ticks: Rc<Notify>,
    surroundings: Rc<Surroundings>,
    me: Weak<Plugin>,
}

/// Streams that modules may be heard of, and where: one list for all plugins of a VM.
type Streams = RefCell<HashMap<StreamId, (Rc<Mailbox>, usize)>>;

/// A call under way.
struct Call {
    task: AbortHandle,
    /// Where the module writes on a gRPC stream.
    outbox: Option<grpc::Outbox>,
}

impl Plugin {
    /// Starts the VM.
    ///
    /// # Errors
    /// The module does not start, or refuses its configuration.
    pub(crate) fn start(
        config: &Arc<WasmConfig>,
        surroundings: &Rc<Surroundings>,
    ) -> Result<Rc<Plugin>, vm::StartError> {
        let id = surroundings.next_plugin_id();
        let world = PluginWorld { surroundings: Rc::clone(surroundings), id };
        let (module, plugin, shared) = (&config.module, config.plugin.clone(), &surroundings.shared);
        let vm = match &surroundings.trace {
            // Each run on record stands for itself.
            Some(trace) => {
                let run = vm::Run { plugin: plugin.name.clone(), worker: surroundings.index, vm: id };
                Vm::start_traced(module, plugin, shared, Box::new(world), trace.sink(&run))?
            }
            // What one plugin does must not cost another anything.
            None if plugin.fidelity == vm::Fidelity::Hardened => Vm::start(module, plugin, shared, Box::new(world))?,
            None => Vm::start_at(surroundings.vms.home(module, &plugin), module, plugin, shared, Box::new(world))?,
        };
        let others: Vec<Rc<Plugin>> = surroundings.plugins.borrow().values().filter_map(Weak::upgrade).collect();
        let together = others.iter().find(|other| other.vm.borrow().lives_with(&vm));
        let streams = together.map(|other| Rc::clone(&other.streams)).unwrap_or_default();
        let plugin = Rc::new_cyclic(|me| Plugin {
            config: Arc::clone(config),
            vm: RefCell::new(vm),
            streams,
            calls: RefCell::default(),
            ticks: Rc::new(Notify::new()),
            surroundings: Rc::clone(surroundings),
            me: Weak::clone(me),
        });
        surroundings.plugins.borrow_mut().insert(id, Rc::downgrade(&plugin));
        tokio::task::spawn_local(ticking(Rc::downgrade(&plugin), Rc::clone(&plugin.ticks)));
        plugin.settle();
        Ok(plugin)
    }

    /// Would this configuration run the same VM?
    pub(crate) fn is_of(&self, config: &WasmConfig) -> bool {
        self.config.source == config.source && self.config.module.digest() == config.module.digest()
    }

    /// Enters the VM, and does what it asks for besides its answer.
    pub(crate) fn enter<R>(&self, call: impl FnOnce(&mut Vm) -> R) -> R {
        let answer = self.inside(call);
        self.settle();
        answer
    }

    /// Asks without entering.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Vm) -> R) -> R {
        self.inside(|vm| question(vm))
    }

    fn inside<R>(&self, call: impl FnOnce(&mut Vm) -> R) -> R {
        let vm = &mut self.vm.borrow_mut();
        vm.board();
        let answer = call(vm);
        vm.leave();
        answer
    }

    /// Events of this stream go to this mailbox.
    pub(crate) fn introduce(&self, stream: StreamId, mailbox: &Rc<Mailbox>, place: usize) {
        mailbox.known.set(true);
        self.streams.borrow_mut().entry(stream).or_insert_with(|| (Rc::clone(mailbox), place));
    }

    /// The stream is over.
    pub(crate) fn forget(&self, stream: StreamId) {
        self.streams.borrow_mut().remove(&stream);
    }

    fn settle(&self) {
        loop {
            let events = self.vm.borrow_mut().take_events();
            if events.is_empty() {
                return;
            }
            for event in events {
                self.perform(event);
            }
        }
    }

    fn perform(&self, event: Event) {
        match event {
            Event::Resume { stream, direction, released } => self.post(stream, Word::Resume(direction, released)),
            Event::Reply { stream, reply, released } => self.post(stream, Word::Reply(reply, released)),
            Event::Reset { stream } => self.post(stream, Word::Reset),
            Event::Fail { stream, released } => self.post(stream, Word::Fail(released)),
            Event::TickPeriod(_) => self.ticks.notify_one(),
            Event::Cancel { call } => self.cancel(call),
            Event::HttpCall { call, request } => self.run(call, None, callout::http(self.me.clone(), call, request)),
            Event::ResolveDns { call, name } => self.run(call, None, callout::resolve(self.me.clone(), call, name)),
            Event::GrpcCall { call, request, message, timeout } => {
                self.run(call, None, grpc::call(self.me.clone(), call, request, message, timeout));
            }
            Event::GrpcStream { call, request } => {
                let (outbox, inbox) = grpc::channel();
                self.run(call, Some(outbox), grpc::stream(self.me.clone(), call, request, inbox));
            }
            Event::GrpcSend { call, message, end_of_stream } => {
                let fits = self.write(call, |outbox| outbox.send(message, end_of_stream));
                if fits == Some(false) {
                    let name = &self.config.plugin.name;
                    log::warn!(target: "wasm", "wasm plugin {name}: a gRPC stream was reset, too much waits to be sent (Envoy would grow)");
                    self.cancel(call);
                    self.inside(|vm| vm.on_grpc_close(call, grpc::EXHAUSTED, Bytes::new()));
                }
            }
            Event::GrpcClose { call } => drop(self.write(call, grpc::Outbox::end)),
        }
    }

    fn post(&self, stream: StreamId, word: Word) {
        let known = self.streams.borrow().get(&stream).map(|(mailbox, place)| (Rc::clone(mailbox), *place));
        if let Some((mailbox, place)) = known {
            mailbox.post(place, word);
        }
    }

    fn run(&self, call: CallId, outbox: Option<grpc::Outbox>, running: impl Future<Output = ()> + 'static) {
        let task = tokio::task::spawn_local(running).abort_handle();
        self.calls.borrow_mut().insert(call, Call { task, outbox });
    }

    /// Writes on a gRPC stream; `None` when it is over.
    fn write<R>(&self, call: CallId, write: impl FnOnce(&grpc::Outbox) -> R) -> Option<R> {
        self.calls.borrow().get(&call)?.outbox.as_ref().map(write)
    }

    fn cancel(&self, call: CallId) {
        if let Some(running) = self.calls.borrow_mut().remove(&call) {
            running.task.abort();
        }
    }

    /// Does anybody still want to know of this call?
    pub(super) fn is_open(&self, call: CallId) -> bool {
        self.calls.borrow().contains_key(&call)
    }

    /// A call has ended; says whether anybody still wants to know.
    pub(super) fn ended(&self, call: CallId) -> bool {
        self.calls.borrow_mut().remove(&call).is_some()
    }

    pub(super) fn surroundings(&self) -> &Rc<Surroundings> {
        &self.surroundings
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.ticks.notify_one();
        for (_, call) in self.calls.get_mut().drain() {
            call.task.abort();
        }
        // Whether it says that it is done yet makes no difference: its VM goes now.
        let vm = self.vm.get_mut();
        vm.board();
        let _ = vm.shut_down();
        vm.leave();
    }
}

/// Rings the plugin's timer for as long as the plugin lives.
async fn ticking(plugin: Weak<Plugin>, changed: Rc<Notify>) {
    while let Some(period) = plugin.upgrade().map(|plugin| plugin.ask(Vm::tick_period)) {
        let Some(period) = period else {
            changed.notified().await;
            continue;
        };
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(period) => {
                if let Some(plugin) = plugin.upgrade() {
                    plugin.enter(Vm::on_tick);
                }
            }
        }
    }
}

/// What a VM sees of the world.
struct PluginWorld {
    surroundings: Rc<Surroundings>,
    id: u64,
}

impl World for PluginWorld {
    fn now(&mut self) -> u64 {
        let clock = &self.surroundings.clock;
        u64::try_from(clock.wall(clock.now()).as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic(&mut self) -> u64 {
        u64::try_from(self.surroundings.clock.now().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&mut self, out: &mut [u8]) {
        self.surroundings.dice.fill(out);
    }

    fn log_level(&self) -> LogLevel {
        match log::max_level() {
            log::LevelFilter::Trace => LogLevel::Trace,
            log::LevelFilter::Debug => LogLevel::Debug,
            log::LevelFilter::Info => LogLevel::Info,
            log::LevelFilter::Warn => LogLevel::Warn,
            log::LevelFilter::Error => LogLevel::Error,
            log::LevelFilter::Off => LogLevel::Critical,
        }
    }

    fn log(&mut self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Trace => log::Level::Trace,
            LogLevel::Debug => log::Level::Debug,
            LogLevel::Info => log::Level::Info,
            LogLevel::Warn => log::Level::Warn,
            LogLevel::Error | LogLevel::Critical => log::Level::Error,
        };
        if let Some(recorder) = self.surroundings.recorder() {
            return recorder.logged(line);
        }
        log::log!(target: "wasm", level, "{line}");
    }

    fn cluster(&self, name: &[u8]) -> ClusterState {
        let found = std::str::from_utf8(name).ok().and_then(|name| self.surroundings.cluster(name));
        match found {
            None => ClusterState::Unknown,
            Some(cluster) if cluster.endpoints.is_empty() => ClusterState::NoEndpoint,
            Some(_) => ClusterState::Ready,
        }
    }

    fn attribute(&self, path: &[&[u8]]) -> Option<vm::Value> {
        self.surroundings.attribute(path)
    }

    fn queue_waker(&self) -> Arc<dyn Fn(QueueId) + Send + Sync> {
        let (commands, plugin) = (self.surroundings.commands.clone(), self.id);
        Arc::new(move |queue| {
            // A worker that is gone needs no waking.
            let _ = commands.send(Command::QueueReady { plugin, queue });
        })
    }
}
