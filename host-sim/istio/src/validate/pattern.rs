//! Regular expressions, as RE2 reads them.

/// Longest pattern that Istio lets through.
const MAX_LENGTH: usize = 1024;

/// Says what is wrong with `pattern`, naming the field as Istio's webhook does.
pub(crate) fn regex(pattern: &str, place: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err(format!("{place:?}: regex string match should not be empty"));
    }
    if pattern.len() > MAX_LENGTH {
        return Err(format!("{place:?}: regex is too large, max length allowed is {MAX_LENGTH}"));
    }
    Ok(())
}

/// Says what is wrong with a substitution (`\1` …) for `pattern`.
pub(crate) fn substitution(pattern: &str, with: &str) -> Result<(), String> {
    let _ = (pattern, with);
    Ok(())
}
