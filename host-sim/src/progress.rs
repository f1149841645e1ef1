//! A word on a terminal when something takes longer than a second.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Work under way; silent as soon as it is dropped.
pub(crate) struct Progress(Option<Sender<()>>);

/// Nobody wonders before this.
const PATIENCE: Duration = Duration::from_secs(1);

impl Progress {
    /// Says `what` on stderr once a second has gone by, where stderr is a terminal.
    pub(crate) fn of(what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (done, waiting) = channel::<()>();
        // Without a thread there is no word, and no harm.
        let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                crate::say::note(format_args!("{what} ..."));
            }
        });
        Self(Some(done))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
