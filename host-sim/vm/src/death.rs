//! The end of a VM and the start of its successor: who is told what, and who goes on.

use std::time::Duration;

use crate::{
    abi::{Direction, LogLevel},
    context::Stream,
    failure::{Casualty, Gate},
    instance::{Instance, Setup},
    outcome::{CallId, Event, Released, StreamId, Verdict},
    shared_vm::Remains,
    start_error::StartError,
    state::State,
    trap::Trap,
    vm::{Running, Vm},
    world::World,
};

/// Where the gateway's stream is.
pub(crate) enum Place {
    /// In the VM, by this context id.
    Live(u32),
    /// Nowhere: this is what becomes of it.
    Gone(Verdict),
}

impl Vm {
    /// Asks the policy whether there is a VM to enter, and makes one if that is what it says.
    pub(crate) fn admit(&mut self) -> Gate {
        let Running::Dead(world) = &mut self.running else { return Gate::Enter };
        let now = Duration::from_nanos(world.monotonic());
        let mut dice = [0; 8];
        world.random(&mut dice);
        match self.failure.gate(now, u64::from_le_bytes(dice)) {
            Gate::Reload => self.reload(now),
            Gate::Refuse => {
                self.reloads.backoff += 1;
                Gate::Refuse
            }
            gate => gate,
        }
    }

    fn reload(&mut self, now: Duration) -> Gate {
        let Running::Dead(world) = std::mem::replace(&mut self.running, Running::Between) else { return Gate::Refuse };
        let alive = match self.bring_up(world) {
            Ok(instance) => {
                self.running = Running::Alive(instance);
                self.reloads.success += 1;
                self.after_call(None);
                true
            }
            Err((error, mut world)) => {
                world.log(
                    LogLevel::Error,
                    &format!(
                        "wasm plugin {}: a fresh VM does not start: {}",
                        self.plugin.name,
                        crate::log_gate::escape(error.to_string().as_bytes(), 4096)
                    ),
                );
                self.running = Running::Dead(world);
                self.reloads.failure += 1;
                false
            }
        };
        self.failure.reloaded(now, alive)
    }

    /// A call trapped: the VM is not entered again.
    pub(crate) fn die(&mut self, trap: Trap, culprit: Option<StreamId>) {
        // What the call asked for other streams before it trapped still happens.
        self.after_call(culprit);
        let Running::Alive(instance) = std::mem::replace(&mut self.running, Running::Between) else { return };
        let mut state = instance.into_state();
        let text = format!("wasm plugin {}: {trap}", self.plugin.name);
        state.report(LogLevel::Error, &text);
        trap.stack().iter().for_each(|line| state.report(LogLevel::Error, line));
        self.failure.died();
        for token in state.callouts.close_all() {
            self.events.push(Event::Cancel { call: CallId { instance: state.instance, token } });
        }
        if state.tick_period_millis > 0 {
            self.events.push(Event::TickPeriod(None));
        }
        self.leave_others(&mut state, &trap);
        self.stranded.extend(state.streams.into_values().map(|stream| (stream.handle, stream)));
        self.running = Running::Dead(state.world);
        self.last_trap = Some(trap);
    }

    /// The plugins that shared the VM find out when they are next called.
    fn leave_others(&self, state: &mut State, trap: &Trap) {
        let Some(home) = &self.home else { return };
        for place in std::mem::take(&mut state.others) {
            let theirs: Vec<u32> =
                state.streams.iter().filter(|(_, s)| s.root == place.root_id).map(|(id, _)| *id).collect();
            let streams = theirs
                .into_iter()
                .filter_map(|id| state.streams.remove(&id))
                .map(|stream| (stream.handle, stream))
                .collect();
            home.0.leave_remains([Remains { instance: state.instance, place, streams, trap: trap.clone() }]);
        }
    }

    /// The VM died while another plugin was in it.
    pub(crate) fn bury(&mut self, remains: Remains) {
        self.failure.died();
        let Remains { instance, mut place, streams, trap } = remains;
        for token in place.callouts.close_all() {
            self.events.push(Event::Cancel { call: CallId { instance, token } });
        }
        if place.tick_period_millis > 0 {
            self.events.push(Event::TickPeriod(None));
        }
        self.stranded.extend(streams);
        self.running = Running::Dead(place.world);
        self.last_trap = Some(trap);
        self.restart_waiting();
    }

    /// A VM to be in: a fresh one, or that of the plugins this one shares it with.
    pub(crate) fn bring_up(&mut self, world: Box<dyn World>) -> Result<Box<Instance>, (StartError, Box<dyn World>)> {
        let shared_vm = self.home.as_ref().and_then(|home| home.0.take());
        let number = match &self.home {
            Some(home) if shared_vm.is_none() => home.0.next_number(),
            Some(_) => 0,
            None => self.instances.wrapping_add(1),
        };
        let setup = || Setup {
            module: &self.module,
            plugin: self.plugin.clone(),
            shared: self.shared.clone(),
            number,
            trace: self.trace.clone(),
            script: self.script.clone(),
        };
        let instance = match shared_vm {
            None => Box::new(Instance::start(setup(), world)?),
            Some(mut instance) => {
                // As Envoy does, in a VM of its own first: what does not start must not take the others' VM with it.
                let world = match Instance::start(setup(), world) {
                    Ok(canary) => canary.into_state().world,
                    Err(failed) => {
                        self.put_back(instance);
                        return Err(failed);
                    }
                };
                if let Err(failed) = instance.join(&setup(), world) {
                    let (error, killed_by) = *failed;
                    return Err((error, self.take_leave(instance, killed_by.as_ref())));
                }
                instance
            }
        };
        (self.instances, self.root_id) = (instance.state().instance, instance.state().root_id);
        Ok(instance)
    }

