//! What is wrong with a manifest, where, and what would be right.

use std::fmt;

/// A place in a manifest file; line and column count from 1, 0 when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// One finding against the manifests: an error when it comes from [`crate::read`] or a failed [`crate::translate`], a warning when it comes with a
/// [`crate::Translation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file as it was named on the command line.
    pub file: String,
    /// Where in the file.
    pub at: Position,
    /// `VirtualService default/shop`, or empty when the document could not be read that far.
    pub resource: String,
    /// Path of the field inside the resource, `spec.http[0].match[1].uri`.
    pub field: String,
    /// What is wrong, in Istio's words where Istio has words for it.
    pub reason: String,
    /// What would be right, when we know.
    pub cure: Option<String>,
    /// Refused for what it says: the shape is right, and the admission webhook (or the rules of the API server's schema) would refuse it.
    pub by_webhook: bool,
}

impl Problem {
    /// Adds the cure to a problem.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.at.line, self.at.column)?;
        for part in [&self.resource, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.reason)?;
        match &self.cure {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}
