//! Names of endpoints made into addresses, for clusters that are found by DNS.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

/// A name that takes longer has no address, as in Envoy before the first answer came.
const PATIENCE: Duration = Duration::from_secs(1);

/// The addresses of a name, in the resolver's order, each once; none if it is not known.
pub(super) fn addresses(name: &str) -> Vec<IpAddr> {
    let (answer, answers) = mpsc::channel();
    let asked = format!("{name}:0");
    std::thread::spawn(move || {
        let found = asked.to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
        // Nobody waits any more: too late.
        let _ = answer.send(found.unwrap_or_default());
    });
    let mut found = answers.recv_timeout(PATIENCE).unwrap_or_default();
    found.dedup();
    found
}
