//! The listeners of a seed: connection managers with random settings, before routes that show what became of a request.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::talk::Talk;
use crate::bootstrap::{self, address, cluster, listener, manager};
use crate::fuzz::dice::{Dice, Message};

/// Listeners of a bootstrap.
pub(super) const LISTENERS: usize = 8;
/// The body of the answer to the request behind every talk.
pub(super) const LAST_WORD: &str = "the last word";
/// Begins a line of the access log; the client's port is the next field.
pub(super) const LOGGED: &str = "talk|";
/// Routes that forward, with settings by chance.
pub(super) const FORWARDS: &[&str] = &["/f0", "/f1", "/f2", "/f3"];
/// Routes with retries and timeouts.
pub(super) const TRIES: &[&str] = &["/t0", "/t1", "/t2", "/t3", "/t4", "/t5"];
/// Redirects.
pub(super) const REDIRECTS: &[&str] = &["/r0", "/r1", "/r2", "/r3"];
/// Answers without an origin.
pub(super) const DIRECT: &[&str] = &["/d0", "/d1"];
/// The route whose connections are kept.
pub(super) const KEPT: &str = "/kept";
/// The route to an origin that is not there.
pub(super) const NOWHERE: &str = "/nowhere";

/// What an answer shows of its request.
const SHOWN: &str = "%REQ(:METHOD)% %REQ(:SCHEME)% %REQ(:AUTHORITY)% %REQ(:PATH)% [%REQ(X-ENVOY-ORIGINAL-PATH)%] \
    xff=%REQ(X-FORWARDED-FOR)% proto=%REQ(X-FORWARDED-PROTO)% client=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% \
    ext=%REQ(X-ENVOY-EXTERNAL-ADDRESS)% int=%REQ(X-ENVOY-INTERNAL)% id=%REQ(X-REQUEST-ID)% %PROTOCOL%";
const LINE: &str = "%DOWNSTREAM_DIRECT_REMOTE_PORT%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%|%PROTOCOL%|\
    %REQ(:METHOD)%|%REQ(:SCHEME)%|%REQ(:AUTHORITY)%|%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%|%ROUTE_NAME%|%UPSTREAM_CLUSTER%|\
    tries=%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%BYTES_RECEIVED%|%BYTES_SENT%|%CONNECTION_TERMINATION_DETAILS%|\
    %UPSTREAM_TRANSPORT_FAILURE_REASON%|%REQ(X-FORWARDED-FOR)%|%REQ(X-REQUEST-ID)%|%RESP(LOCATION)%|%RESP(CONTENT-TYPE)%|%GRPC_STATUS%|%RESP(X-SHOWN)%\n";

/// Of its fields, those that count bytes: `BYTES_RECEIVED` and `BYTES_SENT`.
pub(super) const BYTES: [usize; 2] = [11, 12];

/// What is different about each listener.
pub(super) struct Doors(Vec<Value>);

impl Doors {
    /// The listeners of a seed.
    pub(super) fn of_seed(seed: u64) -> Doors {
        let mut dice = Dice::new(seed ^ 0xd00e);
        Doors((0..LISTENERS).map(|_| settings(&mut dice)).collect())
    }

    /// What of a listener's settings a talk may have met, for people: not the log, and no route that it does not name.
    pub(super) fn shown(&self, talk: &Talk) -> String {
        let Some(settings) = self.0.get(usize::from(talk.listener)) else { return String::new() };
        let mut settings = settings.clone();
        if let Some(manager) = settings.get_mut("manager").and_then(Value::as_object_mut) {
            drop(manager.remove("access_log"));
        }
        let said = talk.said.concat();
        let named = |route: &Value| {
            let prefix = route.pointer("/match/prefix").and_then(Value::as_str).unwrap_or_default();
            prefix.len() > 1 && said.windows(prefix.len()).any(|part| part == prefix.as_bytes())
        };
        for host in settings.get_mut("routes").and_then(Value::as_array_mut).into_iter().flatten() {
            host.as_object_mut().map(|host| host.remove("response_headers_to_add"));
            if let Some(routes) = host.get_mut("routes").and_then(Value::as_array_mut) {
                routes.retain(named);
            }
        }
        settings.to_string()
    }

