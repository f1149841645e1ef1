//! Does what the request header `x-do` says, and answers with what it saw of it, a line each:
//!
//! * `http CLUSTER PATH MILLISECONDS`, `unary CLUSTER METHOD MILLISECONDS MESSAGE`: a call
//! * `stream CLUSTER METHOD STEP…`: a gRPC stream. `send:TEXT`, `last:TEXT` (closes our side), `close` at once; `then-send:TEXT`, `then-last:TEXT`,
//!   `then-close`, `then-cancel` one each time a message has come
//! * `forget CLUSTER`: an http call that is never answered, and the request goes on
//! * `resolve NAME`: looks a name up by Envoy's own import
//! * `hold-for-body`: the head waits for the end of the body, and the answer says in `x-held` how long that was
//! * `rest`: waits for the tick of a plugin that is configured with `tick`, in the same VM
//! * `hold-response PATH…`: the answer's head is never let go; else as `see`
//! * `mark PATH…`: sets the properties `mark` and `text`, which is declared to be one, to the plugin's name, if nobody has before; else as `see`
//! * `see PATH…`: what properties are (segments joined by `/`), in the headers `x-in-request` and `x-in-response` of the answer. `logged` answers with what they
//!   were in the log of the request before
//! * `wrap HOW`: puts each piece of the answer's body between angle brackets, the last with an exclamation mark. `own`: of an answer of its own;
//!   `whole`: keeps the pieces and wraps them all at once; `reply`, `trap`: at its end, instead
//! * `script CALLBACK=STEPS…`: does in each callback what its steps say, a letter each. Callbacks are two letters: `q` or `s` for the request or the
//!   response; `h` for its head, `b` for a piece of its body, `e` for the last piece, `t` for its trailers. `p` pauses, `r` answers, `x` closes the stream,
//!   `g` lets go of the request and `G` of the response; `a` adds a header, `l` takes the length away, `m` changes path or status; `w` wraps the
//!   body, `e` empties it, `j` puts something before and `k` something behind it; `t` adds a trailer
//! * `count`: how often this VM was asked that; `trap`, `trap-in-response`, `trap-in-log`
#![allow(missing_docs, unsafe_code, clippy::panic, reason = "a module for tests")]

use std::{cell::Cell, time::Duration};

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, BufferType, ContextType, LogLevel, MapType, Status},
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Plugin) });
}}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static RESTING: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
    /// The stream that waits for a name's addresses, and addresses that came at once.
    static RESOLVING: Cell<Option<u32>> = const { Cell::new(None) };
    static RESOLVED: Cell<Option<String>> = const { Cell::new(None) };
    static LOGGED: Cell<String> = const { Cell::new(String::new()) };
}

// Not in the SDK.
unsafe extern "C" {
    fn envoy_resolve_dns(address: *const u8, address_len: usize, token: *mut u32) -> i32;
}

/// Envoy may call this while the stream still asks.
#[unsafe(no_mangle)]
extern "C" fn envoy_on_resolve_dns(_root: u32, token: u32, size: usize) {
    let data = hostcalls::get_buffer(BufferType::CallData, 0, size).ok().flatten().unwrap_or_default();
    let found = format!("name {token}: {size} bytes, {}\n", data.escape_ascii());
    match RESOLVING.take() {
        Some(stream) if hostcalls::set_effective_context(stream).is_ok() => {
            let _ = hostcalls::send_http_response(200, vec![], Some(found.as_bytes()));
        }
        _ => RESOLVED.set(Some(found)),
    }
}

struct Plugin;

impl Context for Plugin {}

impl RootContext for Plugin {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        if self.get_plugin_configuration().as_deref() == Some(b"tick") {
            self.set_tick_period(Duration::from_millis(10));
        }
        // DeclarePropertyArguments: name `text`, type String.
        hostcalls::call_foreign_function("declare_property", Some(b"\x0a\x04text\x18\x01")).is_ok()
    }

    fn on_tick(&mut self) {
        for id in RESTING.take() {
            if hostcalls::set_effective_context(id).is_ok() {
                let _ = hostcalls::resume_http_request();
            }
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { id, ..Stream::default() }))
    }
}

