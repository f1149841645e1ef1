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
