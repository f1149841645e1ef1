//! The same module in the real Envoy and in `host-sim run`, asked the same: calls to clusters, what a trap costs, who shares a VM, what is known of a request,
//! how long an answer is held.
//! Without Envoy, which is said, only what must hold anyway is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/echo_origin.rs"]
mod echo_origin;
#[path = "../vm/tests/support/envoy.rs"]
mod envoy;
#[path = "support/gateways.rs"]
mod gateways;
#[path = "support/grpc_origin.rs"]
mod grpc_origin;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use envoy::Filter;
use gateways::{Both, HostSim, equal};
use serde_json::{Value, json};

/// What each answers: Envoy's answer, if it is there, and ours.
fn ask_both(both: &Both, listener: &str, what: &str) -> (Option<String>, String) {
    let (theirs, ours) = both.addresses[listener];
    (theirs.map(|theirs| ask(theirs, what)), ask(ours, what))
}

fn ask(address: SocketAddr, what: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nhost: a.example\r\nx-do: {what}\r\nconnection: close\r\n\r\n");
    let (status, body) = envoy::exchange(address, request.as_bytes(), Duration::from_secs(20));
    format!("{status} {body}")
}

/// Asks for the count until there is an answer: the back-off is 10 to 15 ms.
fn ask_until_served(address: SocketAddr) -> String {
    let answers = std::iter::repeat_with(|| ask(address, "count"));
    answers.take(10_000).find(|answer| !answer.starts_with("503")).unwrap_or_else(|| "503 for ever".to_owned())
}

/// A listener with the test module and what is added to its plugin's configuration.
fn filter(listener: &str, module: &Path, vm_id: &str, more: Value) -> Filter {
    let mut config = envoy::plugin(module, vm_id);
    config["name"] = json!(format!("test.{listener}"));
    config["root_id"] = json!(listener);
    config["vm_config"].as_object_mut().unwrap().remove("environment_variables");
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Filter { listener: listener.to_owned(), config }
}

/// Calls whose answers must be Envoy's.
const CALLS: &[&str] = &[
    "http refused / 5000",
    "http origin /never 100",
    "forget origin",
    "http nowhere / 100",
    "http no-endpoint / 100",
    "http origin2 /plain 5000",
    "http origin2 /plain 0",
    "unary origin2 Unary 5000 hello",
    "unary origin2 Unary 0 hello",
    "unary origin2 Fail 5000 hello",
    "unary origin2 Bare 5000 hello",
    "unary origin2 Never 100 hello",
    "unary origin2 Status503 5000 hello",
    "unary origin2 Broken 5000 hello",
    "unary origin2 Empty 5000 hello",
    "unary origin2 Compressed 5000 hello",
    "unary origin2 Reset 5000 hello",
    "unary origin2 Nonsense 5000 hello",
    "unary refused2 Unary 5000 hello",
    "unary nowhere Unary 5000 hello",
    "stream origin2 Chat send:one send:two last:three",
    "stream origin2 Chat send:one then-send:two then-last:three",
    "stream origin2 Chat send:one then-close",
    "stream origin2 Chat send:one then-cancel",
    "stream origin2 Chat close",
    "stream origin2 Unary last:hello",
    "stream origin2 Fail send:hello",
    "stream origin2 Bare send:hello",
    "stream origin2 Status503 send:hello",
    "stream origin2 Broken send:hello",
    "stream origin2 Compressed send:hello",
    "stream origin2 Reset send:hello",
    "stream origin2 Nonsense send:hello",
    "stream refused2 Chat send:hello",
    "stream nowhere Chat send:hello",
    "stream no-endpoint Chat send:hello",
    "resolve localhost",
    "resolve 127.0.0.1",
    "resolve ::1",
    "resolve *",
];

#[test]
fn calls_of_a_module_end_as_in_envoy() {
    let module = envoy::build_module("gateway-filter");
    let origin = grpc_origin::start();
    let clusters = [("origin", envoy::origin()), ("origin2", origin.address)];
    let both =
        Both::start("calls_of_a_module_end_as_in_envoy", &[filter("calls", &module, "calls", json!({}))], &clusters);
    let mut rows = Vec::new();
    for call in CALLS {
        let (theirs, ours) = both.addresses["calls"];
        let theirs = theirs.map(|theirs| ask(theirs, call));
        let seen_from_envoy = origin.take_seen();
        let ours = ask(ours, call);
        let seen_from_us = origin.take_seen();
        rows.push(((*call).to_owned(), theirs.clone(), ours));
        rows.push((format!("{call}: what the origin saw"), theirs.map(|_| seen_from_envoy), seen_from_us));
    }
    equal(&rows);
}

