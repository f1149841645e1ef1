//! A gateway without sockets, for one request at a time: the same connection manager, filters, modules and router as a
//! serving gateway, on connections in memory, with time of its own. What it says about a request is told by the code
//! that decides about it, while it decides.
//!
//! Time stands still while anything can be done, and moves to the next timer when nothing can: a delay of an hour is
//! explained at once.

mod account;
mod kit;
mod origin;
mod origin_http1;
mod question;
mod recorder;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::LocalSet;

pub use account::{
    Account, Change, FilterStep, Forwarded, MappingStep, MirrorStep, ReplyStep, RetryStep, RouteAction, Routing, Try,
    Way,
};
pub(crate) use origin::Stage;
pub use origin::{Answer, Origins, Seen, always_200};
pub use question::Question;
pub(crate) use recorder::Recorder;

use self::kit::Kit;
use crate::connection::{self, Io};
use crate::edge::{ConnectionInfo, Protocol, TlsInfo};
use crate::gateway::{GatewayConfig, StartError};
use crate::http1::{Decoded, HeadReader, parse_response};
use crate::snapshot::{FilterChain, ListenerConfig, Network, Snapshot};
use crate::tls::{Asked, Failure};
use crate::worker::{Clock, Dice, Place, State, Surroundings, Worker, WorkerSetup};

/// A gateway that answers questions instead of connections.
pub struct Rehearsal {
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    kit: Kit,
    snapshot: Arc<Snapshot>,
    origins: Rc<Origins>,
    seed: u64,
    clock: Clock,
    recorder: Rc<Recorder>,
    worker: Rc<Worker>,
}

/// A connection in memory holds so many bytes before its writer waits.
const ROOM: usize = 1024 * 1024;
/// Nothing a gateway does for one request takes longer, in its own time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The gateway's own address, where Envoy writes it for clients on loopback.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Rehearsal {
    /// Compiles the configuration and starts its modules, as [`crate::Gateway::start`] does; binds nothing, logs no access.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(mut config: GatewayConfig, origins: Rc<Origins>) -> Result<Rehearsal, StartError> {
        silence(&mut config.bootstrap);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| StartError::Config(vec![format!("no runtime: {error}")]))?;
        let kit = Kit::new(&config.bootstrap, config.cache_dir, config.hardened)?;
        let snapshot = kit.compile(config.bootstrap)?;
        let (local, recorder, seed) = (LocalSet::new(), Rc::new(Recorder::default()), config.seed.unwrap_or_default());
        let clock = runtime.block_on(async { Clock::of_the_runtime() });
        let begun = local.block_on(&runtime, async { worker(&kit, &snapshot, &origins, &recorder, clock, seed) })?;
        let mut rehearsal = Rehearsal { runtime, local, kit, snapshot, origins, seed, clock, recorder, worker: begun };
        rehearsal.settle();
        rehearsal.recorder.take();
        Ok(rehearsal)
    }

    /// Everything as it was at the start: modules, buckets, balancers; and dice of its own for `turn`.
    ///
    /// # Errors
    /// As [`Rehearsal::start`].
    pub fn restart(&mut self, turn: u64) -> Result<(), StartError> {
        let seed = self.seed ^ turn.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        if self.has_memory() {
            self.kit.forget();
            let Rehearsal { runtime, local, kit, snapshot, origins, recorder, clock, .. } = self;
            let snapshot = match snapshot.has_buckets() {
                true => kit.compile(snapshot.bootstrap.as_ref().clone())?,
                false => Arc::clone(snapshot),
            };
            let fresh = local.block_on(runtime, async { worker(kit, &snapshot, origins, recorder, *clock, seed) })?;
            (self.worker, self.snapshot) = (fresh, snapshot);
            self.settle();
            self.recorder.take();
        }
        self.worker.dice().seed_again(seed);
        Ok(())
    }

    /// Does anything outlive a request: what modules share, or buckets?
    fn has_memory(&self) -> bool {
        self.kit.shared.data().bytes() > 0 || self.snapshot.has_buckets()
    }

    /// The configuration, without access logs.
    pub fn bootstrap(&self) -> &xds::Bootstrap {
        &self.snapshot.bootstrap
    }

    /// Names of the listeners, in the order of the configuration.
    pub fn listeners(&self) -> impl Iterator<Item = &str> {
        self.snapshot.listeners.iter().map(|listener| listener.name.as_ref())
    }

    /// Sends one request and tells what became of it.
    pub fn ask(&mut self, question: &Question) -> Account {
        self.recorder.take();
        let Rehearsal { runtime, local, worker, recorder, .. } = self;
        local.block_on(runtime, ask(worker, recorder, question));
        self.recorder.take()
    }

    /// The same, and then asks modules for what they counted.
    pub fn ask_in_full(&mut self, question: &Question) -> Account {
        let before = self.counters();
        let mut account = self.ask(question);
        self.settle();
        account.counted = self.counted_since(&before);
        account
    }

    /// Rings every module's timer, so that it reports what it counted; no time passes.
    pub fn settle(&mut self) {
        let Rehearsal { runtime, local, worker, .. } = self;
        local.block_on(runtime, async {
            let plugins: Vec<_> =
                worker.surroundings.plugins.borrow().values().filter_map(std::rc::Weak::upgrade).collect();
            for plugin in plugins.iter().filter(|plugin| plugin.ask(vm::Vm::tick_period).is_some()) {
                plugin.enter(vm::Vm::on_tick);
            }
        });
    }

    /// What modules have counted so far.
    pub fn counters(&self) -> Vec<(String, u64)> {
        self.kit.counters()
    }

    /// What was counted since `before`.
    pub fn counted_since(&self, before: &[(String, u64)]) -> Vec<(String, u64)> {
        let old = |name: &str| before.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        let new = self.counters().into_iter().map(|(name, count)| {
            let more = count.saturating_sub(old(&name));
            (name, more)
        });
        new.filter(|(_, more)| *more > 0).collect()
    }
}

