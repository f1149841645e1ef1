//! A cluster found by its name follows what the system says of the name, without losing a request. host-sim runs with a hosts file of its own, which
//! takes a namespace of mounts. Not beside Envoy: its resolver (c-ares) keeps a hosts file that it has read, whatever becomes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::bootstrap::{self, cluster, listener, manager};
use tests::gateway::Gateway;
use tests::host_sim::{self, Run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NAME: &str = "origin.test";
/// A gateway that has not heard of the new address by now never will; it asks once a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers everything with a word.
fn answering(listener: TcpListener, word: &'static str) {
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                    if bytes.ends_with(b"\r\n\r\n") {
                        bytes.clear();
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{word}", word.len());
                        socket.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
}

/// Two origins with one port: `one` at 127.0.0.1, `two` at 127.0.0.2.
async fn origins() -> u16 {
    let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = one.local_addr().unwrap().port();
    let two = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    answering(one, "one");
    answering(two, "two");
    port
}

fn bootstrap(port: u16) -> Value {
    let hosts = json!([
        { "name": "all", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "named" } }] },
    ]);
    let origin = json!({ "socket_address": { "address": NAME, "port_value": port } });
    let by_name = json!({ "type": "STRICT_DNS", "dns_refresh_rate": "1s", "dns_lookup_family": "V4_ONLY" });
    let listener = listener(1, &manager(&hosts, &json!({})));
    bootstrap::bootstrap(&[listener], &[cluster("named", &origin, &by_name)], &json!({}))
}

/// A script that runs a program with `hosts` for `/etc/hosts`.
fn with_hosts(program: &Path, hosts: &Path, folder: &Path) -> PathBuf {
    let script = folder.join("host-sim");
    let (hosts, program) = (hosts.display(), program.display());
    let text = format!(
        "#!/bin/sh\nexec unshare --map-root-user --mount sh -c 'mount --bind \"{hosts}\" /etc/hosts && exec \"{program}\" \"$@\"' sh \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// May this user have a namespace of mounts?
fn may_unshare() -> bool {
    let tried = std::process::Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

fn says(hosts: &Path, address: &str) {
    std::fs::write(hosts, format!("{address} {NAME}\n")).unwrap();
}

async fn ask(at: SocketAddr) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let reading = async {
        while !(bytes.ends_with(b"one") || bytes.ends_with(b"two")) {
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "{}", String::from_utf8_lossy(&bytes));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&bytes)));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name moves while requests go on: none of them fails, and in the end they reach the new address.
async fn follows(gateway: &Gateway, hosts: &Path) {
    let at = gateway.ports[&1];
    assert!(ask(at).await.ends_with("one"));
    says(hosts, "127.0.0.2");
    let moving = async {
        while !ask(at).await.ends_with("two") {
            tokio::time::sleep(Duration::from_millis(20)).await; // nobody tells
        }
    };
    tokio::time::timeout(PATIENCE, moving).await.expect("not to stay where the name was");
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    if !may_unshare() {
        eprintln!("SKIPPED: no namespace of mounts for this user: nobody can move a name");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (hosts, file) = (folder.path().join("hosts"), folder.path().join("bootstrap.json"));
    let bootstrap = bootstrap(origins().await);
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    says(&hosts, "127.0.0.1");
    let program = with_hosts(&host_sim::binary().unwrap(), &hosts, folder.path());
    let run = Run::manifests(&program, &[]).with(["--bootstrap", file.to_str().unwrap()]);
    follows(&run.start().await.unwrap(), &hosts).await;
}
