//! `VirtualService`: how requests for a host are matched, changed and sent on. Field by field as in `networking/v1/virtual_service.proto`.

use std::collections::BTreeMap;

use crate::manifest::{
    decode::{choices, messages},
    duration::Duration,
};

messages! {
    /// The `spec`.
    struct VirtualService {
        hosts: Vec<String> = "hosts",
        gateways: Vec<String> = "gateways",
        http: Vec<HttpRoute> = "http",
        tls: Vec<TlsRoute> = "tls",
        tcp: Vec<TcpRoute> = "tcp",
        export_to: Vec<String> = "exportTo",
    }

    /// One rule: the first rule of which an entry matches takes the request.
    struct HttpRoute {
        name: String = "name",
        matches: Vec<HttpMatch> = "match",
        route: Vec<HttpRouteDestination> = "route",
        redirect: Option<HttpRedirect> = "redirect",
        direct_response: Option<HttpDirectResponse> = "directResponse",
        delegate: Option<Delegate> = "delegate",
        rewrite: Option<HttpRewrite> = "rewrite",
        timeout: Option<Duration> = "timeout",
        retries: Option<HttpRetry> = "retries",
        fault: Option<HttpFault> = "fault",
        mirror: Option<Destination> = "mirror",
        mirrors: Vec<HttpMirror> = "mirrors",
        mirror_percent: Option<u32> = "mirrorPercent",
        mirror_percent_snake: Option<u32> = "mirror_percent",
        mirror_percentage: Option<Percent> = "mirrorPercentage",
        cors_policy: Option<CorsPolicy> = "corsPolicy",
        headers: Option<Headers> = "headers",
    }

    /// Conditions that must hold together.
    struct HttpMatch {
        name: String = "name",
        uri: Option<StringMatch> = "uri",
        scheme: Option<StringMatch> = "scheme",
        method: Option<StringMatch> = "method",
        authority: Option<StringMatch> = "authority",
        headers: BTreeMap<String, StringMatch> = "headers",
        without_headers: BTreeMap<String, StringMatch> = "withoutHeaders",
        query_params: BTreeMap<String, StringMatch> = "queryParams",
        ignore_uri_case: bool = "ignoreUriCase",
        port: u32 = "port",
        source_labels: BTreeMap<String, String> = "sourceLabels",
        source_namespace: String = "sourceNamespace",
        gateways: Vec<String> = "gateways",
        stat_prefix: String = "statPrefix",
    }

    /// Exactly one of the three, or none for "is present".
    struct StringMatch {
        exact: Option<String> = "exact",
        prefix: Option<String> = "prefix",
        regex: Option<String> = "regex",
    }

    /// Where requests go, and which share of them.
    struct HttpRouteDestination {
        destination: Destination = "destination" required,
        weight: i32 = "weight",
        headers: Option<Headers> = "headers",
    }

    /// A service, a subset of it, a port of it.
    struct Destination {
        host: String = "host" required,
        subset: String = "subset",
        port: Option<PortSelector> = "port",
    }

    /// A port by number.
    struct PortSelector {
        number: u32 = "number",
    }

    /// A redirect answered by the gateway.
    struct HttpRedirect {
        uri: String = "uri",
        prefix_rewrite: String = "prefixRewrite",
        authority: String = "authority",
        port: Option<u32> = "port",
        derive_port: Option<DerivePort> = "derivePort",
        scheme: String = "scheme",
        redirect_code: u32 = "redirectCode",
    }

    /// An answer without an upstream.
    struct HttpDirectResponse {
        status: u32 = "status" required,
        body: Option<HttpBody> = "body",
    }

    /// Text or base64.
    struct HttpBody {
        string: Option<String> = "string",
        bytes: Option<String> = "bytes",
    }

    /// Another VirtualService that holds the rules.
    struct Delegate {
        name: String = "name",
        namespace: String = "namespace",
    }

    /// What the upstream sees instead of the request's path and host.
    struct HttpRewrite {
        uri: String = "uri",
        authority: String = "authority",
        uri_regex_rewrite: Option<RegexRewrite> = "uriRegexRewrite",
    }

    /// RE2 replace-all over the path.
    struct RegexRewrite {
        matched: String = "match",
        rewrite: String = "rewrite",
    }

    /// When and how often to try again.
    struct HttpRetry {
        attempts: i32 = "attempts",
        per_try_timeout: Option<Duration> = "perTryTimeout",
        retry_on: String = "retryOn",
        retry_remote_localities: Option<bool> = "retryRemoteLocalities",
        retry_ignore_previous_hosts: Option<bool> = "retryIgnorePreviousHosts",
        backoff: Option<Duration> = "backoff",
    }

    /// Faults put in on purpose.
    struct HttpFault {
        delay: Option<FaultDelay> = "delay",
        abort: Option<FaultAbort> = "abort",
    }

    /// Wait before going on.
    struct FaultDelay {
        percent: i32 = "percent",
        percentage: Option<Percent> = "percentage",
        fixed_delay: Option<Duration> = "fixedDelay",
        exponential_delay: Option<Duration> = "exponentialDelay",
    }

    /// Answer with an error.
    struct FaultAbort {
        percentage: Option<Percent> = "percentage",
        http_status: Option<i32> = "httpStatus",
        grpc_status: Option<String> = "grpcStatus",
        http2_error: Option<String> = "http2Error",
    }

    /// 0 to 100, fractions allowed.
    struct Percent {
        value: f64 = "value",
    }

    /// A copy of the traffic for another destination.
    struct HttpMirror {
        destination: Option<Destination> = "destination" required,
        percentage: Option<Percent> = "percentage",
    }

    /// Cross-origin rules.
    struct CorsPolicy {
        allow_origin: Vec<String> = "allowOrigin",
        allow_origins: Vec<StringMatch> = "allowOrigins",
        allow_methods: Vec<String> = "allowMethods",
        allow_headers: Vec<String> = "allowHeaders",
        expose_headers: Vec<String> = "exposeHeaders",
        max_age: Option<Duration> = "maxAge",
        allow_credentials: Option<bool> = "allowCredentials",
        unmatched_preflights: UnmatchedPreflights = "unmatchedPreflights",
    }

    /// Header operations on both ways.
    struct Headers {
        request: Option<HeaderOperations> = "request",
        response: Option<HeaderOperations> = "response",
    }

    /// Remove, then set and add.
    struct HeaderOperations {
        set: BTreeMap<String, String> = "set",
        add: BTreeMap<String, String> = "add",
        remove: Vec<String> = "remove",
    }

    /// SNI routing of passed-through TLS.
    struct TlsRoute {
        matches: Vec<TlsMatch> = "match",
        route: Vec<RouteDestination> = "route",
    }

    /// Conditions on a TLS connection.
    struct TlsMatch {
        sni_hosts: Vec<String> = "sniHosts" required,
        destination_subnets: Vec<String> = "destinationSubnets",
        port: u32 = "port",
        source_labels: BTreeMap<String, String> = "sourceLabels",
        source_namespace: String = "sourceNamespace",
        gateways: Vec<String> = "gateways",
    }

    /// Routing of opaque TCP.
    struct TcpRoute {
        matches: Vec<L4Match> = "match",
        route: Vec<RouteDestination> = "route",
    }

    /// Conditions on a TCP connection.
    struct L4Match {
        destination_subnets: Vec<String> = "destinationSubnets",
        port: u32 = "port",
        source_labels: BTreeMap<String, String> = "sourceLabels",
        source_subnet: String = "sourceSubnet",
        source_namespace: String = "sourceNamespace",
        gateways: Vec<String> = "gateways",
    }

    /// Where connections go.
    struct RouteDestination {
        destination: Destination = "destination" required,
        weight: i32 = "weight",
    }
}

choices! {
    /// Which port a redirect names.
    enum DerivePort { FromProtocolDefault = "FROM_PROTOCOL_DEFAULT", FromRequestPort = "FROM_REQUEST_PORT" }
    /// What becomes of a preflight whose origin is not allowed.
    enum UnmatchedPreflights { Unspecified = "UNSPECIFIED", Forward = "FORWARD", Ignore = "IGNORE" }
}

impl HttpRoute {
    /// The deprecated whole-number percentage, under either of its spellings.
    pub(crate) fn mirror_percent_integer(&self) -> Option<u32> {
        self.mirror_percent.or(self.mirror_percent_snake)
    }
}

impl StringMatch {
    /// Nothing set, or Istio's `regex: "*"`: the name has only to be present.
    pub(crate) fn is_presence(&self) -> bool {
        match (&self.exact, &self.prefix, &self.regex) {
            (None, None, None) => true,
            (None, None, Some(regex)) => regex == "*",
            _ => false,
        }
    }
}
