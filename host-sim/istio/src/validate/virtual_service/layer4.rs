//! TLS and TCP rules.

use std::net::IpAddr;

use super::Check;
use crate::{
    resource::{
        host,
        virtual_service::{RouteDestination, TlsMatch, VirtualService},
    },
    validate::name,
};

impl Check<'_, VirtualService> {
    pub(super) fn layer4(&mut self) {
        let spec = &self.object.spec;
        for (i, route) in spec.tls.iter().enumerate() {
            let path = format!("spec.tls[{i}]");
            self.refuse_if(route.matches.is_empty(), &path, "TLS route must have at least one match condition");
            for (j, matched) in route.matches.iter().enumerate() {
                self.tls_match(&format!("{path}.match[{j}]"), matched);
            }
            self.refuse_if(route.route.is_empty(), &path, "TLS route is required");
            self.l4_destinations(&format!("{path}.route"), &route.route);
        }
        for (i, route) in spec.tcp.iter().enumerate() {
            let path = format!("spec.tcp[{i}]");
            for (j, matched) in route.matches.iter().enumerate() {
                let path = format!("{path}.match[{j}]");
                self.l4_match(&path, &matched.destination_subnets, matched.port, &matched.gateways);
                self.labels(&format!("{path}.sourceLabels"), &matched.source_labels);
            }
            self.refuse_if(route.route.is_empty(), &path, "TCP route is required");
            self.l4_destinations(&format!("{path}.route"), &route.route);
        }
    }

    fn tls_match(&mut self, path: &str, matched: &TlsMatch) {
        self.refuse_if(
            matched.sni_hosts.is_empty(),
            &format!("{path}.sniHosts"),
            "TLS match must have at least one SNI host",
        );
        for (i, sni) in matched.sni_hosts.iter().enumerate() {
            let path = format!("{path}.sniHosts[{i}]");
            if sni.parse::<IpAddr>().is_ok() || sni.starts_with("outbound_") {
                continue;
            }
            if let Err(reason) = name::wildcard_domain(sni) {
                self.refuse(&path, reason);
                continue;
            }
            let hosts = &self.object.spec.hosts;
            if !hosts.iter().any(|host| host::is_subset(sni, host)) {
                let hosts = hosts.join(", ");
                self.refuse(
                    &path,
                    format!(
                        "SNI host {sni:?} is not a compatible subset of any of the virtual service hosts: [{hosts}]"
                    ),
                );
            }
        }
        self.l4_match(path, &matched.destination_subnets, matched.port, &matched.gateways);
        self.labels(&format!("{path}.sourceLabels"), &matched.source_labels);
    }

    fn l4_match(&mut self, path: &str, subnets: &[String], port: u32, gateways: &[String]) {
        for (i, subnet) in subnets.iter().enumerate() {
            let fine = subnet.parse::<IpAddr>().is_ok() || subnet.parse::<ipnet::IpNet>().is_ok();
            self.refuse_if(
                !fine,
                &format!("{path}.destinationSubnets[{i}]"),
                &format!("{subnet} is not a valid CIDR block"),
            );
        }
        if port != 0 {
            self.port(&format!("{path}.port"), port);
        }
        self.gateway_names(&format!("{path}.gateways"), gateways);
    }

    fn l4_destinations(&mut self, path: &str, destinations: &[RouteDestination]) {
        for (i, destination) in destinations.iter().enumerate() {
            self.destination(&format!("{path}[{i}].destination"), &destination.destination);
        }
        let weights: Vec<_> = destinations.iter().map(|destination| destination.weight).collect();
        self.weights(path, &weights);
    }
}