/// Without access logs: nothing is served.
fn silence(bootstrap: &mut xds::Bootstrap) {
    let listeners = bootstrap.static_resources.iter_mut().flat_map(|resources| &mut resources.listeners);
    let chains =
        listeners.flat_map(|listener| listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain));
    for filter in chains.flat_map(|chain| &mut chain.filters) {
        if let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &mut filter.typed_config {
            manager.access_log.clear();
        }
    }
}

fn worker(
    kit: &Kit,
    snapshot: &Arc<Snapshot>,
    origins: &Rc<Origins>,
    recorder: &Rc<Recorder>,
    clock: Clock,
    seed: u64,
) -> Result<Rc<Worker>, StartError> {
    // Nobody reads what queues announce: what they hold is taken by the module that waits for it on its next tick.
    let (commands, _) = unbounded_channel();
    let setup = WorkerSetup {
        index: 0,
        clock,
        seed,
        registry: kit.registry.clone(),
        shared: kit.shared.clone(),
        trace: None,
        node_address: NODE,
    };
    let mut around = Surroundings::new(&setup, Dice::seeded(seed, 0), commands);
    around.rehearse(Stage::new(Rc::clone(origins)), Rc::clone(recorder));
    let around = Rc::new(around);
    let state = Rc::new(State::build(snapshot, &around, None)?);
    around.serve(&state);
    Ok(Rc::new(Worker::new(&around, NODE, state)))
}

