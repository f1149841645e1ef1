//! `SLU0101`: a rule behind another that takes all its requests. `SLU0102`: it does so because a prefix does not end at a segment.

use std::collections::{BTreeMap, BTreeSet};

use policy::regex::Regex;

use super::table::{Row, Table};
use crate::{
    analysis::{Finding, Level},
    resource::virtual_service::{HttpMatch, StringMatch},
};

/// Each hidden entry once, with the first rule that hides it.
pub(super) fn rules(tables: &[Table<'_>], said: &[Finding], found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for table in tables {
        for (i, row) in table.rows.iter().enumerate() {
            // Between two VirtualServices it is their order that hides, which is a finding of its own.
            let hides = |earlier: &&Row<'_>| {
                std::ptr::eq(earlier.root, row.root)
                    && !earlier.same_rule(row)
                    && covers(&earlier.matched, &row.matched)
            };
            let Some(hider) = table.rows.iter().take(i).find(hides) else { continue };
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

/// Every request that `inner` matches, `outer` matches. Says no where it cannot tell.
fn covers(outer: &HttpMatch, inner: &HttpMatch) -> bool {
    let single = |outer: &Option<StringMatch>, inner: &Option<StringMatch>| match (outer, inner) {
        (None, _) => true,
        (Some(outer), Some(inner)) => string_covers(outer, inner),
        (Some(_), None) => false,
    };
    let all = |outer: &BTreeMap<String, StringMatch>, inner: &BTreeMap<String, StringMatch>| {
        outer.iter().all(|(name, outer)| inner.get(name).is_some_and(|inner| string_covers(outer, inner)))
    };
    path_covers(outer, inner)
        && single(&outer.method, &inner.method)
        && single(&outer.scheme, &inner.scheme)
        && single(&outer.authority, &inner.authority)
        && all(&outer.headers, &inner.headers)
        && all(&outer.query_params, &inner.query_params)
        && outer.without_headers.iter().all(|(name, outer)| inner.without_headers.get(name) == Some(outer))
        && (outer.port == 0 || outer.port == inner.port)
        && outer.source_labels.iter().all(|(key, value)| inner.source_labels.get(key) == Some(value))
        && (outer.source_namespace.is_empty() || outer.source_namespace == inner.source_namespace)
        && (outer.gateways.is_empty() || outer.gateways == inner.gateways)
}

fn path_covers(outer: &HttpMatch, inner: &HttpMatch) -> bool {
    let Some(wide) = &outer.uri else { return true };
    let wide = as_prefix(wide);
    if wide.prefix.as_deref() == Some("/") || wide.prefix.as_deref() == Some("") {
        return true;
    }
    let Some(narrow) = &inner.uri else { return false };
    match (outer.ignore_uri_case, inner.ignore_uri_case) {
        (false, true) => false,
        (false, false) => string_covers(&wide, narrow),
        (true, _) => {
            let lower = |text: &StringMatch| StringMatch {
                exact: text.exact.as_ref().map(|text| text.to_lowercase()),
                prefix: text.prefix.as_ref().map(|text| text.to_lowercase()),
                regex: None,
            };
            narrow.regex.is_none() && wide.regex.is_none() && string_covers(&lower(&wide), &lower(narrow))
        }
    }
}

/// `/api.*` says what the prefix `/api` says.
fn as_prefix(condition: &StringMatch) -> StringMatch {
    let literal = |text: &str| !text.contains(['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\']);
    match condition.regex.as_deref().and_then(|regex| regex.strip_suffix(".*")).filter(|start| literal(start)) {
        Some(start) => StringMatch { prefix: Some(start.to_owned()), ..StringMatch::default() },
        None => condition.clone(),
    }
}

fn string_covers(outer: &StringMatch, inner: &StringMatch) -> bool {
    if outer == inner || outer.is_presence() {
        return true;
    }
    let (outer, inner) = (as_prefix(outer), as_prefix(inner));
    match (&outer.exact, &outer.prefix, &outer.regex) {
        (Some(exact), ..) => inner.exact.as_ref() == Some(exact),
        (None, Some(prefix), _) => {
            let narrow = inner.exact.as_ref().or(inner.prefix.as_ref());
            narrow.is_some_and(|narrow| narrow.starts_with(prefix.as_str()))
        }
        (None, None, Some(regex)) => {
            let exact = inner.exact.as_ref();
            exact.is_some_and(|exact| Regex::full(regex).is_ok_and(|regex| regex.is_match(exact.as_bytes())))
        }
        (None, None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(kind: &str, text: &str) -> HttpMatch {
        let text = Some(text.to_owned());
        let uri = match kind {
            "exact" => StringMatch { exact: text, ..StringMatch::default() },
            "prefix" => StringMatch { prefix: text, ..StringMatch::default() },
            _ => StringMatch { regex: text, ..StringMatch::default() },
        };
        HttpMatch { uri: Some(uri), ..HttpMatch::default() }
    }

    #[test]
    fn cover_is_said_only_where_it_is_sure() {
        for (outer, inner, expected) in [
            (("prefix", "/a"), ("prefix", "/ab"), true),
            (("prefix", "/ab"), ("prefix", "/a"), false),
            (("regex", "/a.*"), ("prefix", "/a/b"), true),
            (("regex", "/a.*"), ("regex", "/a/b.*"), true),
            (("regex", ".*"), ("regex", "/x[0-9]+"), true),
            (("regex", "/a[0-9]+"), ("exact", "/a12"), true),
            (("regex", "/a[0-9]+"), ("prefix", "/a12"), false),
            (("exact", "/a"), ("exact", "/a"), true),
            (("exact", "/a"), ("prefix", "/a"), false),
            (("prefix", "/"), ("regex", "/x+"), true),
        ] {
            assert_eq!(covers(&uri(outer.0, outer.1), &uri(inner.0, inner.1)), expected, "{outer:?} {inner:?}");
        }
        let with_header =
            HttpMatch { headers: [("x".to_owned(), StringMatch::default())].into(), ..uri("prefix", "/a") };
        assert!(covers(&uri("prefix", "/a"), &with_header));
        assert!(!covers(&with_header, &uri("prefix", "/a")));
        let any_case = HttpMatch { ignore_uri_case: true, ..uri("prefix", "/A") };
        assert!(covers(&any_case, &uri("exact", "/aB")));
        assert!(!covers(&uri("prefix", "/a"), &any_case));
    }
}
