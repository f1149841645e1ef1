//! A plugin on one worker: the VM that runs it, and what becomes of streams when the VM dies.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use crate::{
    abi::Direction,
    context::{Shutdown, Stream, Target},
    exports::Callback,
    failure::{FailureState, Gate, ReloadStats},
    instance::Instance,
    log_gate::LogLine,
    module::Module,
    outcome::{Admission, Event, LogMaps, Released, StreamId},
    plugin::PluginConfig,
    replay::start_record,
    script::Script,
    shared::Shared,
    shared_vm::Home,
    start_error::StartError,
    state::FIRST_ROOT,
    trace::{Entry, Record, TraceSink},
    traced::{TracedInfo, TracedWorld},
    trap::Trap,
    world::{StreamInfo, World},
};

/// One plugin on one worker thread. See the crate's documentation for how to drive it.
pub struct Vm {
    pub(crate) module: Module,
    pub(crate) plugin: Rc<PluginConfig>,
    pub(crate) shared: Shared,
    pub(crate) running: Running,
    pub(crate) failure: FailureState,
    pub(crate) reloads: ReloadStats,
    /// How many VMs there have been.
    pub(crate) instances: u32,
    /// Streams whose VM died, by the id the gateway has.
    pub(crate) stranded: HashMap<StreamId, Box<Stream>>,
    /// Where streams are that went on in a fresh VM.
    pub(crate) moved: HashMap<StreamId, StreamId>,
    pub(crate) events: Vec<Event>,
    pub(crate) last_trap: Option<Trap>,
    pub(crate) trace: Option<TraceSink>,
    pub(crate) script: Option<Rc<RefCell<Script>>>,
    /// The VM it shares with other plugins, if it does.
    pub(crate) home: Option<Home>,
    /// Its root context in the VM.
    pub(crate) root_id: u32,
}

pub(crate) enum Running {
    Alive(Box<Instance>),
    /// Only the world is left.
    Dead(Box<dyn World>),
    /// In the shared VM, and nobody has called [`Vm::board`].
    AtHome,
    /// Never seen from outside: a fresh VM is being made.
    Between,
}

impl Vm {
    /// Loads, starts and configures the plugin as Envoy does for a worker.
    pub fn start(
        module: &Module,
        plugin: PluginConfig,
        shared: &Shared,
        world: Box<dyn World>,
    ) -> Result<Vm, StartError> {
        Vm::start_recorded(module, plugin, shared, world, None, None)
    }

    /// As [`Vm::start`], in a VM that the plugin shares with others. From then on [`Vm::board`] comes before every use, and [`Vm::leave`] after it.
    pub fn start_at(
        home: Home,
        module: &Module,
        plugin: PluginConfig,
        shared: &Shared,
        world: Box<dyn World>,
    ) -> Result<Vm, StartError> {
        let mut vm = Vm::new(module, plugin, shared, Some(home), None, None);
        vm.first_start(world)?;
        vm.leave();
        Ok(vm)
    }

    /// As [`Vm::start`], with a record of the run: everything that comes in, everything the module asks and is told, everything that comes out.
    pub fn start_traced(
        module: &Module,
        plugin: PluginConfig,
        shared: &Shared,
        world: Box<dyn World>,
        sink: TraceSink,
    ) -> Result<Vm, StartError> {
        let world = Box::new(TracedWorld { world, sink: sink.clone() });
        Vm::start_recorded(module, plugin, shared, world, Some(sink), None)
    }

    pub(crate) fn start_recorded(
        module: &Module,
        plugin: PluginConfig,
        shared: &Shared,
        world: Box<dyn World>,
        trace: Option<TraceSink>,
        script: Option<Rc<RefCell<Script>>>,
    ) -> Result<Vm, StartError> {
        let mut vm = Vm::new(module, plugin, shared, None, trace, script);
        vm.first_start(world)?;
        Ok(vm)
    }

    fn first_start(&mut self, world: Box<dyn World>) -> Result<(), StartError> {
        self.note(|| start_record(self.module.digest(), &self.plugin, world.log_level()));
        let mut instance = self.bring_up(world).map_err(|(error, _)| error)?;
        let now = Duration::from_nanos(instance.state_mut().world.monotonic());
        self.failure = FailureState::new(self.plugin.failure, self.plugin.fidelity, now);
        self.running = Running::Alive(instance);
        self.after_call(None);
        Ok(())
    }

