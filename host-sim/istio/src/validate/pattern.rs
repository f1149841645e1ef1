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
    match policy::regex::Regex::search(pattern) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "{place:?}: error parsing regexp: {}: `{}`; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)",
            error.fault(),
            error.fragment()
        )),
    }
}

/// Says what is wrong with a substitution (`\1` …) for `pattern`.
pub(crate) fn substitution(pattern: &str, with: &str) -> Result<(), String> {
    let Ok(regex) = policy::regex::Regex::search(pattern) else { return Ok(()) };
    match policy::regex::Substitution::parse(with, &regex) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the substitution {with:?} does not fit the pattern: {error}; Envoy refuses it")),
    }
}
