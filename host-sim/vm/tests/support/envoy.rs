//! The real Envoy, and an origin behind it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::{Value, json};

/// How long anything in Envoy may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `$ENVOY_BIN`, or `.venv/bin/envoy` at the repository's root. Without it a test says so loudly and passes, except in CI.
pub(crate) fn binary(test: &str) -> Option<PathBuf> {
    let candidates = [std::env::var_os("ENVOY_BIN").map(PathBuf::from), Some(root().join(".venv/bin/envoy"))];
    let found = candidates.into_iter().flatten().find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{test}: no Envoy: set ENVOY_BIN, or make .venv/bin/envoy"
        );
        println!("SKIPPED: {test}: no Envoy: set ENVOY_BIN, or make .venv/bin/envoy");
        eprintln!("SKIPPED: {test}: no Envoy: set ENVOY_BIN, or make .venv/bin/envoy");
    }
    found
}

/// The repository's root: where the workspace's lock file is.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).expect("the repository's root").to_owned()
}

/// Builds a test module, and says where it is.
pub(crate) fn build_module(package: &str) -> PathBuf {
    let root = root();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["build", "--quiet", "--profile", "wasm", "--target", "wasm32-wasip1", "-p", package, "--target-dir"])
        .arg(&target)
        .status();
    assert!(status.expect("cargo runs").success(), "{package} does not build");
    target.join("wasm32-wasip1/wasm").join(package.replace('-', "_")).with_extension("wasm")
}

/// A running Envoy. Ends with the value.
pub(crate) struct Envoy {
    process: Child,
    lines: Receiver<String>,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

/// One wasm filter of a listener.
pub(crate) struct Filter {
    pub(crate) listener: String,
    pub(crate) config: Value,
}

impl Envoy {
    /// One worker, one listener per filter on a port of its own, all routing to `origin`; further clusters `refused` (a closed port) and `no-endpoint` (no endpoint).
    pub(crate) fn start(binary: &Path, filters: &[Filter], origin: SocketAddr) -> Envoy {
        Envoy::start_on(binary, &bootstrap(filters, &[("origin", origin)]))
    }

    /// One worker, on this bootstrap.
    pub(crate) fn start_on(binary: &Path, bootstrap: &Value) -> Envoy {
        let folder = tempfile::tempdir().expect("a folder");
        let admin_file = folder.path().join("admin");
        let config = folder.path().join("envoy.json");
        std::fs::write(&config, bootstrap.to_string()).expect("a file");
        let mut process = Command::new(binary)
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-format",
                "%v",
                "-l",
                "info",
                "--admin-address-path",
            ])
            .arg(&admin_file)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Envoy starts");
        let (sender, lines) = channel();
        let stderr = process.stderr.take().expect("a pipe");
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut envoy = Envoy { process, lines, admin: SocketAddr::from(([127, 0, 0, 1], 0)), _folder: folder };
        let said = envoy.lines_until(|line| line.starts_with("starting main dispatch loop"));
        let admin = std::fs::read_to_string(&admin_file)
            .unwrap_or_else(|_| panic!("Envoy did not come up:\n{}", said.join("\n")));
        envoy.admin = admin.trim().parse().expect("an address");
        envoy.started(said);
        envoy
    }

    fn started(&mut self, said: Vec<String>) {
        STARTED.with_borrow_mut(|kept| *kept = said);
    }

    /// What was logged until it was up.
    pub(crate) fn start_log(&self) -> Vec<String> {
        STARTED.with_borrow(Clone::clone)
    }

    /// Lines up to and with the first that is so.
    pub(crate) fn lines_until(&self, last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let found = last(&line);
                    lines.push(line);
                    if found {
                        return lines;
                    }
                }
                Err(_) => return lines,
            }
        }
    }

    /// Where a listener listens.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let text = get(self.admin, "/listeners?format=json");
        let listeners: Value = serde_json::from_str(&text).expect("JSON");
        let all = listeners["listener_statuses"].as_array().expect("a list");
        let one = all.iter().find(|listener| listener["name"] == name).expect("the listener");
        let address = &one["local_address"]["socket_address"];
        SocketAddr::from(([127, 0, 0, 1], address["port_value"].as_u64().expect("a port").try_into().expect("a port")))
    }

    /// A page of the admin interface.
    pub(crate) fn admin(&self, path: &str) -> String {
        get(self.admin, path)
    }
}

