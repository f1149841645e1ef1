//! A running gateway.
#![allow(dead_code, reason = "no test needs all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Stopped and reaped however the test ends.
pub(crate) struct Running {
    pub(crate) child: Child,
    said: BufReader<ChildStderr>,
    pub(crate) admin: String,
    pub(crate) address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Running {
        Running::start_in(std::path::Path::new("."), args)
    }

    /// Starts it in a folder.
    pub(crate) fn start_in(folder: &std::path::Path, args: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_host-sim"))
            .current_dir(folder)
            .args([&["run", "--port-map", "80=0", "--admin", "127.0.0.1:0"], args].concat())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut running = Running { child, said, admin: String::new(), address: String::new() };
        running.admin = running.hears("admin on ");
        running.address = running.hears("port 80 on ");
        running
    }

    /// Reads its stderr up to a line that begins so; what follows.
    pub(crate) fn hears(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended before {beginning:?}");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn get(address: &str, path: &str) -> String {
        exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n"))
    }

    /// Sends these very bytes.
    pub(crate) fn send(&self, request: &str) -> String {
        exchange(&self.address, request)
    }

    pub(crate) fn status(&self, path: &str) -> String {
        Running::get(&self.address, path).split(' ').nth(1).unwrap().to_owned()
    }
}

/// Sends bytes and reads to the end.
pub(crate) fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
