//! How long a call into a VM may run, in CPU time of its thread.
//!
//! A ticker advances the engine's epoch each millisecond; compiled code compares it with the call's deadline. A thread that was not scheduled has not run:
//! so when the first slice of a call is over, the thread's CPU clock is read, and from then on CPU time decides. A call is cut at its limit, or up to a slice earlier,
//! but not before as many slices as the limit has were seen to end: a processor that a hypervisor takes away counts as CPU time of the thread that was on it.

use std::time::Duration;

/// Milliseconds between two epochs.
pub(crate) const TICK_MILLIS: u64 = 1;
/// A limit is looked at so many times.
const SLICES: u64 = 5;

/// The deadline of the call under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadline {
    limit_millis: u64,
    /// Slices that are over.
    slices: u32,
    /// CPU time of the thread when the first slice was over.
    since: Option<Duration>,
    /// The call was cut.
    pub(crate) passed: bool,
}

/// What the epoch's callback is to do.
pub(crate) enum Verdict {
    /// Ask again after so many ticks.
    GoOn(u64),
    /// Trap.
    Cut,
}

impl Deadline {
    /// A call starts; the answer is its first slice, in ticks.
    pub(crate) fn start(&mut self, limit: Duration) -> u64 {
        *self = Deadline {
            limit_millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1),
            ..Deadline::default()
        };
        self.slice()
    }

    fn slice(&self) -> u64 {
        (self.limit_millis / (SLICES * TICK_MILLIS)).max(1)
    }

    /// A slice is over. Without a CPU clock slices count as they are.
    pub(crate) fn slice_over(&mut self, cpu_time: Option<Duration>) -> Verdict {
        let slice = Duration::from_millis(self.slice() * TICK_MILLIS);
        self.slices += 1;
        let since = *self.since.get_or_insert(cpu_time.unwrap_or_default());
        let used = match cpu_time {
            Some(now) => slice + now.saturating_sub(since),
            None => slice * self.slices,
        };
        self.passed = used >= Duration::from_millis(self.limit_millis) && u64::from(self.slices) >= SLICES;
        if self.passed { Verdict::Cut } else { Verdict::GoOn(self.slice()) }
    }
}

/// CPU time this thread has used, as Linux's scheduler counts it; `None` where it does not say.
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    fn goes_on(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::GoOn(10))
    }

    #[test]
    fn only_cpu_time_counts_once_the_first_slice_is_over() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.start(Duration::from_millis(50)), 10);
        assert!(goes_on(deadline.slice_over(millis(1000))));
        assert!(goes_on(deadline.slice_over(millis(1001))), "the thread was not scheduled");
        assert!((0..2).all(|_| goes_on(deadline.slice_over(millis(1039)))));
        assert!(!goes_on(deadline.slice_over(millis(1040))));
        assert!(deadline.passed);
    }

    #[test]
    fn time_that_passed_without_ticks_is_not_the_modules() {
        let mut deadline = Deadline::default();
        deadline.start(Duration::from_millis(50));
        assert!(goes_on(deadline.slice_over(millis(100))));
        assert!((0..3).all(|_| goes_on(deadline.slice_over(millis(900)))), "the processor was elsewhere for 800 ms");
        assert!(!goes_on(deadline.slice_over(millis(910))));
    }

    #[test]
    fn without_a_cpu_clock_the_wall_decides() {
        let mut deadline = Deadline::default();
        deadline.start(Duration::from_millis(50));
        assert!((0..4).all(|_| goes_on(deadline.slice_over(None))));
        assert!(!goes_on(deadline.slice_over(None)));
    }

    #[test]
    fn this_thread_has_a_cpu_clock() {
        assert!(thread_cpu_time().is_some());
    }
}