#[derive(Default)]
struct Stream {
    id: u32,
    seen: Vec<String>,
    /// Steps for when a message has come, the next one last.
    then: Vec<String>,
    trap: &'static str,
    /// Bytes of the body the head waits for.
    held: Option<usize>,
    /// Properties to look at.
    paths: Vec<String>,
    response_is_held: bool,
    /// Steps of each callback.
    script: Vec<(String, String)>,
    /// What becomes of the answer's body.
    wraps: Option<String>,
}

/// What differs from run to run is left out.
const VOLATILE: [&str; 3] = ["date", "x-envoy-upstream-service-time", "server"];

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn pairs(list: Vec<(String, Vec<u8>)>) -> String {
    let mut list: Vec<String> = list
        .into_iter()
        .filter(|(name, _)| !VOLATILE.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)))
        .collect();
    list.sort();
    list.join(" ")
}

/// What there is at each path: text, or its bytes in hex.
fn properties(paths: &[String]) -> String {
    let one = |path: &String| {
        let found = match hostcalls::get_property(path.split('/').collect()) {
            Ok(None) => "-".to_owned(),
            Err(status) => format!("{status:?}"),
            Ok(Some(value)) if value.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                format!("\"{}\"", text(Some(value)))
            }
            Ok(Some(value)) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        format!("{path}={found}")
    };
    paths.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl Stream {
    fn see(&mut self, line: String) {
        self.seen.push(line);
    }

    fn answer(&self) {
        self.send_http_response(200, vec![], Some((self.seen.join("\n") + "\n").as_bytes()));
    }

    /// Takes the steps that come at once, keeps the others.
    fn steps<'w>(&mut self, token: u32, words: impl Iterator<Item = &'w str>) {
        let mut then = Vec::new();
        for word in words {
            match word.strip_prefix("then-") {
                Some(later) => then.push(later.to_owned()),
                None => self.step(token, word),
            }
        }
        then.reverse();
        self.then = then;
    }

    fn step(&mut self, token: u32, step: &str) {
        let (what, message) = step.split_once(':').unwrap_or((step, ""));
        match what {
            "send" => self.send_grpc_stream_message(token, Some(message.as_bytes()), false),
            "last" => self.send_grpc_stream_message(token, Some(message.as_bytes()), true),
            "close" => self.close_grpc_stream(token),
            "cancel" => {
                self.cancel_grpc_stream(token);
                self.see("cancelled".to_owned());
                self.answer();
            }
            _ => panic!("no such step: {step}"),
        }
    }

    /// Takes the steps of a callback, which looks at so many bytes of a body.
    fn perform(&mut self, callback: &str, size: usize) -> Action {
        let Some((_, steps)) = self.script.iter().find(|(name, _)| name == callback) else { return Action::Continue };
        let (head, trailers, body) = match callback.starts_with('q') {
            true => (MapType::HttpRequestHeaders, MapType::HttpRequestTrailers, BufferType::HttpRequestBody),
            false => (MapType::HttpResponseHeaders, MapType::HttpResponseTrailers, BufferType::HttpResponseBody),
        };
        let mut action = Action::Continue;
        for step in steps.clone().chars() {
            // What cannot be done now is not done.
            let _ = match step {
                'p' => {
                    action = Action::Pause;
                    Ok(())
                }
                'r' => hostcalls::send_http_response(298, vec![("x-by", callback)], Some(b"mine")),
                'x' if callback.starts_with('q') => hostcalls::reset_http_request(),
                'x' => hostcalls::reset_http_response(),
                'g' => hostcalls::resume_http_request(),
                'G' => hostcalls::resume_http_response(),
                'a' => hostcalls::add_map_value(head, "x-added", callback),
                'l' => hostcalls::remove_map_value(head, "content-length"),
                'm' if callback.starts_with('q') => hostcalls::set_map_value(head, ":path", Some("/changed")),
                'm' => hostcalls::set_map_value(head, ":status", Some("297")),
                'w' => {
                    let held = text(hostcalls::get_buffer(body, 0, size).ok().flatten());
                    hostcalls::set_buffer(body, 0, size, format!("<{held}>").as_bytes())
                }
                'e' => hostcalls::set_buffer(body, 0, size, b""),
                'j' => hostcalls::set_buffer(body, 0, 0, b"before "),
                'k' => hostcalls::set_buffer(body, size, 0, b" behind"),
                't' => hostcalls::add_map_value(trailers, "x-trailer", callback),
                _ => panic!("no such step: {step}"),
            };
        }
        action
    }

    fn begun(&mut self, begun: Result<u32, Status>) -> Action {
        match begun {
            Ok(_) => Action::Pause,
            Err(status) => {
                self.see(format!("refused {status:?}"));
                self.answer();
                Action::Pause
            }
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize, trailers: usize) {
        self.see(format!("http headers {headers} body {body} trailers {trailers}"));
        let headers = pairs(self.get_http_call_response_headers_bytes());
        self.see(headers);
        let body = text(self.get_http_call_response_body(0, body));
        self.see(body);
        self.answer();
    }

    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        let message = if status == 0 { text(self.get_grpc_call_response_body(0, size)) } else { String::new() };
        let said = self.get_grpc_status().1.unwrap_or_default();
        self.see(format!("unary {status} {said:?} {message:?}"));
        self.answer();
    }

    fn on_grpc_stream_initial_metadata(&mut self, _token: u32, count: u32) {
        let list = pairs(self.get_grpc_stream_initial_metadata());
        self.see(format!("initial {count} {list}"));
    }

    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        let message = text(self.get_grpc_stream_message(0, size));
        self.see(format!("message {size} {message}"));
        if let Some(step) = self.then.pop() {
            self.step(token, &step);
        }
    }

    fn on_grpc_stream_trailing_metadata(&mut self, _token: u32, count: u32) {
        let list = pairs(self.get_grpc_stream_trailing_metadata());
        self.see(format!("trailing {count} {list}"));
    }

    fn on_grpc_stream_close(&mut self, _token: u32, status: u32) {
        let said = self.get_grpc_status();
        self.see(format!("closed {status} {said:?}"));
        self.answer();
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let what = text(self.get_http_request_header_bytes("x-do"));
        let words: Vec<&str> = what.split(' ').collect();
        let millis = |text: &str| Duration::from_millis(text.parse().unwrap_or_default());
        let get = |path| vec![(":method", "GET"), (":path", path), (":authority", "a.example")];
        match words[..] {
            ["http", cluster, path, timeout] => {
                let begun = self.dispatch_http_call(cluster, get(path), None, vec![], millis(timeout));
                self.begun(begun)
            }
            ["forget", cluster] => {
                let begun = self.dispatch_http_call(cluster, get("/never"), None, vec![], Duration::ZERO);
                if begun.is_err() {
                    panic!("no call");
                }
                Action::Continue
            }
            ["unary", cluster, method, timeout, message] => {
                let metadata = vec![("x-meta", &b"data"[..])];
                let message = Some(message.as_bytes());
                let begun = self.dispatch_grpc_call(cluster, "test.Echo", method, metadata, message, millis(timeout));
                self.begun(begun)
            }
            ["stream", cluster, method, ref steps @ ..] => {
                let begun = self.open_grpc_stream(cluster, "test.Echo", method, vec![("x-meta", &b"data"[..])]);
                if let Ok(token) = begun {
                    self.steps(token, steps.iter().copied());
                }
                self.begun(begun)
            }
            ["resolve", name] => {
                let mut token = 0;
                // SAFETY: the host reads `name` and writes `token`, and keeps neither.
                let status = unsafe { envoy_resolve_dns(name.as_ptr(), name.len(), &raw mut token) };
                match RESOLVED.take() {
                    Some(found) => {
                        self.see(found.trim_end().to_owned());
                        self.answer();
                    }
                    None if status == 0 => RESOLVING.set(Some(self.id)),
                    None => return self.begun(Err(Status::InternalFailure)),
                }
                Action::Pause
            }
            ["count"] => {
                COUNT.set(COUNT.get() + 1);
                self.see(format!("asked {} times", COUNT.get()));
                self.answer();
                Action::Pause
            }
            [what @ ("see" | "mark" | "hold-response"), ref paths @ ..] => {
                self.response_is_held = what == "hold-response";
                if what == "mark" && self.get_property(vec!["mark"]).is_none() {
                    let name = self.get_property(vec!["plugin_name"]);
                    self.set_property(vec!["mark"], name.as_deref());
                    self.set_property(vec!["text"], name.as_deref());
                }
                self.paths = paths.iter().map(|path| (*path).to_owned()).collect();
                self.seen = vec![properties(&self.paths)];
                Action::Continue
            }
            ["script", ref lines @ ..] => {
                let line = |line: &&str| line.split_once('=').map(|(name, steps)| (name.to_owned(), steps.to_owned()));
                self.script = lines.iter().filter_map(line).collect();
                self.perform("qh", 0)
            }
            ["wrap", how] => {
                self.wraps = Some(how.to_owned());
                if how == "own" {
                    self.send_http_response(299, vec![("x-own", "yes")], Some(b"own"));
                    return Action::Pause;
                }
                Action::Continue
            }
            ["logged"] => {
                self.see(LOGGED.take());
                self.answer();
                Action::Pause
            }
            ["hold-for-body"] => {
                self.held = Some(0);
                Action::Pause
            }
            ["rest"] => {
                let mut resting = RESTING.take();
                resting.push(self.id);
                RESTING.set(resting);
                Action::Pause
            }
            ["trap"] => panic!("as asked"),
            ["trap-in-response"] | ["trap-in-log"] => {
                self.trap = if words == ["trap-in-log"] { "log" } else { "response" };
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !self.script.is_empty() {
            return self.perform(if end { "qe" } else { "qb" }, size);
        }
        match &mut self.held {
            Some(held) if !end => {
                *held = size;
                Action::Pause
            }
            Some(held) => {
                *held = size;
                Action::Continue
            }
            None => Action::Continue,
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.perform("qt", 0)
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        if let Some(held) = self.held {
            self.add_http_response_header("x-held", &held.to_string());
        }
        if !self.paths.is_empty() {
            self.add_http_response_header("x-in-request", &self.seen.join(" "));
            self.add_http_response_header("x-in-response", &properties(&self.paths));
        }
        if self.response_is_held {
            return Action::Pause;
        }
        if self.wraps.is_some() {
            self.set_http_response_header("content-length", None);
        }
        if !self.script.is_empty() {
            return self.perform("sh", 0);
        }
        if self.trap == "response" {
            panic!("as asked, in the response");
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        match self.wraps.as_deref() {
            None => return self.perform(if end { "se" } else { "sb" }, size),
            Some("whole") if !end => return Action::Pause,
            Some("reply") if end => {
                self.wraps = None;
                self.send_http_response(298, vec![], Some(b"instead"));
                return Action::Pause;
            }
            Some("trap") if end => panic!("as asked, in the body"),
            Some(_) => {}
        }
        let body = text(self.get_http_response_body(0, size));
        self.set_http_response_body(0, size, format!("<{body}{}>", if end { "!" } else { "" }).as_bytes());
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.perform("st", 0)
    }

    fn on_log(&mut self) {
        if !self.paths.is_empty() {
            LOGGED.set(properties(&self.paths));
        }
        if self.trap == "log" {
            panic!("as asked, in the log");
        }
    }
}
