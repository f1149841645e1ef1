//! One file for the traces of all VMs of a gateway: every line says whose it is.

use std::{
    cell::RefCell,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::trace::{Record, TraceSink};

/// Whose a line is. Two lines of one run agree in all of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The plugin's name; Istio's is `<namespace>.<name>`.
    pub plugin: String,
    /// The worker thread, counted from 0.
    pub worker: usize,
    /// Which plugin start of that worker, counted from 0: a change of configuration starts plugins anew, beside those that finish.
    pub vm: u64,
}

/// A trace in a file, written by all workers. Cloning gives another handle on the same file.
#[derive(Clone, Debug)]
pub struct TraceLog {
    /// `None` after a write has failed.
    file: Arc<Mutex<Option<File>>>,
}

impl TraceLog {
    /// Begins a file, emptying one that is there. Only its owner can read it: it holds whole requests and configurations.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<TraceLog> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(TraceLog { file: Arc::new(Mutex::new(Some(file))) })
    }

    /// Where one run's records go.
    pub fn sink(&self, run: &Run) -> TraceSink {
        let (log, head) = (self.clone(), serde_json::to_string(run).unwrap_or_default());
        Rc::new(RefCell::new(move |record: &Record| log.write(&head, record)))
    }

    /// Each line goes out whole and at once: whoever dies leaves a trace that can be read.
    fn write(&self, head: &str, record: &Record) {
        let record = match serde_json::to_string(record) {
            Ok(record) => record,
            Err(error) => return log::error!("a record of the trace cannot be written: {error}"),
        };
        // Two objects become one: {"plugin":…} and {"record":…}.
        let (head, tail) = (head.trim_end_matches('}'), record.trim_start_matches('{'));
        let line = format!("{head},{tail}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = file.as_mut()
            && let Err(error) = open.write_all(line.as_bytes())
        {
            log::error!("the trace ends here: {error}");
            *file = None;
        }
    }
}

/// One run out of a trace: its records, each with its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRun {
    /// Whose.
    pub run: Run,
    /// What happened, in order.
    pub records: Vec<(usize, Record)>,
}

/// A line that is none of a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct InvalidLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Takes a trace apart into its runs, in the order in which they begin.
///
/// # Errors
/// The first line that is none. A last line without its end, left by a gateway that was killed, is passed over.
pub fn read_trace(text: &str) -> Result<Vec<RecordedRun>, InvalidLine> {
    let mut runs: Vec<RecordedRun> = Vec::new();
    let whole = if text.ends_with('\n') { text.len() } else { text.rfind('\n').map_or(0, |end| end + 1) };
    for (at, line) in text.get(..whole).unwrap_or_default().lines().enumerate() {
        let number = at + 1;
        let (run, record) = parse(line).map_err(|error| InvalidLine { line: number, reason: error.to_string() })?;
        match runs.iter_mut().find(|known| known.run == run) {
            Some(known) => known.records.push((number, record)),
            None => runs.push(RecordedRun { run, records: vec![(number, record)] }),
        }
    }
    Ok(runs)
}

fn parse(line: &str) -> serde_json::Result<(Run, Record)> {
    let mut fields: serde_json::Map<String, Value> = serde_json::from_str(line)?;
    let head = ["plugin", "worker", "vm"].into_iter().filter_map(|key| Some((key.to_owned(), fields.remove(key)?)));
    let run = serde_json::from_value(Value::Object(head.collect()))?;
    Ok((run, serde_json::from_value(Value::Object(fields))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Answer, Entry};

    fn run(plugin: &str, worker: usize) -> Run {
        Run { plugin: plugin.to_owned(), worker, vm: 0 }
    }

    #[test]
    fn runs_that_share_a_file_come_apart_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let log = TraceLog::create(&path).unwrap();
        let (one, two) = (log.sink(&run("shop.a", 0)), log.sink(&run("shop.a", 1)));
        let (tick, now) = (Record::Entry(Entry::Tick), Record::World(Answer::Now { nanos: u64::MAX }));
        (one.borrow_mut())(&tick);
        (two.borrow_mut())(&now);
        (one.borrow_mut())(&now);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"plugin":"shop.a","worker":0,"vm":0,"record":"entry","entry":"tick"}"#), "{text}");
        let runs = read_trace(&text).unwrap();
        assert_eq!(
            runs,
            [
                RecordedRun { run: run("shop.a", 0), records: vec![(1, tick), (3, now.clone())] },
                RecordedRun { run: run("shop.a", 1), records: vec![(2, now)] },
            ]
        );
    }

    #[test]
    fn a_trace_that_was_cut_short_is_read_up_to_there_and_another_file_is_refused_by_line() {
        let tick = r#"{"plugin":"a","worker":0,"vm":0,"record":"entry","entry":"tick"}"#;
        assert_eq!(read_trace(&format!("{tick}\n{}", &tick[..20])).unwrap()[0].records.len(), 1);
        assert_eq!(read_trace("").unwrap(), []);
        for text in ["kind: Gateway\n", "{}\n", r#"{"plugin":"a","worker":0,"vm":0,"record":"nonsense"}"#] {
            assert_eq!(read_trace(&format!("{tick}\n{text}\n")).unwrap_err().line, 2, "{text}");
        }
    }
}
