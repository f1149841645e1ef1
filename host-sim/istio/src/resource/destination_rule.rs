//! `DestinationRule`: subsets of a service and how to talk to it.

use std::collections::BTreeMap;

use super::virtual_service::PortSelector;
use crate::manifest::{
    decode::{choices, messages},
    duration::Duration,
};

messages! {
    /// The `spec`.
    struct DestinationRule {
        host: String = "host" required,
        traffic_policy: Option<TrafficPolicy> = "trafficPolicy",
        subsets: Vec<Subset> = "subsets",
        export_to: Vec<String> = "exportTo",
        workload_selector: Option<WorkloadSelector> = "workloadSelector",
    }

    /// Endpoints of the service that have these labels.
    struct Subset {
        name: String = "name" required,
        labels: BTreeMap<String, String> = "labels",
        traffic_policy: Option<TrafficPolicy> = "trafficPolicy",
    }

    /// Workloads by label.
    struct WorkloadSelector {
        match_labels: BTreeMap<String, String> = "matchLabels",
    }

    /// How connections and requests to the service are made.
    struct TrafficPolicy {
        load_balancer: Option<LoadBalancer> = "loadBalancer",
        connection_pool: Option<ConnectionPool> = "connectionPool",
        outlier_detection: Option<OutlierDetection> = "outlierDetection",
        tls: Option<ClientTls> = "tls",
        port_level_settings: Vec<PortTrafficPolicy> = "portLevelSettings",
        tunnel: Option<Tunnel> = "tunnel",
        proxy_protocol: Option<ProxyProtocol> = "proxyProtocol",
        retry_budget: Option<RetryBudget> = "retryBudget",
    }

    /// A policy for one port, which takes the place of the destination-level one.
    struct PortTrafficPolicy {
        port: Option<PortSelector> = "port",
        load_balancer: Option<LoadBalancer> = "loadBalancer",
        connection_pool: Option<ConnectionPool> = "connectionPool",
        outlier_detection: Option<OutlierDetection> = "outlierDetection",
        tls: Option<ClientTls> = "tls",
    }

    /// How an endpoint is chosen.
    struct LoadBalancer {
        simple: Option<SimpleLoadBalancer> = "simple",
        consistent_hash: Option<ConsistentHash> = "consistentHash",
        locality_lb_setting: Option<LocalityLoadBalancer> = "localityLbSetting",
        zone_aware_lb_setting: Option<LocalityLoadBalancer> = "zoneAwareLbSetting",
        warmup_duration_secs: Option<Duration> = "warmupDurationSecs",
        warmup: Option<Warmup> = "warmup",
    }

    /// The same key goes to the same endpoint.
    struct ConsistentHash {
        http_header_name: Option<String> = "httpHeaderName",
        http_cookie: Option<HttpCookie> = "httpCookie",
        use_source_ip: Option<bool> = "useSourceIp",
        http_query_parameter_name: Option<String> = "httpQueryParameterName",
        ring_hash: Option<RingHash> = "ringHash",
        maglev: Option<Maglev> = "maglev",
        minimum_ring_size: u64 = "minimumRingSize",
    }

    /// A cookie as the key; minted when it has a ttl.
    struct HttpCookie {
        name: String = "name" required,
        path: String = "path",
        ttl: Option<Duration> = "ttl",
        attributes: Vec<CookieAttribute> = "attributes",
    }

    /// `SameSite=Lax` and the like.
    struct CookieAttribute {
        name: String = "name" required,
        value: String = "value",
    }

    /// A ring of hashed points.
    struct RingHash {
        minimum_ring_size: u64 = "minimumRingSize",
    }

    /// A Maglev table.
    struct Maglev {
        table_size: u64 = "tableSize",
    }

    /// Preference for near endpoints; a laptop has no localities.
    struct LocalityLoadBalancer {
        distribute: Vec<Distribute> = "distribute",
        failover: Vec<Failover> = "failover",
        failover_priority: Vec<String> = "failoverPriority",
        enabled: Option<bool> = "enabled",
        min_cluster_size: Option<u64> = "minClusterSize",
    }

    /// Shares by locality.
    struct Distribute {
        from: String = "from",
        to: BTreeMap<String, u32> = "to",
    }

    /// Where to go when a region fails.
    struct Failover {
        from: String = "from",
        to: String = "to",
    }

    /// New endpoints get their share slowly.
    struct Warmup {
        duration: Option<Duration> = "duration" required,
        minimum_percent: Option<f64> = "minimumPercent",
        aggression: Option<f64> = "aggression",
    }

    /// Limits and timeouts of connections.
    struct ConnectionPool {
        tcp: Option<TcpSettings> = "tcp",
        http: Option<HttpSettings> = "http",
    }

    /// For both HTTP and TCP.
    struct TcpSettings {
        max_connections: i32 = "maxConnections",
        connect_timeout: Option<Duration> = "connectTimeout",
        tcp_keepalive: Option<TcpKeepalive> = "tcpKeepalive",
        max_connection_duration: Option<Duration> = "maxConnectionDuration",
        idle_timeout: Option<Duration> = "idleTimeout",
    }

    /// SO_KEEPALIVE and its times.
    struct TcpKeepalive {
        probes: u32 = "probes",
        time: Option<Duration> = "time",
        interval: Option<Duration> = "interval",
    }

    /// For HTTP alone.
    struct HttpSettings {
        http1_max_pending_requests: i32 = "http1MaxPendingRequests",
        http2_max_requests: i32 = "http2MaxRequests",
        max_requests_per_connection: i32 = "maxRequestsPerConnection",
        max_retries: i32 = "maxRetries",
        idle_timeout: Option<Duration> = "idleTimeout",
        h2_upgrade_policy: H2UpgradePolicy = "h2UpgradePolicy",
        use_client_protocol: bool = "useClientProtocol",
        max_concurrent_streams: i32 = "maxConcurrentStreams",
        http2_keep_alive: Option<Http2KeepAlive> = "http2KeepAlive",
    }

    /// PING frames on upstream connections.
    struct Http2KeepAlive {
        interval: Option<Duration> = "interval",
        timeout: Option<Duration> = "timeout",
    }

    /// When an endpoint is put aside.
    struct OutlierDetection {
        consecutive_errors: i32 = "consecutiveErrors",
        split_external_local_origin_errors: bool = "splitExternalLocalOriginErrors",
        consecutive_local_origin_failures: Option<u32> = "consecutiveLocalOriginFailures",
        consecutive_gateway_errors: Option<u32> = "consecutiveGatewayErrors",
        consecutive_5xx_errors: Option<u32> = "consecutive5xxErrors",
        interval: Option<Duration> = "interval",
        base_ejection_time: Option<Duration> = "baseEjectionTime",
        max_ejection_percent: i32 = "maxEjectionPercent",
        min_health_percent: i32 = "minHealthPercent",
        http_error_codes: Vec<u32> = "outlierDetectionHttpErrorCodes",
    }

    /// TLS towards the service.
    struct ClientTls {
        mode: ClientTlsMode = "mode",
        client_certificate: String = "clientCertificate",
        private_key: String = "privateKey",
        ca_certificates: String = "caCertificates",
        ca_crl: String = "caCrl",
        credential_name: String = "credentialName",
        subject_alt_names: Vec<String> = "subjectAltNames",
        sni: String = "sni",
        insecure_skip_verify: Option<bool> = "insecureSkipVerify",
    }

    /// CONNECT tunnels; they do not concern an ingress gateway's HTTP routes.
    struct Tunnel {
        protocol: String = "protocol",
        target_host: String = "targetHost" required,
        target_port: u32 = "targetPort" required,
    }

    /// The PROXY protocol towards the service.
    struct ProxyProtocol {
        version: ProxyProtocolVersion = "version",
    }

    /// Retries as a share of the requests in flight.
    struct RetryBudget {
        percent: Option<f64> = "percent",
        budget_interval: Option<Duration> = "budgetInterval",
        min_retry_concurrency: u32 = "minRetryConcurrency",
    }
}

choices! {
    /// A load balancer without a key.
    enum SimpleLoadBalancer {
        Unspecified = "UNSPECIFIED",
        LeastConn = "LEAST_CONN",
        Random = "RANDOM",
        Passthrough = "PASSTHROUGH",
        RoundRobin = "ROUND_ROBIN",
        LeastRequest = "LEAST_REQUEST",
    }
    /// Whether HTTP/1.1 becomes HTTP/2 on the way to the service.
    enum H2UpgradePolicy { Default = "DEFAULT", DoNotUpgrade = "DO_NOT_UPGRADE", Upgrade = "UPGRADE" }
    /// How TLS is spoken to the service.
    enum ClientTlsMode { Disable = "DISABLE", Simple = "SIMPLE", Mutual = "MUTUAL", IstioMutual = "ISTIO_MUTUAL" }
    /// PROXY protocol version.
    enum ProxyProtocolVersion { V1 = "V1", V2 = "V2" }
}