    /// The whole, before this origin. Nobody listens at `nobody`.
    pub(super) fn bootstrap(&self, origin: SocketAddr, nobody: SocketAddr) -> Value {
        let managers = self.0.iter().map(|settings| {
            let routes = settings.get("routes").cloned().unwrap_or_default();
            manager(&routes, settings.get("manager").unwrap_or(&json!({})))
        });
        let listeners: Vec<Value> = managers.enumerate().map(|(number, manager)| listener(number, &manager)).collect();
        let once = bootstrap::upstream(
            &json!({ "http_protocol_options": { "enable_trailers": true } }),
            &json!({ "max_requests_per_connection": 1 }),
        );
        let clusters = [
            cluster("once", &address(origin), &once),
            cluster("kept", &address(origin), &json!({})),
            cluster("nowhere", &address(nobody), &once),
        ];
        bootstrap::bootstrap(&listeners, &clusters, &json!({ "node": { "id": "n", "cluster": "c" } }))
    }
}

fn settings(dice: &mut Dice) -> Value {
    json!({ "manager": Value::from(manager_fields(dice)), "routes": virtual_hosts(dice) })
}

fn yes(dice: &mut Dice, percent: usize) -> Option<bool> {
    dice.maybe(percent, |_| true)
}

fn manager_fields(dice: &mut Dice) -> Message {
    let log = json!([{ "name": "log", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": { "text_format_source": { "inline_string": format!("{LOGGED}{LINE}") } },
    } }]);
    let base = Message::default().with("access_log", log).with("delayed_close_timeout", "0.1s");
    // One in four is as Istio's ingress gateway has it.
    if dice.chance(25) {
        return base
            .with("use_remote_address", true)
            .with("normalize_path", true)
            .with("merge_slashes", dice.chance(50))
            .with("server_name", "istio-envoy")
            .with("forward_client_cert_details", "SANITIZE_SET")
            .with("path_with_escaped_slashes_action", "KEEP_UNCHANGED")
            .with("upgrade_configs", json!([{ "upgrade_type": "websocket" }]))
            .with("xff_num_trusted_hops", dice.below(3))
            .perhaps("proxy_100_continue", yes(dice, 50));
    }
    let strip = dice.below(4);
    let base = base
        .perhaps("use_remote_address", yes(dice, 50))
        .perhaps("xff_num_trusted_hops", dice.maybe(40, |dice| dice.below(4)))
        .perhaps("skip_xff_append", yes(dice, 15))
        .perhaps("append_x_forwarded_port", yes(dice, 20))
        .perhaps("internal_address_config", dice.maybe(35, internal))
        .perhaps("normalize_path", yes(dice, 50))
        .perhaps("merge_slashes", yes(dice, 40))
        .perhaps("strip_any_host_port", (strip == 0).then_some(true))
        .perhaps("strip_matching_host_port", (strip == 1).then_some(true))
        .perhaps("strip_trailing_host_dot", yes(dice, 25));
    let escaped = ["KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"];
    let server = ["OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH"];
    let certificates = ["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"];
    base.perhaps("path_with_escaped_slashes_action", dice.maybe(50, |dice| dice.pick(&escaped).to_owned()))
        .perhaps("server_header_transformation", dice.maybe(40, |dice| dice.pick(&server).to_owned()))
        .perhaps("forward_client_cert_details", dice.maybe(30, |dice| dice.pick(&certificates).to_owned()))
        .perhaps("server_name", dice.maybe(20, |_| "us"))
        .perhaps("via", dice.maybe(25, |_| "1.1 us"))
        .perhaps("add_user_agent", yes(dice, 20))
        .perhaps("generate_request_id", dice.maybe(20, |_| false))
        .perhaps("preserve_external_request_id", yes(dice, 30))
        .perhaps("always_set_request_id_in_response", yes(dice, 20))
        .perhaps("proxy_100_continue", yes(dice, 25))
        .perhaps("max_request_headers_kb", dice.maybe(15, |_| 8))
        .perhaps("upgrade_configs", dice.maybe(50, upgrades))
        .perhaps("http_protocol_options", dice.maybe(50, http1))
        .perhaps("http2_protocol_options", dice.maybe(20, |_| json!({ "allow_connect": true })))
        .perhaps("common_http_protocol_options", dice.maybe(40, common))
        .perhaps("local_reply_config", dice.maybe(35, local_reply))
}

