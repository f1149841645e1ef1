//! Clusters: one per port of each service the gateway sees, one per subset, with the policy that holds for each.

mod balancer;
mod connection;
mod endpoints;
mod outlier;
mod policy;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use xds::{
    Any, Cluster, ClusterLoadAssignment, CommonLbConfig, DiscoveryType, DnsLookupFamily, Duration,
    ExtensionProtocolOptions, Http2ProtocolOptions, HttpConfig, Percent, TransportSocket, TransportSocketConfig,
    TransportSocketMatch, TypedExtensionConfig, UpstreamHttpOptions,
};

use self::policy::Policy;
use super::{
    Context,
    destination_rules::MergedRule,
    registry::{Discovery, Port, Service},
};
use crate::{
    problem::Problem,
    resource::{
        destination_rule::{SimpleLoadBalancer, Subset},
        protocol::Protocol,
    },
};

pub(super) use connection::preserve_case_format;
pub(super) use endpoints::echo_backends;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// All clusters in istiod's order: service by service, port by port, the subsets after their service; then the black hole.
pub(crate) fn all(context: &Context<'_>, used: &BTreeSet<String>, problems: &mut Vec<Problem>) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    // An ExternalName is another name for a service, not a place of its own.
    let places = context.registry.services().iter().filter(|service| service.external_name.is_empty());
    for service in places {
        let rule = context.rule_for(service);
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            let maker = Maker { context, service, port, rule };
            for subset in std::iter::once(None).chain(rule.iter().flat_map(|rule| &rule.subsets).copied().map(Some)) {
                let mut found = Vec::new();
                let Some(cluster) = maker.cluster(subset, &mut found) else { continue };
                // What a cluster cannot do matters once something is sent there.
                found.retain(|problem| used.contains(&cluster.name) && !problems.contains(problem));
                problems.append(&mut found);
                clusters.push(cluster);
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    clusters.retain(|cluster| seen.insert(cluster.name.clone()));
    clusters.push(black_hole(context));
    clusters
}

struct Maker<'a, 'c> {
    context: &'c Context<'a>,
    service: &'c Service,
    port: &'c Port,
    rule: Option<&'c MergedRule<'a>>,
}

/// By the subset's own policy.
fn passes_through(subset: &Subset) -> bool {
    let balancer = subset.traffic_policy.as_ref().and_then(|policy| policy.load_balancer.as_ref());
    balancer.is_some_and(|balancer| balancer.simple == Some(SimpleLoadBalancer::Passthrough))
}

impl Maker<'_, '_> {
    /// `None` for a cluster istiod leaves out: one found by DNS without any address.
    fn cluster(&self, subset: Option<&Subset>, problems: &mut Vec<Problem>) -> Option<Cluster> {
        let subset_name = subset.map_or("", |subset| subset.name.as_str());
        let name = cluster_name(self.port.number, subset_name, &self.service.host);
        let policy = Policy::new(self.context, self.rule, subset, self.port.number);
        let endpoints = endpoints::of(self.context, self.service, self.port, subset, &policy);
        let mut cluster = Cluster {
            alt_stat_name: self.stat_name(&name, subset_name),
            common_lb_config: Some(CommonLbConfig {
                healthy_panic_threshold: Some(Percent::default()),
                ..CommonLbConfig::default()
            }),
            ..Cluster::default()
        };
        self.discovery(&mut cluster);
        if cluster.r#type != Some(DiscoveryType::Static) && endpoints.is_empty() {
            return None;
        }
        // A subset that passes its requests through was never one to ask for names; a whole service that does keeps the settings.
        if cluster.r#type != Some(DiscoveryType::Static) && !subset.is_some_and(passes_through) {
            self.ask_for_names(&mut cluster);
        }
        cluster.load_assignment =
            Some(ClusterLoadAssignment { cluster_name: name.clone(), endpoints, ..ClusterLoadAssignment::default() });
        cluster.name = name;
        let mut options = UpstreamHttpOptions::default();
        if self.port.protocol.is_http2() {
            speak_http2(&mut options);
        }
        connection::apply(self, &mut cluster, &mut options, &policy);
        outlier::apply(&mut cluster, &mut options, policy.outlier_detection);
        balancer::apply(&mut cluster, policy.load_balancer);
        tls::apply(self, &mut cluster, &mut options, &policy, problems);
        if options != UpstreamHttpOptions::default() {
            let chosen = options.explicit_http_config.is_some() || options.use_downstream_protocol_config.is_some();
            if !chosen {
                options.explicit_http_config = Some(HttpConfig {
                    http_protocol_options: Some(xds::Http1ProtocolOptions::default()),
                    ..HttpConfig::default()
                });
            }
            cluster.typed_extension_protocol_options =
                BTreeMap::from([(HTTP_OPTIONS.to_owned(), ExtensionProtocolOptions::Http(Box::new(options)))]);
        }
        Some(cluster)
    }

    fn discovery(&self, cluster: &mut Cluster) {
        cluster.r#type = Some(match self.service.resolution {
            Discovery::Listed => DiscoveryType::Static,
            Discovery::StrictDns | Discovery::DynamicDns => DiscoveryType::StrictDns,
            Discovery::LogicalDns => DiscoveryType::LogicalDns,
        });
    }

    fn ask_for_names(&self, cluster: &mut Cluster) {
        const CARES: &str = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
        let fields = [("udp_max_queries".to_owned(), 100.into())].into_iter().collect();
        cluster.dns_lookup_family = DnsLookupFamily::V4Only;
        cluster.typed_dns_resolver_config = Some(TypedExtensionConfig {
            name: "envoy.network.dns_resolver.cares".into(),
            typed_config: Some(Any::new(CARES, fields)),
        });
        cluster.dns_jitter = Some(Duration::from_millis(100));
        cluster.dns_refresh_rate =
            Some(self.context.resources.mesh.dns_refresh_rate.map_or(Duration::from_secs(60), super::duration));
        cluster.respect_dns_ttl = true;
    }

    /// By MeshConfig's pattern when it has one, else the cluster's name; `;` ends the prefix in stats.
    fn stat_name(&self, cluster: &str, subset: &str) -> String {
        let pattern = &self.context.resources.mesh.outbound_cluster_stat_name;
        if pattern.is_empty() {
            return format!("{cluster};");
        }
        let number = self.port.number.to_string();
        let suffix = format!(".svc.{}", self.context.resources.mesh.domain());
        let short = self.service.host.trim_end_matches(&suffix);
        let service = short.split('.').next().unwrap_or(short);
        let prefix = [
            ("%SERVICE_FQDN%", self.service.host.as_str()),
            ("%SERVICE_NAME%", service),
            ("%SERVICE%", short),
            ("%SUBSET_NAME%", subset),
            ("%TARGET_PORT%", "0"),
            ("%SERVICE_PORT%", &number),
            ("%SERVICE_PORT_NAME%", &self.port.name),
        ]
        .iter()
        .fold(pattern.clone(), |text, (variable, value)| text.replace(variable, value));
        format!("{prefix};")
    }
}

