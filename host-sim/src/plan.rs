//! From the command line to a gateway that is ready to be served or printed: manifests read, translated and placed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::command_line::GatewayArgs;
use crate::echo::EchoServer;
use crate::failure::Failure;
use crate::placement::ModuleFiles;
use crate::pull::Puller;
use crate::{bootstrap_file, inputs, placement, run, say};

/// Echo backends that run, by name, and where.
pub(crate) type EchoBackends = BTreeMap<String, SocketAddr>;

/// What `run` serves and `envoy` prints.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) bootstrap: xds::Bootstrap,
    /// Echo backends to start before the gateway, and the clusters each is an endpoint of.
    pub(crate) echo: Vec<istio::EchoBackend>,
    /// The Gateway server's port each listener stands for, by listener name.
    pub(crate) server_ports: BTreeMap<String, u16>,
    /// Who was meant to take which host; nothing for a bootstrap.
    pub(crate) bindings: Option<istio::Bindings>,
    /// The plugins of the chain, in its order.
    pub(crate) plugins: Vec<istio::PluginRef>,
    warnings: Vec<String>,
    unused: Vec<String>,
}

impl Plan {
    /// Reads and translates what the arguments name; `echo` is whether services without endpoints get echo backends unless
    /// the arguments say otherwise.
    ///
    /// # Errors
    /// Exit 3 with every problem of the manifests, 5 for files and modules that are not there.
    pub(crate) fn make(args: &GatewayArgs, echo: bool) -> Result<Self, Failure> {
        let mut plan = Self::translate(args, echo)?;
        let puller = args.pull.then(|| Puller::new(run::cache_dir())).transpose();
        let puller = puller.map_err(|error| Failure::World(format!("--pull: {error}")))?;
        let files = ModuleFiles {
            named: &args.wasm,
            folder: args.wasm_dir.as_deref(),
            puller: puller.as_ref(),
            plugins: &plan.plugins,
        };
        for pulled in placement::modules(&mut plan.bootstrap, &files)? {
            say::note(pulled);
        }
        placement::listeners(&mut plan.bootstrap, args.listen, &args.port_map);
        placement::admin(&mut plan.bootstrap, args.admin);
        Ok(plan)
    }

    /// Reads and translates without looking for modules and without moving ports: for who only looks.
    ///
    /// # Errors
    /// As [`Plan::make`], modules aside.
    pub(crate) fn read(args: &GatewayArgs) -> Result<Self, Failure> {
        Self::translate(args, false)
    }

    fn translate(args: &GatewayArgs, echo: bool) -> Result<Self, Failure> {
        let mut plan = match &args.bootstrap {
            Some(file) => Self::of(bootstrap_file::read(file)?),
            None => Self::from_manifests(args, (echo || args.echo) && !args.no_echo)?,
        };
        plan.server_ports = server_ports(&plan.bootstrap);
        Ok(plan)
    }

    /// Kinds among the manifests that say nothing about routing, to stderr.
    pub(crate) fn say_unused(&self) {
        if !self.unused.is_empty() {
            say::note(format_args!("not used for routing: {}", self.unused.join(", ")));
        }
    }

    /// Warnings of the translation, to stderr.
    pub(crate) fn say_warnings(&self) {
        for warning in &self.warnings {
            say::note(warning);
        }
    }

    /// Starts the echo backends that do not run yet and makes all of them endpoints. Must be called within a tokio runtime.
    pub(crate) async fn start_echo(&mut self, running: &mut EchoBackends) -> Result<(), Failure> {
        let mut backends: BTreeMap<String, Vec<placement::Backend>> = BTreeMap::new();
        for backend in &self.echo {
            let address = match running.get(&backend.name) {
                Some(address) => *address,
                None => {
                    let server = EchoServer::start(backend.name.clone())
                        .await
                        .map_err(|error| Failure::World(format!("echo backend {}: {error}", backend.name)))?;
                    running.insert(backend.name.clone(), server.address());
                    server.address()
                }
            };
            for cluster in &backend.clusters {
                let placed = placement::Backend { address, workload: backend.workload.clone() };
                backends.entry(cluster.clone()).or_default().push(placed);
            }
        }
        placement::endpoints(&mut self.bootstrap, &backends);
        Ok(())
    }

    /// Gives echo backends addresses nobody listens on, for a gateway whose origins are in memory; says which is which.
    pub(crate) fn place_echo(&mut self) -> BTreeMap<SocketAddr, String> {
        let mut backends: BTreeMap<String, Vec<placement::Backend>> = BTreeMap::new();
        let mut names = BTreeMap::new();
        for (backend, port) in self.echo.iter().zip(10_001..) {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            names.insert(address, backend.name.clone());
            for cluster in &backend.clusters {
                let placed = placement::Backend { address, workload: backend.workload.clone() };
                backends.entry(cluster.clone()).or_default().push(placed);
            }
        }
        placement::endpoints(&mut self.bootstrap, &backends);
        names
    }

    fn of(bootstrap: xds::Bootstrap) -> Self {
        Self {
            bootstrap,
            echo: Vec::new(),
            server_ports: BTreeMap::new(),
            bindings: None,
            plugins: Vec::new(),
            warnings: Vec::new(),
            unused: Vec::new(),
        }
    }

    fn from_manifests(args: &GatewayArgs, echo: bool) -> Result<Self, Failure> {
        let sources = inputs::sources(&args.filename)?;
        let (resources, problems) = istio::read(&sources);
        if !problems.is_empty() {
            return Err(refused(&problems));
        }
        let translation = istio::translate(&resources, &options(args, echo)).map_err(|problems| refused(&problems))?;
        let mut warnings: Vec<String> =
            translation.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        if translation.listeners.is_empty() {
            warnings
                .push("warning: nobody listens: no Gateway with a server selects this workload's labels".to_owned());
        }
        Ok(Self {
            echo: translation.echo,
            bindings: Some(translation.bindings),
            plugins: translation.plugins,
            warnings,
            unused: translation.unused,
            ..Self::of(translation.bootstrap)
        })
    }
}

fn options(args: &GatewayArgs, echo: bool) -> istio::Options {
    let backends = args.backend.iter().map(|backend| istio::Backend {
        host: backend.host.clone(),
        port: backend.port,
        subset: backend.subset.clone(),
        address: backend.address.ip().to_string(),
        address_port: backend.address.port(),
    });
    istio::Options {
        labels: args.labels.clone(),
        backends: backends.collect(),
        echo,
        allow_unsupported: args.allow_unsupported.clone(),
        ..istio::Options::default()
    }
}

fn refused(problems: &[istio::Problem]) -> Failure {
    Failure::Manifests(problems.iter().map(ToString::to_string).collect())
}

/// Listener names with the ports they have before they are moved.
fn server_ports(bootstrap: &xds::Bootstrap) -> BTreeMap<String, u16> {
    let listeners = bootstrap.static_resources.iter().flat_map(|resources| &resources.listeners);
    let port = |listener: &xds::Listener| {
        let port = listener.address.as_ref()?.socket_address.as_ref()?.port_value?;
        Some((listener.name.clone(), u16::try_from(port).ok()?))
    };
    listeners.filter_map(port).collect()
}
