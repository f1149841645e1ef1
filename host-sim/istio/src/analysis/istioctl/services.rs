//! Services: ports whose protocol nobody can tell, Deployments behind Services that contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{is_control_plane, list_text, selects};
use crate::{
    analysis::{Finding, Level},
    manifest::{decode::NumberOrName, node::Node},
    resource::{
        Resources,
        kubernetes::{Service, ServicePort, Workload},
        object::Object,
        protocol::Protocol,
    },
};

/// `IST0118`, `IST0150`.
pub(super) fn port_names(resources: &Resources, found: &mut Vec<Finding>) {
    const MANAGED: &str = "gateway.istio.io/managed";
    for object in resources.services.iter().filter(|object| !is_control_plane(&object.metadata.labels)) {
        if object.metadata.labels.get(MANAGED).is_some_and(|by| by.starts_with("istio.io-")) {
            continue;
        }
        let external = object.spec.kind == "ExternalName";
        for (i, port) in object.spec.ports.iter().enumerate() {
            let protocol =
                Protocol::of_service_port(port.port, &port.name, &port.protocol, port.app_protocol.as_deref());
            if protocol != Protocol::Unsupported && !(external && port.name == "tcp") {
                continue;
            }
            let field = format!("spec.ports[{i}].name");
            found.push(if external {
                let message = "Port name for ExternalName service is invalid. Proxy may prevent tcp named ports and unmatched traffic for ports serving TCP protocol from being forwarded correctly";
                Finding::new("IST0150", Level::Warning, object, &field, message).fix("name the port for its protocol, http or tls")
            } else {
                let message = format!(
                    "Port name {} (port: {}, targetPort: {}) doesn't follow the naming convention of Istio port.",
                    port.name,
                    port.port,
                    target(port)
                );
                Finding::new("IST0118", Level::Info, object, &field, message).fix("name it http, grpc, tcp-… or set appProtocol")
            });
        }
    }
}

/// As Kubernetes prints it: 0 when not set.
fn target(port: &ServicePort) -> String {
    match &port.target_port {
        Some(NumberOrName::Number(number)) => number.to_string(),
        Some(NumberOrName::Name(name)) => name.clone(),
        None => "0".to_owned(),
    }
}

/// `IST0116`, `IST0137`.
pub(super) fn of_deployments(resources: &Resources, found: &mut Vec<Finding>) {
    for object in resources
        .workloads
        .iter()
        .filter(|object| object.origin.kind.as_ref() == "Deployment" && in_mesh(resources, object))
    {
        let before = |service: &&Object<Service>| {
            !service.spec.selector.is_empty()
                && service.metadata.namespace == object.metadata.namespace
                && selects(&service.spec.selector, &object.spec.labels)
        };
        let services: Vec<_> = resources.services.iter().filter(before).collect();
        let mut protocols: BTreeMap<u32, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
        let mut targets: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
        for service in services {
            for port in &service.spec.ports {
                let transport = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
                protocols.entry(port.port).or_default().entry(transport).or_default().push(service.full_name());
                let wanted = Some(target(port)).filter(|target| target != "0").unwrap_or_else(|| port.port.to_string());
                targets.entry(wanted).or_default().insert(port.port, service.full_name());
            }
        }
        let name = &object.metadata.name;
        for (port, by_protocol) in protocols.iter().filter(|(_, by_protocol)| by_protocol.len() > 1) {
            let mut names: Vec<_> = by_protocol.values().flatten().cloned().collect();
            names.sort();
            let message = format!(
                "This deployment {name} is associated with multiple services using port {port} but different protocols: {}",
                list_text(&names)
            );
            found.push(
                Finding::new("IST0116", Level::Warning, object, "metadata.name", message)
                    .fix("use one protocol for the port"),
            );
        }
        for (wanted, ports) in targets.iter().filter(|(_, ports)| ports.len() > 1) {
            let names: BTreeSet<_> = ports.values().cloned().collect();
            let names: Vec<_> = names.into_iter().collect();
            let numbers: Vec<_> = ports.keys().map(ToString::to_string).collect();
            let message = format!(
                "This deployment {name} is associated with multiple services {} using targetPort {wanted:?} but different ports: {}.",
                list_text(&names),
                list_text(&numbers)
            );
            found.push(
                Finding::new("IST0137", Level::Warning, object, "metadata.name", message)
                    .fix("let the Services use one port"),
            );
        }
    }
}

/// Its pods get a sidecar: by a container, a label, an annotation or the namespace's label.
fn in_mesh(resources: &Resources, object: &Object<Workload>) -> bool {
    let template = object.origin.root.get("spec").and_then(|spec| spec.get("template"));
    let containers = template
        .and_then(|template| template.get("spec"))
        .and_then(|spec| spec.get("containers"))
        .map_or(&[][..], Node::items);
    if containers.iter().any(|container| container.get("name").and_then(Node::text) == Some("istio-proxy")) {
        return true;
    }
    let said = |kind: &str| {
        let metadata = template.and_then(|template| template.get("metadata"))?;
        metadata.get(kind)?.get("sidecar.istio.io/inject")?.text().map(|value| value == "true")
    };
    said("labels").or_else(|| said("annotations")).unwrap_or_else(|| {
        let namespace = resources.others.iter().find(|other| {
            other.origin.kind.as_ref() == "Namespace" && other.metadata.name == object.metadata.namespace
        });
        namespace.is_some_and(|namespace| {
            namespace.metadata.labels.get("istio-injection").is_some_and(|value| value == "enabled")
        })
    })
}
