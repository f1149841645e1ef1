//! `SLU0112`: two VirtualServices want one request, and which gets it depends on which was created first.

use std::collections::BTreeSet;

use super::table::{Row, Sample, Table, catch_alls_last};
use crate::analysis::{Finding, Level};

/// Each pair of VirtualServices once, with a request that tells the two orders apart.
pub(super) fn by_creation(tables: &[Table<'_>], found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for table in tables {
        let mut owners: Vec<&Row<'_>> = Vec::new();
        for row in &table.rows {
            if owners.iter().all(|known| !std::ptr::eq(known.root, row.root)) {
                owners.push(row);
            }
        }
        for (i, first) in owners.iter().enumerate() {
            for second in owners.iter().skip(i + 1) {
                let pair = (first.root.to_string(), second.root.to_string());
                if seen.contains(&pair) {
                    continue;
                }
                if let Some(finding) = swapped(table, first, second) {
                    seen.insert(pair);
                    found.push(finding);
                }
            }
        }
    }
}

fn swapped(table: &Table<'_>, first: &Row<'_>, second: &Row<'_>) -> Option<Finding> {
    let of = |owner: &Row<'_>| {
        table.rows.iter().filter(move |row| std::ptr::eq(row.root, owner.root)).cloned().collect::<Vec<_>>()
    };
    let (one, two) = (of(first), of(second));
    let mut ordered = [one.clone(), two.clone()].concat();
    let mut reversed = [two, one].concat();
    catch_alls_last(&mut ordered);
    catch_alls_last(&mut reversed);
    let take = |rows: &[Row<'_>], sample: &Sample| rows.iter().position(|row| row.takes(sample));
    let samples = ordered.iter().flat_map(|row| table.samples(row));
    for sample in samples {
        let (Some(now), Some(then)) = (take(&ordered, &sample), take(&reversed, &sample)) else { continue };
        let (Some(now), Some(then)) = (ordered.get(now), reversed.get(then)) else { continue };
        // What a third VirtualService takes before either is no quarrel of theirs.
        let decides = table.first_match(&sample).is_some_and(|row| row.same_rule(now));
        if decides && !std::ptr::eq(now.root, then.root) && now.acts_differently(then) {
            let message = format!(
                "{} also matches requests for {} that {} matches; the VirtualService created first takes them, which no file says",
                then.root,
                table.host,
                now.shown()
            );
            let fix = "put the rules of one host into one VirtualService, or let one delegate to others; or make the matches exclude each other";
            let mut finding = Finding::new("SLU0112", Level::Warning, then.object, &then.field, message).fix(fix);
            finding.witness = Some(table.witness(&sample, now.taken()));
            return Some(finding);
        }
    }
    None
}
