//! The resources a gateway's routing depends on, as typed messages, one file per kind.

pub(crate) mod claim;
pub(crate) mod destination_rule;
pub(crate) mod envoy_filter;
pub(crate) mod extension;
pub(crate) mod gateway;
pub(crate) mod host;
pub(crate) mod kubernetes;
pub(crate) mod mesh;
pub(crate) mod object;
pub(crate) mod policy;
pub(crate) mod protocol;
pub(crate) mod service_entry;
pub(crate) mod status;
pub(crate) mod virtual_service;

use std::collections::BTreeSet;

use self::{
    destination_rule::DestinationRule,
    envoy_filter::EnvoyFilter,
    extension::{TrafficExtension, WasmPlugin},
    gateway::Gateway,
    mesh::MeshConfig,
    object::Object,
    policy::SecurityPolicy,
    service_entry::{ServiceEntry, WorkloadEntry},
    virtual_service::VirtualService,
};
use crate::problem::Problem;

/// Everything that was read, valid one by one: what Istio's webhook and the API server's schema would have let in.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub(crate) gateways: Vec<Object<Gateway>>,
    pub(crate) virtual_services: Vec<Object<VirtualService>>,
    pub(crate) destination_rules: Vec<Object<DestinationRule>>,
    pub(crate) service_entries: Vec<Object<ServiceEntry>>,
    pub(crate) workload_entries: Vec<Object<WorkloadEntry>>,
    pub(crate) services: Vec<Object<kubernetes::Service>>,
    pub(crate) endpoint_slices: Vec<Object<kubernetes::EndpointSlice>>,
    pub(crate) endpoints: Vec<Object<kubernetes::Endpoints>>,
    pub(crate) pods: Vec<Object<kubernetes::Pod>>,
    pub(crate) workloads: Vec<Object<kubernetes::Workload>>,
    pub(crate) secrets: Vec<Object<kubernetes::Secret>>,
    pub(crate) wasm_plugins: Vec<Object<WasmPlugin>>,
    pub(crate) traffic_extensions: Vec<Object<TrafficExtension>>,
    pub(crate) envoy_filters: Vec<Object<EnvoyFilter>>,
    pub(crate) security_policies: Vec<Object<SecurityPolicy>>,
    pub(crate) mesh: MeshConfig,
    /// Kinds that have nothing to do with routing, each once.
    pub(crate) unused: BTreeSet<String>,
    /// Objects of kinds that are not read, as they were written.
    pub(crate) others: Vec<Object<()>>,
    /// What Istio accepts and ignores, or accepts with a warning.
    pub(crate) warnings: Vec<Problem>,
}
