//! A worker's thread: its life from the first configuration to the last connection, and what it can be told meanwhile.

use std::collections::HashMap;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

use super::{Clock, Dice, State, Surroundings, Worker};
use crate::gateway::StartError;
use crate::listener;
use crate::snapshot::Snapshot;
use crate::stats::Registry;

/// A listening socket of one worker.
pub(crate) struct Listening {
    pub(crate) name: Arc<str>,
    pub(crate) socket: TcpListener,
}

/// What a worker can be told.
pub(crate) enum Command {
    /// Build a configuration and keep it ready.
    Prepare(Arc<Snapshot>, Sender<Result<(), StartError>>),
    /// Serve what was prepared, with these sockets more, and without these listeners.
    Commit { added: Vec<Listening>, removed: Vec<Arc<str>> },
    /// Drop what was prepared.
    Abandon,
    /// End at once.
    Stop,
    /// Take no more connections, finish those there are, and say when.
    Drain(oneshot::Sender<()>),
    /// A queue a plugin of this worker waits for has something in it.
    QueueReady { plugin: u64, queue: vm::QueueId },
}

/// What a worker is made of.
pub(crate) struct WorkerSetup {
    pub(crate) index: usize,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    pub(crate) registry: Registry,
    pub(crate) shared: vm::Shared,
    pub(crate) trace: Option<vm::TraceLog>,
    pub(crate) node_address: IpAddr,
}

/// The gateway's end of a worker.
pub(crate) struct WorkerHandle {
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// How long an idle connection may still send a request after a drain began; it is answered with `connection: close`.
const LAST_CHANCE: Duration = Duration::from_millis(500);
/// How often outlier detection is asked whether it is due.
const GLANCE: Duration = Duration::from_millis(100);
/// How often idle connections to origins are looked at.
const SWEEP: Duration = Duration::from_secs(5);

impl WorkerHandle {
    /// Starts the thread; it waits for its first [`Command::Prepare`].
    pub(crate) fn start(setup: WorkerSetup) -> std::io::Result<WorkerHandle> {
        let (commands, inbox) = unbounded_channel();
        let back = commands.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("worker-{}", setup.index)).spawn(move || {
            LocalSet::new().block_on(&runtime, run(setup, back, inbox));
        })?;
        Ok(WorkerHandle { commands, thread: Some(thread) })
    }

    /// Tells it; false when it is gone.
    pub(crate) fn tell(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.tell(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

async fn run(setup: WorkerSetup, commands: UnboundedSender<Command>, mut inbox: UnboundedReceiver<Command>) {
    let dice = Dice::seeded(setup.seed, setup.index);
    let around = Rc::new(Surroundings::new(&setup, dice, commands));
    let Some((worker, mut accepting)) = first_configuration(&setup, &around, &mut inbox).await else { return };
    tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    if setup.index == 0 {
        tokio::task::spawn_local(take_back(Rc::clone(&worker)));
    }
    let mut prepared = None;
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Prepare(snapshot, reply) => {
                let built = State::build(&snapshot, &around, Some(&worker.state()));
                // Nobody waits for the answer of a gateway that is going away.
                let _ = reply.send(built.map(|state| prepared = Some(Rc::new(state))));
            }
            Command::Commit { added, removed } => {
                if let Some(state) = prepared.take() {
                    worker.serve(state);
                }
                for name in removed {
                    accepting.stop(&name);
                }
                accepting.start(&worker, added);
            }
            Command::Abandon => prepared = None,
            Command::Drain(done) => {
                accepting.stop_all();
                tokio::task::spawn_local(drain(Rc::clone(&worker), done));
            }
            Command::QueueReady { plugin, queue } => {
                let plugin = around.plugins.borrow().get(&plugin).and_then(std::rc::Weak::upgrade);
                if let Some(plugin) = plugin {
                    plugin.enter(|vm| vm.on_queue_ready(queue));
                }
            }
            Command::Stop => return,
        }
    }
}

async fn first_configuration(
    setup: &WorkerSetup,
    around: &Rc<Surroundings>,
    inbox: &mut UnboundedReceiver<Command>,
) -> Option<(Rc<Worker>, Accepting)> {
    let mut state = None;
    loop {
        match inbox.recv().await? {
            Command::Prepare(snapshot, reply) => {
                let built = State::build(&snapshot, around, None);
                // As above.
                let _ = reply.send(built.map(|built| state = Some(Rc::new(built))));
            }
            Command::Commit { added, .. } => {
                let state = state?;
                around.serve(&state);
                let worker = Rc::new(Worker::new(around, setup.node_address, state));
                let mut accepting = Accepting::default();
                accepting.start(&worker, added);
                return Some((worker, accepting));
            }
            Command::Abandon => state = None,
            Command::Drain(done) => drop(done.send(())),
            Command::QueueReady { .. } => {}
            Command::Stop => return None,
        }
    }
}

/// The listeners that take connections, and how to stop each.
#[derive(Default)]
struct Accepting(HashMap<Arc<str>, Vec<Rc<Notify>>>);

impl Accepting {
    fn start(&mut self, worker: &Rc<Worker>, added: Vec<Listening>) {
        for Listening { name, socket } in added {
            let stop = Rc::new(Notify::new());
            self.0.entry(Arc::clone(&name)).or_default().push(Rc::clone(&stop));
            tokio::task::spawn_local(listener::accept(Rc::clone(worker), name, socket, stop));
        }
    }

    fn stop(&mut self, name: &str) {
        for stop in self.0.remove(name).unwrap_or_default() {
            stop.notify_one();
        }
    }

    fn stop_all(&mut self) {
        for (_, stops) in self.0.drain() {
            stops.iter().for_each(|stop| stop.notify_one());
        }
    }
}

async fn drain(worker: Rc<Worker>, done: oneshot::Sender<()>) {
    worker.connections.drain();
    let last_chance = tokio::time::timeout(LAST_CHANCE, worker.connections.gone()).await;
    if last_chance.is_err() {
        worker.connections.close_waiting();
        worker.connections.gone().await;
    }
    // Nobody waits for it: fine.
    let _ = done.send(());
}

async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let now = worker.clock().now();
        for cluster in worker.state().clusters.values() {
            cluster.endpoints.iter().for_each(|endpoint| endpoint.sweep(cluster, now));
        }
    }
}

/// Outlier detection's clock, on one worker for all.
async fn take_back(worker: Rc<Worker>) {
    let mut due: HashMap<Arc<str>, Duration> = HashMap::new();
    loop {
        tokio::time::sleep(GLANCE).await;
        let (state, now) = (worker.state(), worker.clock().now());
        for (name, cluster) in &state.clusters {
            let Some(interval) = cluster.config.tick_interval() else { continue };
            let next = due.entry(Arc::clone(name)).or_insert(now + interval);
            if now >= *next {
                *next = now + interval;
                cluster.config.tick(now, &mut || worker.dice().roll());
            }
        }
        due.retain(|name, _| state.clusters.contains_key(name));
    }
}
