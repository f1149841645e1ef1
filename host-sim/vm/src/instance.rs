//! One VM: a module instantiated, initialised, started and configured.

use std::{cell::RefCell, rc::Rc, time::Duration};

use wasmtime::{Store, TypedFunc, UpdateDeadline, WasmParams, WasmResults};

use crate::{
    abi::{Direction, LogLevel},
    callout::Callouts,
    context::{Root, Target},
    deadline::{Deadline, Verdict, thread_cpu_time},
    exports::{Exports, OnHeaders},
    log_gate::{LogGate, LogLine},
    module::Module,
    plugin::PluginConfig,
    script::Script,
    shared::Shared,
    shared_vm::RootPlace,
    start_error::StartError,
    state::{Bounds, FIRST_ROOT, MetricIds, Phase, State, Streams},
    ticker::Calls,
    trace::{Record, TraceSink},
    trap::Trap,
    world::World,
};

/// What a VM is made from.
pub(crate) struct Setup<'a> {
    pub(crate) module: &'a Module,
    pub(crate) plugin: Rc<PluginConfig>,
    pub(crate) shared: Shared,
    pub(crate) number: u32,
    pub(crate) trace: Option<TraceSink>,
    pub(crate) script: Option<Rc<RefCell<Script>>>,
}

/// A VM that has been configured, or is on its way there.
pub(crate) struct Instance {
    store: Store<State>,
    exports: Exports,
    deadline: Duration,
    calls: Calls,
    /// What the module logged while it came up.
    said: Vec<LogLine>,
}