fn internal(dice: &mut Dice) -> Value {
    let ranges = [("127.0.0.0", 8), ("10.0.0.0", 8), ("1.2.3.0", 24)];
    let (prefix, length) = dice.any(&ranges).copied().unwrap_or_default();
    json!({ "cidr_ranges": [{ "address_prefix": prefix, "prefix_len": length }] })
}

fn upgrades(dice: &mut Dice) -> Value {
    let kinds = dice.some(&["websocket", "CONNECT", "foo"], 1, 2);
    kinds.into_iter().map(|kind| json!({ "upgrade_type": kind })).collect()
}

fn http1(dice: &mut Dice) -> Value {
    Message::default()
        .perhaps("enable_trailers", yes(dice, 70))
        .perhaps("allow_absolute_url", dice.maybe(40, |dice| dice.chance(50)))
        .perhaps("accept_http_10", yes(dice, 50))
        .perhaps("default_host_for_http_10", dice.maybe(50, |_| "b.example"))
        .into()
}

/// What answers of the gateway's own are made of.
const FORMS: &[&str] = &[
    "%LOCAL_REPLY_BODY%",
    "%RESPONSE_CODE% %LOCAL_REPLY_BODY%\n",
    "%RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %REQ(:path)% %REQ(x-forwarded-host)% %PROTOCOL%",
    "%RESP(:status)% %RESP(content-type)% %RESP(x-shown)%",
    "",
];

fn form(dice: &mut Dice) -> Value {
    let text = dice.chance(60);
    let fields = json!({ "text": "%LOCAL_REPLY_BODY%", "code": "%RESPONSE_CODE%", "x": [1, "%REQ(x-forwarded-host)%", "a %REQ(:path)%"] });
    Message::default()
        .perhaps("text_format", text.then(|| dice.pick(FORMS).to_owned()))
        .perhaps("json_format", (!text).then_some(fields))
        .perhaps("omit_empty_values", yes(dice, 20))
        .perhaps("content_type", dice.maybe(40, |dice| dice.pick(&["text/html", "application/json", "a/b"]).to_owned()))
        .into()
}

