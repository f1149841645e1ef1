//! `SLU0103` to `SLU0105`: what a rewrite makes of the path.

use std::collections::BTreeSet;

use policy::regex::{Regex, Substitution};

use super::table::{Row, Table};
use crate::{
    analysis::{Claim, Finding, Level},
    resource::virtual_service::HttpRewrite,
};

/// One finding per rule and kind.
pub(super) fn seams(table: &Table<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    let order = table.order();
    for row in &table.rows {
        let Some(rewrite) = &row.route.rewrite else { continue };
        if let Some(finding) = literal(row, rewrite).filter(|_| row.is_new(&mut seen)) {
            found.push(finding);
            continue;
        }
        for path in tried(row) {
            let Some(sample) = table.without_path(&row.matched).map(|sample| sample.at(&path, &row.matched)) else {
                break;
            };
            let taken =
                order.first_match(&sample).is_some_and(|first| first.field == row.field && first.same_rule(row));
            let Some(made) = apply(row, rewrite, &path).filter(|_| taken) else { continue };
            let Some((code, message, fix)) = verdict(row, rewrite, &path, &made) else { continue };
            if !row.is_new(&mut seen) {
                break;
            }
            let mut finding =
                Finding::new(code, Level::Warning, row.object, &format!("spec.http[{}].rewrite", row.rule), message)
                    .fix(fix);
            let claim = Claim::Rewritten { resource: row.object.to_string(), rule: row.rule, path: made };
            finding.witness = Some(table.witness(&sample, claim));
            found.push(finding);
            break;
        }
    }
}

/// Faults that the text of the rewrite shows.
fn literal(row: &Row<'_>, rewrite: &HttpRewrite) -> Option<Finding> {
    let text = &rewrite.uri;
    let field = format!("spec.http[{}].rewrite.uri", row.rule);
    if text.is_empty() {
        return None;
    }
    if !text.starts_with('/') {
        let message = format!("the upstream sees a path without its leading slash: the rewrite is {text:?}");
        return Some(
            Finding::new("SLU0105", Level::Error, row.object, &field, message).fix(format!("write \"/{text}\"")),
        );
    }
    let bad = |segment: &str| matches!(segment, "." | "..");
    let path = text.split('?').next().unwrap_or_default();
    if path.split('/').any(bad) || path.contains("//") {
        let message = format!("the upstream sees `..`, `.` or `//` in its path: the rewrite is {text:?}");
        return Some(
            Finding::new("SLU0105", Level::Error, row.object, &field, message).fix("write the path without them"),
        );
    }
    None
}

/// Paths that tell whether the seam is right.
fn tried(row: &Row<'_>) -> Vec<String> {
    let Some(uri) = &row.matched.uri else { return vec!["/".to_owned(), "/x".to_owned(), "/x/y".to_owned()] };
    match (&uri.exact, &uri.prefix) {
        (Some(exact), _) => vec![exact.clone()],
        (None, Some(prefix)) if prefix.ends_with('/') => vec![format!("{prefix}x"), prefix.clone()],
        (None, Some(prefix)) => vec![format!("{prefix}/x"), prefix.clone()],
        (None, None) => uri.regex.as_deref().map(super::example::of_regex).unwrap_or_default(),
    }
}

/// The path the upstream sees.
fn apply(row: &Row<'_>, rewrite: &HttpRewrite, path: &str) -> Option<String> {
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        let pattern = Regex::search(&regex.matched).ok()?;
        let with = Substitution::parse(&regex.rewrite, &pattern).ok()?;
        return String::from_utf8(pattern.replace_all(path.as_bytes(), &with)).ok();
    }
    if rewrite.uri.is_empty() {
        return None;
    }
    match row.matched.uri.as_ref().and_then(|uri| uri.prefix.as_ref()) {
        Some(prefix) => Some(format!("{}{}", rewrite.uri, path.strip_prefix(prefix.as_str())?)),
        // Without a path condition the matched prefix is "/".
        None if row.matched.uri.is_none() => Some(format!("{}{}", rewrite.uri, path.strip_prefix('/')?)),
        None => Some(rewrite.uri.clone()),
    }
}

fn verdict(row: &Row<'_>, rewrite: &HttpRewrite, path: &str, made: &str) -> Option<(&'static str, String, String)> {
    let dots = made.split('/').any(|segment| matches!(segment, "." | ".."));
    let prefix = row.matched.uri.as_ref().and_then(|uri| uri.prefix.clone()).unwrap_or_else(|| "/".to_owned());
    if made.contains("//") || dots {
        let climbs = if rewrite.uri.ends_with('/') && !prefix.ends_with('/') {
            format!(", and {prefix}../x becomes {}../x", rewrite.uri)
        } else {
            String::new()
        };
        let fix = match rewrite.uri_regex_rewrite {
            Some(_) => "take the slash into the pattern, so that it is written once".to_owned(),
            None => format!("match \"{prefix}/\" as prefix and {prefix:?} as exact: a prefix is replaced byte by byte"),
        };
        return Some(("SLU0103", format!("{path} becomes {made} for the upstream{climbs}"), fix));
    }
    if !made.starts_with('/') {
        let fix = "let the substitution keep or write the leading slash".to_owned();
        return Some((
            "SLU0105",
            format!("{path} becomes {made:?} for the upstream: a path without its leading slash"),
            fix,
        ));
    }
    let glued = rewrite.uri_regex_rewrite.is_none()
        && prefix.ends_with('/')
        && !rewrite.uri.ends_with('/')
        && made.len() > rewrite.uri.len();
    glued.then(|| {
        let fix = format!("rewrite to \"{}/\": a prefix is replaced byte by byte", rewrite.uri);
        ("SLU0104", format!("{path} becomes {made} for the upstream: two segments run into one"), fix)
    })
}
