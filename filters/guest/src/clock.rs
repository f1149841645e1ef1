//! The clocks. Only here: rules get time handed in.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds on the machine's monotonic clock, counted from `since`.
///
/// The proxy answers WASI's monotonic clock from one clock of the whole process, so values agree between workers.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn monotonic(since: Instant) -> u64 {
    u64::try_from(Instant::now().saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn wall() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}
