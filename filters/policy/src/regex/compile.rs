//! From a pattern to an engine: parsed on its own, anchored as a tree, compiled within limits.

use regex_syntax::hir::{Hir, HirKind, Look};

use super::syntax::{self, Parsed};
use super::{Compiled, Engine, InvalidRegex};

/// `full`: the whole text must match.
pub(super) fn compile(pattern: &str, full: bool) -> Result<Compiled, InvalidRegex> {
    let Parsed { hir, groups } = syntax::parse(pattern)?;
    let literal_prefix = if full { literal_prefix(&hir) } else { (Vec::new(), false) };
    let tree = if full { Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]) } else { hir };
    let engine = Engine::build(pattern, &tree, full)?;
    Ok(Compiled { pattern: pattern.into(), engine, groups, literal_prefix })
}

/// The literal bytes a match starts with; `true` if the pattern is nothing else.
fn literal_prefix(hir: &Hir) -> (Vec<u8>, bool) {
    let mut prefix = Vec::new();
    let whole = extend_prefix(hir, &mut prefix);
    (prefix, whole)
}

fn extend_prefix(hir: &Hir, prefix: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty => true,
        HirKind::Literal(literal) => {
            prefix.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(group) => extend_prefix(&group.sub, prefix),
        HirKind::Concat(parts) => parts.iter().all(|part| extend_prefix(part, prefix)),
        // `^/api` is common: at the very start the anchor holds by itself.
        HirKind::Look(Look::Start) => prefix.is_empty(),
        _ => false,
    }
}
