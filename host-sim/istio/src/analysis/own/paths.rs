//! `SLU0106`: conditions on the path that no path meets.

use std::collections::BTreeSet;

use policy::regex::Regex;

use super::table::Table;
use crate::{
    analysis::{Finding, Level},
    resource::virtual_service::StringMatch,
};

/// Paths start with a slash and are compared without query and fragment.
pub(super) fn never_match(table: &Table<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for row in &table.rows {
        let Some((reason, fix, tried)) = row.matched.uri.as_ref().and_then(fault) else { continue };
        if !row.is_new(&mut seen) {
            continue;
        }
        let message = format!("matches no request: {reason}");
        let mut finding =
            Finding::new("SLU0106", Level::Warning, row.object, &format!("{}.uri", row.field), message).fix(fix);
        finding.witness = table.without_path(&row.matched).map(|sample| {
            let sample = sample.at(&tried, &row.matched);
            table.witness(&sample, row.not_taken())
        });
        found.push(finding);
    }
}

/// What is wrong, what would be right, and a path that its author probably meant.
fn fault(uri: &StringMatch) -> Option<(String, String, String)> {
    if let Some(text) = uri.exact.as_ref().or(uri.prefix.as_ref()).filter(|text| !text.is_empty() && *text != "*") {
        if !text.starts_with('/') {
            let reason = format!("a path starts with \"/\", {text:?} does not");
            return Some((reason, format!("write \"/{text}\""), format!("/{text}")));
        }
        if let Some((path, _)) = text.split_once(['?', '#']) {
            let reason = "the path is compared without its query and fragment";
            return Some((
                reason.to_owned(),
                format!("match the path {path:?} and put the query into queryParams"),
                text.clone(),
            ));
        }
        return None;
    }
    let regex = uri.regex.as_ref()?;
    if regex.contains(r"\?") || regex.contains("[?]") {
        let reason = "the path is compared without its query, and this pattern asks for a \"?\"";
        return Some((reason.to_owned(), "put the query into queryParams".to_owned(), "/?a=b".to_owned()));
    }
    let compiled = Regex::full(regex).ok()?;
    let (start, _) = compiled.literal_prefix();
    let start = String::from_utf8_lossy(start).into_owned();
    if start.is_empty() || start.starts_with('/') {
        return None;
    }
    let reason =
        format!("a path starts with \"/\", this pattern with {start:?}, and a pattern must match the whole path");
    Some((reason, "start the pattern with \"/\" or \".*\"".to_owned(), format!("/{start}")))
}
