//! `ServiceEntry` and `WorkloadEntry`: services and endpoints that Kubernetes does not know.

use std::collections::BTreeMap;

use crate::manifest::decode::{Unused, choices, messages};

messages! {
    /// The `spec`.
    struct ServiceEntry {
        hosts: Vec<String> = "hosts" required,
        addresses: Vec<String> = "addresses",
        ports: Vec<ServicePort> = "ports",
        location: Location = "location",
        resolution: Resolution = "resolution",
        endpoints: Vec<WorkloadEntry> = "endpoints",
        workload_selector: Option<WorkloadSelector> = "workloadSelector",
        export_to: Vec<String> = "exportTo",
        subject_alt_names: Vec<String> = "subjectAltNames",
    }

    /// A port of the service.
    struct ServicePort {
        number: u32 = "number" required,
        protocol: String = "protocol",
        name: String = "name" required,
        target_port: u32 = "targetPort",
    }

    /// Pods and WorkloadEntries by label.
    struct WorkloadSelector {
        labels: BTreeMap<String, String> = "labels",
    }

    /// One endpoint.
    struct WorkloadEntry {
        address: String = "address",
        ports: BTreeMap<String, u32> = "ports",
        labels: BTreeMap<String, String> = "labels",
        network: Unused = "network",
        locality: String = "locality",
        weight: u32 = "weight",
        service_account: Unused = "serviceAccount",
    }
}

choices! {
    /// Inside or outside of the mesh.
    enum Location { MeshExternal = "MESH_EXTERNAL", MeshInternal = "MESH_INTERNAL" }
    /// How the addresses are found.
    enum Resolution {
        None = "NONE",
        Static = "STATIC",
        Dns = "DNS",
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        DynamicDns = "DYNAMIC_DNS",
    }
}
