//! The admin server: Envoy's admin paths under Envoy's names, so that the tools people have keep working.
//!
//! Reading is GET, changing is POST, as in Envoy. Answers are not cached and not sniffed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy::Gateway;
use tokio::net::TcpListener;

use crate::dashboard::{self, Explainer};
use crate::failure::Failure;

const PATHS: [(&str, &str); 11] = [
    ("/", "the dashboard"),
    ("/clusters", "upstream clusters and the state of their endpoints"),
    ("/config_dump", "the configuration being served, as Envoy dumps it"),
    ("/drain_listeners", "stop accepting connections (POST)"),
    ("/help", "this list"),
    ("/listeners", "listeners and the addresses they are bound to"),
    ("/logging?level=LEVEL", "show or change (POST) the log level"),
    ("/ready", "LIVE when requests are served"),
    ("/server_info", "version, state and uptime"),
    ("/stats", "counters, gauges and histograms; ?filter=REGEX, ?usedonly"),
    ("/stats/prometheus", "the same in Prometheus' text format"),
];

/// What the admin server answers about.
pub(crate) struct Admin {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) explainer: Arc<Explainer>,
    pub(crate) started: Instant,
}

/// Binds the admin server's socket.
///
/// # Errors
/// The port is taken or the address is not this machine's: the address, and what the system said.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::World(format!("admin {address}: {error}; choose another with --admin, port 0 lets the kernel choose"))
    })
}

/// Answers for as long as the runtime lives.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                let answered = dashboard::answer(&admin.gateway, &admin.explainer, request).await;
                Ok::<_, std::convert::Infallible>(answered.unwrap_or_else(|request| admin.answer(&request)))
            });
            // A client that went away is no error of ours.
            let mut connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let query = Query(request.uri().query().unwrap_or(""));
        let changes = request.method() == Method::POST;
        match request.uri().path() {
            "/help" => text(StatusCode::OK, help()),
            "/ready" if self.gateway.is_ready() => text(StatusCode::OK, "LIVE\n"),
            "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n"),
            "/server_info" => json(&self.server_info()),
            "/stats" => self.stats(&query, query.has("format", "prometheus")),
            "/stats/prometheus" => self.stats(&query, true),
            "/clusters" => text(StatusCode::OK, self.gateway.clusters_text()),
            "/listeners" => self.listeners(&query),
            "/config_dump" => json(&self.gateway.config_dump()),
            "/logging" if changes => logging(&query),
            "/logging" => text(StatusCode::OK, format!("active log level: {}\n", log::max_level())),
            "/drain_listeners" if changes => {
                // The end of the drain is nobody's here: SIGTERM is what waits for it.
                drop(self.gateway.drain());
                text(StatusCode::OK, "OK\n")
            }
            "/drain_listeners" => text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed: use POST\n"),
            _ => text(StatusCode::NOT_FOUND, format!("invalid path. admin commands are:\n{}", help())),
        }
    }

    fn server_info(&self) -> serde_json::Value {
        let state = if self.gateway.is_ready() { "LIVE" } else { "DRAINING" };
        let uptime = format!("{}s", self.started.elapsed().as_secs());
        serde_json::json!({
            "version": concat!("host-sim/", env!("CARGO_PKG_VERSION")),
            "state": state,
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
        })
    }

    fn stats(&self, query: &Query<'_>, for_prometheus: bool) -> Response<Full<Bytes>> {
        match self.gateway.stats(query.0, for_prometheus) {
            Ok(body) if for_prometheus => prometheus(body),
            Ok(body) => text(StatusCode::OK, body),
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    }

    fn listeners(&self, query: &Query<'_>) -> Response<Full<Bytes>> {
        let listeners = self.gateway.listeners();
        if query.has("format", "json") {
            let statuses: Vec<_> = listeners.iter().map(|(name, address)| serde_json::json!({
                "name": name,
                "local_address": {"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}},
            })).collect();
            return json(&serde_json::json!({ "listener_statuses": statuses }));
        }
        let lines: String = listeners.iter().map(|(name, address)| format!("{name}::{address}\n")).collect();
        text(StatusCode::OK, lines)
    }
}

/// A query string, `&`-separated, percent-decoded.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, key: &str) -> Option<String> {
        self.0.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == key).then(|| decoded(value))
        })
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.get(key).is_some_and(|got| got == value)
    }
}

/// Percent-decodes; what is no escape stays as it is.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(byte.unwrap_or(if first == b'+' { b' ' } else { first }));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn logging(query: &Query<'_>) -> Response<Full<Bytes>> {
    let level = query.get("level").map(|level| if level == "warning" { "warn".to_owned() } else { level });
    match level.map(|level| level.parse::<log::LevelFilter>()) {
        Some(Ok(level)) => {
            log::set_max_level(level);
            text(StatusCode::OK, format!("active log level: {level}\n"))
        }
        _ => text(StatusCode::BAD_REQUEST, "usage: /logging?level=off|error|warning|info|debug|trace\n"),
    }
}

fn help() -> String {
    PATHS.iter().map(|(path, what)| format!("  {path}: {what}\n")).collect()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=UTF-8", body.into())
}

fn prometheus(body: String) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body.into())
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "application/json", format!("{value:#}\n").into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_percent_decoded() {
        let cases = [("filter=a%2Eb", "a.b"), ("x=1&filter=%5Ehttp", "^http"), ("filter=50%", "50%"), ("filter", "")];
        for (query, value) in cases {
            assert_eq!(Query(query).get("filter").as_deref(), Some(value), "{query}");
        }
        assert_eq!(Query("x=1").get("filter"), None);
    }
}
