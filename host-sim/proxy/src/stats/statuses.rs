//! Responses counted by status: `upstream_rq_503`, `upstream_rq_5xx`, `upstream_rq_completed`.

use std::sync::OnceLock;

use super::cell::Counter;

/// Counts responses of one kind. A status that never came has no series, as in Envoy.
#[derive(Debug, Default)]
pub struct Statuses {
    completed: Counter,
    classes: [Counter; 5],
    codes: OnceLock<Box<[Counter]>>,
}

/// The lowest status, and how many there are.
const FIRST: u16 = 100;
const STATUSES: u16 = 500;

impl Statuses {
    /// One response with this status.
    pub fn charge(&self, status: u16) {
        self.completed.inc();
        let Some(offset) = status.checked_sub(FIRST).filter(|offset| *offset < STATUSES) else { return };
        if let Some(class) = self.classes.get(usize::from(offset / 100)) {
            class.inc();
        }
        let codes = self.codes.get_or_init(|| (0..STATUSES).map(|_| Counter::default()).collect());
        if let Some(code) = codes.get(usize::from(offset)) {
            code.inc();
        }
    }

    /// Hands on every series that is not zero: what follows the name (`_completed`, `_5xx`, `_503`) and the count.
    pub fn each(&self, mut see: impl FnMut(&str, u64)) {
        let mut used = |suffix: &str, counter: &Counter| {
            if counter.value() > 0 {
                see(suffix, counter.value());
            }
        };
        used("_completed", &self.completed);
        for (class, counter) in (1..).zip(&self.classes) {
            used(&format!("_{class}xx"), counter);
        }
        for (code, counter) in (FIRST..).zip(self.codes.get().into_iter().flat_map(|codes| codes.iter())) {
            used(&format!("_{code}"), counter);
        }
    }
}