    /// The plugin could not join. Its world comes back; the others have their VM, or its remains.
    fn take_leave(&self, mut instance: Box<Instance>, killed_by: Option<&Trap>) -> Box<dyn World> {
        if killed_by.is_none()
            && let Some(place) = instance.state_mut().take_leave()
        {
            self.put_back(instance);
            return place.world;
        }
        let mut state = instance.into_state();
        if let Some(trap) = killed_by {
            self.leave_others(&mut state, trap);
        }
        state.world
    }

    /// Finds a stream, or decides about one whose VM is gone.
    pub(crate) fn place(&mut self, id: StreamId) -> Place {
        if let Some(context) = self.context_of(id) {
            return Place::Live(context);
        }
        match self.stranded.get(&id) {
            None => return Place::Gone(Verdict::Continue),
            Some(stream) if stream.failed => return Place::Gone(Verdict::Continue),
            Some(_) => {}
        }
        match self.failure.bystander() {
            Casualty::PassThrough => Place::Gone(Verdict::Continue),
            Casualty::Refuse => self.refuse(id),
            Casualty::MoveToFreshVm => match self.move_to_fresh_vm(id) {
                Some(context) => Place::Live(context),
                None => self.refuse(id),
            },
        }
    }

    fn refuse(&mut self, id: StreamId) -> Place {
        if let Some(stream) = self.stranded.get_mut(&id) {
            stream.failed = true;
        }
        Place::Gone(Verdict::Fail)
    }

    /// The stream's other callbacks go to a fresh VM, which hears of it as of a new one. Once: a stream that loses its second VM is refused.
    fn move_to_fresh_vm(&mut self, id: StreamId) -> Option<u32> {
        if self.stranded.get(&id)?.moved || self.admit() != Gate::Enter {
            return None;
        }
        let old = self.stranded.remove(&id)?;
        let state = self.alive_mut()?.state_mut();
        let now = StreamId { instance: state.instance, context: state.allocate_context() };
        let stream = Box::new(Stream { created: false, moved: true, log: None, root: state.root_id, ..*old });
        state.streams.insert(now.context, stream);
        self.moved.insert(id, now);
        Some(now.context)
    }

    /// Hardened: streams that were waiting in the dead VM, with their heads, are shown to a fresh one at once. It cannot be known what they waited for.
    /// Those waiting with anything else are refused.
    pub(crate) fn restart_waiting(&mut self) {
        if self.failure.bystander() != Casualty::MoveToFreshVm || self.is_alive() {
            return;
        }
        let waits =
            |stream: &Stream| !stream.failed && (stream.request.paused.is_some() || stream.response.paused.is_some());
        let waiting: Vec<StreamId> =
            self.stranded.values().filter(|stream| waits(stream)).map(|stream| stream.handle).collect();
        for id in waiting {
            self.restart(id);
        }
    }

    fn restart(&mut self, id: StreamId) {
        let Some(stream) = self.stranded.get_mut(&id) else { return };
        let (direction, head) = match (stream.request.original.take(), stream.response.original.take()) {
            (Some(head), _) => (Direction::Request, Some(head)),
            (None, Some(head)) => (Direction::Response, Some(head)),
            (None, None) => (Direction::Request, None),
        };
        let Some((headers, end_of_stream)) = head else { return self.fail_waiting(id) };
        stream.let_go(direction);
        if self.move_to_fresh_vm(id).is_none() {
            return self.fail_waiting(id);
        }
        let outcome = self.show_headers(id, direction, headers, end_of_stream);
        let released = outcome.released;
        self.events.push(match outcome.verdict {
            Verdict::Pause(_) => return,
            Verdict::Continue => Event::Resume { stream: id, direction, released },
            Verdict::Reply(reply) => Event::Reply { stream: id, reply, released },
            Verdict::Reset => Event::Reset { stream: id },
            Verdict::Fail => Event::Fail { stream: id, released },
        });
    }

    fn fail_waiting(&mut self, id: StreamId) {
        let Some(stream) = self.stranded.get_mut(&id) else { return };
        stream.failed = true;
        let direction = if stream.request.paused.is_some() { Direction::Request } else { Direction::Response };
        let released = stream.let_go(direction);
        self.events.push(Event::Fail { stream: id, released });
    }

    /// What becomes of a piece of a stream whose VM is gone, and of what was held before it.
    pub(crate) fn without_vm(&mut self, id: StreamId, direction: Direction, piece: Released) -> Released {
        let Some(stream) = self.stranded.get_mut(&id) else { return piece };
        let mut released = stream.let_go(direction);
        released.headers = piece.headers.or(released.headers);
        released.trailers = piece.trailers.or(released.trailers);
        if released.body.is_empty() {
            released.body = piece.body;
        } else {
            released.body = [released.body, piece.body].concat().into();
        }
        released
    }
}
