//! What a configuration asks that cannot be done, and where it says so.

use std::fmt;

/// One part of a configuration that was refused. `path` leads to it: `virtual_hosts[0].routes[2].match.safe_regex`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Where, from the top of the compiled message.
    pub path: String,
    /// Why, with what would be right where that is known.
    pub reason: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for CompileError {}

/// Collects every error of one compilation, not the first alone.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<CompileError>);

impl Errors {
    /// The value, or nothing and a noted error.
    pub(crate) fn note<T, E: fmt::Display>(&mut self, path: &Path<'_>, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.refuse(path, error)).ok()
    }

    pub(crate) fn refuse(&mut self, path: &Path<'_>, reason: impl fmt::Display) {
        self.0.push(CompileError { path: path.to_string(), reason: reason.to_string() });
    }

    /// Refuses a field that is set and that nobody here acts on.
    pub(crate) fn unsupported(&mut self, path: &Path<'_>, field: &str, set: bool) {
        if set {
            self.refuse(&path.field(field), "not supported");
        }
    }

    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Vec<CompileError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// A path into a configuration, written only when something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, &'p str, usize),
}

impl<'p> Path<'p> {
    pub(crate) fn field(&'p self, name: &'p str) -> Path<'p> {
        Path::Field(self, name)
    }

    pub(crate) fn item(&'p self, name: &'p str, at: usize) -> Path<'p> {
        Path::Item(self, name, at)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = |f: &mut fmt::Formatter<'_>, parent: &Path<'_>| match parent {
            Path::Root => Ok(()),
            parent => write!(f, "{parent}."),
        };
        match self {
            Path::Root => Ok(()),
            Path::Field(parent, name) => {
                dot(f, parent)?;
                f.write_str(name)
            }
            Path::Item(parent, name, at) => {
                dot(f, parent)?;
                write!(f, "{name}[{at}]")
            }
        }
    }
}
