//! Gateways and what is bound to them: hosts on no server, servers that claim the same, TLS that is weaker than it looks.

use crate::{
    analysis::{Finding, Level, istioctl::tokens::claim_of},
    resource::{
        Resources,
        gateway::{Gateway, Server, TlsMode, TlsProtocol},
        host,
        object::Object,
        protocol::Protocol,
        virtual_service::VirtualService,
    },
    translate::registry::is_subset,
};

/// `SLU0209`, `SLU0211`, `SLU0213`, `SLU0401` to `SLU0403`.
pub(super) fn servers(resources: &Resources, found: &mut Vec<Finding>) {
    for (i, object) in resources.gateways.iter().enumerate() {
        workload(resources, object, found);
        for (j, server) in object.spec.servers.iter().enumerate() {
            let path = format!("spec.servers[{j}]");
            claimed(resources, i, object, &path, server, found);
            credential(resources, object, &path, server, found);
            tls(object, &path, server, found);
            plain_beside_tls(resources, object, &path, server, found);
        }
    }
}

/// Another Gateway of the workload has the host on the port already.
fn claimed(
    resources: &Resources,
    i: usize,
    object: &Object<Gateway>,
    path: &str,
    server: &Server,
    found: &mut Vec<Finding>,
) {
    for earlier in resources.gateways.iter().take(i).filter(|earlier| earlier.spec.selector == object.spec.selector) {
        let shares = |theirs: &&Server| {
            theirs.port.number == server.port.number
                && theirs.bind == server.bind
                && theirs.hosts.iter().any(|host| server.hosts.contains(host))
        };
        if earlier.spec.servers.iter().any(|theirs| shares(&theirs)) {
            let hosts = server.hosts.join(", ");
            let message = format!(
                "{earlier} has the hosts {hosts} on port {} too: of two TLS servers the one created later is left out, of two HTTP servers the rules are merged",
                server.port.number
            );
            found.push(
                Finding::new("SLU0209", Level::Warning, object, &format!("{path}.hosts"), message)
                    .fix("keep a host in one Gateway"),
            );
        }
    }
}

/// Where some of the Secrets are in the files, one that is not is missing.
fn credential(resources: &Resources, object: &Object<Gateway>, path: &str, server: &Server, found: &mut Vec<Finding>) {
    let Some(name) = server.tls.as_ref().map(|tls| &tls.credential_name).filter(|name| !name.is_empty()) else {
        return;
    };
    let certificates = || {
        resources.secrets.iter().filter(|secret| {
            secret.spec.kind == "kubernetes.io/tls"
                || secret.spec.data.contains_key("tls.crt")
                || secret.spec.string_data.contains_key("tls.crt")
        })
    };
    let short = name.rsplit('/').next().unwrap_or(name);
    let made_elsewhere = resources.others.iter().any(|other| {
        other.origin.kind.as_ref() == "Certificate"
            && other
                .origin
                .root
                .get("spec")
                .and_then(|spec| spec.get("secretName"))
                .and_then(crate::manifest::node::Node::text)
                == Some(short)
    });
    if certificates().next().is_some() && !certificates().any(|secret| secret.metadata.name == short) && !made_elsewhere
    {
        let known: Vec<_> = certificates().map(Object::full_name).collect();
        let message = format!(
            "no Secret {short} in these files, where other certificates are: connections to this server are closed"
        );
        let fix = format!("the certificates there are: {}", known.join(", "));
        found.push(
            Finding::new("SLU0211", Level::Warning, object, &format!("{path}.tls.credentialName"), message).fix(fix),
        );
    }
}

fn tls(object: &Object<Gateway>, path: &str, server: &Server, found: &mut Vec<Finding>) {
    let Some(tls) = &server.tls else { return };
    if matches!(tls.min_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        let message = "takes TLS below 1.2, which browsers gave up and auditors count";
        let field = format!("{path}.tls.minProtocolVersion");
        found.push(Finding::new("SLU0401", Level::Warning, object, &field, message).fix("minProtocolVersion: TLSV1_2"));
    }
    if tls.mode == TlsMode::OptionalMutual {
        let message = "asks for a client certificate and goes on without one: rules behind it must look at x-forwarded-client-cert themselves";
        found.push(
            Finding::new("SLU0402", Level::Info, object, &format!("{path}.tls.mode"), message)
                .fix("mode: MUTUAL, if every client has a certificate"),
        );
    }
}

/// A host that is served with TLS answers plain HTTP as well.
fn plain_beside_tls(
    resources: &Resources,
    object: &Object<Gateway>,
    path: &str,
    server: &Server,
    found: &mut Vec<Finding>,
) {
    if !server.protocol().is_http() || server.tls.as_ref().is_some_and(|tls| tls.https_redirect) {
        return;
    }
    let others = resources
        .gateways
        .iter()
        .filter(|other| other.spec.selector == object.spec.selector)
        .flat_map(|other| &other.spec.servers);
    let encrypted: Vec<_> = others.filter(|other| other.terminates_https()).flat_map(|other| &other.hosts).collect();
    if let Some(host) = server.hosts.iter().find(|host| encrypted.contains(host)) {
        let message = format!(
            "{host} is served with TLS and, on port {}, without: a client that types no scheme stays on plain HTTP",
            server.port.number
        );
        found.push(
            Finding::new("SLU0403", Level::Info, object, path, message)
                .fix("tls: {httpsRedirect: true} on this server"),
        );
    }
}

