//! Counting without a hostcall per request.
//!
//! The first count after a quiet time goes to the proxy at once and asks for a tick; what is counted until then is added
//! up and sent with it. So an idle gateway has no tick, and a busy one pays twenty calls a second per counter instead of one per request.

use policy::metrics::Counter;

use crate::abi;

/// How long counts may be kept, in milliseconds.
pub(crate) const PERIOD: u32 = 50;

/// The counters of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    names: Vec<String>,
    /// The proxy's id, asked for at the first count.
    ids: Vec<Option<u32>>,
    pending: Vec<i64>,
    /// Which of `pending` are not 0.
    waiting: Vec<usize>,
    /// A tick is under way.
    ticking: bool,
}

impl Counters {
    /// None counted yet.
    pub(crate) fn new(names: Vec<String>) -> Counters {
        let size = names.len();
        Counters { names, ids: vec![None; size], pending: vec![0; size], waiting: Vec::new(), ticking: false }
    }

    /// Counts; true if a tick is needed that was not before.
    pub(crate) fn count(&mut self, counts: &[Counter]) -> bool {
        for counter in counts {
            self.add(counter.place());
        }
        if counts.is_empty() || self.ticking {
            return false;
        }
        self.send();
        self.ticking = true;
        true
    }

    fn add(&mut self, place: usize) {
        if let Some(pending) = self.pending.get_mut(place) {
            if *pending == 0 {
                self.waiting.push(place);
            }
            *pending = pending.saturating_add(1);
        }
    }

    /// Sends what was kept; true while there is a reason to tick again.
    pub(crate) fn tick(&mut self) -> bool {
        let busy = !self.waiting.is_empty();
        self.send();
        self.ticking = busy;
        busy
    }

    fn send(&mut self) {
        for place in std::mem::take(&mut self.waiting) {
            let by = self.pending.get_mut(place).map(std::mem::take).unwrap_or_default();
            let id = self.id(place);
            if let Some(id) = id {
                // A proxy without metrics goes without.
                let _ = abi::increment(id, by);
            }
        }
    }

    fn id(&mut self, place: usize) -> Option<u32> {
        let slot = self.ids.get_mut(place)?;
        if slot.is_none() {
            *slot = abi::define_counter(self.names.get(place)?).ok();
        }
        *slot
    }
}
