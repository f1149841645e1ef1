//! `--update`: values in case files that are not as expected become what they are. Everything else in the file stays,
//! comments too.

use std::collections::BTreeMap;

use istio::Source;
use serde_saphyr::Location;

use crate::failure::Failure;

/// One value to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// Bytes of the file.
    from: usize,
    length: usize,
    text: String,
}

impl From<(Location, String)> for Update {
    fn from((at, text): (Location, String)) -> Self {
        let number = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(usize::MAX);
        Self { from: number(at.span().byte_offset()), length: number(at.span().byte_len()), text }
    }
}

/// Writes the files; says how many values changed.
pub(super) fn write(files: &[Source], updates: BTreeMap<usize, Vec<Update>>) -> Result<usize, Failure> {
    let mut changed = 0;
    for (number, updates) in updates {
        let Some(file) = files.get(number).filter(|_| !updates.is_empty()) else { continue };
        changed += updates.len();
        let text = replaced(&file.text, updates);
        std::fs::write(&file.name, text).map_err(|error| Failure::World(format!("{}: {error}", file.name)))?;
    }
    Ok(changed)
}

/// From the end to the beginning, so that places before stay true.
fn replaced(text: &str, mut updates: Vec<Update>) -> String {
    updates.sort_by_key(|update| std::cmp::Reverse(update.from));
    let mut out = text.to_owned();
    for update in updates {
        let end = update.from.saturating_add(update.length);
        if out.is_char_boundary(update.from) && out.is_char_boundary(end) && end <= out.len() {
            out.replace_range(update.from..end, &written(&update.text));
        }
    }
    out
}

/// Plain where YAML reads the same text back, else in double quotes (JSON's are YAML's).
fn written(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '?' | '=' | '%' | '+');
    let word = !text.is_empty() && text.chars().all(plain) && !text.starts_with(['-', '?', '=', '%']);
    let special = ["null", "true", "false", "yes", "no", "on", "off", "~", "y", "n"];
    if word && !special.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::case::{Cases, read};

    #[test]
    fn a_value_is_replaced_where_it_stands_and_nothing_else() {
        let text = "# é\ncases:\n  - name: a # keep\n    request: {url: http://a/}\n    status: 200 # me too\n    route: \"old\"\n";
        let case = &read::<Cases>("c.yaml", text).unwrap()[0].cases[0].value;
        let status = (case.status.as_ref().unwrap().referenced, "404".to_owned());
        let route = (case.route.as_ref().unwrap().referenced, "new one".to_owned());
        let out = replaced(text, vec![status.into(), route.into()]);
        assert_eq!(out, text.replace("200", "404").replace("\"old\"", "\"new one\""));
    }

    #[test]
    fn what_yaml_would_read_otherwise_is_quoted() {
        for (text, yaml) in [("/x?y=1", "/x?y=1"), ("a: b", "\"a: b\""), ("", "\"\""), ("no", "\"no\""), ("v1", "v1")] {
            assert_eq!(written(text), yaml);
        }
    }
}