thread_local! {
    static STARTED: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of a page.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes(), PATIENCE).1
}

/// Sends bytes, reads to the end, and says status and body (chunks joined).
pub(crate) fn exchange(address: SocketAddr, request: &[u8], patience: Duration) -> (String, String) {
    let Ok(mut stream) = TcpStream::connect(address) else { return ("refused".to_owned(), String::new()) };
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    stream.write_all(request).expect("a request");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return ("closed".to_owned(), answer) };
    let status = head.split(' ').nth(1).unwrap_or("?").to_owned();
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_owned() };
    (status, body)
}

fn dechunk(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        if size == 0 || rest.len() < size {
            break;
        }
        body.push_str(&rest[..size]);
        text = rest[size..].trim_start_matches("\r\n");
    }
    body
}

/// A listener per filter on a port of its own, all routing to the cluster `origin`, and two clusters that cannot be reached. A cluster whose name ends with 2 speaks HTTP/2.
pub(crate) fn bootstrap(filters: &[Filter], clusters: &[(&str, SocketAddr)]) -> Value {
    let endpoint = |address: SocketAddr| json!({"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}}}}]});
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let cluster = |name: &str, endpoints: Value| {
        json!({"name": name, "connect_timeout": "1s", "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": if name.ends_with("2") { json!({"http2_protocol_options": {}}) } else { json!({"http_protocol_options": {"enable_trailers": true}}) }}}})
    };
    json!({
        "node": {"id": "probe-node", "cluster": "probe-cluster"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": filters.iter().map(listener).collect::<Vec<_>>(),
            "clusters": clusters.iter().map(|(name, address)| cluster(name, json!([endpoint(*address)])))
                .chain([cluster("refused", json!([endpoint(closed)])), cluster("refused2", json!([endpoint(closed)])), cluster("no-endpoint", json!([]))])
                .collect::<Vec<_>>(),
        },
    })
}

fn listener(filter: &Filter) -> Value {
    json!({
        "name": filter.listener,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "probe",
            "http_protocol_options": {"enable_trailers": true},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "10s"}}]}]},
            "http_filters": [
                {"name": "wasm", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": filter.config}},
                {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
            ],
        }}]}],
    })
}

/// What every listener's filter has in common.
pub(crate) fn plugin(module: &Path, vm_id: &str) -> Value {
    json!({
        "name": "test.probe",
        "root_id": "probe-root",
        "vm_config": {
            "vm_id": vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "vm configuration"},
            "environment_variables": {"key_values": {"PROBE": "yes"}},
        },
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "plugin configuration"},
    })
}

/// An origin that reads a whole request and answers with a chunked body and trailers; `/plain` without either, `/half` with half a body and no more, `/never` not at all.
pub(crate) fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            if let Some(path) = read_request(&mut reader) {
                if path == "/never" || path == "/half" {
                    let half = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 17\r\n\r\nhello";
                    let _ = (&stream).write_all(if path == "/half" { half } else { "" }.as_bytes());
                    unanswered.push(stream);
                    continue;
                }
                let plain = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 17\r\n\r\nhello from origin";
                let chunked = "HTTP/1.1 200 OK\r\nx-orig: response\r\ntrailer: x-orig\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n11\r\nhello from origin\r\n0\r\nx-orig: trailer\r\n\r\n";
                let _ = (&stream).write_all(if path == "/plain" { plain } else { chunked }.as_bytes());
            }
        }
    });
    address
}

fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let (mut path, mut length, mut chunked) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if line.starts_with("transfer-encoding: chunked") {
            chunked = true;
        }
    }
    if chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line.trim_end() == "0" {
                while reader.read_line(&mut line).ok()? > 2 {}
                break;
            }
        }
    } else {
        reader.read_exact(&mut vec![0; length]).ok()?;
    }
    Some(path)
}
