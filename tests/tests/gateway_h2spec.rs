//! h2spec, the conformance tests of HTTP/2: whatever host-sim fails, the real Envoy fails, too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tests::pair::Setup;

/// What Envoy 1.40 and host-sim both fail, for machines without Envoy: a preface that is none may be HTTP/1, which is
/// answered before the connection ends; and which of two error codes is said of a window that grew too large.
const KNOWN: [&str; 2] = [
    "Sends invalid connection preface",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
];

fn h2spec() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin"));
    std::env::split_paths(&folders).chain(home).map(|folder| folder.join("h2spec")).find(|file| file.is_file())
}

/// The names of the tests that failed, and how many there were.
fn failed(h2spec: &PathBuf, at: SocketAddr) -> (BTreeSet<String>, usize) {
    let mut command = Command::new(h2spec);
    command.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "-o", "2"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = |line: &str| Some(line.rsplit_once('×')?.1.split_once(": ")?.1.trim().to_owned());
    let count = text.lines().find_map(|line| line.split_once(" tests, ")?.0.trim().parse().ok());
    (text.lines().filter_map(name).collect(), count.unwrap_or_else(|| panic!("h2spec says nothing:\n{text}")))
}

#[tokio::test]
async fn http2_is_spoken_no_worse_than_envoy_speaks_it() {
    let Some(h2spec) = h2spec() else {
        eprintln!("SKIPPED: no h2spec in PATH or ~/go/bin: go install github.com/summerwind/h2spec/cmd/h2spec@latest");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("gateway.yaml");
    std::fs::write(&manifest, tests::gateway::HELLO).unwrap();
    let setup = Setup { manifests: vec![manifest], ports: [80].into(), workers: 1, ..Setup::default() };
    let host_sim = setup.host_sim(&[]).await.unwrap();
    let (ours, count) = failed(&h2spec, host_sim.ports[&80]);
    assert!(count > 100, "{count} tests");
    let theirs = match setup.envoy(&[]).await.unwrap() {
        Some(envoy) => failed(&h2spec, envoy.ports[&80]).0,
        None => KNOWN.map(str::to_owned).into(),
    };
    let mut worse: BTreeSet<_> = ours.difference(&theirs).cloned().collect();
    // Where the answer is sent before a test's last frame, which of the two is first is chance: what fails, fails every time.
    for _ in 0..3 {
        if worse.is_empty() {
            break;
        }
        let again = failed(&h2spec, host_sim.ports[&80]).0;
        worse.retain(|name| again.contains(name));
    }
    assert!(worse.is_empty(), "host-sim fails what Envoy passes: {worse:#?}");
}
