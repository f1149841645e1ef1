//! The same module in the real Envoy and here: every host function, with good and bad arguments, in every callback. The tables must be equal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{collections::HashMap, rc::Rc, time::Duration};

use bytes::Bytes;
use support::{
    envoy::{self, Envoy, Filter},
    *,
};
use vm::{
    Admission, ClusterState, Direction, Event, HeaderList, HttpCallResponse, Limits, LocalReply, LogMaps, Outcome,
    PluginConfig, Shared, StreamId, Value, Verdict, Vm,
};

/// What is asked for, and the request that asks.
const SCENARIOS: &[(&str, Body)] = &[
    ("all", Body::WithTrailers),
    ("all-no-body", Body::None),
    ("tick-everything", Body::None),
    ("slots", Body::None),
    ("order", Body::None),
    ("host", Body::None),
    ("set-pairs", Body::None),
    ("set-garbage", Body::None),
    ("set-nothing", Body::None),
    ("resume-continue", Body::None),
    ("resume-pause", Body::None),
    ("resume-pause", Body::Plain),
    ("action-2", Body::None),
    ("reply-twice", Body::None),
    ("reply-grpc", Body::None),
    ("reply-empty", Body::None),
    ("reply-bad", Body::None),
    ("close", Body::None),
    ("tick-resume", Body::None),
    ("tick-resume", Body::Plain),
    ("tick-reply", Body::None),
    ("tick-close", Body::None),
    ("queue", Body::None),
    ("pause-3", Body::Plain),
    ("http-call", Body::None),
    ("http-call-refused", Body::None),
    ("http-call-empty", Body::None),
    ("http-call-timeout", Body::None),
    ("grpc-call-refused", Body::None),
    ("grpc-stream-refused", Body::None),
    ("grpc-call-empty", Body::None),
    ("grpc-stream-empty", Body::None),
    ("edit", Body::Plain),
    ("gather", Body::WithTrailers),
    ("watermark", Body::Plain),
    ("swallow", Body::Plain),
    ("reply-in-body", Body::Plain),
    ("late-write", Body::Plain),
    ("trailers", Body::Plain),
    ("reply-in-response", Body::None),
    ("response-resume-pause", Body::None),
    ("pause-response", Body::None),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Plain,
    WithTrailers,
}

const BODY: &str = "hello body";

#[test]
fn every_host_function_answers_as_envoy_does() {
    let Some(binary) = envoy::binary("every_host_function_answers_as_envoy_does") else { return };
    let module = envoy::build_module("probe");
    let envoy = Envoy::start(
        &binary,
        &[Filter { listener: "probe".to_owned(), config: envoy::plugin(&module, "probe-vm") }],
        envoy::origin(),
    );
    let mut ours = Ours::start(&std::fs::read(&module).expect("the module"));
    let address = envoy.listener("probe");
    let mut differences = Vec::new();
    compare("start", &distinct(rows(&envoy.start_log())), &distinct(rows(&ours.world.log())), &mut differences);
    for (name, body) in SCENARIOS {
        let hangs = (*name, *body) == ("resume-pause", Body::Plain) || *name == "response-resume-pause";
        let (status, text) = envoy::exchange(
            address,
            &raw_request(name, *body),
            if hangs { Duration::from_millis(500) } else { envoy::PATIENCE },
        );
        let mut theirs = rows(&envoy.lines_until(|line| line.contains("P|delete|called|")));
        theirs.retain(|row| !is_start(row));
        theirs.push(format!("client|{status}|{text}"));
        let ours = ours.run(name, *body);
        compare(
            &format!("{name} ({})", ["no body", "body", "body and trailers"][*body as usize]),
            &theirs,
            &ours,
            &mut differences,
        );
    }
    assert!(differences.is_empty(), "{} rows differ:\n{}", differences.len(), differences.join("\n"));
}

/// The probe's rows of a log.
fn rows(log: &[String]) -> Vec<String> {
    log.iter().filter_map(|line| line.split_once("P|").map(|(_, row)| row.to_owned())).collect()
}

/// Envoy starts several VMs: what they say alike counts once.
fn distinct(mut rows: Vec<String>) -> Vec<String> {
    rows.retain(|row| is_start(row));
    rows.sort();
    rows.dedup();
    rows
}

fn is_start(row: &str) -> bool {
    row.starts_with("vm_start|") || row.starts_with("configure|") || row.starts_with("create|parent|1 0")
}

