//! The command line: commands, flags and the forms of their values.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::otlp::OtlpUrl;

/// Runs, tests and explains an Istio ingress gateway on this machine.
#[derive(Debug, Parser)]
#[command(name = "host-sim", version, propagate_version = true)]
pub struct Cli {
    /// How much to say on stderr.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn", value_parser = log_level)]
    pub log_level: log::LevelFilter,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gateway until SIGTERM or SIGINT
    #[command(after_help = "Example:\n  host-sim run -f manifests/examples/shop --wasm-dir target/filters")]
    Run(RunArgs),
    /// Say whether a running gateway is ready: exit code 0 when it is
    #[command(after_help = "Example:\n  host-sim ready --admin 127.0.0.1:15000")]
    Ready(ReadyArgs),
    /// Run a trace of `run --trace` again, without network, clock or dice, and say where it differs
    #[command(after_help = "Example:\n  host-sim replay trace.jsonl")]
    Replay(ReplayArgs),
    /// Print an Envoy bootstrap that means the same as the manifests
    #[command(
        after_help = "Example:\n  host-sim envoy -f manifests/examples/shop --wasm-dir target/filters > envoy.json"
    )]
    Envoy(EnvoyArgs),
    /// Say which rule takes a request, and why, without opening a socket
    #[command(
        after_help = "Example:\n  host-sim explain -f manifests/examples/shop --wasm-dir target/filters http://shop.example.com/api/cart/items"
    )]
    Explain(ExplainArgs),
    /// Send requests through the gateway and compare what comes of them with what is expected
    #[command(
        after_help = "Example:\n  host-sim test -f manifests/examples/shop --wasm-dir target/filters manifests/examples/shop-tests/cases.yaml"
    )]
    Test(TestArgs),
    /// List the merged route tables, with where each route was written and why it stands where it stands
    #[command(after_help = "Example:\n  host-sim routes -f manifests/examples/shop")]
    Routes(TableArgs),
    /// List the HTTP filters of each listener in their order, and why
    #[command(after_help = "Example:\n  host-sim chain -f manifests/examples/shop")]
    Chain(TableArgs),
    /// Make an OCI image layout of a filter module that Istio can pull
    #[command(
        after_help = "Example:\n  host-sim pack target/filters/header-match.wasm -o target/header-match-image --tag 0.1.0"
    )]
    Pack(PackArgs),
    /// Say what is wrong with manifests: Istio's webhook, istioctl's analyzers, and findings of our own
    #[command(after_help = "Example:\n  host-sim lint -f manifests/examples/shop")]
    Lint(crate::lint::LintArgs),
    /// Load and configure a filter module as Envoy would
    #[command(
        after_help = "Example:\n  host-sim check target/filters/header-match.wasm --config manifests/examples/header-match.json"
    )]
    Check(CheckArgs),
    /// Say what a filter module is: ABI, exports, imports, sizes, what Envoy would refuse
    #[command(after_help = "Example:\n  host-sim inspect target/filters/header-match.wasm")]
    Inspect(InspectArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  host-sim completions bash > host-sim.bash")]
    Completions(CompletionsArgs),
    /// Write manual pages into a folder
    #[command(after_help = "Example:\n  host-sim man target/man")]
    Man(ManArgs),
}

/// Which gateway, from which manifests, where on this machine.
#[derive(Debug, Clone, Args)]
pub struct GatewayArgs {
    /// Manifests: a file, a folder (every *.yaml, *.yml and *.json below it) or - for standard input; repeats
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present = "bootstrap")]
    pub filename: Vec<PathBuf>,
    /// Instead of manifests: an Envoy bootstrap, or what Envoy's admin prints at /config_dump
    #[arg(long, value_name = "FILE", conflicts_with = "filename")]
    pub bootstrap: Option<PathBuf>,
    /// The address all listeners bind to
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// A Gateway server on port SERVER listens on LOCAL, 0 lets the kernel choose; repeats
    #[arg(long, value_name = "SERVER=LOCAL")]
    pub port_map: Vec<PortMap>,
    /// The gateway workload's labels: only what selects them applies [default: the labels the Gateways ask for]
    #[arg(long, value_name = "K=V,...", value_parser = labels)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Where a service, or a subset of it, really is; repeats
    #[arg(long, value_name = "HOST[:PORT][/SUBSET]=ADDR")]
    pub backend: Vec<BackendArg>,
    /// Services with no known endpoints get an embedded echo backend [default for run]
    #[arg(long, overrides_with = "no_echo")]
    pub echo: bool,
    /// Services with no known endpoints answer as Envoy does without endpoints
    #[arg(long, overrides_with = "echo")]
    pub no_echo: bool,
    /// Where a plugin's module is, by name or namespace/name; repeats
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_file)]
    pub wasm: Vec<(String, PathBuf)>,
    /// Where plugins' modules are: DIR/<last part of the url, without its tag>.wasm
    #[arg(long, value_name = "DIR")]
    pub wasm_dir: Option<PathBuf>,
    /// Fetch modules that are not here from where their urls lead (oci://, https://), as Istio's agent does, and keep them
    #[arg(long)]
    pub pull: bool,
    /// The admin server's address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZeroUsize>,
    /// Envoy's answers with their quirks, or only stricter ones by the published list
    #[arg(long, value_enum, default_value_t = Fidelity::Envoy)]
    pub fidelity: Fidelity,
    /// Makes clock, dice, ids and minted cookies reproducible
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Go on without resources of a security kind that is not implemented; repeats
    #[arg(long, value_name = "KIND")]
    pub allow_unsupported: Vec<String>,
}

