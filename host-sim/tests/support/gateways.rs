//! Envoy and `host-sim run` on the same bootstrap.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::envoy::{self, Envoy, Filter};

/// `host-sim run --bootstrap`, stopped and reaped however the test ends.
pub(crate) struct HostSim {
    process: Child,
    said: String,
    log: Arc<Mutex<Vec<u8>>>,
    _folder: tempfile::TempDir,
}

impl HostSim {
    pub(crate) fn start(bootstrap: &Value, more: &[&str]) -> HostSim {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bootstrap.json");
        std::fs::write(&file, bootstrap.to_string()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_host-sim"))
            .args(["run", "--workers", "1", "--admin", "127.0.0.1:0", "--port-map", "0=0", "--bootstrap"])
            .arg(&file)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = process.stderr.take().unwrap();
        let mut said = String::new();
        let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap().len();
        let mut byte = [0];
        while said.lines().filter(|line| line.starts_with("port ")).count() < listeners || !said.ends_with('\n') {
            assert_eq!(pipe.read(&mut byte).unwrap(), 1, "ended early: {said}");
            said.push(byte[0].into());
        }
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        HostSim { process, said, log, _folder: folder }
    }

    /// What it has logged so far, since it listens.
    pub(crate) fn log(&self) -> Vec<u8> {
        self.log.lock().unwrap().clone()
    }

    /// The most memory it has had, in MB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        peak.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1000
    }

    /// Where a listener listens.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let admin = self.said.lines().find_map(|line| line.strip_prefix("admin on ")).unwrap().parse().unwrap();
        let listeners = envoy::get(admin, "/listeners");
        let line = listeners.lines().find_map(|line| line.strip_prefix(&format!("{name}::")));
        line.unwrap_or_else(|| panic!("no {name} in {listeners}")).parse().unwrap()
    }
}

impl Drop for HostSim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Both gateways on the same bootstrap.
pub(crate) struct Both {
    /// Where each listener is in Envoy, if it is there, and in ours.
    pub(crate) addresses: BTreeMap<String, (Option<SocketAddr>, SocketAddr)>,
    _envoy: Option<Envoy>,
    _host_sim: HostSim,
}

impl Both {
    pub(crate) fn start(test: &str, filters: &[Filter], clusters: &[(&str, SocketAddr)]) -> Both {
        Both::on(test, &envoy::bootstrap(filters, clusters))
    }

    pub(crate) fn on(test: &str, bootstrap: &Value) -> Both {
        let envoy = envoy::binary(test).map(|binary| Envoy::start_on(&binary, bootstrap));
        let host_sim = HostSim::start(bootstrap, &[]);
        let address = |listener: &Value| {
            let name = listener["name"].as_str().unwrap();
            (name.to_owned(), (envoy.as_ref().map(|envoy| envoy.listener(name)), host_sim.listener(name)))
        };
        let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
        Both { addresses: listeners.iter().map(address).collect(), _envoy: envoy, _host_sim: host_sim }
    }
}

/// A whole answer, without what differs from run to run: the status line, the header lines in order of their names, the body.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, "no body"));
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines.retain(|line| {
        !["date:", "server:", "x-envoy-upstream-service-time:"].iter().any(|name| line.starts_with(name))
    });
    if let Some((_, headers)) = lines.split_first_mut() {
        headers.sort_unstable();
    }
    format!("{}\n\n{body}", lines.join("\n"))
}

/// Prints every difference before it fails.
pub(crate) fn equal(rows: &[(String, Option<String>, String)]) {
    let differ: Vec<String> = rows
        .iter()
        .filter(|(_, theirs, ours)| theirs.as_ref().is_some_and(|theirs| theirs != ours))
        .map(|(what, theirs, ours)| {
            format!("{what}\n  envoy    {:?}\n  host-sim {ours:?}", theirs.as_deref().unwrap_or(""))
        })
        .collect();
    assert!(differ.is_empty(), "{} of {} answers differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
}