    fn new(
        module: &Module,
        plugin: PluginConfig,
        shared: &Shared,
        home: Option<Home>,
        trace: Option<TraceSink>,
        script: Option<Rc<RefCell<Script>>>,
    ) -> Vm {
        Vm {
            module: module.clone(),
            failure: FailureState::new(plugin.failure, plugin.fidelity, Duration::ZERO),
            plugin: Rc::new(plugin),
            shared: shared.clone(),
            running: Running::Between,
            reloads: ReloadStats::default(),
            instances: 0,
            stranded: HashMap::new(),
            moved: HashMap::new(),
            events: Vec::new(),
            last_trap: None,
            trace,
            script,
            home,
            root_id: FIRST_ROOT,
        }
    }

    /// What the gateway configured.
    pub fn plugin(&self) -> &PluginConfig {
        &self.plugin
    }

    /// What the module logged while it started, at any level; nothing when the VM is dead.
    pub fn start_log(&self) -> &[LogLine] {
        self.alive().map(Instance::said).unwrap_or_default()
    }

    /// Is this callback exported and allowed? A dead VM answers for the module.
    pub fn has(&self, callback: Callback) -> bool {
        match &self.running {
            Running::Alive(instance) => instance.exports().has(callback),
            Running::Dead(_) | Running::AtHome | Running::Between => self.module.exports(callback),
        }
    }

    /// Is there a VM to enter?
    pub fn is_alive(&self) -> bool {
        matches!(self.running, Running::Alive(_))
    }

    /// What killed the last VM that died.
    pub fn last_trap(&self) -> Option<&Trap> {
        self.last_trap.as_ref()
    }

    /// How often the VM was replaced, and why not.
    pub fn reload_stats(&self) -> ReloadStats {
        self.reloads
    }

    /// Bytes of linear memory of the VM; 0 when it is dead.
    pub fn memory_bytes(&self) -> usize {
        self.alive().map_or(0, |instance| instance.state().bounds.in_use)
    }

    /// Bytes of body held for one half of a stream.
    pub fn buffered(&self, stream: StreamId, direction: Direction) -> usize {
        let held = |stream: &Stream| match direction {
            Direction::Request => stream.request.buffered(),
            Direction::Response => stream.response.buffered(),
        };
        match self.context_of(stream) {
            Some(context) => self
                .alive()
                .and_then(|instance| instance.state().streams.get(&context))
                .map_or(0, |stream| held(stream)),
            None => self.stranded.get(&stream).map_or(0, |stream| held(stream)),
        }
    }

    /// The tick the module asked for.
    pub fn tick_period(&self) -> Option<Duration> {
        self.alive().and_then(|instance| instance.state().tick_period())
    }

    /// What is to be done besides the outcome of the last entry, in order. To be called after every entry, the first after [`Vm::start`].
    pub fn take_events(&mut self) -> Vec<Event> {
        let events = std::mem::take(&mut self.events);
        events.iter().for_each(|event| self.note(|| Record::from(event)));
        events
    }

    /// Asks the policy about a new request, and gives it an id. Envoy does this for every filter of the chain as the request arrives.
    /// The module hears of it with the first headers, or with the log.
    pub fn create_stream(&mut self, info: Rc<dyn StreamInfo>) -> Admission {
        self.note(|| Record::Entry(Entry::CreateStream));
        let info = match &self.trace {
            // A run that is played again has the answers, and puts them on record itself.
            Some(sink) if self.script.is_none() => Rc::new(TracedInfo { info, sink: sink.clone() }),
            _ => info,
        };
        match self.admit() {
            Gate::Enter => {}
            Gate::Bypass => return Admission::Bypass,
            Gate::Refuse | Gate::Reload => return Admission::Fail,
        }
        let Running::Alive(instance) = &mut self.running else { return Admission::Fail };
        let state = instance.state_mut();
        let id = StreamId { instance: state.instance, context: state.allocate_context() };
        state.streams.insert(id.context, Box::new(Stream::new(id, state.root_id, info)));
        Admission::Stream(id)
    }

    /// The finished stream is logged: before [`Vm::on_done`], for every filter that got an id, reached or not. The maps come back.
    pub fn on_log(&mut self, stream: StreamId, maps: LogMaps) -> LogMaps {
        self.note(|| Record::Entry(Entry::log(stream, &maps)));
        let Some(context) = self.context_of(stream) else { return maps };
        if let Some(stream) = self.live(context) {
            stream.log = Some(maps);
        }
        self.enter(Some(stream), |instance| {
            instance.create(context)?;
            instance.call(Target::Stream(context), "proxy_on_log", |exports| exports.on_log.as_ref(), context)
        });
        let stream = match self.context_of(stream) {
            Some(context) => self.live(context),
            None => self.stranded.get_mut(&stream).map(AsMut::as_mut),
        };
        stream.and_then(|stream| stream.log.take()).unwrap_or_default()
    }

