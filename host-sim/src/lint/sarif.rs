//! Findings as SARIF 2.1.0, which code hosts show beside the lines of a change.

use std::collections::BTreeMap;

use istio::analysis::{Finding, Level};
use serde_json::{Value, json};

/// The whole log, one run.
pub(super) fn log(findings: &[Finding]) -> Value {
    let mut rules: BTreeMap<&str, Level> = BTreeMap::new();
    for finding in findings {
        rules.entry(finding.code).or_insert(finding.level);
    }
    let rule = |(code, level): (&&str, &Level)| json!({"id": code, "defaultConfiguration": {"level": word(*level)}, "shortDescription": {"text": code}});
    let driver = json!({
        "name": "host-sim lint",
        "version": env!("CARGO_PKG_VERSION"),
        "rules": rules.iter().map(rule).collect::<Vec<_>>(),
    });
    let results: Vec<_> = findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    })
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}

fn result(finding: &Finding) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(&finding.file)}});
    if let (Some(map), 1..) = (physical.as_object_mut(), finding.at.line) {
        let mut region = json!({"startLine": finding.at.line});
        if let (Some(region), 1..) = (region.as_object_mut(), finding.at.column) {
            region.insert("startColumn".to_owned(), finding.at.column.into());
        }
        map.insert("region".to_owned(), region);
    }
    let fix = finding.fix.as_ref().map(|fix| format!(" Fix: {fix}.")).unwrap_or_default();
    json!({
        "ruleId": finding.code,
        "level": word(finding.level),
        "message": {"text": format!("{}{fix}", finding.message)},
        "locations": [{
            "physicalLocation": physical,
            "logicalLocations": [{"fullyQualifiedName": format!("{} {}", finding.resource, finding.field).trim()}],
        }],
        "properties": {"witness": finding.witness.as_ref().map(ToString::to_string), "fix": finding.fix},
    })
}

/// A relative reference: `/` as it is, everything that a URI gives a meaning escaped.
fn uri(file: &str) -> String {
    let mut out = String::new();
    for byte in file.trim_start_matches("./").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
