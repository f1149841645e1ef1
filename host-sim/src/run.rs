//! `host-sim run`: serves the gateway until it is told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy::{Gateway, GatewayConfig, StartError};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Admin};
use crate::command_line::{AccessLogFormat, Fidelity, GatewayArgs, RunArgs};
use crate::dashboard::{Explainer, Known};
use crate::failure::Failure;
use crate::otlp;
use crate::plan::{EchoBackends, Plan};
use crate::progress::Progress;
use crate::watch::{self, Watch};

/// Serves until SIGTERM or SIGINT, then drains: new connections are refused, running requests finish.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    // Before anything is read: what changes while the gateway starts is a change.
    let watch = args.watch.then(|| Watch::new(args));
    let plan = Plan::make(&args.gateway, true)?;
    plan.say_unused();
    plan.say_warnings();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::World(format!("no runtime: {error}")))?;
    let served = runtime.block_on(serve(args, plan, watch));
    // A question to DNS may still be open.
    runtime.shutdown_background();
    served
}

async fn serve(args: &RunArgs, mut plan: Plan, mut watch: Option<Watch>) -> Result<(), Failure> {
    let world = |error: std::io::Error| Failure::World(format!("signals: {error}"));
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(world)?, signal(SignalKind::interrupt()).map_err(world)?);
    let started = Instant::now();
    let trace = args.trace.as_deref().map(trace_log).transpose()?;
    let run_args = args;
    let args = &args.gateway;
    let admin_socket = admin::bind(args.admin).await?;
    let mut echo = EchoBackends::new();
    plan.start_echo(&mut echo).await?;
    observe(&mut plan, run_args)?;
    let progress = Progress::of("compiling modules");
    let gateway = Arc::new(Gateway::start(config(args, plan.bootstrap.clone(), trace)).map_err(refused)?);
    drop(progress);
    if let Ok(address) = admin_socket.local_addr() {
        crate::say::note(format_args!("admin on {address}"));
    }
    for (name, address) in gateway.listeners() {
        let port = plan.server_ports.get(&name).filter(|port| **port != 0).map_or_else(|| name.clone(), u16::to_string);
        crate::say::note(format_args!("port {port} on {address}"));
    }
    let no_thread = |error: std::io::Error| Failure::World(format!("no thread: {error}"));
    let explainer = Arc::new(Explainer::start(args, known(&plan, &echo)).map_err(no_thread)?);
    let admin = Admin { gateway: Arc::clone(&gateway), explainer: Arc::clone(&explainer), started };
    tokio::spawn(admin::serve(admin_socket, Arc::new(admin)));
    let names = tokio::spawn(follow_names(Arc::clone(&gateway)));
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = changed => watch::reload(run_args, &gateway, &explainer, &mut echo).await,
        }
    }
    names.abort();
    crate::say::note(format_args!("draining: new connections are refused, running requests finish"));
    gateway.drain().finished().await;
    gateway.flush_traces();
    Ok(())
}

/// Asks for the addresses behind clusters' names, again and again, as often as the configuration says.
async fn follow_names(gateway: Arc<Gateway>) {
    /// While no cluster has a name; and not more often than this.
    const IDLE: Duration = Duration::from_secs(5);
    const OFTEN: Duration = Duration::from_secs(1);
    loop {
        tokio::time::sleep(gateway.dns_refresh().unwrap_or(IDLE).max(OFTEN)).await;
        let asked = Arc::clone(&gateway);
        match tokio::task::spawn_blocking(move || asked.refresh_names()).await {
            Ok(Ok(true)) => crate::say::note(format_args!("DNS says something new: the addresses it names are served")),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => crate::say::note(format_args!("DNS says something new, which cannot be served: {error}")),
            Err(_) => return,
        }
    }
}

/// What the dashboard may know of what is served.
pub(crate) fn known(plan: &Plan, echo: &EchoBackends) -> Known {
    Known { plan: Arc::new(plan.clone()), echo: echo.iter().map(|(name, address)| (*address, name.clone())).collect() }
}

/// Whoever the arguments name is told of requests: an access log, a collector of traces.
///
/// # Errors
/// Exit 5 for a collector nobody knows.
pub(crate) fn observe(plan: &mut Plan, args: &RunArgs) -> Result<(), Failure> {
    log_access(plan, args);
    args.otlp.as_ref().map_or(Ok(()), |url| otlp::trace(&mut plan.bootstrap, url))
}

/// Every connection manager writes Istio's access log where the arguments say.
fn log_access(plan: &mut Plan, args: &RunArgs) {
    let Some(path) = &args.access_log else { return };
    let path = if path.as_os_str() == "-" { "/dev/stdout".into() } else { path.to_string_lossy() };
    let encoding = match args.access_log_format {
        AccessLogFormat::Text => proxy::access_log::Encoding::Text,
        AccessLogFormat::Json => proxy::access_log::Encoding::Json,
    };
    let log = proxy::access_log::istio_file_log(&path, encoding, "");
    for listener in plan.bootstrap.static_resources.iter_mut().flat_map(|resources| &mut resources.listeners) {
        let chains = listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain);
        for filter in chains.flat_map(|chain| &mut chain.filters) {
            if let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &mut filter.typed_config {
                manager.access_log = vec![log.clone()];
            }
        }
    }
}

/// What a gateway is started with.
pub(crate) fn config(args: &GatewayArgs, bootstrap: xds::Bootstrap, trace: Option<vm::TraceLog>) -> GatewayConfig {
    GatewayConfig {
        bootstrap,
        workers: args.workers.map_or_else(cores, std::num::NonZeroUsize::get),
        hardened: args.fidelity == Fidelity::Hardened,
        seed: args.seed,
        cache_dir: cache_dir(),
        trace,
    }
}

fn trace_log(path: &std::path::Path) -> Result<vm::TraceLog, Failure> {
    vm::TraceLog::create(path).map_err(|error| Failure::World(format!("--trace {}: {error}", path.display())))
}

/// `$XDG_CACHE_HOME/host-sim`, or `~/.cache/host-sim`.
pub(crate) fn cache_dir() -> Option<std::path::PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(std::path::PathBuf::from);
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("host-sim"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Why a gateway did not start, with the exit code that says so.
pub(crate) fn refused(error: StartError) -> Failure {
    match error {
        StartError::Module { .. } => Failure::Module(error.to_string()),
        StartError::Certificate(_) => Failure::World(error.to_string()),
        StartError::Config(problems) => Failure::Manifests(problems),
        StartError::Bind { .. } => Failure::World(format!("{error}; choose another port with --port-map SERVER=LOCAL")),
    }
}
