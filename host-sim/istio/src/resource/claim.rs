//! `@request.auth.claims…` in place of a header name: routing on a claim of a validated token.

const PREFIX: &str = "@request.auth.claims";

/// The path of claims that `name` means: `.group.id` or `[group][id]` after the prefix, which may be in any case.
pub(crate) fn path(name: &str) -> Option<Vec<&str>> {
    let start = name.get(..PREFIX.len())?;
    let rest = name.get(PREFIX.len()..).filter(|_| start.eq_ignore_ascii_case(PREFIX))?;
    if let Some(dotted) = rest.strip_prefix('.').filter(|dotted| !dotted.is_empty()) {
        return Some(dotted.split('.').collect());
    }
    let bracketed = rest.strip_prefix('[')?.strip_suffix(']').filter(|inner| !inner.is_empty())?;
    Some(bracketed.split("][").collect())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn claims_are_named_with_dots_or_brackets() {
        assert_eq!(path("@request.auth.claims.group.id"), Some(vec!["group", "id"]));
        assert_eq!(path("@request.auth.claims[group][a.b]"), Some(vec!["group", "a.b"]));
        for name in ["@request.auth.claims", "@request.auth.claims.", "@request.auth.claims[]", "x-user"] {
            assert_eq!(path(name), None, "{name}");
        }
    }
}