#[test]
fn a_call_given_up_is_reset_and_not_left_looking_complete() {
    let module = envoy::build_module("gateway-filter");
    let origin = grpc_origin::start();
    let clusters = [("origin", envoy::origin()), ("origin2", origin.address)];
    let gateway = HostSim::start(&envoy::bootstrap(&[filter("calls", &module, "", json!({}))], &clusters), &[]);
    let said = ask(gateway.listener("calls"), "stream origin2 Chat send:one then-cancel");
    assert!(said.ends_with("cancelled\n"), "{said}");
    assert_eq!(origin.wait_for_an_end(), "/test.Echo/Chat broke off");
}

/// What is asked of a plugin one after the other.
const TRAPS: &[&str] =
    &["count", "trap", "count", "count", "trap-in-response", "count", "trap-in-log", "count", "count"];

#[test]
fn a_trap_costs_what_it_costs_in_envoy_under_every_policy() {
    let module = envoy::build_module("gateway-filter");
    let policies = [
        ("unset", json!({})),
        ("close", json!({"failure_policy": "FAIL_CLOSED"})),
        ("open", json!({"failure_policy": "FAIL_OPEN"})),
        ("legacy", json!({"fail_open": true})),
        // With an interval of 1 ms Envoy 1.40 dies at the first reload.
        ("reload", json!({"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": "0.010s"}}})),
        (
            "patience",
            json!({"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": "1000s"}}}),
        ),
    ];
    let filters: Vec<Filter> =
        policies.iter().map(|(name, policy)| filter(name, &module, name, policy.clone())).collect();
    let both =
        Both::start("a_trap_costs_what_it_costs_in_envoy_under_every_policy", &filters, &[("origin", envoy::origin())]);
    let mut rows = Vec::new();
    for (policy, _) in &policies {
        for (at, what) in TRAPS.iter().enumerate() {
            let row = format!("{policy}: {at}. {what}");
            if *policy == "reload" && *what == "count" {
                // How often it is refused before is a matter of milliseconds.
                let (theirs, ours) = both.addresses[*policy];
                rows.push((row, theirs.map(ask_until_served), ask_until_served(ours)));
                continue;
            }
            let (theirs, ours) = ask_both(&both, policy, what);
            rows.push((row, theirs, ours));
        }
    }
    equal(&rows);
}

#[test]
fn hardened_a_trap_costs_exactly_its_request_under_every_policy() {
    let module = envoy::build_module("gateway-filter");
    for policy in ["FAIL_CLOSED", "FAIL_OPEN", "FAIL_RELOAD"] {
        let filters = [filter("traps", &module, "", json!({ "failure_policy": policy }))];
        let bootstrap = envoy::bootstrap(&filters, &[("origin", envoy::origin())]);
        let gateway = HostSim::start(&bootstrap, &["--fidelity", "hardened"]);
        for (what, status) in [
            ("count", "200"),
            ("trap", "503"),
            ("count", "200"),
            ("trap-in-response", "503"),
            ("nothing", "200"),
            ("trap-in-log", "200"),
            ("count", "200"),
        ] {
            let answer = ask(gateway.listener("traps"), what);
            assert!(answer.starts_with(status), "{policy}: {what}: {answer}");
        }
    }
}

