//! What the webhook takes with a warning, kind by kind (`Warning` in Istio's validation).

use std::net::IpAddr;

use super::envoy_filter_warnings;
use crate::{
    problem::Problem,
    resource::{
        Resources,
        destination_rule::{DestinationRule, LoadBalancer, TrafficPolicy},
        gateway::{Gateway, ServerTls, TlsMode, TlsProtocol},
        object::Object,
        service_entry::{Resolution, ServiceEntry},
        virtual_service::VirtualService,
    },
};

pub(super) const NO_LABELS: &str = "workload selector specified without labels";

/// All warnings about all resources.
pub(super) fn all(resources: &Resources, found: &mut Vec<Problem>) {
    resources.gateways.iter().for_each(|object| gateway(object, found));
    resources.virtual_services.iter().for_each(|object| virtual_service(object, found));
    resources.destination_rules.iter().for_each(|object| destination_rule(object, found));
    resources.service_entries.iter().for_each(|object| service_entry(object, found));
    resources.envoy_filters.iter().for_each(|object| envoy_filter_warnings::all(object, found));
    for object in &resources.wasm_plugins {
        warn_if(
            found,
            object,
            object.spec.selector.as_ref().is_some_and(|selector| selector.match_labels.is_empty()),
            "spec.selector",
            NO_LABELS,
        );
    }
    for object in &resources.traffic_extensions {
        warn_if(
            found,
            object,
            object.spec.selector.as_ref().is_some_and(|selector| selector.match_labels.is_empty()),
            "spec.selector",
            NO_LABELS,
        );
    }
    for object in &resources.security_policies {
        warn_if(
            found,
            object,
            object.spec.selector.as_ref().is_some_and(|selector| selector.match_labels.is_empty()),
            "spec.selector",
            NO_LABELS,
        );
    }
}

pub(super) fn warn<T>(found: &mut Vec<Problem>, object: &Object<T>, field: &str, reason: impl Into<String>) {
    found.push(object.problem(field, reason));
}

pub(super) fn warn_if<T>(found: &mut Vec<Problem>, object: &Object<T>, when: bool, field: &str, reason: &str) {
    if when {
        warn(found, object, field, reason);
    }
}

fn gateway(object: &Object<Gateway>, found: &mut Vec<Problem>) {
    for (i, server) in object.spec.servers.iter().enumerate() {
        let Some(tls) = &server.tls else { continue };
        let path = format!("spec.servers[{i}].tls");
        let redirect = tls.https_redirect && !server.protocol().is_http();
        warn_if(
            found,
            object,
            redirect,
            &format!("{path}.httpsRedirect"),
            "tls.httpsRedirect should only be used with http servers",
        );
        server_tls(object, &path, tls, found);
    }
}

fn server_tls(object: &Object<Gateway>, path: &str, tls: &ServerTls, found: &mut Vec<Problem>) {
    let old = matches!(tls.min_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1) && tls.cipher_suites.is_empty();
    let reason = "TLS version below TLSV1_2 require setting compatible ciphers as by default they no longer include compatible ciphers.";
    warn_if(found, object, old, &format!("{path}.minProtocolVersion"), reason);
    let mut sorted = |what: &str, mut names: Vec<String>| {
        names.sort();
        names.dedup();
        if !names.is_empty() {
            warn(
                found,
                object,
                &format!("{path}.cipherSuites"),
                format!("ignoring {what} cipher suites: [{}]", names.join(" ")),
            );
        }
    };
    let known = |suite: &&String| CIPHER_SUITES.contains(&suite.as_str());
    sorted("invalid", tls.cipher_suites.iter().filter(|suite| !known(suite)).cloned().collect());
    let twice = |(i, suite): (usize, &String)| {
        tls.cipher_suites.iter().take(i).any(|earlier| earlier == suite).then(|| suite.clone())
    };
    sorted(
        "duplicate",
        tls.cipher_suites.iter().enumerate().filter(|(_, suite)| known(suite)).filter_map(twice).collect(),
    );
    let certificates =
        [&tls.ca_crl, &tls.server_certificate, &tls.private_key, &tls.ca_certificates, &tls.credential_name]
            .iter()
            .any(|set| !set.is_empty())
            || !tls.tls_certificates.is_empty()
            || !tls.credential_names.is_empty();
    for (mode, name) in [(TlsMode::Passthrough, "PASSTHROUGH"), (TlsMode::AutoPassthrough, "AUTO_PASSTHROUGH")] {
        if tls.mode == mode && certificates {
            warn(found, object, path, format!("{name} mode does not use certificates, they will be ignored"));
        }
    }
}

const CIPHER_SUITES: [&str; 15] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