fn compare(scenario: &str, theirs: &[String], ours: &[String], differences: &mut Vec<String>) {
    let diff = similar_rows(theirs, ours);
    differences.extend(diff.into_iter().map(|line| format!("  {scenario}: {line}")));
}

/// Rows of one side alone, and rows of the same key that differ: a walk over both.
fn similar_rows(theirs: &[String], ours: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let (mut left, mut right) = (theirs, ours);
    loop {
        match (left.split_first(), right.split_first()) {
            (None, None) => return out,
            (Some((a, more_left)), Some((b, more_right))) if key(a) == key(b) => {
                if a != b {
                    out.push(format!("{}\n      Envoy {}\n      here  {}", key(a), value(a), value(b)));
                }
                (left, right) = (more_left, more_right);
            }
            (Some((a, more)), _) if !right.iter().any(|row| key(row) == key(a)) => {
                out.push(format!("only Envoy: {a}"));
                left = more;
            }
            (_, Some((b, more))) => {
                out.push(format!("only here:  {b}"));
                right = more;
            }
            (Some((a, more)), None) => {
                out.push(format!("only Envoy: {a}"));
                left = more;
            }
        }
    }
}

fn key(row: &str) -> &str {
    row.match_indices('|').nth(1).map_or(row, |(at, _)| &row[..at])
}

fn value(row: &str) -> &str {
    row.match_indices('|').nth(1).map_or("", |(at, _)| &row[at + 1..])
}

fn raw_request(name: &str, body: Body) -> Vec<u8> {
    let method = if body == Body::None { "GET" } else { "POST" };
    let head = format!(
        "{method} /{name} HTTP/1.1\r\nhost: a.example\r\nx-orig: one\r\nx-orig: two\r\nx-probe: {name}\r\nconnection: close\r\n"
    );
    match body {
        Body::None => format!("{head}\r\n"),
        Body::Plain => format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len()),
        Body::WithTrailers => format!(
            "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\nx-orig: trailer\r\n\r\n",
            BODY.len()
        ),
    }
    .into_bytes()
}

/// The module in this host, behind as much of a gateway as the scenarios need.
struct Ours {
    vm: Vm,
    world: Still,
    seen: usize,
}

impl Ours {
    fn start(wasm: &[u8]) -> Ours {
        let world = Still::default();
        world.0.borrow_mut().clusters = HashMap::from([
            (b"origin".to_vec(), ClusterState::Ready),
            (b"refused".to_vec(), ClusterState::Ready),
            (b"no-endpoint".to_vec(), ClusterState::NoEndpoint),
        ]);
        let config = PluginConfig {
            name: "test.probe".to_owned(),
            root_id: "probe-root".to_owned(),
            vm_id: "probe-vm".to_owned(),
            vm_configuration: Bytes::from_static(b"vm configuration"),
            configuration: Bytes::from_static(b"plugin configuration"),
            env: vec![("PROBE".to_owned(), "yes".to_owned())],
            limits: Limits { log_lines_per_second: u32::MAX, ..Limits::default() },
            ..PluginConfig::default()
        };
        let module = ENGINE.load(wasm).expect("the probe loads");
        let vm = Vm::start(&module, config, &Shared::default(), Box::new(world.clone())).expect("the probe starts");
        let seen = world.log().len();
        Ours { vm, world, seen }
    }

    fn run(&mut self, name: &str, body: Body) -> Vec<String> {
        self.vm.take_events();
        let roots = ["request", "response", "connection", "upstream", "source", "destination", "filter_state", "xds"];
        let mut info = Info { attributes: HashMap::from(roots.map(|root| (root, Value::Opaque))), ..Info::default() };
        info.attributes.insert("metadata", Value::Message(Bytes::new()));
        info.attributes.insert("xds.node.id", Value::text("probe-node"));
        let Admission::Stream(id) = self.vm.create_stream(Rc::new(info)) else { panic!("{name}: no stream") };
        let mut gateway = Gateway { ours: self, id, client: None, log: LogMaps::default() };
        gateway.request(name, body);
        let (client, log) = (gateway.client.take(), std::mem::take(&mut gateway.log));
        let log = LogMaps {
            request_headers: log.request_headers.or_else(|| self.vm.reclaim(id, Direction::Request).headers),
            ..log
        };
        self.vm.on_log(id, log);
        self.vm.on_done(id);
        let all = self.world.log();
        let mut rows = rows(&all[self.seen..]);
        self.seen = all.len();
        let (status, text) = client.unwrap_or_else(|| ("closed".to_owned(), String::new()));
        rows.push(format!("client|{status}|{text}"));
        rows
    }
}

