//! istio-config-validator's test files, read as they are: every combination of authority, method and URI is matched against
//! the VirtualServices' rules, whatever Gateway they name, and the rule that takes it is compared with the case.
//!
//! Source: `docs/test-cases.md` and `internal/pkg/unit/unit.go` of getyourguide/istio-config-validator.

use std::collections::BTreeMap;

use bytes::Bytes;
use istio::RuleTable;
use proxy::edge::{ConnectionInfo, Protocol};
use proxy::route::{RequestHead, RouteTable};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

/// A document of theirs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Cases {
    pub(super) test_cases: Vec<Spanned<Case>>,
}

/// A case of theirs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Case {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) want_match: bool,
    pub(super) request: Request,
    pub(super) route: Option<Value>,
    pub(super) redirect: Option<Value>,
    pub(super) rewrite: Option<Value>,
    pub(super) fault: Option<Value>,
    pub(super) headers: Option<Value>,
    pub(super) delegate: Option<Value>,
}

/// All combinations are meant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) authority: Vec<String>,
    pub(super) method: Vec<String>,
    pub(super) uri: Vec<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// The VirtualServices' rules, ready to be asked.
pub(super) struct Rules(Vec<(RuleTable, RouteTable)>);

impl Rules {
    /// Compiles every VirtualService's rules.
    ///
    /// # Errors
    /// A rule the router refuses.
    pub(super) fn new(tables: Vec<RuleTable>) -> Result<Self, Vec<String>> {
        let compiled = tables.into_iter().map(|rules| match RouteTable::compile(&rules.table) {
            Ok(table) => Ok((rules, table)),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The first rule that takes a request, of the first VirtualService with its host.
    fn by_host(&self, input: &Input<'_>) -> Option<(&RuleTable, &Value)> {
        let own = self.0.iter().filter(|(rules, _)| rules.hosts.iter().any(|host| host == input.authority));
        own.filter_map(|(rules, table)| Some((rules, rule(rules, table, input)?))).next()
    }

    /// The rule of the VirtualService a rule delegates to.
    fn delegated(&self, delegate: &Value, input: &Input<'_>) -> Option<&Value> {
        let text = |key: &str| delegate.get(key).and_then(Value::as_str).unwrap_or_default();
        let named = |rules: &RuleTable| {
            rules.name == text("name") && (text("namespace").is_empty() || rules.namespace == text("namespace"))
        };
        let (rules, table) = self.0.iter().find(|(rules, _)| named(rules))?;
        rule(rules, table, input)
    }
}

/// One combination.
struct Input<'c> {
    authority: &'c str,
    method: &'c str,
    uri: &'c str,
    headers: &'c BTreeMap<String, String>,
}

fn rule<'r>(rules: &'r RuleTable, table: &RouteTable, input: &Input<'_>) -> Option<&'r Value> {
    // Theirs matches the path alone: the query is no part of it, and neither is a fragment.
    let path = input.uri.split(['?', '#']).next().unwrap_or_default();
    let pseudo = [(":method", input.method), (":authority", input.authority), (":scheme", "http"), (":path", path)];
    let own = input.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()));
    let headers: Vec<(Bytes, Bytes)> = pseudo
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(own)
        .map(|(name, value)| (Bytes::from(name), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    let nowhere = ([127, 0, 0, 1], 0).into();
    let connection = ConnectionInfo {
        id: 0,
        remote: nowhere,
        relay: None,
        local: nowhere,
        node_address: nowhere.ip(),
        protocol: Protocol::Http11,
        tls: None,
    };
    let decision = table.decide(&RequestHead { headers: &headers, random: 0, connection: &connection });
    rules.rule(decision.route()?.metadata.as_deref())
}

/// Runs a case; a line for every combination that fails.
pub(super) fn run(case: &Case, rules: &Rules) -> Vec<String> {
    let mut failed = Vec::new();
    let lists = [("authority", &case.request.authority), ("method", &case.request.method), ("uri", &case.request.uri)];
    for (name, list) in lists {
        if list.is_empty() {
            failed.push(format!("request.{name} is empty: nothing is asked"));
        }
    }
    for uri in &case.request.uri {
        for authority in &case.request.authority {
            for method in &case.request.method {
                let input = Input { authority, method, uri, headers: &case.request.headers };
                if let Some(why) = differs(case, &input, rules) {
                    failed.push(format!("{method} {authority}{uri}: {why}"));
                }
            }
        }
    }
    failed
}

fn differs(case: &Case, input: &Input<'_>, rules: &Rules) -> Option<String> {
    let nothing = Value::Null;
    let found = rules.by_host(input);
    let mut rule = found.map_or(&nothing, |(_, rule)| rule);
    if let Some(delegate) = rule.get("delegate") {
        if let Some(wanted) = &case.delegate
            && same(wanted, delegate) != case.want_match
        {
            return Some(told("delegate", wanted, delegate, case.want_match));
        }
        if case.route.is_some() {
            match rules.delegated(delegate, input) {
                Some(inner) => rule = inner,
                None => return Some(format!("no rule of delegate {delegate} takes it")),
            }
        }
    }
    let fields = [
        ("route", &case.route),
        ("rewrite", &case.rewrite),
        ("fault", &case.fault),
        ("headers", &case.headers),
        ("redirect", &case.redirect),
    ];
    fields.into_iter().find_map(|(field, wanted)| {
        let wanted = wanted.as_ref()?;
        let actual = rule.get(field).unwrap_or(&nothing);
        (same(wanted, actual) != case.want_match).then(|| told(field, wanted, actual, case.want_match))
    })
}

fn told(field: &str, wanted: &Value, actual: &Value, want_match: bool) -> String {
    let not = if want_match { "" } else { "anything but " };
    format!("{field}: expected {not}{wanted}, the rule says {actual}")
}

/// Equal as protobuf messages: what is empty, zero or false is not there; numbers are numbers, however they are written.
fn same(a: &Value, b: &Value) -> bool {
    settled(a) == settled(b)
}

fn settled(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept =
                map.iter().map(|(key, value)| (camel(key), settled(value))).filter(|(_, value)| !is_empty(value));
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(settled).collect()),
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

/// protojson takes `http_status` and `httpStatus`.
fn camel(key: &str) -> String {
    let mut parts = key.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters);
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_equal_whatever_is_left_at_its_default() {
        for (a, b, equal) in [
            (json!({"host": "a", "weight": 0}), json!({"host": "a"}), true),
            (json!({"value": 100}), json!({"value": 100.0}), true),
            (json!({"http_status": 403}), json!({"httpStatus": 403}), true),
            (json!([{"a": 1}]), json!([{"a": 2}]), false),
            (json!(null), json!({"a": 1}), false),
        ] {
            assert_eq!(same(&a, &b), equal, "{a} {b}");
        }
    }
}
