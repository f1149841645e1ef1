//! What it does is said by its configuration: `noop`, `headers`, `pairs`, `trap` (on a request to `/trap`), `refuse` or `panic` (while it is configured).
#![allow(missing_docs, clippy::panic, reason = "a module for tests")]

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel, MapType},
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Plugin { mode: Mode::Noop }) });
}}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Noop,
    Headers,
    Pairs,
    Trap,
}

struct Plugin {
    mode: Mode,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        self.mode = match &configuration[..] {
            b"headers" => Mode::Headers,
            b"pairs" => Mode::Pairs,
            b"trap" => Mode::Trap,
            b"refuse" => {
                let _ = hostcalls::log(LogLevel::Error, "rules[0].name: this configuration is refused");
                return false;
            }
            b"panic" => panic!("this configuration is not survived"),
            _ => Mode::Noop,
        };
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { mode: self.mode }))
    }
}

struct Stream {
    mode: Mode,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        match self.mode {
            Mode::Noop => {}
            Mode::Headers => {
                for name in ["x-one", "x-two", "x-three"] {
                    let value = self.get_http_request_header_bytes(name).unwrap_or_else(|| b"none".to_vec());
                    self.set_http_request_header_bytes(name, Some(&value));
                }
            }
            Mode::Pairs => {
                let count = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).map_or(0, |pairs| pairs.len());
                self.set_http_request_header_bytes("x-count", Some(count.to_string().as_bytes()));
            }
            Mode::Trap => {
                if self.get_http_request_header_bytes(":path").as_deref() == Some(b"/trap") {
                    panic!("as asked");
                }
            }
        }
        Action::Continue
    }
}
