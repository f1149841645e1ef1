//! The program's own log: one line a record on stderr, its level changed at run time by the admin's `/logging`.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // One write, so that lines of several threads do not mix; a closed stderr is nobody's error.
            let line = format!("{} {}: {}\n", record.level().as_str().to_lowercase(), record.target(), escaped(record));
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Control characters become `\u{..}`: what a module or a client sends cannot forge a line.
fn escaped(record: &Record<'_>) -> String {
    let mut out = String::new();
    for c in record.args().to_string().chars() {
        match c {
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Installs the log at this level; a second call only changes the level.
pub(crate) fn install(level: LevelFilter) {
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}