#[test]
fn plugins_of_one_vm_id_and_one_code_share_a_vm_as_in_envoy() {
    let module = envoy::build_module("gateway-filter");
    let other =
        json!({"configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "another"}});
    let tick = json!({"configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "tick"}});
    let filters = [
        filter("one", &module, "shared", json!({})),
        filter("two", &module, "shared", other.clone()),
        filter("ticking", &module, "shared", tick),
        filter("three", &module, "apart", json!({})),
        filter("four", &module, "", json!({})),
        filter("five", &module, "", other),
    ];
    let both = Both::start(
        "plugins_of_one_vm_id_and_one_code_share_a_vm_as_in_envoy",
        &filters,
        &[("origin", envoy::origin())],
    );
    let asked = [
        ("one", "rest"),
        ("one", "count"),
        ("two", "count"),
        ("one", "count"),
        ("three", "count"),
        ("four", "count"),
        ("five", "count"),
        ("two", "trap"),
        ("one", "count"),
        ("two", "count"),
        ("three", "count"),
        ("four", "count"),
    ];
    let rows = asked.iter().map(|(listener, what)| {
        let (theirs, ours) = ask_both(&both, listener, what);
        (format!("{listener}: {what}"), theirs, ours)
    });
    equal(&rows.collect::<Vec<_>>());
}

#[test]
fn a_pause_in_the_headers_callback_lets_the_body_come_where_that_is_allowed() {
    let module = envoy::build_module("gateway-filter");
    let filters = [filter("stop", &module, "", json!({"allow_on_headers_stop_iteration": true}))];
    let test = "a_pause_in_the_headers_callback_lets_the_body_come_where_that_is_allowed";
    let both = Both::start(test, &filters, &[("origin", envoy::origin())]);
    let (theirs, ours) = both.addresses["stop"];
    let request = "POST /plain HTTP/1.1\r\nhost: a.example\r\nx-do: hold-for-body\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    let answer = |address| gateways::exchange(address, request);
    let ours = answer(ours);
    assert!(ours.contains("x-held: 5"), "{ours}");
    equal(&[("hold-for-body".to_owned(), theirs.map(answer), ours)]);
}

/// Metadata with one entry, so that its bytes are in one order only.
fn metadata(of: &str) -> Value {
    json!({"filter_metadata": {"com.test": {"of": of}}})
}

/// Every part that can be described is described, on the first listener alone; the second has no name for anything.
fn described(filters: &[Filter]) -> Value {
    let mut bootstrap = envoy::bootstrap(filters, &[("origin", envoy::origin())]);
    bootstrap["node"]["metadata"] = json!({"LABELS": {"app": "gateway"}});
    bootstrap["node"]["locality"] = json!({"region": "r", "zone": "z", "sub_zone": "s"});
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    listener["traffic_direction"] = json!("OUTBOUND");
    listener["metadata"] = json!({"filter_metadata": {"com.test": {"of": "listener", "number": 1.5, "yes": true, "list": ["a", 2], "struct": {"x": "y"}}}});
    let chain = &mut listener["filter_chains"][0];
    chain["name"] = json!("the-chain");
    let host = &mut chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0];
    host["metadata"] = metadata("virtual host");
    host["routes"][0]["name"] = json!("the-route");
    host["routes"][0]["metadata"] = metadata("route");
    host["routes"][0]["route"]["cluster"] = json!("described");
    let mut cluster = bootstrap["static_resources"]["clusters"][0].clone();
    cluster["name"] = json!("described");
    cluster["metadata"] = metadata("cluster");
    let neighbourhood = &mut cluster["load_assignment"]["endpoints"][0];
    neighbourhood["locality"] = json!({"region": "there"});
    neighbourhood["metadata"] = metadata("locality");
    neighbourhood["lb_endpoints"][0]["metadata"] = metadata("endpoint");
    bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
    bootstrap
}

/// What a module may ask of the configuration.
const PROPERTIES: &[&str] = &[
    "xds/node/id xds/node/cluster xds/node/metadata xds/node/metadata/LABELS xds/node/metadata/LABELS/app xds/node/locality xds/node/locality/zone xds/node/nothing node node/id",
    "xds/cluster_name xds/cluster_metadata xds/cluster_metadata/filter_metadata xds/cluster_metadata/filter_metadata/com.test xds/cluster_metadata/filter_metadata/com.test/of",
    "xds/route_name xds/route_metadata xds/route_metadata/filter_metadata/com.test/of xds/route_metadata/filter_metadata/com.test/nothing xds/route_metadata/filter_metadata/nothing",
    "xds/virtual_host_name xds/virtual_host_metadata xds/virtual_host_metadata/filter_metadata/com.test/of",
    "xds/upstream_host_metadata xds/upstream_host_metadata/filter_metadata/com.test/of xds/upstream_host_locality_metadata upstream/locality upstream/locality/region",
    "xds/filter_chain_name xds/listener_direction xds/listener_name",
    "xds/listener_metadata/filter_metadata/com.test/of xds/listener_metadata/filter_metadata/com.test/number xds/listener_metadata/filter_metadata/com.test/yes",
    "xds/listener_metadata/filter_metadata/com.test/list xds/listener_metadata/filter_metadata/com.test/struct xds/listener_metadata/filter_metadata/com.test/struct/x",
    "metadata metadata/filter_metadata metadata/filter_metadata/com.test filter_state filter_state/wasm.mark",
    "plugin_name plugin_root_id plugin_vm_id cluster_name route_name listener_direction",
];

#[test]
fn a_module_sees_of_the_configuration_what_it_sees_in_envoy() {
    let module = envoy::build_module("gateway-filter");
    let test = "a_module_sees_of_the_configuration_what_it_sees_in_envoy";
    let filters = ["described", "bare"].map(|name| filter(name, &module, name, json!({})));
    let both = Both::on(test, &described(&filters));
    let mut rows = Vec::new();
    for listener in ["described", "bare"] {
        for paths in PROPERTIES {
            let (theirs, ours) = both.addresses[listener];
            let see = |address| {
                let request =
                    format!("GET /plain HTTP/1.1\r\nhost: a.example\r\nx-do: see {paths}\r\nconnection: close\r\n\r\n");
                gateways::exchange(address, &request) + &ask(address, "logged")
            };
            rows.push((format!("{listener}: {paths}"), theirs.map(see), see(ours)));
        }
    }
    equal(&rows);
}

#[test]
fn a_property_that_is_set_is_there_for_all_plugins_until_the_request_is_over() {
    let module = envoy::build_module("gateway-filter");
    let test = "a_property_that_is_set_is_there_for_all_plugins_until_the_request_is_over";
    let (first, second) =
        (filter("first", &module, "first", json!({})), filter("second", &module, "second", json!({})));
    let mut bootstrap = envoy::bootstrap(&[first, second], &[("origin", envoy::origin())]);
    let [first, second] = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap().as_mut_slice() else {
        panic!("two listeners");
    };
    let manager = "/filter_chains/0/filters/0/typed_config";
    let (first, second) = (first.pointer_mut(manager).unwrap(), second.pointer(manager).unwrap());
    first["http_filters"].as_array_mut().unwrap().insert(1, second["http_filters"][0].clone());
    let logged = "%FILTER_STATE(wasm.mark)% %FILTER_STATE(wasm.mark:PLAIN)% %FILTER_STATE(wasm.text)% %FILTER_STATE(wasm.text:PLAIN)%";
    let logged = json!([
        {"header": {"key": "x-mark", "value": logged}},
        {"header": {"key": "x-details", "value": "<%RESPONSE_CODE_DETAILS%>"}},
    ]);
    first["route_config"]["virtual_hosts"][0]["response_headers_to_add"] = logged;
    let both = Both::on(test, &bootstrap);
    let (theirs, ours) = both.addresses["first"];
    let mut rows = Vec::new();
    // What a module answers need not say why.
    for what in ["mark mark filter_state/wasm.mark wasm.mark", "see mark filter_state/wasm.mark", "count"] {
        let see = |address| {
            let request =
                format!("GET /plain HTTP/1.1\r\nhost: a.example\r\nx-do: {what}\r\nconnection: close\r\n\r\n");
            gateways::exchange(address, &request) + &ask(address, "logged")
        };
        let answer = see(ours);
        assert_eq!(answer.contains("mark=\"test.first\""), what.starts_with("mark"), "{answer}");
        rows.push((what.to_owned(), theirs.map(see), answer));
    }
    equal(&rows);
}

#[test]
fn an_answer_that_is_held_for_ever_ends_when_it_ends_in_envoy() {
    let module = envoy::build_module("gateway-filter");
    let test = "an_answer_that_is_held_for_ever_ends_when_it_ends_in_envoy";
    // What ends first is far from what would end next.
    let cases = [
        ("silent", "/plain", json!({"stream_idle_timeout": "0.3s"}), "0s"),
        ("answered", "/plain", json!({"stream_idle_timeout": "1s"}), "0.3s"),
        ("half", "/half", json!({"stream_idle_timeout": "8s"}), "0.3s"),
        (
            "long",
            "/plain",
            json!({"stream_idle_timeout": "8s", "common_http_protocol_options": {"max_stream_duration": "0.3s"}}),
            "0s",
        ),
        ("own", "/own", json!({"stream_idle_timeout": "0.3s"}), "0s"),
    ];
    let filters: Vec<Filter> = cases.iter().map(|(name, ..)| filter(name, &module, name, json!({}))).collect();
    let mut bootstrap = envoy::bootstrap(&filters, &[("origin", envoy::origin())]);
    for (at, (_, _, more, timeout)) in cases.iter().enumerate() {
        let manager =
            &mut bootstrap["static_resources"]["listeners"][at]["filter_chains"][0]["filters"][0]["typed_config"];
        manager.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        routes[0]["route"]["timeout"] = json!(timeout);
        routes
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"match": {"path": "/own"}, "direct_response": {"status": 404}}));
    }
    let both = Both::on(test, &bootstrap);
    let mut rows = Vec::new();
    for (name, path, ..) in &cases {
        let (theirs, ours) = both.addresses[*name];
        let see = |address| {
            let seen = "response/code response/code_details response/flags";
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: a.example\r\nx-do: hold-response {seen}\r\nconnection: close\r\n\r\n"
            );
            gateways::exchange(address, &request) + &ask(address, "logged")
        };
        rows.push(((*name).to_owned(), theirs.map(see), see(ours)));
    }
    equal(&rows);
}