struct Gateway<'a> {
    ours: &'a mut Ours,
    id: StreamId,
    client: Option<(String, String)>,
    log: LogMaps,
}

impl Gateway<'_> {
    fn request(&mut self, name: &str, body: Body) {
        let method = if body == Body::None { "GET" } else { "POST" };
        let mut head = headers(&[
            (":authority", "a.example"),
            (":path", &format!("/{name}")),
            (":method", method),
            (":scheme", "http"),
            ("x-orig", "one"),
            ("x-orig", "two"),
            ("x-probe", name),
        ]);
        match body {
            Body::None => {}
            Body::Plain => head.extend(headers(&[("content-length", "10")])),
            Body::WithTrailers => head.extend(headers(&[("transfer-encoding", "chunked")])),
        }
        head.extend(headers(&[
            ("x-forwarded-proto", "http"),
            ("x-request-id", "00000000-0000-4000-8000-000000000000"),
        ]));
        let outcome = self.ours.vm.on_request_headers(self.id, head, body == Body::None);
        let paused = outcome.verdict != Verdict::Continue;
        let Some(head) = self.settle(outcome, Direction::Request).and_then(|outcome| outcome.released.headers) else {
            return;
        };
        self.log.request_headers = Some(head.clone());
        // Without these no route is chosen: a filter has removed them.
        if [&b":path"[..], b":authority", b"x-forwarded-proto"]
            .iter()
            .any(|name| vm::headers::first(&head, name).is_none())
        {
            return self.local_reply(LocalReply { status: 404, body: Bytes::new(), ..LocalReply::wasm_failure() });
        }
        if body == Body::Plain && paused {
            // All of it has arrived meanwhile.
            let outcome = self.ours.vm.on_request_body(self.id, Bytes::from_static(BODY.as_bytes()), true);
            if self.settle(outcome, Direction::Request).is_none() {
                return;
            }
        } else if body != Body::None {
            let outcome = self.ours.vm.on_request_body(self.id, Bytes::from_static(BODY.as_bytes()), false);
            if self.settle(outcome, Direction::Request).is_none() && self.client.is_some() {
                return;
            }
            let outcome = match body {
                Body::WithTrailers => self.ours.vm.on_request_trailers(self.id, headers(&[("x-orig", "trailer")])),
                _ => self.ours.vm.on_request_body(self.id, Bytes::new(), true),
            };
            if self.settle(outcome, Direction::Request).is_none() {
                return;
            }
        }
        self.respond(
            headers(&[(":status", "200"), ("x-orig", "response"), ("transfer-encoding", "chunked")]),
            "hello from origin",
            Some(headers(&[("x-orig", "trailer")])),
        );
    }

    fn respond(&mut self, head: HeaderList, body: &str, trailers: Option<HeaderList>) {
        let outcome = self.ours.vm.on_response_headers(self.id, head, body.is_empty() && trailers.is_none());
        let Some(Outcome { released, .. }) = self.settle(outcome, Direction::Response) else { return };
        let head = released.headers.expect("a head");
        let status = vm::headers::first(&head, b":status")
            .map(|status| String::from_utf8_lossy(status).into_owned())
            .unwrap_or_default();
        self.log.response_headers = Some(head);
        let mut text = released.body.to_vec();
        if !body.is_empty() {
            let outcome =
                self.ours.vm.on_response_body(self.id, Bytes::copy_from_slice(body.as_bytes()), trailers.is_none());
            if let Some(outcome) = self.settle(outcome, Direction::Response) {
                text.extend_from_slice(&outcome.released.body);
            }
        }
        if let Some(trailers) = trailers {
            let outcome = self.ours.vm.on_response_trailers(self.id, trailers);
            if let Some(outcome) = self.settle(outcome, Direction::Response) {
                text.extend_from_slice(&outcome.released.body);
                self.log.response_trailers = outcome.released.trailers;
            }
        }
        self.client.get_or_insert((status, String::from_utf8_lossy(&text).into_owned()));
    }

    fn local_reply(&mut self, reply: LocalReply) {
        let mut head = headers(&[(":status", &reply.status.to_string())]);
        if !reply.body.is_empty() {
            head.extend(headers(&[("content-length", &reply.body.len().to_string()), ("content-type", "text/plain")]));
        }
        head.extend(reply.headers.into_iter().filter(|(name, _)| name != ":status"));
        self.respond(head, &String::from_utf8_lossy(&reply.body), None);
    }

    /// Obeys a verdict; waits for what a paused stream waits for. `None`: the stream does not go on from here.
    fn settle(&mut self, outcome: Outcome, direction: Direction) -> Option<Outcome> {
        let Outcome { verdict, released } = outcome;
        match verdict {
            Verdict::Continue => {
                let outcome = Outcome { verdict: Verdict::Continue, released };
                self.events(direction);
                Some(outcome)
            }
            Verdict::Reply(reply) => {
                if direction == Direction::Request {
                    self.log.request_headers = self.log.request_headers.take().or(released.headers);
                }
                if direction == Direction::Response {
                    // The reply takes the place of the response; this filter's response callbacks are not run again.
                    let mut head = headers(&[(":status", &reply.status.to_string())]);
                    head.extend(reply.headers.clone());
                    self.log.response_headers = Some(head);
                    self.client = Some((reply.status.to_string(), String::from_utf8_lossy(&reply.body).into_owned()));
                    return None;
                }
                self.local_reply(reply);
                None
            }
            Verdict::Reset => {
                self.log.request_headers = self.log.request_headers.take().or(released.headers);
                self.client = Some(("closed".to_owned(), String::new()));
                None
            }
            Verdict::Fail => {
                self.local_reply(LocalReply::wasm_failure());
                None
            }
            Verdict::Pause(vm::Hold::BodyAndBuffer | vm::Hold::BodyAndWatermark | vm::Hold::BodyNoBuffer) => None,
            Verdict::Pause(_) if direction == Direction::Response && released.headers.is_some() => {
                // The head is gone, what is behind it waits for ever.
                self.client = Some(("200".to_owned(), String::new()));
                self.log.response_headers = released.headers;
                self.log.response_trailers = Some(headers(&[("x-orig", "trailer")]));
                None
            }
            Verdict::Pause(_) => {
                self.log.request_headers = self.log.request_headers.take().or(released.headers);
                for _ in 0..4 {
                    if let Some(outcome) = self.events(direction) {
                        return outcome;
                    }
                    self.ours.world.advance(20);
                    self.ours.vm.on_tick();
                }
                self.events(direction).flatten()
            }
        }
    }

    /// Does what events say. `Some`: the stream was moved by one.
    fn events(&mut self, direction: Direction) -> Option<Option<Outcome>> {
        let mut moved = None;
        for queue in self.ours.world.woken() {
            self.ours.vm.on_queue_ready(queue);
        }
        let mut events = std::collections::VecDeque::from(self.ours.vm.take_events());
        while let Some(event) = events.pop_front() {
            match event {
                Event::Resume { released, direction: resumed, .. } if resumed == direction => {
                    moved = Some(Some(Outcome { verdict: Verdict::Continue, released }))
                }
                Event::Reply { reply, released, .. } => {
                    self.log.request_headers = self.log.request_headers.take().or(released.headers);
                    self.local_reply(reply);
                    moved = Some(None);
                }
                Event::Reset { .. } => {
                    self.log.request_headers = self.ours.vm.reclaim(self.id, Direction::Request).headers;
                    self.client = Some(("closed".to_owned(), String::new()));
                    moved = Some(None);
                }
                Event::HttpCall { call, request } => {
                    assert_eq!(
                        vm::headers::first(&request.headers, b"content-length").map(|value| &value[..]),
                        Some(&b"9"[..])
                    );
                    assert_eq!(
                        vm::headers::first(&request.headers, b"x-orig").map(|value| &value[..]),
                        Some(&b"call"[..])
                    );
                    self.ours.vm.on_http_call_response(call, answer(&request.cluster, request.timeout));
                }
                Event::GrpcCall { call, .. } | Event::GrpcStream { call, .. } => {
                    self.ours.vm.on_grpc_close(call, 14, Bytes::from_static(b"no"))
                }
                _ => {}
            }
            events.extend(self.ours.vm.take_events());
        }
        moved
    }
}

/// What Envoy's own client makes of each cluster.
fn answer(cluster: &str, timeout: Option<Duration>) -> HttpCallResponse {
    let (status, body, trailers) = match (cluster, timeout) {
        ("refused", _) => ("503", "upstream connect error or disconnect/reset before headers", HeaderList::new()),
        (_, Some(timeout)) if timeout < Duration::from_millis(100) => {
            ("504", "upstream request timeout", HeaderList::new())
        }
        _ => ("200", "hello from origin", headers(&[("x-orig", "trailer")])),
    };
    HttpCallResponse::Response {
        headers: headers(&[(":status", status)]),
        body: Bytes::from_static(body.as_bytes()),
        trailers,
    }
}
