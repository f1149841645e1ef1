//! The engine's place in a build without it: every pattern is refused, so nothing here is ever reached.

use super::{Fault, InvalidRegex, Substitution};

/// Cannot be made.
pub(super) enum Engine {}

impl Engine {
    pub(super) fn is_match(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(super) fn replace_all(&self, _: &[u8], _: &Substitution) -> Vec<u8> {
        match *self {}
    }
}

/// Refuses.
pub(super) fn compile(pattern: &str, _full: bool) -> Result<super::Compiled, InvalidRegex> {
    Err(InvalidRegex::new(Fault::NoEngine, pattern))
}