#[test]
fn the_body_of_every_answer_is_shown_to_modules_as_in_envoy() {
    let module = envoy::build_module("gateway-filter");
    let reload = json!({"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": "0.010s"}}});
    let filters = [filter("bodies", &module, "bodies", reload)];
    let http2 = grpc_origin::start();
    let mut bootstrap = envoy::bootstrap(&filters, &[("origin", envoy::origin()), ("origin2", http2.address)]);
    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["delayed_close_timeout"] = json!("0.01s");
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
    let said = |path: &str, response: Value| json!({"match": {"path": path}, "direct_response": response});
    routes.insert(0, said("/own", json!({"status": 404, "body": {"inline_string": "not here"}})));
    routes.insert(1, said("/empty", json!({"status": 200})));
    routes.insert(2, json!({"match": {"prefix": "/test.Echo"}, "route": {"cluster": "origin2"}}));
    let both = Both::on("the_body_of_every_answer_is_shown_to_modules_as_in_envoy", &bootstrap);
    let (theirs, ours) = both.addresses["bodies"];
    let mut rows = Vec::new();
    for how in ["each", "whole", "own", "reply", "trap"] {
        for path in ["/plain", "/own", "/empty", "/test.Echo/"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nx-do: wrap {how}\r\nconnection: close\r\n\r\n");
            // Back from a trap, the VM takes a moment.
            let ask = |address: SocketAddr| {
                ask_until_served(address);
                gateways::exchange(address, &request)
            };
            rows.push((format!("{how} {path}"), theirs.map(ask), ask(ours)));
        }
    }
    equal(&rows);
}

