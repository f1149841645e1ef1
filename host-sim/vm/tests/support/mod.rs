//! What the tests share: a world that stands still, and modules written as text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod envoy;
mod module_text;

#[allow(unused_imports, reason = "each test binary uses its part")]
pub(crate) use module_text::module_text;

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex},
};

use bytes::Bytes;
use vm::{
    Admission, ClusterState, Engine, EngineConfig, HeaderList, LoadError, LogLevel, Module, NoInfo, PluginConfig,
    QueueId, Shared, StartError, StreamId, StreamInfo, Value, Vm, World,
};

/// One engine for all tests of a binary.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineConfig::default()).expect("an engine"));

/// A clock that moves when told, dice that count, a log that is kept.
#[derive(Clone, Default)]
pub(crate) struct Still(pub(crate) Rc<RefCell<StillState>>);

#[derive(Default)]
pub(crate) struct StillState {
    pub(crate) now: u64,
    pub(crate) log: Vec<(LogLevel, String)>,
    pub(crate) dice: u8,
    pub(crate) clusters: HashMap<Vec<u8>, ClusterState>,
    pub(crate) woken: Arc<Mutex<Vec<QueueId>>>,
}

impl Still {
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.borrow().log.iter().map(|(level, line)| format!("[{}] {line}", level.as_str())).collect()
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.0.borrow_mut().now += millis * 1_000_000;
    }

    pub(crate) fn woken(&self) -> Vec<QueueId> {
        std::mem::take(&mut self.0.borrow().woken.lock().expect("no test panics here"))
    }
}

impl World for Still {
    fn now(&mut self) -> u64 {
        1_700_000_000_000_000_000 + self.0.borrow().now
    }

    fn monotonic(&mut self) -> u64 {
        self.0.borrow().now
    }

    fn random(&mut self, out: &mut [u8]) {
        let mut state = self.0.borrow_mut();
        for byte in out {
            *byte = state.dice;
            state.dice = state.dice.wrapping_add(1);
        }
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }

    fn log(&mut self, level: LogLevel, line: &str) {
        assert!(!line.chars().any(char::is_control), "a line of the log holds control characters: {line:?}");
        self.0.borrow_mut().log.push((level, line.to_owned()));
    }

    fn cluster(&self, name: &[u8]) -> ClusterState {
        self.0.borrow().clusters.get(name).copied().unwrap_or(ClusterState::Unknown)
    }

    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        match path {
            [b"xds"] => Some(Value::Opaque),
            [b"xds", b"node", b"id"] => Some(Value::text("probe-node")),
            _ => None,
        }
    }

    fn queue_waker(&self) -> Arc<dyn Fn(QueueId) + Send + Sync> {
        let woken = self.0.borrow().woken.clone();
        Arc::new(move |queue| woken.lock().expect("no test panics here").push(queue))
    }
}

/// Attributes from a table, filter state in a map.
#[derive(Default)]
pub(crate) struct Info {
    pub(crate) attributes: HashMap<&'static str, Value>,
    pub(crate) state: RefCell<HashMap<Vec<u8>, Bytes>>,
}

impl StreamInfo for Info {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let path = path.iter().map(|segment| String::from_utf8_lossy(segment)).collect::<Vec<_>>().join(".");
        self.attributes.get(path.as_str()).cloned()
    }

    fn filter_state(&self, key: &[u8]) -> Option<Bytes> {
        self.state.borrow().get(key).cloned()
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes) {
        self.state.borrow_mut().insert(key.to_vec(), value);
    }
}

pub(crate) fn load_text(text: &str) -> Result<Module, LoadError> {
    ENGINE.load(&wat::parse_str(text).expect("the text of a module"))
}

pub(crate) fn load(imports: &str, body: &str) -> Module {
    load_text(&module_text(imports, body)).expect("a module that loads")
}

pub(crate) fn config() -> PluginConfig {
    PluginConfig { name: "test.plugin".to_owned(), root_id: "root".to_owned(), ..PluginConfig::default() }
}

pub(crate) fn start_with(module: &Module, config: PluginConfig) -> (Result<Vm, StartError>, Still) {
    let world = Still::default();
    (Vm::start(module, config, &Shared::default(), Box::new(world.clone())), world)
}

pub(crate) fn start(module: &Module) -> (Vm, Still) {
    let (vm, world) = start_with(module, config());
    (vm.expect("a plugin that starts"), world)
}

/// A stream of which nothing is known.
pub(crate) fn stream(vm: &mut Vm) -> StreamId {
    match vm.create_stream(Rc::new(NoInfo)) {
        Admission::Stream(id) => id,
        other => panic!("no stream but {other:?}"),
    }
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderList {
    pairs
        .iter()
        .map(|(name, value)| (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes())))
        .collect()
}

/// `GET /` for `a.example`, and what is added.
pub(crate) fn request(more: &[(&str, &str)]) -> HeaderList {
    let mut list = headers(&[(":authority", "a.example"), (":path", "/"), (":method", "GET"), (":scheme", "http")]);
    list.extend(headers(more));
    list
}

pub(crate) fn text(list: &HeaderList) -> String {
    list.iter()
        .map(|(name, value)| format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
        .collect()
}
