//! `MeshConfig`, from the ConfigMap `istio` in the root namespace: the defaults that hold for every resource.

use std::collections::BTreeMap;

use super::{
    destination_rule::{ConnectionPool, LocalityLoadBalancer, OutlierDetection, TcpKeepalive},
    virtual_service::HttpRetry,
};
use crate::manifest::{
    decode::{Unused, choices, messages},
    duration::Duration,
};

messages! {
    /// Mesh-wide settings. Those that do not reach an ingress gateway's listeners, routes or clusters are known and unused.
    struct MeshConfig {
        connect_timeout: Option<Duration> = "connectTimeout",
        tcp_keepalive: Option<TcpKeepalive> = "tcpKeepalive",
        default_config: Option<ProxyConfig> = "defaultConfig",
        h2_upgrade_policy: MeshH2UpgradePolicy = "h2UpgradePolicy",
        path_normalization: Option<PathNormalization> = "pathNormalization",
        default_http_retry_policy: Option<HttpRetry> = "defaultHttpRetryPolicy",
        default_traffic_policy: Option<DefaultTrafficPolicy> = "defaultTrafficPolicy",
        default_service_export_to: Option<Vec<String>> = "defaultServiceExportTo",
        default_virtual_service_export_to: Option<Vec<String>> = "defaultVirtualServiceExportTo",
        default_destination_rule_export_to: Option<Vec<String>> = "defaultDestinationRuleExportTo",
        root_namespace: Option<String> = "rootNamespace",
        dns_refresh_rate: Option<Duration> = "dnsRefreshRate",
        outbound_cluster_stat_name: String = "outboundClusterStatName",
        tls_defaults: Option<TlsDefaults> = "tlsDefaults",
        locality_lb_setting: Option<LocalityLoadBalancer> = "localityLbSetting",
        enable_auto_mtls: Option<bool> = "enableAutoMtls",
        trust_domain: Option<String> = "trustDomain",
        access_log_file: String = "accessLogFile",
        access_log_format: String = "accessLogFormat",
        access_log_encoding: Unused = "accessLogEncoding",
        enable_tracing: Unused = "enableTracing",
        enable_envoy_access_log_service: Unused = "enableEnvoyAccessLogService",
        disable_envoy_listener_log: Unused = "disableEnvoyListenerLog",
        proxy_listen_port: Unused = "proxyListenPort",
        proxy_inbound_listen_port: Unused = "proxyInboundListenPort",
        proxy_http_port: Unused = "proxyHttpPort",
        protocol_detection_timeout: Unused = "protocolDetectionTimeout",
        ingress_class: Unused = "ingressClass",
        ingress_service: Unused = "ingressService",
        ingress_controller_mode: Unused = "ingressControllerMode",
        ingress_selector: Unused = "ingressSelector",
        outbound_traffic_policy: Unused = "outboundTrafficPolicy",
        inbound_traffic_policy: Unused = "inboundTrafficPolicy",
        config_sources: Unused = "configSources",
        trust_domain_aliases: Unused = "trustDomainAliases",
        ca_certificates: Unused = "caCertificates",
        inbound_cluster_stat_name: Unused = "inboundClusterStatName",
        certificates: Unused = "certificates",
        thrift_config: Unused = "thriftConfig",
        service_settings: Unused = "serviceSettings",
        enable_prometheus_merge: Unused = "enablePrometheusMerge",
        verify_certificate_at_client: Unused = "verifyCertificateAtClient",
        ca: Unused = "ca",
        extension_providers: Unused = "extensionProviders",
        default_providers: Unused = "defaultProviders",
        discovery_selectors: Unused = "discoverySelectors",
        default_inbound_http_retry_policy: Unused = "defaultInboundHttpRetryPolicy",
        mesh_mtls: Unused = "meshMTLS",
        zone_aware_lb_setting: Unused = "zoneAwareLbSetting",
        service_scope_configs: Unused = "serviceScopeConfigs",
        service_entry_visibility: Unused = "serviceEntryVisibility",
    }

    /// Proxy defaults; a gateway takes its connection manager's edges from here.
    struct ProxyConfig {
        gateway_topology: Option<GatewayTopology> = "gatewayTopology",
        proxy_headers: Option<ProxyHeaders> = "proxyHeaders",
        connection_settings: Option<ConnectionSettings> = "connectionSettings",
        runtime_values: BTreeMap<String, String> = "runtimeValues",
        proxy_metadata: Unused = "proxyMetadata",
        config_path: Unused = "configPath",
        binary_path: Unused = "binaryPath",
        service_cluster: Unused = "serviceCluster",
        tracing_service_name: Unused = "tracingServiceName",
        drain_duration: Unused = "drainDuration",
        discovery_address: Unused = "discoveryAddress",
        zipkin_address: Unused = "zipkinAddress",
        statsd_udp_address: Unused = "statsdUdpAddress",
        proxy_admin_port: Unused = "proxyAdminPort",
        control_plane_auth_policy: Unused = "controlPlaneAuthPolicy",
        custom_config_file: Unused = "customConfigFile",
        stat_name_length: Unused = "statNameLength",
        concurrency: Unused = "concurrency",
        proxy_bootstrap_template_path: Unused = "proxyBootstrapTemplatePath",
        interception_mode: Unused = "interceptionMode",
        tracing: Unused = "tracing",
        envoy_access_log_service: Unused = "envoyAccessLogService",
        envoy_metrics_service: Unused = "envoyMetricsService",
        status_port: Unused = "statusPort",
        extra_stat_tags: Unused = "extraStatTags",
        termination_drain_duration: Unused = "terminationDrainDuration",
        mesh_id: Unused = "meshId",
        readiness_probe: Unused = "readinessProbe",
        proxy_stats_matcher: Unused = "proxyStatsMatcher",
        hold_application_until_proxy_starts: Unused = "holdApplicationUntilProxyStarts",
        ca_certificates_pem: Unused = "caCertificatesPem",
        image: Unused = "image",
        private_key_provider: Unused = "privateKeyProvider",
        run_as_user: Unused = "runAsUser",
        file_flush_interval: Unused = "fileFlushInterval",
        file_flush_min_size_kb: Unused = "fileFlushMinSizeKb",
        stats_compression: Unused = "statsCompression",
        stats_eviction_interval: Unused = "statsEvictionInterval",
    }

    /// What stands before the gateway.
    struct GatewayTopology {
        num_trusted_proxies: u32 = "numTrustedProxies",
        forward_client_cert_details: ForwardClientCertDetails = "forwardClientCertDetails",
        proxy_protocol: Option<Unused> = "proxyProtocol",
    }

    /// Headers the proxy adds.
    struct ProxyHeaders {
        forwarded_client_cert: Unused = "forwardedClientCert",
        set_current_client_cert_details: Unused = "setCurrentClientCertDetails",
        request_id: Option<HeaderSwitch> = "requestId",
        server: Option<HeaderSwitch> = "server",
        attempt_count: Option<HeaderSwitch> = "attemptCount",
        envoy_debug_headers: Option<HeaderSwitch> = "envoyDebugHeaders",
        metadata_exchange_headers: Unused = "metadataExchangeHeaders",
        preserve_http1_header_case: Option<bool> = "preserveHttp1HeaderCase",
        x_forwarded_host: Option<HeaderSwitch> = "xForwardedHost",
        x_forwarded_port: Option<HeaderSwitch> = "xForwardedPort",
    }

    /// On, off, or a value.
    struct HeaderSwitch {
        disabled: Option<bool> = "disabled",
        enabled: Option<bool> = "enabled",
        value: String = "value",
    }

    /// Limits of downstream connections.
    struct ConnectionSettings {
        profile: ConnectionProfile = "profile",
        listener_per_connection_buffer_limit_bytes: Option<i32> = "listenerPerConnectionBufferLimitBytes",
        http_idle_timeout: Option<Duration> = "httpIdleTimeout",
        http_max_connection_duration: Option<Duration> = "httpMaxConnectionDuration",
        http_max_stream_duration: Option<Duration> = "httpMaxStreamDuration",
        http_stream_idle_timeout: Option<Duration> = "httpStreamIdleTimeout",
        http_request_timeout: Option<Duration> = "httpRequestTimeout",
        http_request_headers_timeout: Option<Duration> = "httpRequestHeadersTimeout",
        http_drain_timeout: Option<Duration> = "httpDrainTimeout",
        http_max_concurrent_streams: Option<i32> = "httpMaxConcurrentStreams",
        http2_initial_stream_window_size: Option<i32> = "http2InitialStreamWindowSize",
        http2_initial_connection_window_size: Option<i32> = "http2InitialConnectionWindowSize",
        http_headers_with_underscores_action: UnderscoresAction = "httpHeadersWithUnderscoresAction",
        http_merge_slashes: Option<bool> = "httpMergeSlashes",
        http_path_with_escaped_slashes_action: EscapedSlashesAction = "httpPathWithEscapedSlashesAction",
    }

    /// How paths are made canonical before they are matched.
    struct PathNormalization {
        normalization: Normalization = "normalization",
    }

    /// Policy for every service whose DestinationRule leaves a block open.
    struct DefaultTrafficPolicy {
        connection_pool: Option<ConnectionPool> = "connectionPool",
        outlier_detection: Option<OutlierDetection> = "outlierDetection",
    }

    /// TLS defaults of gateways and clients.
    struct TlsDefaults {
        min_protocol_version: MeshTlsProtocol = "minProtocolVersion",
        ecdh_curves: Vec<String> = "ecdhCurves",
        cipher_suites: Vec<String> = "cipherSuites",
    }
}

