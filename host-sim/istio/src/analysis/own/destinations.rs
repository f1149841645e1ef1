//! Where rules send requests: services that are in no file, ports they do not have, and shares.

use std::collections::BTreeMap;

use crate::{
    analysis::{
        Finding, Level,
        istioctl::destinations::{Placed, of},
    },
    resource::{
        Resources, host,
        object::Object,
        protocol::Protocol,
        virtual_service::{Destination, HttpRoute, VirtualService},
    },
    translate::registry::{Registry, Service},
};

/// `SLU0201` to `SLU0204`. A namespace none of whose Services are in the files is not judged.
pub(super) fn references(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        let registry = Registry::new(resources, &object.metadata.namespace);
        for Placed { field, destination, .. } in of(&object.spec) {
            let full = host::full_name(&destination.host, &object.metadata.namespace, resources.mesh.domain());
            match registry.get(&full) {
                Some(service) => port(object, &field, destination, service, found),
                None if is_covered(&registry, &full) => {}
                None => dangling(resources, object, &field, &full, found),
            }
        }
        delegates(resources, object, found);
    }
}

/// A ServiceEntry with a wildcard has it.
pub(super) fn is_covered(registry: &Registry, name: &str) -> bool {
    registry.services().iter().any(|service| host::is_wildcard(&service.host) && host::is_subset(name, &service.host))
}

fn dangling(resources: &Resources, object: &Object<VirtualService>, field: &str, full: &str, found: &mut Vec<Finding>) {
    let suffix = format!(".svc.{}", resources.mesh.domain());
    let at = format!("{field}.host");
    let judged = |namespace: &str| resources.services.iter().any(|service| service.metadata.namespace == namespace);
    if let Some((name, namespace)) = full.strip_suffix(&suffix).and_then(|rest| rest.rsplit_once('.')) {
        if judged(namespace) {
            let message = format!("no Service {namespace}/{name} in these files: requests get 503");
            let names = resources
                .services
                .iter()
                .filter(|service| service.metadata.namespace == namespace)
                .map(|service| service.metadata.name.as_str());
            let fix = match crate::manifest::suggest::nearest(name, names) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => "add the Service, or correct the host".to_owned(),
            };
            found.push(Finding::new("SLU0201", Level::Error, object, &at, message).fix(fix));
        }
        return;
    }
    let short = full.split_once('.').filter(|(name, namespace)| {
        resources
            .services
            .iter()
            .any(|service| service.metadata.name == *name && service.metadata.namespace == *namespace)
    });
    if short.is_some() || full.ends_with(".svc") {
        let message = format!(
            "{full:?} is no service: a host with a dot is taken as it is, and Istio adds nothing to it; requests get 503"
        );
        let base = full.trim_end_matches(".svc");
        found
            .push(Finding::new("SLU0201", Level::Error, object, &at, message).fix(format!("write \"{base}{suffix}\"")));
    } else if !resources.service_entries.is_empty() || judged(&object.metadata.namespace) {
        let message =
            format!("no ServiceEntry has the host {full}: the gateway knows no such service, and requests get 503");
        found.push(
            Finding::new("SLU0201", Level::Error, object, &at, message)
                .fix("add a ServiceEntry for the host, or correct it"),
        );
    }
}

fn port(
    object: &Object<VirtualService>,
    field: &str,
    destination: &Destination,
    service: &Service,
    found: &mut Vec<Finding>,
) {
    let numbers: Vec<String> = service.ports.iter().map(|port| port.number.to_string()).collect();
    match &destination.port {
        Some(port) if !numbers.is_empty() && service.ports.iter().all(|own| own.number != port.number) => {
            let message = format!("{} has no port {}: requests get 503", service.host, port.number);
            let fix = format!(
                "its ports are {}; a destination names the Service's port, not the container's",
                numbers.join(", ")
            );
            found
                .push(Finding::new("SLU0202", Level::Error, object, &format!("{field}.port.number"), message).fix(fix));
        }
        Some(port) if service.is_kubernetes => nameless(object, field, port.number, service, found),
        None if numbers.len() > 1 => {
            let message = format!(
                "{} has the ports {}: without one here, the gateway takes its own listener's port",
                service.host,
                numbers.join(", ")
            );
            let fix = format!("add port: {{number: {}}}", numbers.first().map_or("…", String::as_str));
            found.push(Finding::new("SLU0203", Level::Error, object, &format!("{field}.host"), message).fix(fix));
        }
        _ => {}
    }
}

/// `SLU0214`: a port whose name tells no protocol.
fn nameless(object: &Object<VirtualService>, field: &str, number: u32, service: &Service, found: &mut Vec<Finding>) {
    let port = service.ports.iter().find(|port| port.number == number);
    if let Some(port) = port.filter(|port| port.protocol == Protocol::Unsupported) {
        let message = format!(
            "port {number} of {} is named {:?}, which tells Istio no protocol: the gateway speaks HTTP/1.1 to it, and HTTP/2 or gRPC behind it is never used",
            service.host, port.name
        );
        let field = format!("{field}.port.number");
        let fix = "name the Service's port http, http2, grpc or tcp-…, or set its appProtocol";
        found.push(Finding::new("SLU0214", Level::Info, object, &field, message).fix(fix));
    }
}

