//! Files that workers write into without waiting: they copy a record into memory, a thread of the file's own writes it out.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::InvalidAccessLog;
use crate::stats::AccessLogStats;

/// How much may wait for a slow disk before records are dropped.
const ROOM: usize = 8 * 1024 * 1024;
/// How long records wait for company, so that a busy gateway does not wake the writer for each.
const PATIENCE: Duration = Duration::from_millis(20);

/// The log files of a process: a path that is opened again while it is open is the same file.
#[derive(Clone)]
pub struct LogFiles(Arc<Mutex<BTreeMap<String, Weak<LogFile>>>>, Arc<AccessLogStats>);

impl fmt::Debug for LogFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFiles").finish_non_exhaustive()
    }
}

impl LogFiles {
    /// None open; counts into these.
    pub fn new(stats: Arc<AccessLogStats>) -> Self {
        Self(Arc::default(), stats)
    }

    /// Opens a file to append to. `/dev/stdout` and `/dev/stderr` are this process's own, whatever they lead to.
    pub(super) fn open(&self, path: &str) -> Result<Arc<LogFile>, InvalidAccessLog> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = files.get(path).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let failed =
            |error: std::io::Error| InvalidAccessLog::File { path: path.to_owned(), reason: error.to_string() };
        let sink: Box<dyn Write + Send> = match path {
            "/dev/stdout" => Box::new(std::io::stdout()),
            "/dev/stderr" => Box::new(std::io::stderr()),
            path => Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?),
        };
        let file = Arc::new(LogFile::start(sink, Arc::clone(&self.1)).map_err(failed)?);
        files.insert(path.to_owned(), Arc::downgrade(&file));
        Ok(file)
    }
}

/// An open file with its writer. Dropping it writes out what waits.
pub(super) struct LogFile {
    shared: Arc<Shared>,
    stats: Arc<AccessLogStats>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    records: u64,
    closed: bool,
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFile").finish_non_exhaustive()
    }
}

impl LogFile {
    fn start(sink: Box<dyn Write + Send>, stats: Arc<AccessLogStats>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), filled: Condvar::new() });
        let (theirs, counts) = (Arc::clone(&shared), Arc::clone(&stats));
        let writer =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || theirs.write_out(sink, &counts))?;
        Ok(Self { shared, stats, writer: Some(writer) })
    }

    /// Takes a record; never waits for the disk. Without room the record is dropped and counted.
    pub(super) fn write(&self, record: &[u8]) {
        let mut waiting = self.shared.lock();
        if waiting.bytes.len() + record.len() > ROOM {
            self.stats.records_dropped.inc();
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(record);
        waiting.records += 1;
        drop(waiting);
        if first {
            self.shared.filled.notify_one();
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing more to write.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's life: until the file is closed and nothing waits.
    fn write_out(&self, mut sink: Box<dyn Write + Send>, stats: &AccessLogStats) {
        loop {
            let (bytes, records, closed) = self.next();
            if !bytes.is_empty() {
                match sink.write_all(&bytes).and_then(|()| sink.flush()) {
                    Ok(()) => stats.records_written.add(records),
                    Err(_) => stats.write_failed.inc(),
                }
            }
            if closed {
                return;
            }
        }
    }

    /// Waits for records, and a little for more of them.
    fn next(&self) -> (Vec<u8>, u64, bool) {
        let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.closed;
        let waiting = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let more = |waiting: &mut Waiting| waiting.bytes.len() < ROOM / 2 && !waiting.closed;
        let (mut waiting, _) =
            self.filled.wait_timeout_while(waiting, PATIENCE, more).unwrap_or_else(PoisonError::into_inner);
        let taken = (std::mem::take(&mut waiting.bytes), std::mem::take(&mut waiting.records), waiting.closed);
        drop(waiting);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (LogFiles, Arc<AccessLogStats>) {
        let stats = Arc::new(AccessLogStats::default());
        (LogFiles::new(Arc::clone(&stats)), stats)
    }

    #[test]
    fn what_was_written_is_in_the_file_once_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (files, stats) = files();
        let file = files.open(path.to_str().unwrap()).unwrap();
        let again = files.open(path.to_str().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&file, &again));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let file = &file;
                scope.spawn(move || (0..250).for_each(|at| file.write(format!("{worker} {at}\n").as_bytes())));
            }
        });
        drop((file, again));
        let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 1000);
        assert_eq!((stats.records_written.value(), stats.records_dropped.value()), (1000, 0));
    }

    #[test]
    fn a_file_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        for _ in 0..2 {
            files().0.open(path.to_str().unwrap()).unwrap().write(b"x\n");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\nx\n");
    }

    #[test]
    fn a_slow_disk_costs_records_not_time() {
        /// Takes nothing before it is told to.
        struct Slow(std::sync::mpsc::Receiver<()>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (go, wait) = std::sync::mpsc::channel();
        let stats = Arc::new(AccessLogStats::default());
        let file = LogFile::start(Box::new(Slow(wait)), Arc::clone(&stats)).unwrap();
        let record = vec![b'x'; ROOM / 4];
        (0..20).for_each(|_| file.write(&record));
        let dropped = stats.records_dropped.value();
        drop(go);
        drop(file);
        assert!(dropped >= 8, "{dropped}");
        assert_eq!(stats.records_written.value() + dropped, 20);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let refused = files().0.open("/nowhere/at/all.log").unwrap_err().to_string();
        assert_eq!(refused, "/nowhere/at/all.log: No such file or directory (os error 2)");
    }
}
