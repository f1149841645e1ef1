//! What a filter costs in this host: `cargo run --release -p vm --example cost -- MODULE.wasm [CONFIGURATION…]`.
//!
//! JSON: for each configuration the time of a request (create, request headers, response headers, log, done); once, the load with and without a cache, the start
//! of a configured VM and what it keeps resident, and a request that traps, its VM replaced. The module is to trap on `/trap` when its configuration is `trap`.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for the terminal")]

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::json;
use vm::{
    Admission, ClusterState, Engine, EngineConfig, Fidelity, HeaderList, LogLevel, LogMaps, Module, NoInfo,
    PluginConfig, QueueId, Shared, Value, Verdict, Vm, World,
};

/// A world of which these measurements need nothing.
struct Nothing;

impl World for Nothing {
    fn now(&mut self) -> u64 {
        0
    }

    fn monotonic(&mut self) -> u64 {
        0
    }

    fn random(&mut self, _: &mut [u8]) {}

    fn log_level(&self) -> LogLevel {
        LogLevel::Critical
    }

    fn log(&mut self, _: LogLevel, _: &str) {}

    fn cluster(&self, _: &[u8]) -> ClusterState {
        ClusterState::Unknown
    }

    fn attribute(&self, _: &[&[u8]]) -> Option<Value> {
        None
    }

    fn queue_waker(&self) -> Arc<dyn Fn(QueueId) + Send + Sync> {
        Arc::new(|_| ())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("usage: cost MODULE.wasm [CONFIGURATION…]");
    let wasm = wat::parse_file(&path).expect("a module, binary or text");
    let configurations: Vec<String> = arguments.collect();
    let folder = std::env::temp_dir().join(format!("vm-cost-{}", std::process::id()));
    let engine = || Engine::new(EngineConfig { cache_dir: Some(folder.clone()) }).expect("an engine");
    let began = Instant::now();
    engine().load(&wasm).expect("a module");
    let cold = began.elapsed();
    let warm = least(20, || drop(engine().load(&wasm).expect("a module")));
    let module = engine().load(&wasm).expect("a module");
    let _ = std::fs::remove_dir_all(&folder);
    let mut report = starts(&module, configurations.first().map_or("", String::as_str));
    report.extend([
        ("compiled_ms".to_owned(), cold.as_secs_f64() * 1e3),
        ("cached_load_ms".to_owned(), warm.as_secs_f64() * 1e3),
    ]);
    let requests: BTreeMap<&str, f64> = configurations
        .iter()
        .map(|configuration| (configuration.as_str(), micros(per_request(&module, configuration))))
        .collect();
    println!("{:#}", json!({"once": report, "request_us": requests}));
}

fn start(module: &Module, configuration: &str, fidelity: Fidelity) -> Vm {
    let plugin = PluginConfig {
        name: "cost".to_owned(),
        configuration: Bytes::copy_from_slice(configuration.as_bytes()),
        fidelity,
        ..PluginConfig::default()
    };
    Vm::start(module, plugin, &Shared::default(), Box::new(Nothing)).expect("a plugin that starts")
}

fn starts(module: &Module, configuration: &str) -> BTreeMap<String, f64> {
    const TIMES: u32 = 200;
    drop(start(module, configuration, Fidelity::Envoy));
    let before = resident();
    let vms: Vec<Vm> = (0..TIMES).map(|_| start(module, configuration, Fidelity::Envoy)).collect();
    let idle = resident().saturating_sub(before) / TIMES;
    drop(vms);
    let started = least(TIMES, || drop(start(module, configuration, Fidelity::Envoy)));
    let mut vm = start(module, "trap", Fidelity::Hardened);
    let trapped = least(TIMES, || run(&mut vm, "/trap"));
    assert!(vm.reload_stats().success > u64::from(TIMES), "a module that traps when it is configured as `trap`");
    [("start_us", micros(started)), ("trap_us", micros(trapped)), ("idle_kib", f64::from(idle))]
        .map(|(name, figure)| (name.to_owned(), figure))
        .into()
}

/// Resident memory of this process, in KiB.
fn resident() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn per_request(module: &Module, configuration: &str) -> Duration {
    const TIMES: u32 = 200_000;
    let mut vm = start(module, configuration, Fidelity::Envoy);
    for _ in 0..TIMES / 10 {
        run(&mut vm, "/");
    }
    least(TIMES, || run(&mut vm, "/"))
}

/// CPU time of one of so many, in the best of some series: this measures the code, not the machine's other tenants.
fn least(times: u32, mut what: impl FnMut()) -> Duration {
    let series = (0..5).map(|_| {
        let before = cpu();
        (0..times).for_each(|_| what());
        cpu().saturating_sub(before)
    });
    series.min().map_or(Duration::ZERO, |all| all / times)
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number"))
}

fn run(vm: &mut Vm, path: &'static str) {
    let Admission::Stream(id) = vm.create_stream(Rc::new(NoInfo)) else { return };
    let outcome = vm.on_request_headers(id, request(path), true);
    let request_headers = outcome.released.headers;
    if outcome.verdict == Verdict::Continue {
        let outcome = vm.on_response_headers(id, response(), true);
        let maps = vm.on_log(
            id,
            LogMaps { request_headers, response_headers: outcome.released.headers, response_trailers: None },
        );
        drop(maps);
    }
    vm.on_done(id);
}

fn list(pairs: &[(&'static str, &'static str)]) -> HeaderList {
    pairs
        .iter()
        .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
        .collect()
}

fn request(path: &'static str) -> HeaderList {
    list(&[
        (":authority", "shop.example"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "curl/8.0"),
        ("accept", "*/*"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "5fc526d7-170a-4c5a-9bd6-1ba84db9058d"),
    ])
}

fn response() -> HeaderList {
    list(&[
        (":status", "200"),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("date", "Sat, 21 Nov 2026 08:00:00 GMT"),
        ("server", "envoy"),
    ])
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