fn local_reply(dice: &mut Dice) -> Value {
    let status = |dice: &mut Dice| {
        let value = dice.any(&[400, 404, 500, 503]).copied().unwrap_or(503);
        let compared = json!({ "default_value": value, "runtime_key": "k" });
        json!({ "status_code_filter": { "comparison": { "op": dice.pick(&["EQ", "GE", "LE", "NE"]), "value": compared } } })
    };
    let filter = |dice: &mut Dice| match dice.below(5) {
        0 => json!({ "response_flag_filter": { "flags": dice.some(&["NR", "UF", "DPE", "UT", "NC"], 0, 2) } }),
        1 => json!({ "header_filter": { "header": { "name": ":path", "string_match": { "contains": "a" } } } }),
        2 => json!({ "and_filter": { "filters": [status(dice), status(dice)] } }),
        _ => status(dice),
    };
    let mapper = |dice: &mut Dice| {
        let name = dice.pick(&["x-mapped", "content-type", "location"]);
        let added = json!([{ "header": { "key": name, "value": "%RESPONSE_CODE%" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" }]);
        Value::from(
            Message::default()
                .with("filter", filter(dice))
                .perhaps(
                    "status_code",
                    dice.maybe(50, |dice| dice.any(&[200, 204, 304, 418, 599]).copied().unwrap_or(418)),
                )
                .perhaps("body", dice.maybe(50, |_| json!({ "inline_string": "mapped\n" })))
                .perhaps("body_format_override", dice.maybe(40, form))
                .perhaps("headers_to_add", dice.maybe(40, |_| added)),
        )
    };
    let mappers: Vec<Value> = (0..dice.below(4)).map(|_| mapper(dice)).collect();
    Message::default().with("mappers", mappers).perhaps("body_format", dice.maybe(60, form)).into()
}

fn common(dice: &mut Dice) -> Value {
    let underscores = ["ALLOW", "REJECT_REQUEST", "DROP_HEADER"];
    Message::default()
        .perhaps("max_headers_count", dice.maybe(40, |dice| 8 + dice.below(8)))
        .perhaps("headers_with_underscores_action", dice.maybe(70, |dice| dice.pick(&underscores).to_owned()))
        .into()
}

fn virtual_hosts(dice: &mut Dice) -> Value {
    let mut hosts = vec![virtual_host(dice, "all", json!(["*"]))];
    if dice.chance(50) {
        hosts.push(virtual_host(dice, "b", json!(["b.example", "b.example:80"])));
    }
    if dice.chance(30) {
        hosts.push(virtual_host(dice, "wide", json!(["*.c.example"])));
    }
    hosts.into()
}

fn virtual_host(dice: &mut Dice, name: &str, domains: Value) -> Value {
    Message::default()
        .with("name", name)
        .with("domains", domains)
        .with("response_headers_to_add", json!([{ "header": { "key": "x-shown", "value": SHOWN } }]))
        .perhaps("include_request_attempt_count", yes(dice, 60))
        .perhaps("include_attempt_count_in_response", yes(dice, 50))
        .with("routes", routes(dice))
        .into()
}

fn routes(dice: &mut Dice) -> Value {
    let mut routes = vec![json!({ "match": { "path": "/sentinel" }, "name": "sentinel", "direct_response": {
        "status": 200, "body": { "inline_string": LAST_WORD },
    } })];
    let mut route = |prefix: &str, field: &str, action: Value| {
        routes.push(json!({ "match": { "prefix": prefix }, "name": prefix.trim_start_matches('/'), field: action }));
    };
    for prefix in DIRECT {
        route(prefix, "direct_response", direct(dice));
    }
    for prefix in REDIRECTS {
        route(prefix, "redirect", redirect(dice));
    }
    for prefix in FORWARDS {
        route(prefix, "route", forward(dice, prefix));
    }
    for prefix in TRIES {
        route(prefix, "route", tries(dice));
    }
    route(KEPT, "route", json!({ "cluster": "kept", "timeout": "1s" }));
    route(NOWHERE, "route", json!({ "cluster": "nowhere", "timeout": "1s" }));
    route("/", "route", json!({ "cluster": "once", "timeout": "1s" }));
    if dice.chance(50) {
        let connect = json!({ "cluster": "once", "timeout": "1s", "upgrade_configs": [{ "upgrade_type": "CONNECT" }] });
        routes.push(json!({ "match": { "connect_matcher": {} }, "name": "connect", "route": connect }));
    }
    routes.into()
}

fn direct(dice: &mut Dice) -> Value {
    let status = dice.any(&[200, 204, 304, 400, 404, 503]).copied().unwrap_or(200);
    let body = dice.maybe(60, |_| json!({ "inline_string": "direct" }));
    Message::default().with("status", status).perhaps("body", body).perhaps("body_format", dice.maybe(20, form)).into()
}

fn redirect(dice: &mut Dice) -> Value {
    let base = match dice.below(4) {
        0 => Message::default().with("path_redirect", dice.pick(&["/new", "/new?x=1", "new"])),
        1 => Message::default().with("prefix_rewrite", dice.pick(&["/new", "/", "/n/"])),
        2 => Message::default()
            .with("regex_rewrite", json!({ "pattern": { "regex": "/(r.)/([^/]*)" }, "substitution": "/\\2/\\1" })),
        _ => Message::default(),
    };
    let scheme = dice.below(3);
    let codes = ["MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"];
    base.perhaps("https_redirect", (scheme == 0).then_some(true))
        .perhaps("scheme_redirect", (scheme == 1).then_some("ftp"))
        .perhaps("host_redirect", dice.maybe(50, |_| "new.example"))
        .perhaps("port_redirect", dice.maybe(25, |dice| dice.any(&[80, 443, 8080]).copied().unwrap_or(80)))
        .perhaps("strip_query", yes(dice, 30))
        .perhaps("response_code", dice.maybe(40, |dice| dice.pick(&codes).to_owned()))
        .into()
}

fn forward(dice: &mut Dice, prefix: &str) -> Value {
    let host = dice.below(5);
    let path = dice.below(4);
    let regex = format!("{prefix}/([^/?]+)");
    Message::default()
        .with("cluster", "once")
        .with("timeout", "1s")
        .perhaps("host_rewrite_literal", (host == 0).then_some("rewritten.example"))
        .perhaps("host_rewrite_header", (host == 1).then_some("x-host"))
        .perhaps(
            "host_rewrite_path_regex",
            (host == 2).then(|| json!({ "pattern": { "regex": "^/f./(.+)/.*$" }, "substitution": "\\1" })),
        )
        .perhaps("append_x_forwarded_host", (host < 3).then(|| dice.chance(50)))
        .perhaps("prefix_rewrite", (path == 0).then(|| dice.pick(&["/", "/new", "/n/"]).to_owned()))
        .perhaps(
            "regex_rewrite",
            (path == 1).then(|| json!({ "pattern": { "regex": regex }, "substitution": "/x\\1" })),
        )
        .perhaps(
            "upgrade_configs",
            dice.maybe(25, |dice| json!([{ "upgrade_type": "websocket", "enabled": dice.chance(50) }])),
        )
        .into()
}

/// Timeouts are far from each other and from every pause, so that none is a race.
fn tries(dice: &mut Dice) -> Value {
    let policy = dice.maybe(75, |dice| {
        let conditions = dice.some(super::tries::CONDITIONS, 1, 3).join(",");
        let codes = dice.maybe(40, |_| json!([404, 418, 200]));
        let headers = dice.maybe(20, |_| json!([{ "name": "x-again" }]));
        let asked = dice.maybe(10, |_| json!([{ "name": "x-may", "string_match": { "exact": "1" } }]));
        Value::from(
            Message::default()
                .with("retry_on", conditions)
                .with("retry_back_off", json!({ "base_interval": "0.001s", "max_interval": "0.002s" }))
                .perhaps("num_retries", dice.maybe(70, |dice| dice.below(4)))
                .perhaps("per_try_timeout", dice.maybe(25, |_| "0.15s"))
                .perhaps("per_try_idle_timeout", dice.maybe(10, |_| "0.15s"))
                .perhaps("retriable_status_codes", codes)
                .perhaps("retriable_headers", headers)
                .perhaps("retriable_request_headers", asked),
        )
    });
    Message::default()
        .with("cluster", "once")
        .with("timeout", dice.pick(&["0.7s", "0s", "1s"]))
        .perhaps("idle_timeout", dice.maybe(10, |_| "0.4s"))
        .perhaps("retry_policy", policy)
        .perhaps("max_grpc_timeout", dice.maybe(25, |dice| dice.pick(&["0s", "0.3s", "5s"]).to_owned()))
        .into()
}
