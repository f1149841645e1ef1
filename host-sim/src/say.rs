//! What a command says: answers on stdout, everything else on stderr. Who stops reading (`| head`) is no error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Prints an answer as it is.
///
/// # Errors
/// Exit 5 when the system does not take it: a full disk. A reader that went away does not change what a command does or comes to.
pub(crate) fn answer(text: impl Display) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::World(format!("standard output: {error}"))),
        _ => Ok(()),
    }
}

/// The same with an end of line behind it.
///
/// # Errors
/// As [`answer`].
pub(crate) fn answer_line(text: impl Display) -> Result<(), Failure> {
    answer(format_args!("{text}\n"))
}

/// A JSON value with its indentation.
///
/// # Errors
/// As [`answer`].
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    answer_line(serde_json::to_string_pretty(value).map_err(|error| Failure::World(error.to_string()))?)
}

/// A line for people, on stderr.
pub(crate) fn note(text: impl Display) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
