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
    /// On the monotonic clock, nanoseconds.
    until: u64,
    /// What it is answered then; without, it goes on.
    pub(crate) reply: Option<Reply>,
}

impl Waiting {
    /// Holds a request.
    pub(crate) fn hold(&mut self, context: u32, until: u64, reply: Option<Reply>) {
        // Latest first, so that those whose time has come are at the end.
        let place = self.0.partition_point(|held| held.until > until);
        self.0.insert(place, Held { context, until, reply });
    }

    /// The client is gone.
    pub(crate) fn forget(&mut self, context: u32) {
        self.0.retain(|held| held.context != context);
    }

    /// Takes one whose time has come.
    pub(crate) fn due(&mut self, now: u64) -> Option<Held> {
        self.0.pop_if(|held| held.until <= now)
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
