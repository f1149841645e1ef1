//! What a filter costs in this host: `cargo run --release -p vm --example cost -- MODULE.wasm [CONFIGURATION…]`.
//!
//! For each configuration: nanoseconds per request (create, request headers, response headers, log, done), and once: load, start, and what a dead VM costs.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for the terminal")]

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
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
    let (cold, _) = timed(|| engine().load(&wasm).expect("a module"));
    let (warm, module) = timed(|| engine().load(&wasm).expect("a module"));
    let _ = std::fs::remove_dir_all(&folder);
    println!("load: compiled {}, from the cache {}", millis(cold), millis(warm));
    starts(&module, configurations.first().map_or("", String::as_str));
    for configuration in configurations.iter().map(String::as_str).chain(configurations.is_empty().then_some("")) {
        println!("{configuration:>12}: {} ns a request", per_request(&module, configuration));
    }
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

fn starts(module: &Module, configuration: &str) {
    const TIMES: u32 = 200;
    drop(start(module, configuration, Fidelity::Envoy));
    let before = resident();
    let (all, vms) = timed(|| (0..TIMES).map(|_| start(module, configuration, Fidelity::Envoy)).collect::<Vec<_>>());
    let memory = vms.iter().map(Vm::memory_bytes).sum::<usize>() / vms.len();
    let idle = resident().saturating_sub(before) / u64::from(TIMES);
    println!(
        "start, configured: {}; linear memory {} KiB, resident {idle} KiB a VM that idles",
        micros(all / TIMES),
        memory >> 10
    );
    let mut vm = start(module, "trap", Fidelity::Hardened);
    let (all, ()) = timed(|| {
        for _ in 0..TIMES {
            run(&mut vm, "/trap");
        }
    });
    println!("a request that traps, its VM replaced: {} ({} replaced)", micros(all / TIMES), vm.reload_stats().success);
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn per_request(module: &Module, configuration: &str) -> u128 {
    const TIMES: u32 = 200_000;
    let mut vm = start(module, configuration, Fidelity::Envoy);
    for _ in 0..TIMES / 10 {
        run(&mut vm, "/");
    }
    // The least of some runs: this measures the code, not the machine's other tenants.
    (0..5)
        .map(|_| timed(|| (0..TIMES).for_each(|_| run(&mut vm, "/"))).0)
        .min()
        .map_or(0, |all| (all / TIMES).as_nanos())
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

fn timed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = what();
    (start.elapsed(), value)
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

fn micros(duration: Duration) -> String {
    format!("{:.1} us", duration.as_secs_f64() * 1e6)
}
