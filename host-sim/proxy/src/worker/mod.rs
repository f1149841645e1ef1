//! A worker: one thread with its own runtime, listening sockets, connections and filters. Workers share the compiled
//! configuration, counters and what filters share; nothing else.

mod clock;
mod cluster;
mod connections;
mod state;
mod surroundings;
mod thread;

pub(crate) use clock::{Clock, Date, Dice};
pub(crate) use cluster::Cluster;
pub(crate) use connections::{Connections, Open};
pub(crate) use state::{ListenerCounters, Manager, Place, State};
pub(crate) use surroundings::Surroundings;
pub(crate) use thread::{Command, Listening, WorkerHandle, WorkerSetup};

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use crate::explain::Recorder;

/// What every task of a worker can reach.
pub(crate) struct Worker {
    pub(crate) surroundings: Rc<Surroundings>,
    pub(crate) date: Date,
    pub(crate) connections: Rc<Connections>,
    /// Written into `x-forwarded-for` for clients on loopback.
    pub(crate) node_address: IpAddr,
    state: RefCell<Rc<State>>,
    generation: Cell<u64>,
    next_id: Cell<u64>,
}

impl Worker {
    /// A worker that serves `state`, with no listener yet.
    pub(crate) fn new(surroundings: &Rc<Surroundings>, node_address: IpAddr, state: Rc<State>) -> Worker {
        Worker {
            surroundings: Rc::clone(surroundings),
            date: Date::default(),
            connections: Rc::new(Connections::default()),
            node_address,
            state: RefCell::new(state),
            generation: Cell::new(0),
            next_id: Cell::new(0),
        }
    }

    /// Who listens while a request is explained.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.surroundings.recorder()
    }

    /// Time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.surroundings.clock
    }

    /// Dice.
    pub(crate) fn dice(&self) -> &Dice {
        &self.surroundings.dice
    }

    /// The configuration that is served now.
    pub(crate) fn state(&self) -> Rc<State> {
        Rc::clone(&self.state.borrow())
    }

    /// Serves another configuration from now on; requests under way keep theirs.
    pub(crate) fn serve(&self, state: Rc<State>) {
        self.surroundings.serve(&state);
        self.state.replace(state);
        self.generation.set(self.generation.get().wrapping_add(1));
    }

    /// Changes with the configuration.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// A number no other connection of the gateway has.
    pub(crate) fn next_connection_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        id.wrapping_mul(1024).wrapping_add(u64::try_from(self.surroundings.index).unwrap_or_default())
    }
}
