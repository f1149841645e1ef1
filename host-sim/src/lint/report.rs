//! Findings as text for people and as JSON for programs.

use std::fmt::Write;

use istio::analysis::{Finding, Level};
use serde_json::{Value, json};

/// One paragraph per finding, and a count.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{}:{}:{}: {} {}",
            finding.file, finding.at.line, finding.at.column, finding.level, finding.code
        );
        for part in [&finding.resource, &finding.field] {
            if !part.is_empty() {
                let _ = write!(out, " {part}");
            }
        }
        let _ = writeln!(out, "\n    {}", finding.message);
        if let Some(witness) = &finding.witness {
            let _ = writeln!(out, "    see  host-sim explain -f … {witness}");
        }
        if let Some(fix) = &finding.fix {
            let _ = writeln!(out, "    fix  {fix}");
        }
    }
    let of = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let counts = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Info, "note")];
    let said: Vec<_> =
        counts.into_iter().filter(|(level, _)| of(*level) > 0).map(|(level, word)| counted(of(level), word)).collect();
    let _ = writeln!(out, "{}", if said.is_empty() { "nothing found".to_owned() } else { said.join(", ") });
    out
}

/// `1 warning`, `2 warnings`; the plural goes to the first word.
pub(super) fn counted(count: usize, words: &str) -> String {
    match words.split_once(' ') {
        _ if count == 1 => format!("1 {words}"),
        Some((noun, rest)) => format!("{count} {noun}s {rest}"),
        None => format!("{count} {words}s"),
    }
}

/// `{"findings": [{code, level, resource, file, line, field, message, witness, fix}]}`; what there is none of is null.
pub(super) fn json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "code": finding.code,
            "level": finding.level.to_string(),
            "resource": finding.resource,
            "file": finding.file,
            "line": finding.at.line,
            "field": finding.field,
            "message": finding.message,
            "witness": finding.witness.as_ref().map(ToString::to_string),
            "fix": finding.fix,
        })
    };
    json!({"findings": findings.iter().map(one).collect::<Vec<_>>()})
}
