//! From resources to an Envoy bootstrap, as istiod does it for an ingress gateway.

mod bindings;
mod clusters;
mod connection_manager;
mod destination_rules;
mod extensions;
mod gateways;
mod listeners;
mod node;
mod options;
mod origin;
pub(crate) mod registry;
mod routes;
mod rule_tables;
pub(crate) mod rules;
mod runtime;
mod secrets;
mod security;
mod server_tls;
mod tcp;
pub(crate) mod undone;
mod visibility;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use xds::{Bootstrap, RouteConfiguration, StaticResources};

pub(crate) use self::node::Node;
pub use self::{
    bindings::{Bindings, MissingDelegate, ServerRef, VirtualServiceRef},
    options::{Backend, Options},
    origin::ORIGIN,
    rule_tables::{RuleTable, rule_tables},
};
use self::{
    destination_rules::{DestinationRules, MergedRule},
    extensions::Extension,
    gateways::MergedGateways,
    registry::{Registry, Service},
    rules::BoundVirtualService,
};
use crate::{
    patch::{self, Patches},
    problem::{Position, Problem},
    resource::{
        Resources,
        mesh::{ProxyConfig, ProxyHeaders},
        virtual_service::Destination,
    },
};

/// What a gateway is to run.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    /// Envoy's configuration: static listeners with their route tables, clusters with their endpoints, secrets.
    pub bootstrap: Bootstrap,
    /// The listeners by the Gateway ports they serve.
    pub listeners: Vec<ListenerPort>,
    /// Modules to be found, one per plugin that selects the gateway, in chain order.
    pub plugins: Vec<PluginRef>,
    /// Echo backends that stand in for services whose endpoints nobody knows, when asked for.
    pub echo: Vec<EchoBackend>,
    /// Who was meant to take which host: for explanations.
    pub bindings: Bindings,
    /// What Istio ignores, warns about, or leaves out, each with its place.
    pub warnings: Vec<Problem>,
    /// Kinds among the manifests that say nothing about routing.
    pub unused: Vec<String>,
}

/// A listener and the port of the Gateway servers it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerPort {
    /// Name of the listener in the bootstrap, `0.0.0.0_80`.
    pub listener: String,
    /// The port that Gateways name; the listener's address carries it.
    pub server_port: u32,
    /// The port inside the pod, when the Service in front of the gateway maps it; names of listeners and route tables carry this one.
    pub port: u32,
}

/// A plugin and where its module should come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginRef {
    /// Name of the WasmPlugin or TrafficExtension.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The name of its filter in the chain.
    pub filter: String,
    /// As in the manifest.
    pub url: String,
    /// Why it stands where it stands in the chain.
    pub reason: String,
    /// Expected digest, 64 hexadecimal digits: of the image's manifest for an `oci://` url, else of the module.
    pub sha256: Option<String>,
    /// The Secret with the registry's credentials, when the manifest names one.
    pub pull_secret: Option<PullSecret>,
    /// The manifest.
    pub file: String,
    /// Where its url stands there.
    pub at: Position,
}

/// The Secret that a plugin's `imagePullSecret` names, in the plugin's own namespace.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PullSecret {
    /// `namespace/name`.
    pub name: String,
    /// Its docker configuration; `None` when it is not among the manifests, or of another type.
    pub docker_config: Option<String>,
}

impl std::fmt::Debug for PullSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PullSecret({})", self.name)
    }
}

/// A backend to embed, and the clusters it belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EchoBackend {
    /// Of the Deployment, else `service-subset`, else the service: what the backend calls itself.
    pub name: String,
    /// Full name of the service.
    pub host: String,
    /// Labels it stands for.
    pub labels: BTreeMap<String, String>,
    /// The workload it stands for, as telemetry describes it; none when no Deployment is there to be stood for.
    pub workload: Option<xds::Metadata>,
    /// Clusters whose load assignment it belongs into.
    pub clusters: Vec<String>,
}

/// Everything a translation step looks things up in.
pub(crate) struct Context<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) options: &'a Options,
    pub(crate) node: &'a Node,
    pub(crate) gateways: MergedGateways<'a>,
    pub(crate) registry: Registry,
    pub(crate) rules: DestinationRules<'a>,
    pub(crate) virtual_services: Vec<BoundVirtualService<'a>>,
    pub(crate) extensions: Vec<Extension>,
}

/// Translates valid resources.
///
/// # Errors
/// Everything the manifests ask for that this gateway does not do, and contradictions between them, each with its place.
pub fn translate(resources: &Resources, options: &Options) -> Result<Translation, Vec<Problem>> {
    let mut warnings = resources.warnings.clone();
    let mut problems = Vec::new();
    let node = Node::new(resources, options)?;
    security::check(resources, &node, options, &mut problems, &mut warnings);
    let context = Context {
        resources,
        options,
        node: &node,
        gateways: MergedGateways::new(resources, &node, &mut warnings),
        registry: Registry::new(resources, &node.namespace),
        rules: DestinationRules::new(resources),
        virtual_services: rules::bound_virtual_services(resources, &mut warnings),
        extensions: extensions::of_workload(resources, &node, options, &mut problems, &mut warnings),
    };
    undone::check(&context, options, &mut problems, &mut warnings);
    let patches = Patches::new(resources, &node, options, &mut problems, &mut warnings);
    let tables = patched_tables(&context, &patches, &mut problems);
    let mut made = listeners::all(&context, tables);
    patch::to_listeners(&patches, &mut made.listeners, &made.ports, &mut problems, &mut warnings);
    connection_manager::drop_istio_filters(&mut made.listeners);
    let used = used_clusters(&made.listeners);
    let mut clusters = clusters::all(&context, &used, &mut problems);
    patch::to_clusters(&patches, &mut clusters, &mut problems);
    secrets::add_of_clusters(&context, &clusters, &mut made.secrets, &mut warnings);
    problems.append(&mut made.problems);
    warnings.append(&mut made.warnings);
    if !problems.is_empty() {
        return Err(problems);
    }
    let echo = if options.echo { clusters::echo_backends(&context, &used) } else { Vec::new() };
    let plugins = extensions::plugin_refs(&context);
    let layered_runtime = Some(runtime::layers(&context));
    let static_resources = StaticResources { listeners: made.listeners, clusters, secrets: made.secrets };
    Ok(Translation {
        bootstrap: Bootstrap {
            node: Some(workload::of_gateway(resources, &node)),
            static_resources: Some(static_resources),
            layered_runtime,
            stats_config: Some(runtime::labels()),
            ..Bootstrap::default()
        },
        listeners: made.ports,
        plugins,
        echo,
        bindings: Bindings::of(&context),
        warnings,
        unused: resources.unused.iter().cloned().collect(),
    })
}

