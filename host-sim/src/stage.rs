//! A gateway in memory: the manifests' gateway with its real modules, asked one request at a time. `explain`, `test` and the
//! dashboard stand on it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

use proxy::explain::{Account, Answer, Question, Rehearsal, Seen};

use crate::command_line::GatewayArgs;
use crate::echo::Origin;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::run;

/// The gateway, and what is known of its manifests.
pub(crate) struct Stage {
    pub(crate) rehearsal: Rehearsal,
    /// Absent when the gateway came from a bootstrap.
    pub(crate) bindings: Option<istio::Bindings>,
    pub(crate) plugins: Vec<istio::PluginRef>,
    /// Listeners by name: the Gateway servers' port, and the port they listen on here.
    pub(crate) ports: BTreeMap<String, (u16, u16)>,
    /// Names of embedded backends by their address.
    pub(crate) echo: BTreeMap<SocketAddr, String>,
}

impl Stage {
    /// Reads the manifests and starts the modules.
    ///
    /// # Errors
    /// As `run`: exit 3, 4 and 5.
    pub(crate) fn set(args: &GatewayArgs) -> Result<Self, Failure> {
        let plan = Plan::make(args, true)?;
        plan.say_warnings();
        Self::of(args, plan)
    }

    /// The same with manifests that were read.
    pub(crate) fn of(args: &GatewayArgs, mut plan: Plan) -> Result<Self, Failure> {
        let _progress = Progress::of("compiling modules");
        let echo = plan.place_echo();
        let ports = ports(&plan);
        let mut config = run::config(args, plan.bootstrap, None);
        config.seed = Some(args.seed.unwrap_or_default());
        let rehearsal = Rehearsal::start(config, origins(echo.clone())).map_err(run::refused)?;
        Ok(Self { rehearsal, bindings: plan.bindings, plugins: plan.plugins, ports, echo })
    }

    /// Beside a gateway that serves `plan`, with its running backends' names.
    pub(crate) fn beside(args: &GatewayArgs, plan: &Plan, echo: BTreeMap<SocketAddr, String>) -> Result<Self, Failure> {
        let mut config = run::config(args, plan.bootstrap.clone(), None);
        config.seed = Some(args.seed.unwrap_or_default());
        let rehearsal = Rehearsal::start(config, origins(echo.clone())).map_err(run::refused)?;
        Ok(Self { rehearsal, bindings: plan.bindings.clone(), plugins: plan.plugins.clone(), ports: ports(plan), echo })
    }

    /// The listener of a Gateway server's port, else of a port of this machine.
    pub(crate) fn listener(&self, port: u16) -> Option<&str> {
        let by = |is: &dyn Fn(&(u16, u16)) -> bool| self.ports.iter().find(|(_, ports)| is(ports));
        let found = by(&|(server, _)| *server == port).or_else(|| by(&|(_, local)| *local == port));
        found.map(|(name, _)| name.as_str())
    }

    /// Sends the same request so often, and lets modules report what they counted.
    pub(crate) fn ask_before(&mut self, question: &Question, times: u32) {
        for _ in 0..times {
            self.rehearsal.ask(question);
        }
        if times > 0 {
            self.rehearsal.settle();
        }
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, question: &Question) -> Account {
        self.rehearsal.ask_in_full(question)
    }

    /// A filter as its manifest names it: `istio-system/header-match`.
    pub(crate) fn filter<'f>(&'f self, name: &'f str) -> std::borrow::Cow<'f, str> {
        match self.plugins.iter().find(|plugin| plugin.filter == name) {
            Some(plugin) => format!("{}/{}", plugin.namespace, plugin.name).into(),
            None => name.into(),
        }
    }

    /// What an endpoint is called: the backend's name for an embedded one.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> String {
        self.echo.get(&address).map_or_else(|| address.to_string(), |name| format!("echo:{name}"))
    }
}

fn ports(plan: &Plan) -> BTreeMap<String, (u16, u16)> {
    let listeners = plan.bootstrap.static_resources.iter().flat_map(|resources| &resources.listeners);
    let local = |listener: &xds::Listener| {
        let port = listener.address.as_ref()?.socket_address.as_ref()?.port_value?;
        u16::try_from(port).ok()
    };
    listeners
        .filter_map(|listener| {
            let local = local(listener)?;
            let server = plan.server_ports.get(&listener.name).copied().unwrap_or(local);
            Some((listener.name.clone(), (server, local)))
        })
        .collect()
}

/// Every endpoint answers as an echo backend.
fn origins(names: BTreeMap<SocketAddr, String>) -> Rc<proxy::explain::Origins> {
    let running: std::cell::RefCell<HashMap<SocketAddr, Rc<Origin>>> = std::cell::RefCell::default();
    Rc::new(move |seen: Seen| {
        let Seen { endpoint, request, .. } = seen;
        let fresh = || Rc::new(Origin::new(names.get(&endpoint).cloned().unwrap_or_else(|| endpoint.to_string())));
        let origin = Rc::clone(running.borrow_mut().entry(endpoint).or_insert_with(fresh));
        let (head, body) = request.into_parts();
        match origin.respond(&head, &body) {
            (after, Some(response)) => Answer::Response(after, response),
            (_, None) => Answer::Reset,
        }
    })
}
