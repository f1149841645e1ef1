//! One VM for several plugins: Envoy gives all plugins of a worker that have the same vm id, VM configuration and code one VM, with a root context each.
//! They share its memory, and its death.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
};

use bytes::Bytes;

use crate::{
    cache::Digest,
    callout::Callouts,
    context::{Root, Stream},
    instance::Instance,
    module::Module,
    outcome::StreamId,
    plugin::PluginConfig,
    script::Script,
    state::State,
    trace::TraceSink,
    trap::Trap,
    vm::{Running, Vm},
    world::World,
};

/// The VMs of a worker that plugins may share. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct SharedVms(Rc<RefCell<HashMap<Key, Weak<SharedVm>>>>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    vm_id: String,
    configuration: Bytes,
    module: Digest,
}

impl SharedVms {
    /// Where this plugin is at home, with the others that are.
    pub fn home(&self, module: &Module, plugin: &PluginConfig) -> Home {
        let mut homes = self.0.borrow_mut();
        homes.retain(|_, home| home.strong_count() > 0);
        let key = Key {
            vm_id: plugin.vm_id.clone(),
            configuration: plugin.vm_configuration.clone(),
            module: module.digest(),
        };
        let known = homes.get(&key).and_then(Weak::upgrade);
        let home = known.unwrap_or_default();
        homes.insert(key, Rc::downgrade(&home));
        Home(home)
    }
}

/// The VM a plugin shares with others.
#[derive(Clone)]
pub struct Home(pub(crate) Rc<SharedVm>);

/// The VM while nobody is in it, and what is left of those that died.
#[derive(Default)]
pub(crate) struct SharedVm {
    alive: Cell<Option<Box<Instance>>>,
    made: Cell<u32>,
    remains: RefCell<Vec<Remains>>,
}

/// What a plugin has of a VM that died while another was in it.
pub(crate) struct Remains {
    /// Which VM it was.
    pub(crate) instance: u32,
    pub(crate) place: RootPlace,
    pub(crate) streams: HashMap<StreamId, Box<Stream>>,
    pub(crate) trap: Trap,
}

impl SharedVm {
    /// The number of the next VM that is made here.
    pub(crate) fn next_number(&self) -> u32 {
        self.made.set(self.made.get().wrapping_add(1));
        self.made.get()
    }

    /// Takes the VM, if there is one.
    pub(crate) fn take(&self) -> Option<Box<Instance>> {
        self.alive.take()
    }

    /// Puts the VM back.
    pub(crate) fn put(&self, instance: Box<Instance>) {
        self.alive.set(Some(instance));
    }

    pub(crate) fn leave_remains(&self, remains: impl IntoIterator<Item = Remains>) {
        self.remains.borrow_mut().extend(remains);
    }

    /// What a plugin has of a VM that is dead.
    pub(crate) fn take_remains(&self, instance: u32, root: u32) -> Option<Remains> {
        let mut all = self.remains.borrow_mut();
        let at = all.iter().position(|remains| remains.instance == instance && remains.place.root_id == root)?;
        Some(all.swap_remove(at))
    }
}

/// What the host remembers for one plugin of a VM while another is in it.
pub(crate) struct RootPlace {
    pub(crate) root_id: u32,
    pub(crate) plugin: Rc<PluginConfig>,
    pub(crate) world: Box<dyn World>,
    pub(crate) root: Root,
    pub(crate) callouts: Callouts,
    pub(crate) tick_period_millis: u32,
    pub(crate) trace: Option<TraceSink>,
    pub(crate) script: Option<Rc<RefCell<Script>>>,
}

impl Vm {
    /// Goes into the shared VM. If it has died meanwhile, there are events to be taken.
    pub fn board(&mut self) {
        let (Some(home), Running::AtHome) = (&self.home, &self.running) else { return };
        match home.0.take() {
            Some(mut instance) if instance.state().instance == self.instances => {
                instance.state_mut().switch_to(self.root_id);
                self.running = Running::Alive(instance);
            }
            another => {
                another.into_iter().for_each(|another| home.0.put(another));
                if let Some(remains) = home.0.take_remains(self.instances, self.root_id) {
                    self.bury(remains);
                }
            }
        }
    }

    /// Do these two share a VM? Then an event of one may name a stream of the other.
    pub fn lives_with(&self, other: &Vm) -> bool {
        matches!((&self.home, &other.home), (Some(mine), Some(theirs)) if Rc::ptr_eq(&mine.0, &theirs.0))
    }

    /// Goes out of the shared VM, so that others can use it.
    pub fn leave(&mut self) {
        if self.home.is_none() || !self.is_alive() {
            return;
        }
        if let Running::Alive(instance) = std::mem::replace(&mut self.running, Running::AtHome) {
            self.put_back(instance);
        }
    }

    pub(crate) fn put_back(&self, instance: Box<Instance>) {
        if let Some(home) = &self.home {
            home.0.put(instance);
        }
    }
}

impl Drop for Vm {
    /// A plugin that goes leaves the others their VM.
    fn drop(&mut self) {
        self.board();
        let running = std::mem::replace(&mut self.running, Running::Between);
        if let (Some(home), Running::Alive(mut instance)) = (&self.home, running)
            && instance.state_mut().take_leave().is_some()
        {
            home.0.put(instance);
        }
    }
}

impl State {
    /// Is there such a context? 0 is the VM's own.
    pub(crate) fn is_context(&self, id: u32) -> bool {
        id == 0
            || id == self.root_id
            || self.streams.contains_key(&id)
            || self.others.iter().any(|other| other.root_id == id)
    }

    /// Another plugin of the VM is called from now on; false if it is not one of them.
    pub(crate) fn switch_to(&mut self, root_id: u32) -> bool {
        if self.root_id == root_id {
            return true;
        }
        let Some(at) = self.others.iter().position(|other| other.root_id == root_id) else { return false };
        let mut place = self.others.swap_remove(at);
        self.swap(&mut place);
        self.others.push(place);
        true
    }

    /// The plugin that is in the VM leaves it for good; `None` if there is no other.
    pub(crate) fn take_leave(&mut self) -> Option<RootPlace> {
        let mut place = self.others.pop()?;
        self.swap(&mut place);
        self.streams.retain(|_, stream| stream.root != place.root_id);
        Some(place)
    }

    /// A plugin that is new to the VM comes in, or one leaves.
    pub(crate) fn swap(&mut self, place: &mut RootPlace) {
        std::mem::swap(&mut self.root_id, &mut place.root_id);
        std::mem::swap(&mut self.plugin, &mut place.plugin);
        std::mem::swap(&mut self.world, &mut place.world);
        std::mem::swap(&mut self.root, &mut place.root);
        std::mem::swap(&mut self.callouts, &mut place.callouts);
        // Ids of calls are the VM's: no two plugins may see the same.
        self.callouts.go_on_after(&place.callouts);
        std::mem::swap(&mut self.tick_period_millis, &mut place.tick_period_millis);
        std::mem::swap(&mut self.trace, &mut place.trace);
        std::mem::swap(&mut self.script, &mut place.script);
    }
}
