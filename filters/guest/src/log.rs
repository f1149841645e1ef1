//! The log: a line for a configuration that was refused, and one per second and cause while requests are served.

use policy::exchange::Warning;

use crate::abi::{self, Level};

/// Lines kept back: since when, and how many.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Vec<Cause>);

#[derive(Debug)]
struct Cause {
    name: &'static str,
    said_at: u64,
    kept_back: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Throttle {
    /// Says it unless the cause had its line less than a second ago. `now` in nanoseconds.
    pub(crate) fn warn(&mut self, module: &str, warning: &Warning, now: u64) {
        let cause = match self.0.iter_mut().position(|cause| cause.name == warning.cause) {
            Some(place) => self.0.get_mut(place),
            None => {
                self.0.push(Cause { name: warning.cause, said_at: now, kept_back: 0 });
                return abi::log(Level::Warn, &format!("{module}: {}", warning.text));
            }
        };
        let Some(cause) = cause else { return };
        if now.saturating_sub(cause.said_at) < SECOND {
            cause.kept_back = cause.kept_back.saturating_add(1);
            return;
        }
        let before = match cause.kept_back {
            0 => String::new(),
            n => format!(" ({n} more like this before)"),
        };
        abi::log(Level::Warn, &format!("{module}: {}{before}", warning.text));
        *cause = Cause { name: warning.cause, said_at: now, kept_back: 0 };
    }
}