async fn ask(worker: &Rc<Worker>, recorder: &Rc<Recorder>, question: &Question) {
    let state = worker.state();
    let named = |listener: &&Arc<ListenerConfig>| *listener.name == *question.listener;
    let Some(listener) = state.snapshot.listeners.iter().find(named).map(Arc::clone) else { return };
    drop(state);
    let alpn = [b"http/1.1".to_vec()];
    let asked = Asked {
        server_name: question.server_name.as_deref(),
        tls: question.tls,
        alpn: if question.tls { &alpn } else { &[] },
    };
    let picked = listener.choice.pick(asked).and_then(|at| Some((at, listener.chains.get(at)?)));
    // A client that speaks TLS to a chain without it, or the other way round, gets no request across.
    let Some((at, chain)) = picked.filter(|(_, chain)| chain.understands(question.tls)) else {
        return recorder.note(|account| account.way = Way::NoFilterChain);
    };
    recorder.note(|account| account.filter_chain = at);
    match &chain.network {
        Network::Tcp(proxy) => {
            let clusters = proxy.clusters.iter().map(|(name, weight)| (name.to_string(), *weight)).collect();
            recorder.note(|account| account.way = Way::Tcp(clusters));
        }
        Network::Http(_) => {
            recorder.note(|account| account.way = Way::Http);
            let tls = match handshake(chain, question) {
                Ok(tls) => tls,
                Err(refused) => {
                    return recorder.note(|account| (account.way, account.details) = (Way::NoHandshake, refused.text));
                }
            };
            let place = Place { listener: Arc::clone(&listener.name), chain: at };
            let exchange = exchange(worker, recorder, place, info(worker, &listener, question, tls), question);
            // A request that waits for what never comes ends like this, long after every other timeout.
            let _ = tokio::time::timeout(PATIENCE, exchange).await;
        }
    }
}

/// As the chain's own rules judge the client.
fn handshake(chain: &FilterChain, question: &Question) -> Result<Option<TlsInfo>, Failure> {
    let Some(tls) = chain.transport.tls() else { return Ok(None) };
    let judged = tls.judge(question.server_name.as_deref().unwrap_or_default(), &question.certificates)?;
    Ok(Some(TlsInfo { version: "TLSv1.3".to_owned(), cipher: "TLS_AES_128_GCM_SHA256".to_owned(), ..judged }))
}

fn info(worker: &Worker, listener: &ListenerConfig, question: &Question, tls: Option<TlsInfo>) -> ConnectionInfo {
    ConnectionInfo {
        id: worker.next_connection_id(),
        remote: SocketAddr::new(question.client, 50_000),
        relay: None,
        local: listener.address,
        node_address: NODE,
        protocol: Protocol::Http11,
        tls: tls.map(Arc::new),
    }
}

/// The whole life of a connection with one request.
async fn exchange(
    worker: &Rc<Worker>,
    recorder: &Rc<Recorder>,
    place: Place,
    info: ConnectionInfo,
    question: &Question,
) {
    let (mut client, server) = tokio::io::duplex(ROOM);
    let alpn = question.tls.then(|| Bytes::from_static(b"http/1.1"));
    let serving = connection::serve(Rc::clone(worker), place, info, Io::Other(Box::new(server)), BytesMut::new(), alpn);
    let serving = tokio::task::spawn_local(serving);
    // A gateway that answers before it has read everything may close first.
    let _ = client.write_all(&question.bytes()).await;
    if let Some((status, head, body)) = response(&mut client, question).await {
        recorder.note(|account| (account.status, account.response, account.body) = (Some(status), head, body));
    }
    drop(client);
    // It ends by itself: its client is gone.
    let _ = serving.await;
}

async fn response(client: &mut DuplexStream, question: &Question) -> Option<(u16, crate::headers::HeaderList, Bytes)> {
    let (mut input, mut reader) = (BytesMut::new(), HeadReader::default());
    let head = loop {
        match reader.take(&mut input, ROOM) {
            Ok(Some(head)) => {
                let head = parse_response(&head, question.method.as_bytes(), false).ok()?;
                if head.status >= 200 || head.status == 101 {
                    break head;
                }
            }
            Ok(None) if client.read_buf(&mut input).await.ok()? == 0 => return None,
            Ok(None) => {}
            Err(_) => return None,
        }
    };
    let (mut decoder, mut body) = (head.body.decoder(crate::http1::BodyRules::default()), BytesMut::new());
    loop {
        match decoder.decode(&mut input) {
            Ok(Decoded::Data(data)) => body.extend_from_slice(&data),
            Ok(Decoded::Trailers(_)) => {}
            Ok(Decoded::NeedMore) if client.read_buf(&mut input).await.ok()? > 0 => {}
            Ok(Decoded::NeedMore | Decoded::End) | Err(_) => return Some((head.status, head.headers, body.freeze())),
        }
    }
}
