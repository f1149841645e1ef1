//! A worker's clock and dice. Everything that decides gets them handed in.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

/// Two readings of time: one that never goes back, one that the world agrees on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    wall: Duration,
    /// The runtime's own time, which may stand still, instead of the machine's.
    runtime: Option<tokio::time::Instant>,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), wall, runtime: None }
    }

    /// Goes as the current runtime's timers go.
    pub(crate) fn of_the_runtime() -> Clock {
        Clock { runtime: Some(tokio::time::Instant::now()), ..Clock::start() }
    }

    /// Since the gateway started.
    pub(crate) fn now(&self) -> Duration {
        self.runtime.map_or_else(|| self.start.elapsed(), |start| start.elapsed())
    }

    /// Since 1970, for a reading of [`Clock::now`].
    pub(crate) fn wall(&self, now: Duration) -> Duration {
        self.wall + now
    }
}

/// SplitMix64: small, fast, good enough for shares and ids; not for secrets.
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    /// Reproducible for a given seed and worker.
    pub(crate) fn seeded(seed: u64, worker: usize) -> Dice {
        let worker = u64::try_from(worker).unwrap_or_default();
        Dice(Cell::new(seed ^ worker.wrapping_mul(0xA076_1D64_78BD_642F)))
    }

    /// As if new.
    pub(crate) fn seed_again(&self, seed: u64) {
        self.0.set(seed);
    }

    pub(crate) fn roll(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn roll_wide(&self) -> u128 {
        u128::from(self.roll()) << 64 | u128::from(self.roll())
    }

    pub(crate) fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            for (byte, dice) in chunk.iter_mut().zip(self.roll().to_le_bytes()) {
                *byte = dice;
            }
        }
    }
}

/// The `date` header, written once a second.
#[derive(Debug, Default)]
pub(crate) struct Date(RefCell<(u64, Bytes)>);

impl Date {
    /// `Sat, 21 Nov 2026 07:08:08 GMT` for this many seconds since 1970.
    pub(crate) fn at(&self, wall: Duration) -> Bytes {
        let seconds = wall.as_secs();
        let mut cached = self.0.borrow_mut();
        if cached.0 != seconds || cached.1.is_empty() {
            *cached = (seconds, Bytes::from(imf_fixdate(seconds)));
        }
        cached.1.clone()
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// RFC 9110's preferred form.
fn imf_fixdate(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let named =
        |names: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("");
    // Civil date from a day count, by shifting the year to begin in March (Howard Hinnant's algorithm).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        named(&DAYS, days % 7),
        named(&MONTHS, month - 1),
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_writes_it() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_244_888, "Sat, 21 Nov 2026 07:08:08 GMT"),
        ] {
            assert_eq!(Date::default().at(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_seed_and_a_worker_make_the_dice() {
        let rolls = |seed, worker| {
            let dice = Dice::seeded(seed, worker);
            [dice.roll(), dice.roll()]
        };
        assert_eq!(rolls(7, 0), rolls(7, 0));
        assert_ne!(rolls(7, 0), rolls(7, 1));
        assert_ne!(rolls(7, 0), rolls(8, 0));
    }
}
