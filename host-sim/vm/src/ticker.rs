//! The thread that advances the epoch which deadlines are counted in: each millisecond while modules are called, and next to never while none is, so
//! that a gateway without requests lets its machine sleep.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use crate::deadline::TICK_MILLIS;

/// So many ticks without a call, and the thread rests.
const QUIET_TICKS: u32 = 100;
/// A call that begins at the moment the thread lies down may be overlooked: no longer than this.
const REST: Duration = Duration::from_millis(50);

const QUIET: u8 = 0;
/// Called since the last tick.
const CALLED: u8 = 1;
const UNDER_WAY: u8 = 2;

/// Advances an engine's epoch. Its thread ends with the last handle.
pub(crate) struct Ticker {
    engine: wasmtime::Engine,
    thread: OnceLock<Thread>,
    resting: AtomicBool,
    instances: Mutex<Vec<Weak<AtomicU8>>>,
}

/// An instance's word on whether it is being called.
pub(crate) struct Calls {
    ticker: Arc<Ticker>,
    state: Arc<AtomicU8>,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// There are no more threads to be had.
    pub(crate) fn start(engine: &wasmtime::Engine) -> std::io::Result<Arc<Ticker>> {
        let ticker = Arc::new(Ticker {
            engine: engine.clone(),
            thread: OnceLock::new(),
            resting: AtomicBool::new(false),
            instances: Mutex::default(),
        });
        let weak = Arc::downgrade(&ticker);
        let thread = std::thread::Builder::new().name("wasm-deadlines".to_owned()).spawn(move || run(&weak))?;
        // Nobody has set it before: this is the only place.
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(ticker)
    }

    /// For an instance that is about to be called.
    pub(crate) fn calls(self: &Arc<Ticker>) -> Calls {
        let state = Arc::new(AtomicU8::new(QUIET));
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        instances.retain(|instance| instance.strong_count() > 0);
        instances.push(Arc::downgrade(&state));
        Calls { ticker: Arc::clone(self), state }
    }

    /// Was any instance called since this was last asked, or is one being called?
    fn is_needed(&self) -> bool {
        let instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        let mut needed = false;
        for state in instances.iter().filter_map(Weak::upgrade) {
            let last = state.compare_exchange(CALLED, QUIET, Ordering::SeqCst, Ordering::SeqCst);
            needed |= last != Err(QUIET);
        }
        needed
    }
}

impl Calls {
    /// A call begins.
    pub(crate) fn begin(&self) {
        self.state.store(UNDER_WAY, Ordering::Relaxed);
        if self.ticker.resting.load(Ordering::Relaxed)
            && let Some(thread) = self.ticker.thread.get()
        {
            thread.unpark();
        }
    }

    /// It is over.
    pub(crate) fn end(&self) {
        self.state.store(CALLED, Ordering::Relaxed);
    }
}

fn run(ticker: &Weak<Ticker>) {
    let mut quiet = 0;
    loop {
        std::thread::sleep(Duration::from_millis(TICK_MILLIS));
        let Some(held) = ticker.upgrade() else { return };
        held.engine.increment_epoch();
        quiet = if held.is_needed() { 0 } else { quiet + 1 };
        if quiet < QUIET_TICKS {
            continue;
        }
        held.resting.store(true, Ordering::SeqCst);
        if held.is_needed() {
            quiet = 0;
        } else {
            drop(held); // whoever drops the last handle does not wait for us
            std::thread::park_timeout(REST);
        }
        let Some(held) = ticker.upgrade() else { return };
        held.resting.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Instant;

    use super::*;

    fn until(what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn it_rests_while_nothing_is_called_and_a_call_wakes_it() {
        let ticker = Ticker::start(&wasmtime::Engine::default()).unwrap();
        let resting = || ticker.resting.load(Ordering::SeqCst);
        until("it rests before the first call", resting);
        let calls = ticker.calls();
        calls.begin();
        until("a call wakes it", || !resting());
        std::thread::sleep(Duration::from_millis(TICK_MILLIS) * QUIET_TICKS * 2);
        assert!(!resting(), "not while a call is under way");
        calls.end();
        until("it rests again", resting);
        drop((calls, ticker));
    }

    #[test]
    fn its_thread_ends_with_the_last_handle() {
        let ticker = Ticker::start(&wasmtime::Engine::default()).unwrap();
        let weak = Arc::downgrade(&ticker);
        let calls = ticker.calls();
        drop(ticker);
        assert!(weak.upgrade().is_some(), "an instance holds it");
        drop(calls);
        until("nobody holds it but for a moment", || weak.strong_count() == 0);
    }
}