/// What a module does in its callbacks; the letters are the module's own.
const SCRIPTS: &[&str] = &[
    "qh=p",
    "qh=al qb=w",
    "qh=l qb=e",
    "qh=l qb=p qe=w",
    "qh=l qb=pk qe=j",
    "qh=l qe=k",
    "qh=m sh=m",
    "qh=r",
    "qh=r sh=a",
    "qh=r sh=p",
    "qh=r sh=r",
    "qh=rp sh=rm",
    "qh=x",
    "qb=p",
    "qb=r",
    "qe=r",
    "qe=p",
    "qe=p qt=r",
    "qt=p",
    "qt=r sh=l se=k",
    "sh=p",
    "sh=r",
    "sh=pr",
    "sh=lm sb=w se=k",
    "sh=l sb=p se=w",
    "sh=l sb=e",
    "sb=p se=p",
    "se=p",
];

/// Without a body, with one of a length, with one in chunks and with trailers.
const REQUESTS: [(&str, &str, &str); 3] = [
    ("GET", "", ""),
    ("POST", "content-length: 4\r\n", "body"),
    ("POST", "transfer-encoding: chunked\r\n", "4\r\nbody\r\n0\r\nx-sent: 1\r\n\r\n"),
];

#[test]
fn modules_hold_change_and_answer_at_every_step_as_in_envoy() {
    let module = envoy::build_module("gateway-filter");
    let filters = ["alone", "first"].map(|name| filter(name, &module, name, json!({})));
    let mut bootstrap = envoy::bootstrap(&filters, &[("origin", echo_origin::start())]);
    for at in 0..filters.len() {
        let manager =
            &mut bootstrap["static_resources"]["listeners"][at]["filter_chains"][0]["filters"][0]["typed_config"];
        let more = json!({
            "delayed_close_timeout": "0.01s", "drain_timeout": "0.01s", "stream_idle_timeout": "0.3s", "common_http_protocol_options": {"idle_timeout": "0.3s"},
            "http_protocol_options": {"enable_trailers": true},
        });
        manager.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let chain = manager["http_filters"].as_array_mut().unwrap();
        if at == 1 {
            chain.insert(1, chain[0].clone()); // two that do the same, one behind the other
        }
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
        let own =
            json!({"match": {"path": "/own"}, "direct_response": {"status": 404, "body": {"inline_string": "own"}}});
        routes.insert(0, own);
    }
    let options = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {"enable_trailers": true}},
    }});
    bootstrap["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = options;
    let both = Both::on("modules_hold_change_and_answer_at_every_step_as_in_envoy", &bootstrap);
    let mut asked = Vec::new();
    for listener in ["alone", "first"] {
        for script in SCRIPTS {
            for (path, (method, framing, body)) in
                ["/echo", "/own"].iter().flat_map(|path| REQUESTS.map(|request| (path, request)))
            {
                let head = format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\nx-do: script {script}\r\n");
                let name = format!("{listener}: {script}: {method} {path} {framing:?}");
                asked.push((name, both.addresses[listener], format!("{head}{framing}\r\n{body}")));
            }
        }
    }
    // Each takes as long as what it holds, so many are asked at once.
    let rows: Vec<_> = asked
        .chunks(asked.len() / 8)
        .flat_map(|asked| {
            std::thread::scope(|scope| {
                let ask = |(name, (theirs, ours), request): &(String, (Option<SocketAddr>, SocketAddr), String)| {
                    (name.clone(), theirs.map(|at| gateways::exchange(at, request)), gateways::exchange(*ours, request))
                };
                let running: Vec<_> = asked.iter().map(|asked| scope.spawn(move || ask(asked))).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    equal(&rows);
}

/// The request's body is held to its end: as much as the listener lets a connection buffer, 1 MiB unless it says.
#[test]
fn a_module_may_hold_as_much_as_the_connection_may_buffer() {
    let module = envoy::build_module("gateway-filter");
    let limits = [("usual", None), ("little", Some(100_000)), ("much", Some(2_000_000))];
    let filters = limits.map(|(name, _)| filter(name, &module, name, json!({})));
    let mut bootstrap = envoy::bootstrap(&filters, &[("origin", echo_origin::start())]);
    for (at, (_, limit)) in limits.iter().enumerate() {
        bootstrap["static_resources"]["listeners"][at]["per_connection_buffer_limit_bytes"] = json!(limit);
    }
    let both = Both::on("a_module_may_hold_as_much_as_the_connection_may_buffer", &bootstrap);
    let rows: Vec<_> = [
        ("usual", 900_000, 200),
        ("usual", 1_200_000, 413),
        ("little", 90_000, 200),
        ("little", 200_000, 413),
        ("much", 1_900_000, 200),
        ("much", 2_200_000, 413),
    ]
    .iter()
    .map(|(name, length, status)| {
        let (theirs, ours) = both.addresses[*name];
        let see = |address| {
            let head = format!("POST /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-do: script qb=p\r\ncontent-length: {length}\r\n\r\n");
            let (status, _) = envoy::exchange(address, (head + &"b".repeat(*length)).as_bytes(), Duration::from_secs(20));
            status.to_string()
        };
        let told = see(ours);
        assert_eq!(told, status.to_string(), "{name}: {length}");
        (format!("{name}: {length}"), theirs.map(see), told)
    })
    .collect();
    equal(&rows);
}
