//! DestinationRules: servers nobody verifies, subsets without pods, hosts without a service.

use std::collections::BTreeMap;

use super::{destinations::Known, selects};
use crate::{
    analysis::{Finding, Level},
    resource::{
        Resources,
        destination_rule::{ClientTls, ClientTlsMode, DestinationRule},
        object::Object,
    },
};

/// `IST0128`, `IST0129`: TLS to a server whose certificate nobody checks.
pub(super) fn unverified_servers(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.destination_rules {
        let Some(policy) = &object.spec.traffic_policy else { continue };
        let (name, namespace, host) = (object.full_name(), &object.metadata.namespace, &object.spec.host);
        let fix = "set caCertificates: /etc/ssl/certs/ca-certificates.crt for a public server, or the CA that signed its certificate";
        if let Some(mode) = policy.tls.as_ref().and_then(|tls| unverified(object, tls)) {
            let message = format!(
                "DestinationRule {name} in namespace {namespace} has TLS mode set to {mode} but no caCertificates are set to validate server identity for host: {host}"
            );
            found.push(Finding::new("IST0128", Level::Warning, object, "spec.trafficPolicy.tls", message).fix(fix));
        }
        for (i, port) in policy.port_level_settings.iter().enumerate() {
            let Some(mode) = port.tls.as_ref().and_then(|tls| unverified(object, tls)) else { continue };
            let number = port.port.as_ref().map_or(0, |port| port.number);
            let message = format!(
                "DestinationRule {name} in namespace {namespace} has TLS mode set to {mode} but no caCertificates are set to validate server identity for host: {host} at port number:{number}"
            );
            let field = format!("spec.trafficPolicy.portLevelSettings[{i}].tls");
            found.push(Finding::new("IST0129", Level::Warning, object, &field, message).fix(fix));
        }
    }
}

fn unverified(object: &Object<DestinationRule>, tls: &ClientTls) -> Option<&'static str> {
    let mode = match tls.mode {
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        ClientTlsMode::Disable | ClientTlsMode::IstioMutual => return None,
    };
    let by_secret = !tls.credential_name.is_empty() && object.spec.workload_selector.is_some();
    (tls.ca_certificates.is_empty() && !by_secret).then_some(mode)
}

/// `IST0173`, `IST0174`.
pub(super) fn selected_pods(resources: &Resources, found: &mut Vec<Finding>) {
    let known = Known::new(resources);
    for object in &resources.destination_rules {
        let spec = &object.spec;
        if known.ports(&object.metadata.namespace, &spec.export_to, &spec.host).is_none() {
            let message = format!(
                "The host {} defined in the DestinationRule does not match any services in the mesh.",
                spec.host
            );
            let fix = "name a Service or a host of a ServiceEntry";
            found.push(Finding::new("IST0174", Level::Warning, object, "spec.host", message).fix(fix));
            continue;
        }
        let entry = resources.service_entries.iter().find(|entry| entry.spec.hosts.contains(&spec.host));
        let shared =
            entry.and_then(|entry| entry.spec.workload_selector.as_ref()).map(|selector| selector.labels.clone());
        for (i, subset) in spec.subsets.iter().enumerate() {
            let mut selector: BTreeMap<String, String> = shared.clone().unwrap_or_default();
            selector.extend(subset.labels.clone());
            if resources.pods.iter().any(|pod| selects(&selector, &pod.metadata.labels)) {
                continue;
            }
            let message = format!(
                "The Subset {} defined in the DestinationRule does not select any pods. Which may lead to 503 UH (NoHealthyUpstream).",
                subset.name
            );
            let field = format!("spec.subsets[{i}].labels");
            found.push(
                Finding::new("IST0173", Level::Error, object, &field, message)
                    .fix("use labels that the service's pods have"),
            );
        }
    }
}
