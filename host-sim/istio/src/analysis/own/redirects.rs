//! `SLU0114`: a redirect to where it came from.

use std::collections::BTreeSet;

use super::table::Table;
use crate::analysis::{Finding, Level};

/// The target of a redirect is asked of the same table; if the same rule takes it, a client goes round until it gives up.
pub(super) fn loops(table: &Table<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    let order = table.order();
    for row in &table.rows {
        let Some(redirect) = &row.route.redirect else { continue };
        let scheme = if table.is_tls { "https" } else { "http" };
        let elsewhere = (!redirect.scheme.is_empty() && redirect.scheme != scheme)
            || redirect.port.is_some_and(|port| port != table.port)
            || redirect.derive_port.is_some()
            || redirect.uri.contains("%");
        if elsewhere {
            continue;
        }
        for sample in table.samples(row) {
            if !order.first_match(&sample).is_some_and(|first| first.same_rule(row)) {
                continue;
            }
            let mut next = sample.clone();
            if !redirect.authority.is_empty() {
                next.authority.clone_from(&redirect.authority);
            }
            if next.authority != sample.authority {
                continue;
            }
            if !redirect.uri.is_empty() {
                next.path.clone_from(&redirect.uri);
            } else if !redirect.prefix_rewrite.is_empty() {
                let prefix = row.matched.uri.as_ref().and_then(|uri| uri.prefix.clone()).unwrap_or_default();
                let rest = sample.path.strip_prefix(prefix.as_str()).unwrap_or_default();
                next.path = format!("{}{rest}", redirect.prefix_rewrite);
            }
            let again = order.first_match(&next).is_some_and(|first| first.same_rule(row));
            if again && row.is_new(&mut seen) {
                let message = format!("redirects {} to {}, which this rule redirects again", sample.path, next.path);
                let fix = "match the old path alone, or name another host, scheme or path";
                let mut finding = Finding::new(
                    "SLU0114",
                    Level::Error,
                    row.object,
                    &format!("spec.http[{}].redirect", row.rule),
                    message,
                )
                .fix(fix);
                finding.witness = Some(table.witness(&next, row.taken()));
                found.push(finding);
            }
        }
    }
}
