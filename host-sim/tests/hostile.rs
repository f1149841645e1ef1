//! `host-sim run` with a module that means harm, a listener for each way it has. Every request is answered, others are served, the process stays small, and nothing
//! gets onto the wire or into a log that was not to be there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "../vm/tests/support/envoy.rs"]
mod envoy;
#[path = "support/gateways.rs"]
mod gateways;
#[path = "../vm/tests/support/misdeeds.rs"]
mod misdeeds;
#[path = "../vm/tests/support/module_text.rs"]
mod module_text;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use envoy::Filter;
use gateways::HostSim;
use misdeeds::WAYS;
use module_text::module_text;
use serde_json::{Value, json};

/// An origin that keeps what it is sent, a connection at a time.
struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    let mut bytes = Vec::new();
                    let mut piece = [0; 4096];
                    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
                        let Ok(read @ 1..) = stream.read(&mut piece) else { break };
                        bytes.extend_from_slice(&piece[..read]);
                    }
                    kept.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                });
            }
        });
        Origin { address, seen }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// A listener for each way, logging to this file. What a module holds for ever ends after a second.
fn bootstrap(folder: &Path, log: &Path, origin: SocketAddr) -> Value {
    let filters = WAYS.iter().enumerate().map(|(at, (_, way))| {
        let file = folder.join(format!("{at}.wasm"));
        std::fs::write(&file, wat::parse_str(misdeeds::module(way)).unwrap()).unwrap();
        Filter { listener: format!("way-{at}"), config: envoy::plugin(&file, &format!("vm-{at}")) }
    });
    let mut bootstrap = envoy::bootstrap(&filters.collect::<Vec<_>>(), &[("origin", origin)]);
    let line = "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %REQ(X-EVIL)%\n";
    for listener in bootstrap["static_resources"]["listeners"].as_array_mut().unwrap() {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager["stream_idle_timeout"] = json!("1s");
        manager["access_log"] = json!([{"name": "file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log, "log_format": {"text_format_source": {"inline_string": line}}}}]);
    }
    bootstrap
}

/// The answer's status, after its head was looked at.
fn ask(address: SocketAddr, evil: bool, way: &str) -> u16 {
    let evil = if evil { "x-evil: yes\r\n" } else { "" };
    let request = format!("GET / HTTP/1.1\r\nhost: a.example\r\n{evil}connection: close\r\n\r\n");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{way}: {error}"));
    let answer = String::from_utf8(answer).unwrap_or_else(|_| panic!("{way}: an answer that is no text"));
    // One way is to close the stream.
    if answer.is_empty() {
        return 0;
    }
    let (head, _) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{way}: {answer:?}"));
    assert!(!head.contains("set-cookie") && !head.contains("\r\nx: y"), "{way}: {head:?}");
    assert!(head.replace("\r\n", "").chars().all(|c| !c.is_control()), "{way}: {head:?}");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{way}: {head:?}"))
}

/// What an origin is sent holds nothing that a module put there in passing.
fn nothing_is_injected(way: &str, seen: &str, hardened: bool) {
    assert!(seen.ends_with("\r\n\r\n") && seen.matches("\r\n\r\n").count() == 1, "{way}: {seen:?}");
    let mut lines = seen.trim_end().split("\r\n");
    let first = lines.next().unwrap();
    assert!(first.ends_with(" / HTTP/1.1") && !first.contains(char::is_control), "{way}: {first:?}");
    assert!(!hardened || first == "GET / HTTP/1.1", "{way}: {first:?}");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| line.split_at(line.len()));
        assert!(!value.contains(char::is_control), "{way}: {line:?}");
        assert!(!["set-cookie", "x"].contains(&name), "{way}: {line:?}");
        let framing = ["content-length", "transfer-encoding"].contains(&name);
        assert!(!hardened || !framing && !name.contains(' '), "{way}: {line:?}");
    }
}

/// What is in a log that is written behind requests, once it has so many lines.
fn lines(log: &Path, count: usize) -> String {
    let looks = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(10));
        std::fs::read_to_string(log).unwrap()
    });
    let mut looks = looks.take(2000).peekable();
    let mut text = String::new();
    while let Some(look) = looks.next_if(|_| text.lines().count() < count) {
        text = look;
    }
    text
}

fn misdeeds_are_survived(fidelity: &str) {
    let hardened = fidelity == "hardened";
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let log = folder.path().join("access.log");
    let gateway = HostSim::start(&bootstrap(folder.path(), &log, origin.address), &["--fidelity", fidelity]);
    let addresses: Vec<SocketAddr> = (0..WAYS.len()).map(|at| gateway.listener(&format!("way-{at}"))).collect();
    for ((name, _), address) in WAYS.iter().zip(&addresses) {
        let status = ask(*address, true, name);
        assert!(status == 0 || (200..600).contains(&status) || !hardened, "{name}: {status}");
        // A request that cannot be sent leaves a connection on which nothing was said.
        let spoken = origin.take().into_iter().filter(|seen| !seen.is_empty());
        spoken.for_each(|seen| nothing_is_injected(name, &seen, hardened));
        let next = ask(*address, false, name);
        // As in Envoy, a module that trapped is not asked again, and lets nothing pass.
        assert!(next == 200 || next == 503 && !hardened, "{name}: {next} to the next request");
        // Nobody else is concerned.
        let other = addresses.iter().position(|other| other != address).unwrap();
        let other = if hardened { addresses[other] } else { *addresses.last().unwrap() };
        assert_eq!(ask(other, false, name), 200, "{name}: another module's request");
        origin.take();
    }
    assert!(gateway.peak_memory() <= 256, "{} MB at the worst moment", gateway.peak_memory());
    let log = lines(&log, 3 * WAYS.len());
    assert_eq!(log.lines().count(), 3 * WAYS.len(), "a line for each request: {log}");
    for line in log.lines().chain(String::from_utf8(gateway.log()).unwrap().lines()) {
        assert!(!line.contains(char::is_control) && !line.starts_with("forged"), "{line:?}");
    }
}

#[test]
fn hardened_every_misdeed_costs_its_own_request_at_most() {
    misdeeds_are_survived("hardened");
}

#[test]
fn as_envoy_every_misdeed_costs_its_own_module_at_most() {
    misdeeds_are_survived("envoy");
}