/// `outbound|port|subset|host`.
pub(crate) fn cluster_name(port: u32, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

fn speak_http2(options: &mut UpstreamHttpOptions) {
    if options.explicit_http_config.is_none() && options.use_downstream_protocol_config.is_none() {
        options.explicit_http_config =
            Some(HttpConfig { http2_protocol_options: Some(Http2ProtocolOptions::default()), ..HttpConfig::default() });
    }
}

/// Plain text for every endpoint: what automatic mutual TLS leaves where no endpoint is in the mesh.
fn plain_text_match() -> TransportSocketMatch {
    TransportSocketMatch {
        name: "tlsMode-disabled".into(),
        r#match: Some(serde_json::Map::new()),
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.raw_buffer".into(),
            typed_config: Some(TransportSocketConfig::RawBuffer(Box::default())),
        }),
    }
}

/// Where requests go that should go nowhere.
fn black_hole(context: &Context<'_>) -> Cluster {
    Cluster {
        name: "BlackHoleCluster".into(),
        alt_stat_name: "BlackHoleCluster;".into(),
        r#type: Some(DiscoveryType::Static),
        connect_timeout: Some(connection::mesh_connect_timeout(context)),
        lb_policy: xds::LbPolicy::RoundRobin,
        ..Cluster::default()
    }
}
