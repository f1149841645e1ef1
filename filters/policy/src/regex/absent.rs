//! The engine's place in a build without it: every pattern is refused, so nothing here is ever reached.

use super::{Fault, InvalidRegex, Substitution};

/// Cannot be made.
pub(super) enum Engine {}

impl Engine {
    pub(super) fn full(pattern: &str) -> Result<Engine, InvalidRegex> {
        Err(InvalidRegex::new(Fault::NoEngine, pattern))
    }

    pub(super) fn search(pattern: &str) -> Result<Engine, InvalidRegex> {
        Engine::full(pattern)
    }

    pub(super) fn is_match(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(super) fn replace_all(&self, _: &[u8], _: &Substitution) -> Vec<u8> {
        match *self {}
    }

    pub(super) fn literal_prefix(&self) -> (&[u8], bool) {
        match *self {}
    }

    pub(super) fn groups(&self) -> usize {
        match *self {}
    }
}
