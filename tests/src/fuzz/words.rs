//! The words that worlds are made of. Rules and requests share them, so that they meet.

/// Hosts that VirtualServices and Gateways name.
pub(super) const HOSTS: &[&str] = &[
    "*",
    "shop.example",
    "*.shop.example",
    "a.shop.example",
    "b.a.shop.example",
    "*.a.shop.example",
    "pay.example",
    "*.example",
    "*.com",
    "other.com",
];

/// Hosts that requests name besides those of the rules.
pub(super) const ASKED_HOSTS: &[&str] = &[
    "shop.example",
    "SHOP.example",
    "a.shop.example",
    "c.b.a.shop.example",
    "shop.example:80",
    "shop.example:8080",
    "a.shop.example:443",
    "pay.example",
    "other.com",
    "nobody.test",
    "shop.example.",
    ".shop.example",
    "xshop.example",
    "10.0.0.1",
    "[::1]:80",
    "single",
];

/// Pieces of paths.
pub(super) const SEGMENTS: &[&str] =
    &["a", "b", "api", "v1", "v2", "items", "Items", "a.b", "x-y", "users", "a%2Fb", "~u"];

/// Regexes over paths, each with paths that match it and paths that nearly do.
pub(super) const PATH_REGEXES: &[(&str, &[&str])] = &[
    (".*", &["/", "/a/b?c=d"]),
    ("/api/v[0-9]+", &["/api/v1", "/api/v22", "/api/v", "/api/v1/"]),
    ("/api/v[0-9]+/.*", &["/api/v1/x", "/api/v1/", "/api/v1"]),
    ("/(a|b)", &["/a", "/b", "/ab"]),
    ("/a|/ab", &["/a", "/ab", "/abc"]),
    ("/items/(\\d+)/?", &["/items/12", "/items/12/", "/items/x"]),
    ("(?i)/items/.*", &["/ITEMS/x", "/items/"]),
    ("/a\\.b", &["/a.b", "/axb"]),
    ("/[^/]+/edit", &["/a/edit", "/a/b/edit"]),
    ("/x-y/?", &["/x-y", "/x-y/"]),
    ("/\\w+", &["/users", "/a-b", "/\u{e9}"]),
    ("^/a$", &["/a", "/a/"]),
    ("/.{3,5}", &["/abc", "/abcdef", "/a"]),
    ("/users/[[:alpha:]]+", &["/users/ann", "/users/1"]),
    ("\\Q/a.b\\E.*", &["/a.b", "/a.b/c", "/axb"]),
];

/// Regexes over values, each with values that match and values that nearly do.
pub(super) const VALUE_REGEXES: &[(&str, &[&str])] = &[
    (".*", &["", "x"]),
    (".+", &["x", ""]),
    ("gold|silver", &["gold", "silver", "golden"]),
    ("^v[0-9]$", &["v1", "v12"]),
    ("(?i)test", &["TEST", "test", "testing"]),
    ("[a-c]*", &["abc", "", "abcd"]),
    ("\\d{2,}", &["12", "1"]),
    ("a, b", &["a, b", "a,b"]),
    (".*;v=1(;.*)?", &["x;v=1", "x;v=12", ";v=1;y"]),
    ("\\S+", &["x", "x y"]),
];

/// Values of headers and query parameters.
pub(super) const VALUES: &[&str] =
    &["", "test", "Test", "prod", "gold", "v1", "a, b", "a,b", "1", "x y", "test,prod", "\u{e9}", "true"];

/// Prefixes of values.
pub(super) const PREFIXES: &[&str] = &["t", "te", "go", "v", "a,", "Test"];

/// Headers that rules look at.
pub(super) const MATCHED_HEADERS: &[&str] =
    &["x-env", "X-User", "x-tier", "cookie", "user-agent", "x-empty", "content-type", "referer", "accept"];

/// Pseudo headers and headers of the edge that rules may look at.
pub(super) const EDGE_HEADERS: &[&str] =
    &["x-forwarded-proto", "x-forwarded-for", "x-request-id", "x-envoy-original-path", "content-length", "host", "te"];

/// Headers that rules write.
pub(super) const WRITTEN_HEADERS: &[&str] =
    &["x-a", "X-B", "x-env", "x-tier", "x-added", "user-agent", "accept", "cookie", "x-user", "vary"];

/// Headers of answers that rules write.
pub(super) const WRITTEN_ANSWER_HEADERS: &[&str] = &[
    "x-a",
    "X-B",
    "server",
    "x-origin-extra",
    "cache-control",
    "set-cookie",
    "content-type",
    "location",
    "x-envoy-upstream-service-time",
];

/// Values that rules write.
pub(super) const WRITTEN_VALUES: &[&str] = &[
    "",
    "one",
    "two",
    "a, b",
    "100%%",
    "%REQ(x-env)%",
    "%REQ(X-Nobody?x-tier)%",
    "<%REQ(:AUTHORITY)%>",
    "%REQ(:METHOD)% %PROTOCOL%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
    "%ROUTE_NAME%",
    "%VIRTUAL_CLUSTER_NAME%",
    "%UPSTREAM_CLUSTER%",
    "%UPSTREAM_REMOTE_ADDRESS%",
    "%UPSTREAM_HOST%",
    "%RESPONSE_FLAGS%",
    "%RESPONSE_CODE%",
    "%RESPONSE_CODE_DETAILS%",
    "%REQUESTED_SERVER_NAME%",
    "%REQ(x-request-id)%",
    "%REQ(x-forwarded-for)%",
    "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "%START_TIME(static)%",
    "%RESP(x-origin)%",
    "%RESP(content-length?x-a)%",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "%DOWNSTREAM_TLS_VERSION%",
    "%DYNAMIC_METADATA(a:b)%",
    "%FILTER_STATE(a)%",
    "%TRACE_ID%",
    "%UPSTREAM_HOST_NAME%",
    "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
    "%REQUEST_HEADERS_BYTES%",
    "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%",
    "%BYTES_RECEIVED%",
    "%GRPC_STATUS%",
];

/// Query parameters.
pub(super) const PARAMETERS: &[&str] = &["v", "V", "debug", "a.b", "x[]"];

/// Methods.
pub(super) const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];

/// Conditions of retries, statuses among them.
pub(super) const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "503",
    "409",
    "429",
    "unavailable",
    "cancelled",
    "envoy-ratelimited",
    "internal",
    "resource-exhausted",
    "deadline-exceeded",
    "retriable-headers",
];
