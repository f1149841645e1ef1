//! The program, run as a user runs it.
#![allow(dead_code, reason = "no test needs all of it")]

use std::process::{Command, Output, Stdio};

/// Runs a command that is to end by itself; one that goes on serving instead is stopped and fails the test.
pub(crate) fn host_sim(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
    let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let (done, ended) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    let output = ended.recv_timeout(std::time::Duration::from_secs(60)).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        panic!("host-sim {args:?} did not end")
    });
    let _ = waiting.join();
    output
}

/// Its exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {output:?}"))
}

/// What it said on stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it said on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Files in a folder of their own.
pub(crate) fn in_folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A module as `make` leaves it.
pub(crate) fn module(name: &str) -> String {
    let path = format!("{}/../target/filters/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    assert!(std::fs::exists(&path).unwrap(), "{path} is not there: run `make filters` first");
    path
}

/// Manifests one behind the other.
pub(crate) fn manifests(parts: &[&str]) -> String {
    parts.join("---\n")
}

/// The Gateway `shop/door`, with a server on port 80 for these hosts.
pub(crate) fn door(hosts: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: door, namespace: shop}}\nspec:\n  selector: {{istio: ingressgateway}}\n  servers:\n    - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: {hosts}}}\n"
    )
}

/// A VirtualService in `shop`, for these hosts behind the door; `http` is its rules, a line each or indented by four.
pub(crate) fn virtual_service(name: &str, hosts: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  hosts: {hosts}\n  gateways: [door]\n  http:\n{http}"
    )
}

/// A Service in `shop`, on port 80.
pub(crate) fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}\n"
    )
}
