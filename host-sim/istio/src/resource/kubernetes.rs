//! Kubernetes' own kinds, as far as a gateway's routing depends on them: services, their endpoints, the labels behind them, secrets.
//!
//! `Service`, `EndpointSlice`, `Endpoints`, `Secret` and `ConfigMap` are strict. Pods and Deployments have hundreds of fields that say nothing
//! about routing; only what we use is looked at.

use std::collections::BTreeMap;

use crate::manifest::{
    decode::{Decode, Decoder, NumberOrName, Unused, messages},
    node::Node,
};

messages! {
    /// `Service.spec`.
    struct Service {
        selector: BTreeMap<String, String> = "selector",
        ports: Vec<ServicePort> = "ports",
        cluster_ip: String = "clusterIP",
        kind: String = "type",
        external_name: String = "externalName",
        publish_not_ready_addresses: bool = "publishNotReadyAddresses",
        cluster_ips: Unused = "clusterIPs",
        external_ips: Unused = "externalIPs",
        session_affinity: Unused = "sessionAffinity",
        session_affinity_config: Unused = "sessionAffinityConfig",
        load_balancer_ip: Unused = "loadBalancerIP",
        load_balancer_source_ranges: Unused = "loadBalancerSourceRanges",
        load_balancer_class: Unused = "loadBalancerClass",
        external_traffic_policy: Unused = "externalTrafficPolicy",
        internal_traffic_policy: Unused = "internalTrafficPolicy",
        health_check_node_port: Unused = "healthCheckNodePort",
        ip_families: Unused = "ipFamilies",
        ip_family_policy: Unused = "ipFamilyPolicy",
        allocate_load_balancer_node_ports: Unused = "allocateLoadBalancerNodePorts",
        traffic_distribution: Unused = "trafficDistribution",
    }

    /// A port of a service.
    struct ServicePort {
        name: String = "name",
        port: u32 = "port" required,
        target_port: Option<NumberOrName> = "targetPort",
        protocol: String = "protocol",
        app_protocol: Option<String> = "appProtocol",
        node_port: Unused = "nodePort",
    }

    /// A port of an `EndpointSlice` or of `Endpoints`.
    struct EndpointPort {
        name: String = "name",
        port: Option<u32> = "port",
        protocol: String = "protocol",
        app_protocol: Unused = "appProtocol",
    }

    /// One entry of an `EndpointSlice`.
    struct SliceEndpoint {
        addresses: Vec<String> = "addresses",
        conditions: Option<EndpointConditions> = "conditions",
        target_ref: Option<ObjectReference> = "targetRef",
        hostname: Unused = "hostname",
        node_name: Unused = "nodeName",
        zone: String = "zone",
        hints: Unused = "hints",
        deprecated_topology: Unused = "deprecatedTopology",
    }

    /// Readiness, absent meaning ready.
    struct EndpointConditions {
        ready: Option<bool> = "ready",
        serving: Option<bool> = "serving",
        terminating: Option<bool> = "terminating",
    }

    /// The pod behind an address.
    struct ObjectReference {
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        api_version: Unused = "apiVersion",
        uid: Unused = "uid",
        resource_version: Unused = "resourceVersion",
        field_path: Unused = "fieldPath",
    }

    /// A group of `Endpoints`.
    struct EndpointSubset {
        addresses: Vec<EndpointAddress> = "addresses",
        not_ready_addresses: Vec<EndpointAddress> = "notReadyAddresses",
        ports: Vec<EndpointPort> = "ports",
    }

    /// One address of `Endpoints`.
    struct EndpointAddress {
        ip: String = "ip",
        target_ref: Option<ObjectReference> = "targetRef",
        hostname: Unused = "hostname",
        node_name: Unused = "nodeName",
    }

    /// `EndpointSlice`, whose fields stand beside `metadata`.
    struct EndpointSlice {
        address_type: String = "addressType",
        ports: Vec<EndpointPort> = "ports",
        endpoints: Vec<SliceEndpoint> = "endpoints",
    }

    /// `Endpoints`, likewise.
    struct Endpoints {
        subsets: Vec<EndpointSubset> = "subsets",
    }

    /// `Secret`, likewise.
    struct Secret {
        kind: String = "type",
        data: BTreeMap<String, String> = "data",
        string_data: BTreeMap<String, String> = "stringData",
        immutable: Unused = "immutable",
    }

    /// `ConfigMap`, likewise.
    struct ConfigMap {
        data: BTreeMap<String, String> = "data",
        binary_data: Unused = "binaryData",
        immutable: Unused = "immutable",
    }
}

/// What matters of a Pod: its address, its named ports, whether it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) ip: String,
    pub(crate) named_ports: BTreeMap<String, u32>,
    pub(crate) ready: bool,
}

/// What matters of a Deployment (and StatefulSet, DaemonSet, ReplicaSet): the labels and named ports of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) named_ports: BTreeMap<String, u32>,
}

impl Pod {
    /// From the whole Pod object.
    pub(crate) fn read(object: &Node) -> Self {
        let status = object.get("status");
        let ip = status.and_then(|status| status.get("podIP")).and_then(Node::text).unwrap_or_default();
        let is_ready = |condition: &Node| {
            condition.get("type").and_then(Node::text) == Some("Ready")
                && condition.get("status").and_then(Node::text) == Some("True")
        };
        let conditions = status.and_then(|status| status.get("conditions")).map_or(&[][..], Node::items);
        Self {
            ip: ip.to_owned(),
            named_ports: object.get("spec").map(named_ports).unwrap_or_default(),
            ready: conditions.is_empty() || conditions.iter().any(is_ready),
        }
    }
}

impl Workload {
    /// From the whole object, by `spec.template`.
    pub(crate) fn read(object: &Node) -> Self {
        let template = object.get("spec").and_then(|spec| spec.get("template"));
        let labels = template.and_then(|template| template.get("metadata")).and_then(|metadata| metadata.get("labels"));
        let mut ignored = Vec::new();
        let mut decoder = Decoder::new("", "", "", &mut ignored);
        Self {
            labels: labels.map(|labels| BTreeMap::decode(labels, &mut decoder)).unwrap_or_default(),
            named_ports: template.and_then(|template| template.get("spec")).map(named_ports).unwrap_or_default(),
        }
    }
}

fn named_ports(pod_spec: &Node) -> BTreeMap<String, u32> {
    let containers = pod_spec.get("containers").map_or(&[][..], Node::items);
    let ports = containers.iter().flat_map(|container| container.get("ports").map_or(&[][..], Node::items));
    ports.filter_map(|port| Some((port.get("name")?.text()?.to_owned(), number(port.get("containerPort")?)?))).collect()
}

fn number(node: &Node) -> Option<u32> {
    match node.value {
        crate::manifest::node::Value::Integer(value) => u32::try_from(value).ok(),
        _ => None,
    }
}