fn virtual_service(object: &Object<VirtualService>, found: &mut Vec<Problem>) {
    let spec = &object.spec;
    legacy_gateway_names(object, "spec.gateways", &spec.gateways, found);
    for (i, route) in spec.http.iter().enumerate() {
        let path = format!("spec.http[{i}]");
        for (j, matched) in route.matches.iter().enumerate() {
            legacy_gateway_names(object, &format!("{path}.match[{j}].gateways"), &matched.gateways, found);
        }
        warn_if(
            found,
            object,
            route.mirror_percent_integer().is_some(),
            &format!("{path}.mirrorPercent"),
            "using deprecated setting \"mirrorPercent\", use \"mirrorPercentage\" instead",
        );
        let untyped = route.fault.as_ref().and_then(|fault| fault.abort.as_ref()).is_some_and(|abort| {
            abort.http_status.is_none() && abort.grpc_status.is_none() && abort.http2_error.is_none()
        });
        warn_if(found, object, untyped, &format!("{path}.fault.abort"), "abort configured, but error type not set");
        let body = route.direct_response.as_ref().and_then(|response| response.body.as_ref());
        let size = body.map_or(0, |body| {
            body.string.as_ref().map_or(0, String::len) + body.bytes.as_ref().map_or(0, |bytes| bytes.len() / 4 * 3)
        });
        let large = (100 * 1024 + 1..=1024 * 1024).contains(&size);
        warn_if(
            found,
            object,
            large,
            &format!("{path}.directResponse.body"),
            "large direct_responses may impact control plane performance",
        );
    }
    for (i, route) in spec.tls.iter().enumerate() {
        for (j, matched) in route.matches.iter().enumerate() {
            for (k, sni) in matched.sni_hosts.iter().enumerate().filter(|(_, sni)| sni.parse::<IpAddr>().is_ok()) {
                let reason =
                    format!("using an IP address ({sni:?}) goes against SNI spec and most clients do not support this");
                warn(found, object, &format!("spec.tls[{i}].match[{j}].sniHosts[{k}]"), reason);
            }
        }
    }
}

/// Istio looks no further than the first name without a namespace.
fn legacy_gateway_names(object: &Object<VirtualService>, path: &str, gateways: &[String], found: &mut Vec<Problem>) {
    let Some((i, name)) = gateways.iter().enumerate().find(|(_, name)| !name.contains('/')) else { return };
    let mut labels = name.split('.');
    if let (Some(short), Some(namespace)) = (labels.next(), labels.next()) {
        let meant = format!("{namespace}/{short}");
        let reason =
            format!("using legacy gatewayName format {name:?}; prefer the <namespace>/<name> format: {meant:?}");
        warn(found, object, &format!("{path}[{i}]"), reason);
    }
}

fn destination_rule(object: &Object<DestinationRule>, found: &mut Vec<Problem>) {
    let spec = &object.spec;
    let selector = spec.workload_selector.as_ref().is_some_and(|selector| selector.match_labels.is_empty());
    warn_if(found, object, selector, "spec.workloadSelector", NO_LABELS);
    // The webhook keeps only the refusals of policies of subsets and ports; what it would warn about there is lost.
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(object, policy, found);
    }
}

fn traffic_policy(object: &Object<DestinationRule>, policy: &TrafficPolicy, found: &mut Vec<Problem>) {
    let outlier = policy.outlier_detection.as_ref();
    let deprecated = outlier.is_some_and(|outlier| outlier.consecutive_errors != 0);
    let reason = "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead";
    warn_if(found, object, deprecated, "spec.trafficPolicy.outlierDetection.consecutiveErrors", reason);
    let Some(balancer) = &policy.load_balancer else { return };
    let path = "spec.trafficPolicy.loadBalancer";
    let ring = balancer.consistent_hash.as_ref().is_some_and(|hash| hash.minimum_ring_size != 0);
    let reason = "consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead";
    warn_if(found, object, ring, &format!("{path}.consistentHash.minimumRingSize"), reason);
    let blind = fails_over(balancer) && outlier.is_none();
    warn_if(found, object, blind, path, "outlier detection policy must be provided for failover");
}

fn fails_over(balancer: &LoadBalancer) -> bool {
    let settings = [&balancer.locality_lb_setting, &balancer.zone_aware_lb_setting];
    settings.into_iter().flatten().any(|setting| !setting.failover.is_empty() || !setting.failover_priority.is_empty())
}

fn service_entry(object: &Object<ServiceEntry>, found: &mut Vec<Problem>) {
    let spec = &object.spec;
    let unlabelled = spec.workload_selector.as_ref().is_some_and(|selector| selector.labels.is_empty());
    let reason = format!("service entry: {NO_LABELS}, will be applied to all services in namespace");
    warn_if(found, object, unlabelled, "spec.workloadSelector", &reason);
    for (i, host) in spec.hosts.iter().enumerate().filter(|_| spec.resolution != Resolution::DynamicDns) {
        if host != "*"
            && let Err(reason) = crate::validate::gateway::partial_wildcard(host)
        {
            warn(found, object, &format!("spec.hosts[{i}]"), reason);
        }
    }
    let none = spec.resolution == Resolution::None;
    for (i, port) in spec.ports.iter().enumerate() {
        let opaque = matches!(port.protocol.as_str(), "" | "TCP") && spec.addresses.is_empty() && none;
        let reason =
            "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled";
        warn_if(found, object, opaque, &format!("spec.ports[{i}]"), reason);
    }
    let selector = none && spec.workload_selector.is_some();
    warn_if(
        found,
        object,
        selector,
        "spec.workloadSelector",
        "workloadSelector should not be set when resolution mode is NONE",
    );
    let by_name = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    let tcp = spec.ports.iter().any(|port| port.protocol.eq_ignore_ascii_case("tcp"));
    let ambiguous = by_name && !spec.addresses.is_empty() && tcp && spec.hosts.len() > 1;
    let reason = "service entry can not have more than one host specified simultaneously with address and tcp port";
    warn_if(found, object, ambiguous, "spec.hosts", reason);
}
