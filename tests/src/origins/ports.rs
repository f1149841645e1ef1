//! The origins' sockets. The corpus fixes their addresses, so two runs on one machine take turns.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a run waits for an address that somebody who knows nothing of the lock still has.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until no other run has the recorded origins; it is this run's turn while the file is held.
pub(super) fn alone() -> Result<File> {
    let path = std::env::temp_dir().join("sluice-origins.lock");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another run that has the recorded origins ({})", path.display());
        file.lock()?;
    }
    Ok(file)
}

/// Listens, waiting while the address is taken.
pub(super) fn listen(at: SocketAddr) -> Result<TcpListener> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match TcpListener::bind(at) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(listener);
            }
            Err(e) if e.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    eprintln!("waiting for {at}, which another program has");
                }
                std::thread::sleep(Duration::from_millis(50)); // nothing announces a free port
            }
            Err(e) => return Err(e.into()),
        }
    }
}
