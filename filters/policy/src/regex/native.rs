//! Runs a parsed pattern outside wasm: the `regex` package, given back the tree as a pattern of its own grammar.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::Hir;

use super::replace::{self, Groups};
use super::{COMPILED_LIMIT, Fault, InvalidRegex, Substitution};

/// A compiled pattern.
pub(super) struct Engine(Regex);

impl Engine {
    /// `anchored` is already in the tree.
    pub(super) fn build(pattern: &str, hir: &Hir, _anchored: bool) -> Result<Engine, InvalidRegex> {
        // The tree's own words say of every class which characters it holds, so no table and no Unicode mode of the engine decides.
        let mut builder = RegexBuilder::new(&hir.to_string());
        let compiled = builder.size_limit(COMPILED_LIMIT).build();
        compiled.map(Engine).map_err(|_| InvalidRegex::new(Fault::TooLarge, pattern))
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    pub(super) fn replace_all(&self, text: &[u8], with: &Substitution) -> Vec<u8> {
        let mut locations = self.0.capture_locations();
        replace::all(text, with, |at| {
            self.0.captures_read_at(&mut locations, text, at)?;
            Some((0..locations.len()).map(|group| locations.get(group)).collect::<Groups>())
        })
    }
}