fn delegates(resources: &Resources, object: &Object<VirtualService>, found: &mut Vec<Finding>) {
    for (i, route) in object.spec.http.iter().enumerate() {
        let Some(delegate) = &route.delegate else { continue };
        let namespace = if delegate.namespace.is_empty() { &object.metadata.namespace } else { &delegate.namespace };
        let named = |other: &&Object<VirtualService>| {
            other.metadata.name == delegate.name && other.metadata.namespace == *namespace
        };
        let field = format!("spec.http[{i}].delegate");
        match resources.virtual_services.iter().find(named) {
            None => {
                let message = format!(
                    "no VirtualService {namespace}/{} in these files: the rule is left out, and its requests get 404",
                    delegate.name
                );
                found.push(
                    Finding::new("SLU0204", Level::Error, object, &field, message)
                        .fix("add it, or name the one that is meant"),
                );
            }
            Some(other) if !other.spec.hosts.is_empty() => {
                let message = format!(
                    "{other} has hosts and so cannot be delegated to: the rule is left out, and its requests get 404"
                );
                found.push(
                    Finding::new("SLU0204", Level::Error, object, &field, message)
                        .fix("take hosts and gateways out of the delegate"),
                );
            }
            Some(_) => {}
        }
    }
}

/// `SLU0113`, `SLU0120`, `SLU0121`: shares that do not add up, splits that do not stick, mirrors of themselves.
pub(super) fn splits(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        for (i, route) in object.spec.http.iter().enumerate() {
            weights(object, i, route, found);
            stickiness(resources, object, i, route, found);
            for (field, mirror) in mirrors(i, route) {
                if route.route.iter().any(|own| own.destination == *mirror) {
                    let message =
                        format!("mirrors to {}, where the requests go anyway: it gets each of them twice", mirror.host);
                    found.push(
                        Finding::new("SLU0121", Level::Warning, object, &field, message)
                            .fix("mirror to another service or subset"),
                    );
                }
            }
        }
    }
}

fn mirrors(i: usize, route: &HttpRoute) -> Vec<(String, &Destination)> {
    let one = route.mirror.iter().map(|mirror| (format!("spec.http[{i}].mirror"), mirror));
    let many = route.mirrors.iter().enumerate();
    let many =
        many.filter_map(|(j, mirror)| Some((format!("spec.http[{i}].mirrors[{j}]"), mirror.destination.as_ref()?)));
    one.chain(many).collect()
}

fn weights(object: &Object<VirtualService>, i: usize, route: &HttpRoute, found: &mut Vec<Finding>) {
    let total: i64 = route.route.iter().map(|own| i64::from(own.weight)).sum();
    if route.route.len() < 2 || total == 100 || total <= 0 {
        return;
    }
    let share = |weight: i32| {
        format!("{:.1} %", f64::from(weight) * 100.0 / f64::from(i32::try_from(total).unwrap_or(i32::MAX)))
    };
    let shares: Vec<_> = route.route.iter().map(|own| format!("{} → {}", own.weight, share(own.weight))).collect();
    let message = format!("the weights add up to {total}, not to 100: the shares are {}", shares.join(", "));
    let field = format!("spec.http[{i}].route");
    found.push(
        Finding::new("SLU0113", Level::Warning, object, &field, message)
            .fix("let the weights add up to 100, so that they read as the shares they are"),
    );
}

fn stickiness(
    resources: &Resources,
    object: &Object<VirtualService>,
    i: usize,
    route: &HttpRoute,
    found: &mut Vec<Finding>,
) {
    let weighted = route.route.iter().filter(|own| own.weight > 0);
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    for own in weighted.filter(|own| !own.destination.subset.is_empty()) {
        *hosts.entry(&own.destination.host).or_default() += 1;
    }
    let Some((split, _)) = hosts.into_iter().find(|(_, count)| *count > 1) else { return };
    let full = |name: &str, namespace: &str| host::full_name(name, namespace, resources.mesh.domain());
    let wanted = full(split, &object.metadata.namespace);
    for rule in
        resources.destination_rules.iter().filter(|rule| full(&rule.spec.host, &rule.metadata.namespace) == wanted)
    {
        let balancer = rule.spec.traffic_policy.as_ref().and_then(|policy| policy.load_balancer.as_ref());
        if balancer.is_some_and(|balancer| balancer.consistent_hash.is_some()) {
            let message = format!(
                "{rule} keeps a user on one endpoint of a subset, and this split draws the subset anew for every request: users change versions"
            );
            let fix = "draw the share in the traffic-shift filter (sticky by header, cookie or address) and route on the header it sets";
            found.push(
                Finding::new("SLU0120", Level::Warning, object, &format!("spec.http[{i}].route"), message).fix(fix),
            );
        }
    }
}
