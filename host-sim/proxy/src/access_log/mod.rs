//! Access logs: one line per request, in Envoy's formats, written by a thread of their own.
//!
//! [`AccessLog::compile`] reads one entry of a connection manager's `access_log`; [`AccessLog::log`] is called when a stream is over and costs a rendering
//! and a copy into memory. All workers share the [`LogFiles`] of a process, so that a path has one writer. [`istio_file_log`] is the entry
//! Istio would generate.
//!
//! Known here: files, standard output and standard error, text and JSON (`log_format`, and the deprecated `format` and `json_format`), filters by
//! status, duration, response flag, header, and their combinations. Everything else is refused by name.

mod file;
mod filter;
mod istio;
mod record;

use std::sync::Arc;

use serde_json::Value;

use crate::header_ops::Facts;
use file::LogFile;
pub(crate) use filter::Filter;
pub(crate) use record::Record;

pub use file::LogFiles;
pub use istio::{Encoding, istio_file_log};

/// One configured access log.
#[derive(Debug)]
pub struct AccessLog {
    filter: Option<Filter>,
    record: Record,
    file: Arc<LogFile>,
}

/// An access log that cannot be kept as configured; likewise a filter or a format of an answer of our own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessLog {
    /// A logger, filter or field nobody here acts on.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A format Envoy refuses.
    #[error("{0}")]
    Format(String),
    /// A file that cannot be opened.
    #[error("{path}: {reason}")]
    File {
        /// As configured.
        path: String,
        /// The system's words.
        reason: String,
    },
}

impl AccessLog {
    /// Compiles one entry of `access_log` and opens its file.
    ///
    /// # Errors
    /// What is not supported, a format that does not parse, a file that does not open.
    pub fn compile(entry: &Value, files: &LogFiles) -> Result<Self, InvalidAccessLog> {
        let unset = Value::Null;
        let config = entry.get("typed_config").unwrap_or(&unset);
        let kind = config.get("@type").and_then(Value::as_str).unwrap_or_default();
        let path = match kind.rsplit('.').next() {
            Some("FileAccessLog") => config.get("path").and_then(Value::as_str).unwrap_or_default(),
            Some("StdoutAccessLog") => "/dev/stdout",
            Some("StderrAccessLog") => "/dev/stderr",
            _ => return Err(InvalidAccessLog::Unsupported(format!("{kind:?}"))),
        };
        Ok(Self {
            filter: entry.get("filter").map(Filter::compile).transpose()?,
            record: Record::compile(config)?,
            file: files.open(path)?,
        })
    }

    /// Writes the record of a finished stream, unless a filter leaves it out.
    pub fn log(&self, facts: &Facts<'_>) {
        if self.filter.as_ref().is_none_or(|filter| filter.takes(facts)) {
            self.file.write(&self.record.line(facts));
        }
    }
}