choices! {
    /// Whether HTTP/1.1 becomes HTTP/2 everywhere.
    enum MeshH2UpgradePolicy { DoNotUpgrade = "DO_NOT_UPGRADE", Upgrade = "UPGRADE" }
    /// Levels, each including the one before.
    enum Normalization {
        Default = "DEFAULT",
        None = "NONE",
        Base = "BASE",
        MergeSlashes = "MERGE_SLASHES",
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
    /// What happens to `x-forwarded-client-cert`.
    enum ForwardClientCertDetails {
        Undefined = "UNDEFINED",
        Sanitize = "SANITIZE",
        ForwardOnly = "FORWARD_ONLY",
        AppendForward = "APPEND_FORWARD",
        SanitizeSet = "SANITIZE_SET",
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }
    /// Lowest TLS version.
    enum MeshTlsProtocol { Auto = "TLS_AUTO", V1_2 = "TLSV1_2", V1_3 = "TLSV1_3" }
    /// A bundle of connection limits.
    enum ConnectionProfile { Unspecified = "CONNECTION_SETTINGS_PROFILE_UNSPECIFIED", Edge = "EDGE", Custom = "CUSTOM" }
    /// What to do with header names that hold an underscore.
    enum UnderscoresAction {
        Unspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        Allow = "HEADERS_WITH_UNDERSCORES_ALLOW",
        RejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        DropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    }
    /// What to do with `%2F` and `%5C`.
    enum EscapedSlashesAction {
        Unspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        KeepUnchanged = "KEEP_UNCHANGED",
        RejectRequest = "REJECT_REQUEST",
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
        UnescapeAndForward = "UNESCAPE_AND_FORWARD",
    }
}

impl MeshConfig {
    /// The namespace whose policies hold for all.
    pub(crate) fn root_namespace(&self) -> &str {
        self.root_namespace.as_deref().unwrap_or("istio-system")
    }

    /// The cluster's DNS domain.
    pub(crate) fn domain(&self) -> &str {
        // Istio's `domainSuffix` is a command-line option of istiod, not the trust domain.
        "cluster.local"
    }
}

impl ProxyHeaders {
    pub(crate) fn keep_http1_case(&self) -> bool {
        self.preserve_http1_header_case == Some(true)
    }
}

impl HeaderSwitch {
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled == Some(true)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled == Some(true)
    }
}

