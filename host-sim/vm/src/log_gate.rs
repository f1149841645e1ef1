//! The way from a module to the log: one line a record, no control bytes, bounded in length and rate.

use crate::{abi::LogLevel, plugin::Limits, world::World};

/// A line a module wrote while it started, for the error that names why it did not.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// How loud.
    pub level: LogLevel,
    /// Escaped as the log has it, without prefix.
    pub text: String,
}

/// Lines kept for an error.
const CAPTURED_LINES: usize = 100;

pub(crate) struct LogGate {
    lines_per_second: u32,
    line_bytes: usize,
    window: u64,
    lines: u32,
    suppressed: u64,
    captured: Option<Vec<LogLine>>,
}

impl LogGate {
    /// Captures from the start.
    pub(crate) fn new(limits: &Limits) -> LogGate {
        LogGate {
            lines_per_second: limits.log_lines_per_second,
            line_bytes: limits.log_line_bytes,
            window: 0,
            lines: 0,
            suppressed: 0,
            captured: Some(Vec::new()),
        }
    }

    /// Captures again.
    pub(crate) fn begin_capture(&mut self) {
        self.captured = Some(Vec::new());
    }

    /// What was written so far; captures no longer.
    pub(crate) fn end_capture(&mut self) -> Vec<LogLine> {
        self.captured.take().unwrap_or_default()
    }

    pub(crate) fn is_captured(&self) -> bool {
        self.captured.is_some()
    }

    pub(crate) fn line(&mut self, world: &mut dyn World, level: LogLevel, prefix: &str, text: &[u8]) {
        if let Some(captured) = &mut self.captured
            && captured.len() < CAPTURED_LINES
        {
            captured.push(LogLine { level, text: escape(text, self.line_bytes) });
        }
        if level < world.log_level() {
            return;
        }
        let second = world.monotonic() / 1_000_000_000;
        if second != self.window {
            let suppressed = std::mem::take(&mut self.suppressed);
            (self.window, self.lines) = (second, 0);
            if suppressed > 0 {
                world.log(
                    LogLevel::Warn,
                    &format!(
                        "{prefix}{suppressed} lines of this module's log left out: more than {} in a second",
                        self.lines_per_second
                    ),
                );
            }
        }
        if self.lines >= self.lines_per_second {
            self.suppressed += 1;
            return;
        }
        self.lines += 1;
        world.log(level, &(escape(prefix.as_bytes(), usize::MAX) + &escape(text, self.line_bytes)));
    }
}

/// Text for one line of a log: control bytes and what is not UTF-8 as `\n`, `\x1b` …; at most `limit` bytes of the original.
pub(crate) fn escape(text: &[u8], limit: usize) -> String {
    let (kept, cut) = match text.get(..limit) {
        Some(kept) if text.len() > limit => (kept, text.len() - limit),
        _ => (text, 0),
    };
    let mut out = String::with_capacity(kept.len());
    for chunk in kept.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push('\t'),
                control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                    out.push_str(&format!("\\u{{{:x}}}", u32::from(control)))
                }
                plain => out.push(plain),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if cut > 0 {
        out.push_str(&format!("… ({cut} bytes more)"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_can_end_it_or_move_the_cursor() {
        for (text, escaped) in [
            (&b"plain \xc3\xa9"[..], "plain é"),
            (b"a\nb\r\n", "a\\nb\\r\\n"),
            (b"\x1b[31m", "\\u{1b}[31m"),
            (b"nul\0", "nul\\u{0}"),
            (b"caf\xe9", "caf\\xe9"),
            ("\u{85}\u{2028}".as_bytes(), "\\u{85}\\u{2028}"),
        ] {
            assert_eq!(escape(text, 100), escaped);
        }
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        assert_eq!(escape(b"0123456789", 4), "0123… (6 bytes more)");
        assert_eq!(escape(b"0123", 4), "0123");
    }
}