/// What to serve, and what to keep of it.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Record every callback and hostcall of every module there, a JSON object a line; whole requests are in it
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Read changed files again; a change that is refused leaves the last good configuration serving
    #[arg(long)]
    pub watch: bool,
    /// Write an access log there in Istio's format, - for standard output
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// Istio's text lines, or Istio's JSON objects
    #[arg(long, value_enum, default_value_t = AccessLogFormat::Text, value_name = "FORMAT")]
    pub access_log_format: AccessLogFormat,
    /// Tell an OpenTelemetry collector of every request, over OTLP: http://HOST:PORT (4318 by default) or grpc://HOST:PORT (4317)
    #[arg(long, value_name = "URL")]
    pub otlp: Option<OtlpUrl>,
}

/// The gateway to be printed.
#[derive(Debug, Clone, Args)]
pub struct EnvoyArgs {
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// With traces for an OpenTelemetry collector, as run --otlp makes them
    #[arg(long, value_name = "URL")]
    pub otlp: Option<OtlpUrl>,
}

/// Who is asked.
#[derive(Debug, Clone, Args)]
pub struct ReadyArgs {
    /// The admin server's address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
}

/// The trace to run again, and the modules to run it with.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// What `run --trace` wrote
    pub trace: PathBuf,
    /// A plugin's module, by name or namespace/name; repeats [default: the file that was recorded]
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_file)]
    pub wasm: Vec<(String, PathBuf)>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// The request to be explained, and the gateway it meets.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The URL; https:// picks the TLS server by its host, the port is the Gateway server's
    pub url: String,
    /// The method [default: GET, with a body POST]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub method: Option<String>,
    /// A header; repeats
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Where the request comes from [default: 192.0.2.1, a client somewhere outside]
    #[arg(long, value_name = "IP")]
    pub client_ip: Option<IpAddr>,
    /// The client's certificate and, behind it, its chain (PEM), for servers that ask for one; its key is not needed
    #[arg(short = 'E', long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The body
    #[arg(short = 'd', long, value_name = "BODY")]
    pub data: Option<String>,
    /// Explain it as it goes after N requests like it, for limits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u32,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

/// The cases, and the gateway they meet.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Case files, or folders of them; istio-config-validator's are read as well
    #[arg(required = true, value_name = "CASES")]
    pub cases: Vec<PathBuf>,
    /// Write JUnit's XML there
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Say which rules, match entries, destinations and filter rules were reached; fail below MIN percent
    #[arg(long, value_name = "MIN", num_args = 0..=1, default_missing_value = "0", require_equals = true)]
    pub coverage: Option<f64>,
    /// Write what came out into the case files instead of failing
    #[arg(long)]
    pub update: bool,
    /// Say nothing of cases that pass
    #[arg(short, long)]
    pub quiet: bool,
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

/// The gateway whose tables are listed.
#[derive(Debug, Clone, Args)]
pub struct TableArgs {
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// The gateway.
    #[command(flatten)]
    pub gateway: GatewayArgs,
}

/// The module to be packed.
#[derive(Debug, Clone, Args)]
pub struct PackArgs {
    /// The module
    pub module: PathBuf,
    /// Where the layout goes
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// The image's name in the layout
    #[arg(long, value_name = "TAG", default_value = "latest")]
    pub tag: String,
    /// A label and annotation, such as org.opencontainers.image.revision=abc; repeats
    #[arg(long, value_name = "K=V", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// An ordinary image with plugin.wasm in one tar+gzip layer, instead of the two layers of the Wasm artifact format
    #[arg(long)]
    pub compat: bool,
}

