//! `ServiceEntry` and `WorkloadEntry`.

use std::net::IpAddr;

use super::{Check, name};
use crate::{
    problem::Problem,
    resource::{
        object::Object,
        protocol::Protocol,
        service_entry::{Resolution, ServiceEntry, WorkloadEntry},
    },
};

/// What the webhook and the schema refuse of a ServiceEntry.
pub(crate) fn check(object: &Object<ServiceEntry>, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    let mut check = Check { object, problems };
    check.hosts();
    check.addresses();
    check.ports();
    let both = spec.workload_selector.is_some() && !spec.endpoints.is_empty();
    check.refuse_if(both, "spec", "only one of WorkloadSelector or Endpoints is allowed in Service Entry");
    if let Some(selector) = &spec.workload_selector {
        check.selector("spec.workloadSelector.labels", &selector.labels);
    }
    check.endpoints();
    let splits = |protocol: Protocol| protocol.is_http() || matches!(protocol, Protocol::Https | Protocol::Tls);
    let opaque = spec.ports.iter().any(|port| !splits(Protocol::parse(&port.protocol)));
    let ambiguous = spec.resolution != Resolution::None && spec.hosts.len() > 1 && opaque;
    check.refuse_if(ambiguous, "spec.hosts", "multiple hosts provided with non-HTTP, non-TLS ports");
    check.export_to(&spec.export_to, true);
}

/// What the webhook refuses of a WorkloadEntry.
pub(crate) fn check_workload(object: &Object<WorkloadEntry>, problems: &mut Vec<Problem>) {
    let mut check = Check { object, problems };
    check.endpoint("spec", &object.spec, None, true);
}

impl Check<'_, ServiceEntry> {
    fn hosts(&mut self) {
        let spec = &self.object.spec;
        self.refuse_if(spec.hosts.is_empty(), "spec.hosts", "service entry must have at least one host");
        for (i, host) in spec.hosts.iter().enumerate() {
            let path = format!("spec.hosts[{i}]");
            if host == "*" {
                self.refuse(&path, format!("invalid host {host}"));
            } else {
                self.expect(&path, name::wildcard_domain(host));
            }
            let wild = host.starts_with('*');
            let dynamic = spec.resolution == Resolution::DynamicDns;
            self.refuse_if(dynamic && !wild, &path, "host must be wildcarded for resolution mode DYNAMIC_DNS");
            let by_name =
                matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin) && spec.endpoints.is_empty();
            if by_name && name::fqdn(host).is_err() {
                let reason = "hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode DNS";
                self.refuse(&path, reason);
            }
        }
    }

    fn addresses(&mut self) {
        let spec = &self.object.spec;
        for (i, address) in spec.addresses.iter().enumerate() {
            let fine = address.parse::<IpAddr>().is_ok() || address.parse::<ipnet::IpNet>().is_ok();
            self.refuse_if(!fine, &format!("spec.addresses[{i}]"), &format!("{address} is not a valid IP"));
        }
        let ranges = spec.addresses.iter().any(|address| address.contains('/'));
        let by_address = matches!(spec.resolution, Resolution::None | Resolution::Static);
        self.refuse_if(
            ranges && !by_address,
            "spec.addresses",
            "CIDR addresses are allowed only for NONE/STATIC resolution types",
        );
        let dynamic = spec.resolution == Resolution::DynamicDns && !spec.addresses.is_empty();
        self.refuse_if(dynamic, "spec.addresses", "addresses cannot be set for resolution type DYNAMIC_DNS");
    }

    fn ports(&mut self) {
        let ports = &self.object.spec.ports;
        for (i, port) in ports.iter().enumerate() {
            let path = format!("spec.ports[{i}]");
            let earlier = || ports.iter().take(i);
            let name_taken = earlier().any(|other| other.name == port.name);
            self.refuse_if(name_taken, &path, &format!("service entry port name {:?} already defined", port.name));
            let number_taken = earlier().any(|other| other.number == port.number);
            self.refuse_if(number_taken, &path, &format!("service entry port {} already defined", port.number));
            if port.target_port != 0 {
                self.port(&format!("{path}.targetPort"), port.target_port);
            }
            self.port(&format!("{path}.number"), port.number);
            if name::dns_label(&port.name).is_err() {
                self.refuse(&format!("{path}.name"), format!("invalid port name: {}", port.name));
            }
            let known = port.protocol.is_empty() || Protocol::parse(&port.protocol) != Protocol::Unsupported;
            self.refuse_if(!known, &format!("{path}.protocol"), &format!("unsupported protocol: {}", port.protocol));
        }
    }

    fn endpoints(&mut self) {
        let spec = &self.object.spec;
        let endpoints = &spec.endpoints;
        let names: Vec<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
        match spec.resolution {
            Resolution::None => self.refuse_if(
                !endpoints.is_empty(),
                "spec.endpoints",
                "no endpoints should be provided for resolution type none",
            ),
            Resolution::DynamicDns => {
                self.refuse_if(
                    !endpoints.is_empty(),
                    "spec.endpoints",
                    "endpoints cannot be set for resolution type DYNAMIC_DNS",
                );
            }
            Resolution::DnsRoundRobin if endpoints.len() > 1 => {
                self.refuse("spec.endpoints", "there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN");
            }
            _ => {}
        }
        let by_name = spec.resolution != Resolution::Static;
        for (i, endpoint) in endpoints.iter().enumerate() {
            self.endpoint(&format!("spec.endpoints[{i}]"), endpoint, Some(&names), by_name);
        }
    }
}

impl<T> Check<'_, T> {
    fn endpoint(&mut self, path: &str, endpoint: &WorkloadEntry, service_ports: Option<&[&str]>, by_name: bool) {
        let address = &endpoint.address;
        let at = format!("{path}.address");
        if address.is_empty() {
            self.refuse(&at, "address is required");
        } else if address.starts_with("unix://") && !(by_name && service_ports.is_some()) {
            let many = service_ports.is_some_and(|ports| ports.len() != 1);
            self.refuse_if(many, path, "exactly 1 service port required for unix endpoints");
            self.refuse_if(
                !endpoint.ports.is_empty(),
                path,
                &format!("unix endpoint {address} must not include ports"),
            );
        } else if address.parse::<IpAddr>().is_err() {
            self.refuse_if(!by_name, &at, &format!("endpoint address {address:?} is not a valid IP address"));
            let named = !by_name || name::fqdn(address).is_ok();
            self.refuse_if(!named, &at, &format!("endpoint address {address:?} is not a valid FQDN or an IP address"));
        }
        for (name, port) in &endpoint.ports {
            let path = format!("{path}.ports.{name}");
            let known = service_ports.is_none_or(|ports| ports.contains(&name.as_str()));
            self.refuse_if(!known, &path, &format!("endpoint port {port} is not defined by the service entry"));
            self.port(&path, *port);
        }
        self.labels(&format!("{path}.labels"), &endpoint.labels);
    }
}
