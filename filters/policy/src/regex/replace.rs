//! RE2's `GlobalReplace`, over any engine that finds groups.

use super::{Part, Substitution};

/// The bounds of the groups of one match; group 0 is the match.
pub(super) type Groups = Vec<Option<(usize, usize)>>;

/// Replaces every match `find(at)` reports at or after `at`, but no empty match right behind another.
pub(super) fn all(text: &[u8], with: &Substitution, mut find: impl FnMut(usize) -> Option<Groups>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut last_end = None;
    while at <= text.len() {
        let Some(groups) = find(at) else { break };
        let span = |group: usize| groups.get(group).copied().flatten();
        let Some((start, end)) = span(0) else { break };
        out.extend_from_slice(text.get(at..start).unwrap_or_default());
        if start == end && last_end == Some(start) {
            let step = one_character(text, start);
            out.extend_from_slice(step);
            // Past the end there is nothing left to step over.
            at = start.saturating_add(step.len().max(1));
            continue;
        }
        for part in with.parts() {
            match part {
                Part::Text(plain) => out.extend_from_slice(plain),
                Part::Group(n) => {
                    let (from, to) = span(*n).unwrap_or_default();
                    out.extend_from_slice(text.get(from..to).unwrap_or_default());
                }
            }
        }
        at = end;
        last_end = Some(end);
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}

/// The UTF-8 character at `at`, or one byte where there is none.
fn one_character(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    let length = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()).map_or(1, char::len_utf8);
    rest.get(..length).unwrap_or(rest)
}