impl ConnectionSettings {
    /// With Envoy's advice for edges under what is said, when the profile is EDGE.
    pub(crate) fn with_profile(&self) -> Self {
        let seconds = |seconds: i64| Some(Duration(seconds * 1_000_000_000));
        let mut settings = self.clone();
        if settings.profile != ConnectionProfile::Edge {
            return settings;
        }
        settings.listener_per_connection_buffer_limit_bytes =
            settings.listener_per_connection_buffer_limit_bytes.or(Some(32_768));
        settings.http_idle_timeout = settings.http_idle_timeout.or(seconds(3600));
        settings.http_stream_idle_timeout = settings.http_stream_idle_timeout.or(seconds(300));
        settings.http_request_timeout = settings.http_request_timeout.or(seconds(300));
        settings.http_request_headers_timeout = settings.http_request_headers_timeout.or(seconds(60));
        settings.http_max_concurrent_streams = settings.http_max_concurrent_streams.or(Some(100));
        settings.http2_initial_stream_window_size = settings.http2_initial_stream_window_size.or(Some(65_536));
        settings.http2_initial_connection_window_size =
            settings.http2_initial_connection_window_size.or(Some(1_048_576));
        if settings.http_headers_with_underscores_action == UnderscoresAction::Unspecified {
            settings.http_headers_with_underscores_action = UnderscoresAction::RejectRequest;
        }
        settings.http_merge_slashes = settings.http_merge_slashes.or(Some(true));
        if settings.http_path_with_escaped_slashes_action == EscapedSlashesAction::Unspecified {
            settings.http_path_with_escaped_slashes_action = EscapedSlashesAction::UnescapeAndRedirect;
        }
        settings
    }
}
