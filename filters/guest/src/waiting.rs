//! Requests that are held: until when, and what becomes of them.

use policy::reply::Reply;

/// The requests this worker holds.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Vec<Held>);

/// One request that is held.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its stream.
    pub(crate) context: u32,
    /// For which rule.
    rule: usize,
    /// On the monotonic clock, nanoseconds.
    until: u64,
    /// What it is answered then; without, it goes on.
    pub(crate) reply: Option<Reply>,
}

impl Waiting {
    /// Holds a request.
    pub(crate) fn hold(&mut self, context: u32, rule: usize, until: u64, reply: Option<Reply>) {
        // Latest first, so that those whose time has come are at the end.
        let place = self.0.partition_point(|held| held.until > until);
        self.0.insert(place, Held { context, rule, until, reply });
    }

    /// The client is gone.
    pub(crate) fn forget(&mut self, context: u32) {
        self.0.retain(|held| held.context != context);
    }

    /// Takes one whose time has come.
    pub(crate) fn due(&mut self, now: u64) -> Option<Held> {
        self.0.pop_if(|held| held.until <= now)
    }

    /// Is none held?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are held for a rule.
    pub(crate) fn of(&self, rule: usize) -> usize {
        self.0.iter().filter(|held| held.rule == rule).count()
    }
}
