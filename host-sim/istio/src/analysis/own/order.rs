//! `SLU0112`: two VirtualServices want one request, and which gets it depends on which was created first.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Row, Sample, Table};
use crate::{
    analysis::{Finding, Level},
    resource::{object::Object, virtual_service::VirtualService},
};

/// Each pair of VirtualServices once, with a request that tells the two orders apart.
pub(super) fn by_creation(tables: &[Table<'_>], found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for table in tables {
        for ((first, second), finding) in quarrels(table) {
            if seen.insert((first.to_string(), second.to_string())) {
                found.push(finding);
            }
        }
    }
}

type Pair<'a> = (&'a Object<VirtualService>, &'a Object<VirtualService>);

/// The pairs that want one request, in the order in which their rules are tried.
fn quarrels<'a>(table: &Table<'a>) -> Vec<(Pair<'a>, Finding)> {
    let mut owners = BTreeMap::new();
    for row in &table.rows {
        let next = owners.len();
        owners.entry(std::ptr::from_ref(row.root)).or_insert(next);
    }
    if owners.len() < 2 {
        return Vec::new();
    }
    let order = table.order();
    let mut quarrels = BTreeMap::new();
    for row in &table.rows {
        for sample in table.samples(row) {
            // What a third VirtualService takes before either is no quarrel of theirs.
            let takers = order.takers(&sample);
            let Some((now, others)) = takers.split_first() else { continue };
            for then in firsts_of_others(now, others) {
                let theirs = [now.root, then.root].iter().any(|root| std::ptr::eq(*root, row.root));
                let pair = (owners.get(&std::ptr::from_ref(now.root)), owners.get(&std::ptr::from_ref(then.root)));
                if theirs && !quarrels.contains_key(&pair) && now.acts_differently(then) {
                    quarrels.insert(pair, ((now.root, then.root), finding(table, now, then, &sample)));
                }
            }
        }
    }
    quarrels.into_values().collect()
}

/// The first row of each other VirtualService that would take what `now` takes, were it older: not those that are tried last by any age.
fn firsts_of_others<'r, 'a>(now: &'r Row<'a>, others: &[&'r Row<'a>]) -> Vec<&'r Row<'a>> {
    let mut firsts: Vec<&Row<'_>> = vec![now];
    for row in others {
        if firsts.iter().all(|first| !std::ptr::eq(first.root, row.root)) {
            firsts.push(row);
        }
    }
    firsts.into_iter().skip(1).filter(|row| row.is_catch_all() == now.is_catch_all()).collect()
}

fn finding(table: &Table<'_>, now: &Row<'_>, then: &Row<'_>, sample: &Sample) -> Finding {
    let message = format!(
        "{} also matches requests for {} that {} matches; the VirtualService created first takes them, which no file says",
        then.root,
        table.host,
        now.shown()
    );
    let fix = "put the rules of one host into one VirtualService, or let one delegate to others; or make the matches exclude each other";
    let mut finding = Finding::new("SLU0112", Level::Warning, then.object, &then.field, message).fix(fix);
    finding.witness = Some(table.witness(sample, now.taken()));
    finding
}
