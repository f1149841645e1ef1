//! Witnesses are claims until the code that decides about requests has confirmed them: the gateway's own route tables are asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use istio::analysis::{Claim, Finding, Witness, workloads};
use istio::{Options, Resources, translate};
use proxy::edge::{ConnectionInfo, Protocol};
use proxy::header_ops::StreamInfo;
use proxy::route::{RequestHead, RouteTable, RouterOptions};

/// Kinds that would make a translation fail and say nothing about routes.
const NOT_CARRIED_OUT: [&str; 5] =
    ["AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication", "WasmPlugin", "TrafficExtension"];

/// Takes the witness from a finding whose claim does not hold, and leaves out findings that rest on one.
pub(super) fn witnesses(resources: &Resources, findings: &mut Vec<Finding>) {
    if findings.iter().all(|finding| finding.witness.is_none()) {
        return;
    }
    let tables = Tables::of(resources);
    findings.retain_mut(|finding| match &finding.witness {
        Some(witness) if witness.claim != Claim::None => {
            let verdict = tables.verdict(witness);
            if verdict == Verdict::Unknown {
                finding.witness = None;
            }
            verdict != Verdict::Refuted
        }
        _ => true,
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Confirmed,
    Refuted,
    /// No table is asked about such a request: its gateway is not one we can make.
    Unknown,
}

/// Route tables with the Gateway server's port they answer for.
struct Tables(Vec<(u32, RouteTable)>);

impl Tables {
    /// Of every gateway workload that the Gateways select.
    fn of(resources: &Resources) -> Self {
        let mut tables = Vec::new();
        for labels in workloads(resources) {
            let options = Options {
                labels: Some(labels),
                allow_unsupported: NOT_CARRIED_OUT.iter().map(ToString::to_string).collect(),
                ..Options::default()
            };
            let Ok(translation) = translate(resources, &options) else { continue };
            let listeners = translation.bootstrap.static_resources.iter().flat_map(|resources| &resources.listeners);
            for listener in listeners {
                let port = translation.listeners.iter().find(|known| known.listener == listener.name);
                let chains = listener.filter_chains.iter().flat_map(|chain| &chain.filters);
                for filter in chains {
                    let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &filter.typed_config else {
                        continue;
                    };
                    let table = manager.route_config.as_ref().and_then(|routes| RouteTable::compile(routes).ok());
                    tables.extend(port.map(|port| port.server_port).zip(table));
                }
            }
        }
        Self(tables)
    }

    fn verdict(&self, witness: &Witness) -> Verdict {
        let mut verdict = Verdict::Unknown;
        for (_, table) in self.0.iter().filter(|(port, _)| *port == witness.port) {
            match met(table, witness) {
                Some(true) => return Verdict::Confirmed,
                Some(false) => verdict = Verdict::Refuted,
                None => {}
            }
        }
        verdict
    }
}

/// Whether a table does with the request what is claimed; `None` when it does not know the host.
fn met(table: &RouteTable, witness: &Witness) -> Option<bool> {
    let mut headers: Vec<(Bytes, Bytes)> = [
        (":method", &witness.method),
        (":scheme", &witness.scheme),
        (":authority", &witness.host),
        (":path", &witness.path),
    ]
    .iter()
    .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(value.as_bytes().to_vec())))
    .collect();
    headers.push((Bytes::from_static(b"x-forwarded-proto"), Bytes::from(witness.scheme.clone())));
    headers.extend(witness.headers.iter().map(|(name, value)| (Bytes::from(name.clone()), Bytes::from(value.clone()))));
    let connection = connection();
    let head = RequestHead { headers: &headers, random: 0, connection: &connection };
    let (decision, trail) = table.explain(&head);
    trail.virtual_host.as_ref()?;
    let taken = trail.rules.iter().find(|rule| rule.matched).map(|rule| &rule.origin);
    let by = |resource: &str, rule: usize| {
        taken.is_some_and(|origin| {
            origin.resource.as_deref() == Some(resource) && origin.rule == u64::try_from(rule).ok()
        })
    };
    Some(match &witness.claim {
        Claim::Taken { resource, rule } => by(resource, *rule),
        Claim::NotTaken { resource, rule } => !by(resource, *rule),
        Claim::Rewritten { resource, rule, path } => {
            let sent = decision.route().zip(decision.destination()).map(|(route, destination)| {
                let mut request = headers.clone();
                let stream = StreamInfo::default();
                route.prepare(destination, &mut request, &connection, &stream, RouterOptions::default());
                request.into_iter().find(|(name, _)| name.as_ref() == b":path").map(|(_, value)| value)
            });
            by(resource, *rule) && sent.flatten().is_some_and(|sent| sent.as_ref() == path.as_bytes())
        }
        Claim::None => true,
    })
}

fn connection() -> ConnectionInfo {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    ConnectionInfo {
        id: 0,
        remote: address,
        relay: None,
        local: address,
        node_address: address.ip(),
        protocol: Protocol::Http11,
        tls: None::<Arc<_>>,
    }
}
