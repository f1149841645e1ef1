//! What filters of a worker can reach, before and while there is a configuration.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::{Clock, Cluster, Command, Dice, State, WorkerSetup};
use crate::explain::{Recorder, Stage};
use crate::http_filters::Plugin;
use crate::stats::Registry;
use crate::telemetry::Telemetry;

/// One per worker.
pub(crate) struct Surroundings {
    pub(crate) index: usize,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) registry: Registry,
    pub(crate) shared: vm::Shared,
    /// VMs that plugins share.
    pub(crate) vms: vm::SharedVms,
    /// Where modules' runs are put on record.
    pub(crate) trace: Option<vm::TraceLog>,
    /// What finished requests amount to.
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) commands: UnboundedSender<Command>,
    pub(crate) plugins: RefCell<HashMap<u64, Weak<Plugin>>>,
    state: RefCell<Weak<State>>,
    next_plugin: Cell<u64>,
    /// Where origins are and who listens, when nothing is served.
    rehearsal: Option<(Stage, Rc<Recorder>)>,
}

impl Surroundings {
    pub(crate) fn new(setup: &WorkerSetup, dice: Dice, commands: UnboundedSender<Command>) -> Surroundings {
        Surroundings {
            index: setup.index,
            clock: setup.clock,
            dice,
            registry: setup.registry.clone(),
            shared: setup.shared.clone(),
            vms: vm::SharedVms::default(),
            trace: setup.trace.clone(),
            telemetry: setup.registry.telemetry(setup.index),
            commands,
            plugins: RefCell::default(),
            state: RefCell::default(),
            next_plugin: Cell::new(0),
            rehearsal: None,
        }
    }

    /// Origins are in memory, and every decision is told.
    pub(crate) fn rehearse(&mut self, stage: Stage, recorder: Rc<Recorder>) {
        self.rehearsal = Some((stage, recorder));
    }

    /// Where origins are, when they are in memory.
    pub(crate) fn stage(&self) -> Option<&Stage> {
        self.rehearsal.as_ref().map(|(stage, _)| stage)
    }

    /// Who listens while a request is explained.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.rehearsal.as_ref().map(|(_, recorder)| recorder.as_ref())
    }

    pub(crate) fn next_plugin_id(&self) -> u64 {
        let id = self.next_plugin.get();
        self.next_plugin.set(id.wrapping_add(1));
        self.plugins.borrow_mut().retain(|_, plugin| plugin.strong_count() > 0);
        id
    }

    /// Filters find clusters in this configuration from now on.
    pub(crate) fn serve(&self, state: &Rc<State>) {
        self.telemetry.of_node(state.snapshot.bootstrap.node.as_ref());
        self.state.replace(Rc::downgrade(state));
    }

    /// What a module may know of the gateway itself: `xds.node`'s parts.
    pub(crate) fn attribute(&self, path: &[&[u8]]) -> Option<vm::Value> {
        let state = self.state.borrow().upgrade()?;
        let [b"xds", b"node", below @ ..] = path else { return None };
        let node = state.snapshot.bootstrap.node.clone().unwrap_or_default();
        crate::connection::node(&node, below)
    }

    /// A cluster of the configuration that is served.
    pub(crate) fn cluster(&self, name: &str) -> Option<Rc<Cluster>> {
        self.state.borrow().upgrade().and_then(|state| state.clusters.get(name).map(Rc::clone))
    }
}