/// Route tables by name, EnvoyFilters applied.
fn patched_tables(
    context: &Context<'_>,
    patches: &Patches<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, RouteConfiguration> {
    let server_ports = |name: &str| {
        let servers = context.gateways.by_route_name.get(name).into_iter().flatten();
        servers.map(|bound| bound.server.port.number).collect::<Vec<_>>()
    };
    let tables = routes::tables(context).into_iter();
    tables
        .map(|(name, table)| (name.clone(), patch::to_routes(patches, table, &server_ports(&name), problems)))
        .collect()
}

impl<'a> Context<'a> {
    /// VirtualServices bound to a Gateway and visible here: private and exported ones first, then public ones, each by age.
    pub(crate) fn virtual_services_of<'c>(
        &'c self,
        gateway: &'c str,
    ) -> impl Iterator<Item = &'c BoundVirtualService<'a>> {
        let namespace = &self.node.namespace;
        // One that names a gateway twice is bound twice, as in istiod.
        let times = move |service: &BoundVirtualService<'_>| match service.is_visible_in(namespace) {
            true => service.gateways.iter().filter(|name| *name == gateway).count(),
            false => 0,
        };
        let rank = move |service: &BoundVirtualService<'_>| match (
            service.is_public(),
            service.object.metadata.namespace == *namespace,
        ) {
            (false, true) => 0,
            (false, false) => 1,
            (true, _) => 2,
        };
        (0..3).flat_map(move |wanted| {
            let of_rank = self.virtual_services.iter().filter(move |service| rank(service) == wanted);
            of_rank.flat_map(move |service| std::iter::repeat_n(service, times(service)))
        })
    }

    /// The DestinationRule that holds for a service.
    pub(crate) fn rule_for(&self, service: &Service) -> Option<&MergedRule<'a>> {
        self.rules.get(service, &self.node.namespace, &self.node.labels)
    }

    /// The cluster a destination means: its port, else the service's only one, else the listener's.
    pub(crate) fn cluster_name(&self, destination: &Destination, listener_port: u32) -> String {
        let service = self.registry.get(&destination.host);
        let only_port = service.and_then(|service| match service.ports.as_slice() {
            [only] => Some(only.number),
            _ => None,
        });
        let port = destination.port.as_ref().map(|port| port.number).or(only_port).unwrap_or(listener_port);
        let external = service.map(|service| service.external_name.as_str()).filter(|name| !name.is_empty());
        clusters::cluster_name(port, &destination.subset, external.unwrap_or(&destination.host))
    }

    /// Proxy defaults of the mesh.
    pub(crate) fn proxy_config(&self) -> Option<&'a ProxyConfig> {
        self.resources.mesh.default_config.as_ref()
    }

    /// Which headers the gateway adds.
    pub(crate) fn proxy_headers(&self) -> Option<&'a ProxyHeaders> {
        self.proxy_config().and_then(|config| config.proxy_headers.as_ref())
    }
}

/// Envoy's form of a duration; negative ones do not pass validation.
pub(crate) fn duration(duration: crate::manifest::duration::Duration) -> xds::Duration {
    xds::Duration(std::time::Duration::from_nanos(u64::try_from(duration.0).unwrap_or(0)))
}

/// Names of the clusters that listeners send anything to.
fn used_clusters(listeners: &[xds::Listener]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for filter in listeners.iter().flat_map(|listener| &listener.filter_chains).flat_map(|chain| &chain.filters) {
        match &filter.typed_config {
            Some(xds::NetworkFilterConfig::TcpProxy(proxy)) => {
                used.extend(proxy.cluster.clone());
                used.extend(
                    proxy
                        .weighted_clusters
                        .iter()
                        .flat_map(|weighted| &weighted.clusters)
                        .map(|cluster| cluster.name.clone()),
                );
            }
            Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) => {
                let hosts = manager.route_config.iter().flat_map(|table| &table.virtual_hosts);
                for action in hosts.flat_map(|host| &host.routes).filter_map(|route| route.route.as_ref()) {
                    used.extend(action.cluster.clone());
                    used.extend(
                        action
                            .weighted_clusters
                            .iter()
                            .flat_map(|weighted| &weighted.clusters)
                            .map(|cluster| cluster.name.clone()),
                    );
                    used.extend(action.request_mirror_policies.iter().map(|mirror| mirror.cluster.clone()));
                }
            }
            _ => {}
        }
    }
    used
}
