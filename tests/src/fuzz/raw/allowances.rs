//! Differences that are known and stay: each is named and counted, none is silent.

use super::judge::{End, Outcome};
use super::talk::{Talk, Way};

/// Why the gateways may differ here.
pub(super) fn of(talk: &Talk, envoy: &Outcome, host_sim: &Outcome) -> Option<&'static str> {
    let goes_away = envoy.told.iter().any(|line| line.starts_with("goaway")) || envoy.end == End::Closed;
    let resets = host_sim.told.iter().any(|line| line.starts_with("reset"));
    if talk.way == Way::Http2 && goes_away && resets {
        return Some("a malformed HTTP/2 request ends its stream, in Envoy its connection");
    }
    None
}
