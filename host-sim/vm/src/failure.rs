//! The failure policy, as a machine without a clock or dice: what a dead VM means for the stream that killed it, for those in flight, and for those to come.

use std::time::Duration;

use crate::plugin::{FailurePolicy, Fidelity};

/// What is to be done when a stream is about to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The VM lives: use it.
    Enter,
    /// Make a fresh VM first, then ask [`FailureState::reloaded`].
    Reload,
    /// Leave the filter out.
    Bypass,
    /// Answer the failure reply.
    Refuse,
}

/// What a stream gets whose VM died under it, or has died since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Casualty {
    /// It goes on without the filter.
    PassThrough,
    /// It gets the failure reply.
    Refuse,
    /// Its other callbacks go to a fresh VM.
    MoveToFreshVm,
}

/// Alive or dead, and when the last VM was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureState {
    policy: FailurePolicy,
    fidelity: Fidelity,
    last_load: Duration,
    dead: bool,
}

/// Counters of reloads, as Envoy counts them under `wasm.<plugin>.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReloadStats {
    /// `vm_reload_backoff`: a stream came while the back-off ran.
    pub backoff: u64,
    /// `vm_reload_success`
    pub success: u64,
    /// `vm_reload_failure`
    pub failure: u64,
}

impl FailureState {
    /// Alive, loaded at `now` (monotonic).
    pub(crate) fn new(policy: FailurePolicy, fidelity: Fidelity, now: Duration) -> FailureState {
        FailureState { policy, fidelity, last_load: now, dead: false }
    }

    /// A call into the VM trapped.
    pub(crate) fn died(&mut self) {
        self.dead = true;
    }

    /// A stream is about to be created, at `now`, with a throw of the dice for the back-off's jitter.
    pub(crate) fn gate(&self, now: Duration, random: u64) -> Gate {
        if !self.dead {
            return Gate::Enter;
        }
        if self.fidelity == Fidelity::Hardened {
            return Gate::Reload;
        }
        match self.policy {
            FailurePolicy::Closed => Gate::Refuse,
            FailurePolicy::Open | FailurePolicy::LegacyOpen => Gate::Bypass,
            FailurePolicy::Reload { backoff } if now.saturating_sub(self.last_load) < jittered(backoff, random) => {
                Gate::Refuse
            }
            FailurePolicy::Reload { .. } => Gate::Reload,
        }
    }

    /// A fresh VM was tried at `now`.
    pub(crate) fn reloaded(&mut self, now: Duration, alive: bool) -> Gate {
        self.last_load = now;
        self.dead = !alive;
        if alive {
            return Gate::Enter;
        }
        match self.policy {
            FailurePolicy::Open | FailurePolicy::LegacyOpen => Gate::Bypass,
            FailurePolicy::Closed | FailurePolicy::Reload { .. } => Gate::Refuse,
        }
    }

    /// What the stream gets whose callback trapped.
    pub(crate) fn culprit(&self) -> Casualty {
        match (self.fidelity, self.policy) {
            (Fidelity::Envoy, FailurePolicy::LegacyOpen) => Casualty::PassThrough,
            _ => Casualty::Refuse,
        }
    }

    /// What a stream gets that was in a VM which another stream, or a tick, killed.
    pub(crate) fn bystander(&self) -> Casualty {
        match (self.fidelity, self.policy) {
            (Fidelity::Hardened, _) => Casualty::MoveToFreshVm,
            (Fidelity::Envoy, FailurePolicy::LegacyOpen) => Casualty::PassThrough,
            (Fidelity::Envoy, _) => Casualty::Refuse,
        }
    }
}

/// Envoy's `JitteredLowerBoundBackOffStrategy`: the interval and up to half of it more, in whole milliseconds.
fn jittered(base: Duration, random: u64) -> Duration {
    let base = u64::try_from(base.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(base.saturating_add(random % (base / 2).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELOAD: FailurePolicy = FailurePolicy::Reload { backoff: Duration::from_secs(1) };

    fn dead(policy: FailurePolicy, fidelity: Fidelity) -> FailureState {
        let mut state = FailureState::new(policy, fidelity, Duration::from_secs(100));
        assert_eq!(state.gate(Duration::from_secs(100), 0), Gate::Enter);
        state.died();
        state
    }

    #[test]
    fn as_envoy_a_dead_vm_refuses_or_lets_pass_for_ever() {
        let much_later = Duration::from_secs(100_000);
        for (policy, gate) in [
            (FailurePolicy::Closed, Gate::Refuse),
            (FailurePolicy::Open, Gate::Bypass),
            (FailurePolicy::LegacyOpen, Gate::Bypass),
        ] {
            assert_eq!(dead(policy, Fidelity::Envoy).gate(much_later, 0), gate, "{policy:?}");
        }
    }

    #[test]
    fn as_envoy_fail_open_still_refuses_the_stream_that_trapped_and_the_legacy_flag_does_not() {
        for (policy, casualty) in [
            (FailurePolicy::Closed, Casualty::Refuse),
            (FailurePolicy::Open, Casualty::Refuse),
            (RELOAD, Casualty::Refuse),
            (FailurePolicy::LegacyOpen, Casualty::PassThrough),
        ] {
            assert_eq!(dead(policy, Fidelity::Envoy).culprit(), casualty, "{policy:?}");
            assert_eq!(dead(policy, Fidelity::Envoy).bystander(), casualty, "{policy:?}");
        }
    }

    #[test]
    fn a_reload_waits_for_the_interval_since_the_last_load_and_up_to_half_more() {
        let state = dead(RELOAD, Fidelity::Envoy);
        let at = |millis| Duration::from_secs(100) + Duration::from_millis(millis);
        assert_eq!(state.gate(at(999), 0), Gate::Refuse);
        assert_eq!(state.gate(at(1000), 0), Gate::Reload);
        assert_eq!(state.gate(at(1000), 300), Gate::Refuse);
        assert_eq!(state.gate(at(1300), 300), Gate::Reload);
        assert_eq!(state.gate(at(1499), 499), Gate::Reload);
    }

    #[test]
    fn a_reload_that_fails_starts_the_interval_anew() {
        let mut state = dead(RELOAD, Fidelity::Envoy);
        assert_eq!(state.reloaded(Duration::from_secs(102), false), Gate::Refuse);
        assert_eq!(state.gate(Duration::from_millis(102_500), 0), Gate::Refuse);
        assert_eq!(state.gate(Duration::from_secs(103), 0), Gate::Reload);
        assert_eq!(state.reloaded(Duration::from_secs(103), true), Gate::Enter);
        assert_eq!(state.gate(Duration::from_secs(103), 0), Gate::Enter);
    }

    #[test]
    fn hardened_a_trap_costs_one_request_under_every_policy() {
        for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::LegacyOpen, RELOAD] {
            let state = dead(policy, Fidelity::Hardened);
            assert_eq!(state.culprit(), Casualty::Refuse, "{policy:?}");
            assert_eq!(state.bystander(), Casualty::MoveToFreshVm, "{policy:?}");
            assert_eq!(state.gate(Duration::from_secs(100), 0), Gate::Reload, "{policy:?}");
        }
    }
}
