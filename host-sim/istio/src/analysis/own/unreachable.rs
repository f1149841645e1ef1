//! `SLU0101`: a rule behind another that takes all its requests. `SLU0102`: it does so because a prefix does not end at a segment.

use std::collections::BTreeSet;

use super::{
    cover::Covers,
    table::{Row, Table},
};
use crate::analysis::{Finding, Level};

/// Each hidden entry once, with the first rule that hides it.
pub(super) fn rules(tables: &[Table<'_>], said: &[Finding], found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for table in tables {
        let mut earlier = Covers::default();
        for row in &table.rows {
            // Between two VirtualServices it is their order that hides, which is a finding of its own.
            let hides = |earlier: &Row<'_>| std::ptr::eq(earlier.root, row.root) && !earlier.same_rule(row);
            let hider = earlier.first(&row.matched, |at| table.rows.get(at).is_some_and(hides));
            earlier.push(&row.matched);
            let Some(hider) = hider.and_then(|at| table.rows.get(at)) else { continue };
            // Everything behind a rule without conditions is left to the code that says it for whole rules.
            let whole_rule = format!("spec.http[{}]", row.rule);
            let known = said.iter().any(|finding| {
                finding.code == "IST0130" && finding.resource == row.object.to_string() && finding.field == whole_rule
            });
            if known || !row.is_new(&mut seen) {
                continue;
            }
            found.push(finding(table, row, hider));
        }
    }
}

fn finding(table: &Table<'_>, row: &Row<'_>, hider: &Row<'_>) -> Finding {
    let witness = table.samples(row).first().map(|sample| table.witness(sample, hider.taken()));
    let mut finding = match bleeding(hider, row) {
        Some((prefix, path)) => {
            let message = format!(
                "the prefix {prefix:?} does not end at a segment: {path:?} is taken by {}, never by this rule",
                hider.shown()
            );
            let fix = format!("match {prefix:?} as exact and \"{prefix}/\" as prefix, or move this rule before it");
            Finding::new("SLU0102", Level::Warning, row.object, &row.field, message).fix(fix)
        }
        None => {
            let message = format!("never reached: every request it matches is taken by {}", hider.shown());
            let fix = "move it before that rule, narrow that rule, or delete it";
            Finding::new("SLU0101", Level::Warning, row.object, &row.field, message).fix(fix)
        }
    };
    finding.witness = witness;
    finding
}

/// The hider's prefix and the hidden path, when only the missing slash makes the one cover the other.
fn bleeding(hider: &Row<'_>, row: &Row<'_>) -> Option<(String, String)> {
    let prefix = hider.matched.uri.as_ref()?.prefix.clone()?;
    let uri = row.matched.uri.as_ref()?;
    let path = uri.exact.clone().or_else(|| uri.prefix.clone())?;
    let next = path.strip_prefix(prefix.as_str())?.chars().next()?;
    (!prefix.ends_with('/') && next != '/').then_some((prefix, path))
}
