//! The judges' tools: origins that write down what reaches them, a client that sends bytes as they stand in a case, the recorded answers of Istio and
//! Envoy, and processes (`host-sim`, the real Envoy) that are always stopped.
//!
//! Nothing here links the code under test, tests included. Both gateways are programs, driven over sockets, so whatever this crate finds a user would find too.

pub mod bootstrap;
pub mod case;
pub mod certs;
pub mod client;
pub mod compare;
pub mod documents;
pub mod envoy;
pub mod fuzz;
pub mod gateway;
pub mod host_sim;
pub mod istiod;
pub mod latin1;
pub mod origins;
pub mod pair;
pub mod process;
pub mod rate_limit_service;
pub mod record;
pub mod recorded;
pub mod replay;
pub mod scenario;
pub mod scoreboard;

use std::path::{Path, PathBuf};

/// The repository's root, whatever directory the test runs in.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// What is rendered of the manifests: `base`, and every overlay by its folder's name.
///
/// # Panics
/// Without the folder `manifests/overlays`.
#[must_use]
#[allow(clippy::unwrap_used, reason = "the repository is there")]
pub fn overlays() -> Vec<String> {
    let entries = std::fs::read_dir(repository().join("manifests/overlays")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.push("base".to_owned());
    names.sort();
    names
}

/// `tests/corpus`: what Istio and Envoy answered.
#[must_use]
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
