//! `EnvoyFilter`: patches on Envoy's own configuration.

use std::collections::BTreeMap;

use super::{extension::TargetRef, service_entry::WorkloadSelector};
use crate::manifest::decode::{Free, choices, messages};

messages! {
    /// The `spec`.
    struct EnvoyFilter {
        workload_selector: Option<WorkloadSelector> = "workloadSelector",
        target_refs: Vec<TargetRef> = "targetRefs",
        config_patches: Vec<ConfigPatch> = "configPatches",
        priority: i32 = "priority",
    }

    /// One patch.
    struct ConfigPatch {
        apply_to: ApplyTo = "applyTo",
        matches: ConfigMatch = "match",
        patch: Patch = "patch",
    }

    /// What is patched.
    struct ConfigMatch {
        context: PatchContext = "context",
        proxy: Option<ProxyMatch> = "proxy",
        listener: Option<ListenerMatch> = "listener",
        route_configuration: Option<RouteConfigurationMatch> = "routeConfiguration",
        cluster: Option<ClusterMatch> = "cluster",
        waypoint: Option<Free> = "waypoint",
    }

    /// Proxies by version and metadata.
    struct ProxyMatch {
        proxy_version: String = "proxyVersion",
        metadata: BTreeMap<String, String> = "metadata",
    }

    /// A listener, a filter chain in it, a filter in that.
    struct ListenerMatch {
        port_number: u32 = "portNumber",
        port_name: String = "portName",
        filter_chain: Option<FilterChainMatch> = "filterChain",
        listener_filter: String = "listenerFilter",
        name: String = "name",
    }

    /// A filter chain.
    struct FilterChainMatch {
        name: String = "name",
        sni: String = "sni",
        transport_protocol: String = "transportProtocol",
        application_protocols: String = "applicationProtocols",
        filter: Option<FilterMatch> = "filter",
        destination_port: u32 = "destinationPort",
    }

    /// A network filter, and an HTTP filter inside of the connection manager.
    struct FilterMatch {
        name: String = "name",
        sub_filter: Option<SubFilterMatch> = "subFilter",
    }

    /// An HTTP filter.
    struct SubFilterMatch {
        name: String = "name",
    }

    /// A route table, a virtual host in it, a route in that.
    struct RouteConfigurationMatch {
        port_number: u32 = "portNumber",
        port_name: String = "portName",
        gateway: String = "gateway",
        vhost: Option<VirtualHostMatch> = "vhost",
        name: String = "name",
    }

    /// A virtual host by name or by one of its domains.
    struct VirtualHostMatch {
        name: String = "name",
        domain_name: String = "domainName",
        route: Option<RouteMatch> = "route",
    }

    /// A route by name or kind.
    struct RouteMatch {
        name: String = "name",
        action: RouteAction = "action",
    }

    /// A cluster.
    struct ClusterMatch {
        port_number: u32 = "portNumber",
        service: String = "service",
        subset: String = "subset",
        name: String = "name",
    }

    /// The change.
    struct Patch {
        operation: Operation = "operation",
        value: Option<Free> = "value",
        filter_class: FilterClass = "filterClass",
    }
}

choices! {
    /// Kinds of configuration a patch applies to.
    enum ApplyTo {
        Invalid = "INVALID",
        Listener = "LISTENER",
        FilterChain = "FILTER_CHAIN",
        NetworkFilter = "NETWORK_FILTER",
        HttpFilter = "HTTP_FILTER",
        RouteConfiguration = "ROUTE_CONFIGURATION",
        VirtualHost = "VIRTUAL_HOST",
        HttpRoute = "HTTP_ROUTE",
        Cluster = "CLUSTER",
        ExtensionConfig = "EXTENSION_CONFIG",
        Bootstrap = "BOOTSTRAP",
        ListenerFilter = "LISTENER_FILTER",
    }
    /// Which side of which proxy.
    enum PatchContext {
        Any = "ANY",
        SidecarInbound = "SIDECAR_INBOUND",
        SidecarOutbound = "SIDECAR_OUTBOUND",
        Gateway = "GATEWAY",
        Waypoint = "WAYPOINT",
    }
    /// What is done.
    enum Operation {
        Invalid = "INVALID",
        Merge = "MERGE",
        Add = "ADD",
        Remove = "REMOVE",
        InsertBefore = "INSERT_BEFORE",
        InsertAfter = "INSERT_AFTER",
        InsertFirst = "INSERT_FIRST",
        Replace = "REPLACE",
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST",
    }
    /// Where ADD puts an HTTP filter.
    enum FilterClass { Unspecified = "UNSPECIFIED", Authn = "AUTHN", Authz = "AUTHZ", Stats = "STATS" }
    /// Kind of a route.
    enum RouteAction { Any = "ANY", Route = "ROUTE", Redirect = "REDIRECT", DirectResponse = "DIRECT_RESPONSE" }
}