impl Instance {
    /// Brings a VM up. If that fails the world comes back.
    pub(crate) fn start(setup: Setup<'_>, world: Box<dyn World>) -> Result<Instance, (StartError, Box<dyn World>)> {
        let limits = setup.plugin.limits;
        let mut store = Store::new(setup.module.engine(), state(&setup, world));
        store.limiter(|state| &mut state.bounds);
        store.epoch_deadline_callback(|mut store| match store.data_mut().deadline.slice_over(thread_cpu_time()) {
            Verdict::GoOn(ticks) => Ok(UpdateDeadline::Continue(ticks)),
            Verdict::Cut => Ok(UpdateDeadline::Interrupt),
        });
        let ticks = store.data_mut().deadline.start(limits.start_deadline);
        store.set_epoch_deadline(ticks);
        let calls = setup.module.calls();
        calls.begin();
        let instance = setup.module.ready(&setup.plugin).and_then(|ready| ready.instantiate(&mut store));
        calls.end();
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => {
                let mut state = store.into_data();
                let reason = if state.bounds.refused {
                    format!("it needs more than the {} bytes of memory it may have", limits.memory)
                } else {
                    format!("{error:#}")
                };
                let log = state.log.end_capture();
                return Err((StartError::Instantiate { reason, log }, state.world));
            }
        };
        let exports = Exports::resolve(&instance, &mut store, setup.module.abi_version(), &setup.plugin);
        let memory = instance.get_memory(&mut store, setup.module.memory());
        let state = store.data_mut();
        (state.memory, state.malloc) = (memory, exports.malloc.clone());
        let mut vm = Instance { store, exports, deadline: limits.start_deadline, calls, said: Vec::new() };
        match vm.bring_up() {
            Ok(()) => {
                vm.said = vm.state_mut().log.end_capture();
                vm.deadline = limits.deadline;
                Ok(vm)
            }
            Err(failed) => {
                let mut state = vm.store.into_data();
                let log = state.log.end_capture();
                Err((failed.explain(log).0, state.world))
            }
        }
    }

    /// Takes one more plugin in, which is in it from then on. If it does not start: why, and the trap if the VM is dead now.
    pub(crate) fn join(
        &mut self,
        setup: &Setup<'_>,
        world: Box<dyn World>,
    ) -> Result<(), Box<(StartError, Option<Trap>)>> {
        let limits = setup.plugin.limits;
        let state = self.state_mut();
        let mut place = RootPlace {
            root_id: state.allocate_context(),
            plugin: setup.plugin.clone(),
            world,
            root: Root::default(),
            callouts: Callouts::new(limits.callouts),
            tick_period_millis: 0,
            trace: setup.trace.clone(),
            script: setup.script.clone(),
        };
        state.swap(&mut place);
        state.others.push(place);
        state.log.begin_capture();
        self.deadline = limits.start_deadline;
        let started = self.configure();
        self.deadline = limits.deadline;
        self.said = self.state_mut().log.end_capture();
        started.map_err(|failed| Box::new(failed.explain(self.said.clone())))
    }

    fn bring_up(&mut self) -> Result<(), BringUp> {
        self.initialise()?;
        self.configure()
    }

    /// Creates, starts and configures the plugin.
    fn configure(&mut self) -> Result<(), BringUp> {
        let (plugin, root) = (self.state().plugin.clone(), self.state().root_id);
        self.state_mut().root.configuration_in_view = true;
        self.call(Target::Root, "proxy_on_context_create", |exports| exports.on_context_create.as_ref(), (root, 0))?;
        self.state_mut().root.configuration_in_view = false;
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let started = self.call(
            Target::Root,
            "proxy_on_vm_start",
            |exports| exports.on_vm_start.as_ref(),
            (root, size(&plugin.vm_configuration)),
        )?;
        if started == Some(0) {
            return Err(BringUp::StartRefused);
        }
        self.state_mut().root.configuration_in_view = true;
        let configured = self.call(
            Target::Root,
            "proxy_on_configure",
            |exports| exports.on_configure.as_ref(),
            (root, size(&plugin.configuration)),
        )?;
        self.state_mut().root.configuration_in_view = false;
        if configured == Some(0) { Err(BringUp::ConfigureRefused) } else { Ok(()) }
    }

    /// A reactor's `_initialize`, then its `main`; or a command's `_start`.
    fn initialise(&mut self) -> Result<(), Trap> {
        self.call(Target::Vm, "_initialize", |exports| exports.initialize.as_ref(), ())?;
        if self.exports.main.is_some() {
            self.call(Target::Vm, "main", |exports| exports.main.as_ref(), (0, 0))?;
        } else {
            self.call(Target::Vm, "__main_void", |exports| exports.main_void.as_ref(), ())?;
        }
        self.call(Target::Vm, "_start", |exports| exports.start.as_ref(), ())?;
        self.state_mut().phase = Phase::Open;
        Ok(())
    }

    /// Calls an export for a context; `None` if there is no such export. After a trap the VM must not be entered again.
    pub(crate) fn call<P: WasmParams, R: WasmResults + Number>(
        &mut self,
        target: Target,
        name: &'static str,
        export: impl Fn(&Exports) -> Option<&TypedFunc<P, R>>,
        params: P,
    ) -> Result<Option<R>, Trap> {
        let Some(function) = export(&self.exports) else { return Ok(None) };
        let state = self.store.data_mut();
        (state.current, state.effective, state.stop_iteration) = (target, 0, false);
        let ticks = state.deadline.start(self.deadline);
        self.store.set_epoch_deadline(ticks);
        self.calls.begin();
        let called = function.call(&mut self.store, params);
        self.calls.end();
        match called {
            Ok(answer) => {
                self.state().note(|| Record::Callback { name: name.to_owned(), answer: answer.number() });
                Ok(Some(answer))
            }
            Err(error) => {
                let state = self.store.data();
                let trap = Trap::from_error(name, &error, state.deadline.passed, state.bounds.refused);
                state.note(|| Record::Trap { message: trap.to_string() });
                Err(trap)
            }
        }
    }

    /// Tells the module of a stream, the first time.
    pub(crate) fn create(&mut self, context: u32) -> Result<(), Trap> {
        let root = match self.state_mut().streams.get_mut(&context) {
            Some(stream) if !stream.created => {
                stream.created = true;
                stream.root
            }
            _ => return Ok(()),
        };
        self.call(
            Target::Stream(context),
            "proxy_on_context_create",
            |exports| exports.on_context_create.as_ref(),
            (context, root),
        )
        .map(drop)
    }

    /// The headers callback of either half, in the form of the module's version.
    pub(crate) fn call_on_headers(
        &mut self,
        context: u32,
        direction: Direction,
        count: u32,
        end_of_stream: bool,
    ) -> Result<Option<u32>, Trap> {
        let (name, callback) = match direction {
            Direction::Request => ("proxy_on_request_headers", &self.exports.on_request_headers),
            Direction::Response => ("proxy_on_response_headers", &self.exports.on_response_headers),
        };
        let target = Target::Stream(context);
        match callback {
            None => Ok(None),
            Some(OnHeaders::V01(_)) => self.call(
                target,
                name,
                |exports| exports.on_headers(direction).and_then(OnHeaders::v01),
                (context, count),
            ),
            Some(OnHeaders::V02(_)) => self.call(
                target,
                name,
                |exports| exports.on_headers(direction).and_then(OnHeaders::v02),
                (context, count, u32::from(end_of_stream)),
            ),
        }
    }

    pub(crate) fn said(&self) -> &[LogLine] {
        &self.said
    }

    pub(crate) fn exports(&self) -> &Exports {
        &self.exports
    }

    pub(crate) fn state(&self) -> &State {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Ends the VM and gives back what the host remembered.
    pub(crate) fn into_state(self) -> State {
        self.store.into_data()
    }
}

