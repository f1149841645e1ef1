//! A program under test: its output is kept, and it is always stopped and reaped, also when a test panics.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

/// A running program. Dropping it kills it and waits for its end.
pub struct Process {
    child: Child,
    name: String,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// The lines a program has written so far, both streams, and who waits for more.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// How often the log has changed; the sender's end is the log's end.
    changed: watch::Receiver<usize>,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    /// A program that is not there or may not run.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let (changes, changed) = watch::channel(0);
        let log = Log { lines: Arc::default(), changed };
        let changes = Arc::new(changes);
        let mut readers = Vec::new();
        for stream in [
            child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>),
            child.stderr.take().map(|s| Box::new(s) as _),
        ] {
            let (stream, lines, changes) = (stream.context("a pipe")?, Arc::clone(&log.lines), Arc::clone(&changes));
            readers.push(std::thread::spawn(move || keep(stream, &lines, &changes)));
        }
        drop(changes);
        Ok(Self { child, name, log, readers })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything written so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The lines written so far, without the first ones.
    #[must_use]
    pub fn lines_from(&self, first: usize) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(first..).unwrap_or_default().to_vec()
    }

    /// Waits until `find` makes something of the lines written so far.
    ///
    /// # Errors
    /// The program ended, or `patience` did; the message has the end of the log.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        find: impl Fn(&[String]) -> Option<T>,
    ) -> Result<T> {
        let mut changed = self.log.changed.clone();
        let search = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = find(&self.log.lines.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return Some(found);
                }
                changed.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(patience, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("{} ended before {what}:\n{}", self.name, self.tail()),
            Err(_) => bail!("{}: no {what} within {patience:?}:\n{}", self.name, self.tail()),
        }
    }

    /// The last lines written, for a message; without Envoy's chatter about itself.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let telling: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.contains("[info]")).collect();
        telling.get(telling.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// It did not end in time; dropping it then ends it for good.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        let told = Command::new("kill").arg("-TERM").arg(self.id().to_string()).status().context("kill")?;
        if !told.success() {
            bail!("{} could not be signalled", self.name);
        }
        self.ended(patience).await
    }

    /// Waits for the program's own end.
    ///
    /// # Errors
    /// It did not end in time.
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        let mut changed = self.log.changed.clone();
        // Both pipes close when the program ends: no polling.
        let closed = async { while changed.changed().await.is_ok() {} };
        if tokio::time::timeout(patience, closed).await.is_err() {
            bail!("{} still runs after {patience:?}:\n{}", self.name, self.tail());
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails when it has ended already
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

fn keep(stream: impl Read, lines: &Mutex<Vec<String>>, changes: &watch::Sender<usize>) {
    let mut input = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(input.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
        changes.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").arg("-c").arg(script)).unwrap()
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_line_is_found_on_either_stream() {
        let process = shell("echo one; echo two >&2; exec sleep 60");
        for word in ["one", "two"] {
            block(process.wait_for(word, SOON, |lines| lines.iter().find(|l| *l == word).map(|_| ()))).unwrap();
        }
    }

    #[test]
    fn a_program_that_ends_early_says_why() {
        let process = shell("echo no such port >&2");
        let error = block(process.wait_for("ready", SOON, |_| None::<()>)).unwrap_err();
        assert!(error.to_string().contains("ended before ready:\nno such port"), "{error}");
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let process = shell("echo up; exec sleep 60");
        block(process.wait_for("up", SOON, |lines| lines.first().map(|_| ()))).unwrap();
        let proc = std::path::PathBuf::from(format!("/proc/{}", process.id()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn a_program_can_be_asked_to_end() {
        let mut process = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
        block(process.wait_for("up", SOON, |lines| lines.first().map(|_| ()))).unwrap();
        assert_eq!(block(process.terminate(SOON)).unwrap().code(), Some(7));
    }
}
