//! `VirtualService`: hosts and gateways here, HTTP rules in [`http`], TLS and TCP rules in [`layer4`].

mod http;
mod layer4;

use super::{Check, name};
use crate::{
    problem::Problem,
    resource::{
        host,
        object::Object,
        virtual_service::{Destination, StringMatch, VirtualService},
    },
};

/// What the webhook refuses of a VirtualService; what it only warns about goes to `warnings`.
pub(crate) fn check(object: &Object<VirtualService>, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let spec = &object.spec;
    let mut check = Check { object, problems };
    let is_delegate = spec.hosts.is_empty();
    if is_delegate {
        check.delegate();
    }
    // Who is bound to the mesh as well is held to what holds for the mesh.
    let for_gateway = !spec.gateways.is_empty() && spec.gateways.iter().all(|gateway| gateway != "mesh");
    check.gateway_names("spec.gateways", &spec.gateways);
    check.hosts(for_gateway);
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        check.refuse("spec", "http, tcp or tls must be provided in virtual service");
    }
    for (i, route) in spec.http.iter().enumerate() {
        check.http_route(&format!("spec.http[{i}]"), route, is_delegate, for_gateway, warnings);
    }
    check.layer4();
    check.export_to(&spec.export_to, false);
}

impl Check<'_, VirtualService> {
    fn delegate(&mut self) {
        let spec = &self.object.spec;
        for (set, path, reason) in [
            (!spec.gateways.is_empty(), "spec.gateways", "delegate virtual service must have no gateways specified"),
            (!spec.tls.is_empty(), "spec.tls", "delegate virtual service must have no tls route specified"),
            (!spec.tcp.is_empty(), "spec.tcp", "delegate virtual service must have no tcp route specified"),
        ] {
            self.refuse_if(set, path, reason);
        }
    }

    fn hosts(&mut self, for_gateway: bool) {
        let hosts = &self.object.spec.hosts;
        let mut all_valid = true;
        for (i, host) in hosts.iter().enumerate() {
            let path = format!("spec.hosts[{i}]");
            match name::wildcard_domain(host) {
                Err(_) if host.parse::<std::net::IpAddr>().is_ok() => {}
                // Names that AUTO_PASSTHROUGH mints: `outbound_.80_._.host`.
                Err(_) if for_gateway && host.starts_with("outbound_") && !self.object.spec.tls.is_empty() => {}
                Err(reason) => {
                    self.refuse(&path, reason);
                    all_valid = false;
                }
                Ok(()) if host == "*" && !for_gateway => {
                    self.refuse(&path, "wildcard host * is not allowed for virtual services bound to the mesh gateway");
                    all_valid = false;
                }
                Ok(()) => {}
            }
        }
        if !all_valid {
            return;
        }
        for (i, one) in hosts.iter().enumerate() {
            for (j, other) in hosts.iter().enumerate().skip(i + 1) {
                let reason = format!("duplicate hosts in virtual service: {one} & {other}");
                self.refuse_if(host::matches(one, other), &format!("spec.hosts[{j}]"), &reason);
            }
        }
    }

    fn gateway_names(&mut self, path: &str, gateways: &[String]) {
        for (i, gateway) in gateways.iter().enumerate() {
            let path = format!("{path}[{i}]");
            match gateway.split_once('/') {
                None => self.expect(&path, name::fqdn(gateway)),
                Some(("", _) | (_, "")) => self.refuse(&path, "config namespace and gateway name cannot be empty"),
                Some((namespace, name)) => {
                    if name::dns_label(namespace).is_err() {
                        self.refuse(&path, format!("invalid value for namespace: {namespace:?}"));
                    }
                    if name::dns_label(name).is_err() {
                        self.refuse(&path, format!("invalid value for gateway name: {name:?}"));
                    }
                }
            }
        }
    }

    fn destination(&mut self, path: &str, destination: &Destination) {
        let host = &destination.host;
        if host == "*" {
            self.refuse(&format!("{path}.host"), format!("invalid destination host {host}"));
        } else {
            self.expect(&format!("{path}.host"), name::wildcard_domain(host));
        }
        if !destination.subset.is_empty() && name::dns_label(&destination.subset).is_err() {
            self.refuse(&format!("{path}.subset"), format!("subset name is invalid: {}", destination.subset));
        }
        if let Some(port) = &destination.port {
            self.port(&format!("{path}.port.number"), port.number);
        }
    }

    /// The schema takes one kind of match.
    fn one_kind(&mut self, path: &str, string: &StringMatch) {
        let set = [&string.exact, &string.prefix, &string.regex].iter().filter(|kind| kind.is_some()).count();
        self.refuse_if(set > 1, path, "only one of exact, prefix, regex can be set");
    }

    fn weights(&mut self, path: &str, weights: &[i32]) {
        for (i, weight) in weights.iter().enumerate() {
            self.refuse_if(*weight < 0, &format!("{path}[{i}].weight"), &format!("weight {weight} < 0"));
        }
        let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        self.refuse_if(weights.len() > 1 && total == 0, path, "total destination weight = 0");
        self.refuse_if(
            total > i64::from(u32::MAX),
            path,
            "the weights add up to more than 4294967295, which Envoy refuses",
        );
    }
}