    /// The stream is over: `proxy_on_done`, `proxy_on_delete`, and its id is forgotten.
    pub fn on_done(&mut self, stream: StreamId) {
        self.note(|| Record::Entry(Entry::Done { stream }));
        if let Some(context) = self.context_of(stream) {
            if self.live(context).is_some_and(|stream| stream.created) {
                let target = Target::Stream(context);
                self.enter(Some(stream), |instance| {
                    instance.call(target, "proxy_on_done", |exports| exports.on_done.as_ref(), context)?;
                    instance.call(target, "proxy_on_delete", |exports| exports.on_delete.as_ref(), context)
                });
            }
            if let Running::Alive(instance) = &mut self.running {
                instance.state_mut().streams.remove(&context);
            }
        }
        if self.instances > 1 || !self.stranded.is_empty() {
            self.stranded.remove(&stream);
            self.moved.remove(&stream);
        }
    }

    /// Takes back what is held of a stream that will not go on, for its access log.
    pub fn reclaim(&mut self, stream: StreamId, direction: Direction) -> Released {
        self.note(|| Record::Entry(Entry::Reclaim { stream, direction }));
        self.take_back(stream, direction)
    }

    pub(crate) fn take_back(&mut self, stream: StreamId, direction: Direction) -> Released {
        let stream = match self.context_of(stream) {
            Some(context) => self.live(context),
            None => self.stranded.get_mut(&stream).map(AsMut::as_mut),
        };
        stream.map(|stream| stream.let_go(direction)).unwrap_or_default()
    }

    /// The configuration goes away: `proxy_on_done` for the plugin, and `proxy_on_delete` unless the module answers that it is not done yet.
    /// Then this says false, and true is to be had from [`Vm::is_shut_down`] once the module has called `proxy_done`.
    pub fn shut_down(&mut self) -> bool {
        self.note(|| Record::Entry(Entry::ShutDown));
        let done = self.enter(None, |instance| {
            let root = instance.state().root_id;
            instance.call(Target::Root, "proxy_on_done", |exports| exports.on_done.as_ref(), root)
        });
        if let (Some(Some(0)), Running::Alive(instance)) = (done, &mut self.running) {
            instance.state_mut().root.shutdown = Shutdown::Pending;
            return false;
        }
        self.delete_root();
        true
    }

    /// Has the module finished after [`Vm::shut_down`]?
    pub fn is_shut_down(&self) -> bool {
        self.alive().is_none_or(|instance| instance.state().root.shutdown == Shutdown::Over)
    }

    pub(crate) fn delete_root(&mut self) {
        if let Running::Alive(instance) = &mut self.running {
            instance.state_mut().root.shutdown = Shutdown::Over;
        }
        self.enter(None, |instance| {
            let root = instance.state().root_id;
            instance.call(Target::Root, "proxy_on_delete", |exports| exports.on_delete.as_ref(), root)
        });
    }

    /// Puts a line on record, if there is one.
    pub(crate) fn note(&self, record: impl FnOnce() -> Record) {
        if let Some(trace) = &self.trace {
            (trace.borrow_mut())(&record());
        }
    }

    pub(crate) fn alive(&self) -> Option<&Instance> {
        match &self.running {
            Running::Alive(instance) => Some(instance),
            Running::Dead(_) | Running::AtHome | Running::Between => None,
        }
    }

    pub(crate) fn alive_mut(&mut self) -> Option<&mut Instance> {
        match &mut self.running {
            Running::Alive(instance) => Some(instance),
            Running::Dead(_) | Running::AtHome | Running::Between => None,
        }
    }

    /// The context of a stream that is in the VM as it lives now.
    pub(crate) fn context_of(&self, stream: StreamId) -> Option<u32> {
        let number = self.alive()?.state().instance;
        if stream.instance == number {
            return Some(stream.context);
        }
        self.moved.get(&stream).filter(|moved| moved.instance == number).map(|moved| moved.context)
    }

    pub(crate) fn live(&mut self, context: u32) -> Option<&mut Stream> {
        self.alive_mut()?.state_mut().streams.get_mut(&context).map(AsMut::as_mut)
    }

    /// Calls into the VM for something else than a filter callback; a trap ends it. `None`: there was no VM, or there is none any more.
    pub(crate) fn enter<R>(
        &mut self,
        culprit: Option<StreamId>,
        call: impl FnOnce(&mut Instance) -> Result<R, Trap>,
    ) -> Option<R> {
        match call(self.alive_mut()?) {
            Ok(answer) => {
                self.after_call(None);
                Some(answer)
            }
            Err(trap) => {
                self.die(trap, culprit);
                self.restart_waiting();
                None
            }
        }
    }
}