/// What a module is loaded and configured with.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The module
    pub module: PathBuf,
    /// Its configuration, handed over byte for byte; - for standard input [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The plugin's root id
    #[arg(long, value_name = "ID", default_value = "")]
    pub root_id: String,
}

/// The module to look into.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The module
    pub module: PathBuf,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// The form of an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLogFormat {
    /// Istio's default line
    Text,
    /// A JSON object a line
    Json,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs; the shape is stable
    Json,
}

/// Where the manual pages go.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The folder; man -l DIR/host-sim-run.1 shows a page
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// The shell to complete for.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Whose answers the gateway gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fidelity {
    /// The answers production would give, quirks included
    Envoy,
    /// Only stricter, by the published list
    Hardened,
}

/// `SERVER=LOCAL`: a Gateway server's port and the local port that stands for it (0: the kernel chooses).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMap {
    /// The Gateway server's port.
    pub server: u16,
    /// The local port.
    pub local: u16,
}

impl FromStr for PortMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || "expected SERVER=LOCAL, two ports such as 80=8080".to_owned();
        let (server, local) = text.split_once('=').ok_or_else(form)?;
        Ok(Self { server: server.parse().map_err(|_| form())?, local: local.parse().map_err(|_| form())? })
    }
}

/// `HOST[:PORT][/SUBSET]=ADDR`: where a service really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendArg {
    /// The service's host as a VirtualService would name it.
    pub host: String,
    /// Only this port of the service; all of them when absent.
    pub port: Option<u16>,
    /// Only this subset; the whole service when absent.
    pub subset: Option<String>,
    /// The real address.
    pub address: SocketAddr,
}

impl FromStr for BackendArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || "expected HOST[:PORT][/SUBSET]=IP:PORT, such as shop.default:80/v2=127.0.0.1:9002".to_owned();
        let (name, address) = text.split_once('=').ok_or_else(form)?;
        let (name, subset) = match name.split_once('/') {
            Some((name, subset)) if !subset.is_empty() => (name, Some(subset.to_owned())),
            Some(_) => return Err(form()),
            None => (name, None),
        };
        let (host, port) = match name.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| form())?)),
            None => (name, None),
        };
        if host.is_empty() {
            return Err(form());
        }
        Ok(Self { host: host.to_owned(), port, subset, address: address.parse().map_err(|_| form())? })
    }
}

fn log_level(text: &str) -> Result<log::LevelFilter, String> {
    text.parse().map_err(|_| "expected off, error, warn, info, debug or trace".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not K=V")),
    }
}

fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |item: &str| match item.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{item:?} is not K=V")),
    };
    text.split(',').filter(|item| !item.is_empty()).map(pair).collect()
}

fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), PathBuf::from(file))),
        _ => Err("expected NAME=FILE, such as header-match=target/filters/header-match.wasm".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_backend_names_a_host_and_perhaps_a_port_and_a_subset() {
        let backend = |host: &str, port, subset: Option<&str>| {
            Ok(BackendArg {
                host: host.to_owned(),
                port,
                subset: subset.map(str::to_owned),
                address: "127.0.0.1:9".parse().unwrap(),
            })
        };
        assert_eq!("shop=127.0.0.1:9".parse(), backend("shop", None, None));
        assert_eq!("shop.prod:80=127.0.0.1:9".parse(), backend("shop.prod", Some(80), None));
        assert_eq!("shop:80/v2=127.0.0.1:9".parse(), backend("shop", Some(80), Some("v2")));
        assert_eq!("shop/v2=127.0.0.1:9".parse(), backend("shop", None, Some("v2")));
    }

    #[test]
    fn what_is_no_backend_is_refused_with_the_form() {
        for text in ["", "shop", "=127.0.0.1:9", "shop=", "shop=127.0.0.1", "shop:x=127.0.0.1:9", "shop/=127.0.0.1:9"] {
            assert!(text.parse::<BackendArg>().unwrap_err().contains("HOST"), "{text:?}");
        }
    }

    #[test]
    fn a_port_map_is_two_ports() {
        assert_eq!("80=8080".parse(), Ok(PortMap { server: 80, local: 8080 }));
        for text in ["80", "80=", "=80", "80=x", "65536=1", "80=8080=1"] {
            assert!(text.parse::<PortMap>().is_err(), "{text:?}");
        }
    }
}