/// Istio's own gateways need not be in the files; others one expects to find.
fn workload(resources: &Resources, object: &Object<Gateway>, found: &mut Vec<Finding>) {
    const USUAL: [&str; 6] =
        ["ingressgateway", "istio-ingressgateway", "ingress", "istio-ingress", "gateway", "egressgateway"];
    let selector = &object.spec.selector;
    let there = resources.pods.iter().any(|pod| is_subset(selector, &pod.metadata.labels))
        || resources.workloads.iter().any(|workload| is_subset(selector, &workload.spec.labels));
    if selector.is_empty() || there || selector.values().any(|value| USUAL.contains(&value.as_str())) {
        return;
    }
    let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let message = format!(
        "no workload in these files has the labels {}, and no gateway of Istio's own has: the Gateway may configure nothing",
        labels.join(",")
    );
    found.push(
        Finding::new("SLU0213", Level::Info, object, "spec.selector", message)
            .fix("select istio: ingressgateway, or the labels of your gateway's pods"),
    );
}

/// `SLU0208`, `SLU0210`.
pub(super) fn virtual_services(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        let bound: Vec<&Object<Gateway>> = object
            .spec
            .gateways
            .iter()
            .map(|name| host::gateway_name(name, &object.metadata.namespace))
            .filter_map(|name| resources.gateways.iter().find(|gateway| gateway.full_name() == name))
            .collect();
        let all_known = bound.len() == object.spec.gateways.len();
        let servers: Vec<(&Object<Gateway>, &Server)> =
            bound.iter().flat_map(|gateway| gateway.spec.servers.iter().map(|server| (*gateway, server))).collect();
        let on = |name: &str| {
            servers
                .iter()
                .filter(|(gateway, server)| {
                    let hosts: Vec<String> = server
                        .hosts
                        .iter()
                        .map(|host| {
                            host.strip_prefix("./")
                                .map_or(host.clone(), |host| format!("{}/{host}", gateway.metadata.namespace))
                        })
                        .collect();
                    host::hosts_for_namespace(&hosts, &object.metadata.namespace)
                        .iter()
                        .any(|own| host::matches(own, name))
                })
                .count()
        };
        if all_known && !bound.is_empty() {
            let stray: Vec<(usize, &String)> =
                object.spec.hosts.iter().enumerate().filter(|(_, name)| on(name) == 0).collect();
            // All of them is what istioctl says already.
            if stray.len() < object.spec.hosts.len() {
                for (i, name) in stray {
                    let message = format!("no server of its Gateways takes the host {name}: requests for it get 404");
                    found.push(
                        Finding::new("SLU0208", Level::Warning, object, &format!("spec.hosts[{i}]"), message)
                            .fix("add the host to a server, or correct it"),
                    );
                }
            }
            kinds(object, &servers, found);
        }
    }
}

/// Rules of a kind that none of the servers has.
fn kinds(object: &Object<VirtualService>, servers: &[(&Object<Gateway>, &Server)], found: &mut Vec<Finding>) {
    let spec = &object.spec;
    let http = servers.iter().any(|(_, server)| server.is_http());
    let passed_on = servers.iter().any(|(_, server)| server.is_passthrough());
    let opaque = servers.iter().any(|(_, server)| {
        matches!(server.protocol(), Protocol::Tcp | Protocol::Tls | Protocol::Mongo | Protocol::Redis | Protocol::MySql)
    });
    for (set, served, field, kind) in [
        (!spec.http.is_empty(), http, "spec.http", "HTTP"),
        (!spec.tls.is_empty(), passed_on, "spec.tls", "TLS (PASSTHROUGH)"),
        (!spec.tcp.is_empty(), opaque, "spec.tcp", "TCP or TLS"),
    ] {
        if set && !served {
            let message = format!("none of its Gateways has a server for {kind}: these rules have no effect");
            found.push(
                Finding::new("SLU0210", Level::Warning, object, field, message)
                    .fix("add such a server, or move the rules under the kind that the server has"),
            );
        }
    }
}

/// `SLU0212`: a rule looks at a claim that nothing in these files makes.
pub(super) fn tokens(resources: &Resources, found: &mut Vec<Finding>) {
    let authenticates =
        resources.security_policies.iter().any(|policy| policy.origin.kind.as_ref() == "RequestAuthentication");
    for object in resources.virtual_services.iter().filter(|_| !authenticates) {
        if let Some((field, key)) = claim_of(&object.spec) {
            let message = format!(
                "{key} is there only after a RequestAuthentication on the gateway has checked a token, and these files hold none: the rule never matches"
            );
            found.push(
                Finding::new("SLU0212", Level::Warning, object, &field, message)
                    .fix("add a RequestAuthentication for the gateway"),
            );
        }
    }
}