/// What an export answers.
pub(crate) trait Number {
    /// The number, if it is one.
    fn number(&self) -> Option<u32>;
}

impl Number for () {
    fn number(&self) -> Option<u32> {
        None
    }
}

impl Number for u32 {
    fn number(&self) -> Option<u32> {
        Some(*self)
    }
}

enum BringUp {
    Trapped(Trap),
    StartRefused,
    ConfigureRefused,
}

impl BringUp {
    /// The error, and what killed the VM, if it is dead.
    fn explain(self, mut log: Vec<LogLine>) -> (StartError, Option<Trap>) {
        match self {
            BringUp::Trapped(trap) => {
                log.extend(trap.stack().into_iter().map(|text| LogLine { level: LogLevel::Error, text }));
                (StartError::Trapped { trap: trap.clone(), log }, Some(trap))
            }
            BringUp::StartRefused => (StartError::StartRefused { log }, None),
            BringUp::ConfigureRefused => (StartError::ConfigureRefused { log }, None),
        }
    }
}

impl From<Trap> for BringUp {
    fn from(trap: Trap) -> BringUp {
        BringUp::Trapped(trap)
    }
}

fn state(setup: &Setup<'_>, world: Box<dyn World>) -> State {
    let limits = setup.plugin.limits;
    State {
        instance: setup.number,
        plugin: setup.plugin.clone(),
        shared: setup.shared.clone(),
        world,
        abi: setup.module.abi_version(),
        memory: None,
        malloc: None,
        phase: Phase::Initialising,
        current: Target::Vm,
        effective: 0,
        root: Root::default(),
        root_id: FIRST_ROOT,
        others: Vec::new(),
        made_for: setup.plugin.clone(),
        streams: Streams::default(),
        next_context: FIRST_ROOT + 1,
        stop_iteration: false,
        deferred: Vec::new(),
        metrics: MetricIds::default(),
        callouts: Callouts::new(limits.callouts),
        tick_period_millis: 0,
        tick_changed: false,
        log: LogGate::new(&limits),
        bounds: Bounds { memory: limits.memory, in_use: 0, refused: false },
        deadline: Deadline::default(),
        trace: setup.trace.clone(),
        script: setup.script.clone(),
    }
}
