//! A text that a pattern matches, to ask what becomes of it.

use std::{iter::Peekable, str::Chars};

use policy::regex::Regex;

use crate::resource::virtual_service::StringMatch;

/// A few texts that fit, the plainest first; none when we find none.
pub(super) fn of(condition: &StringMatch) -> Vec<String> {
    match (&condition.exact, &condition.prefix, &condition.regex) {
        (Some(exact), ..) => vec![exact.clone()],
        (None, Some(prefix), _) => vec![prefix.clone()],
        (None, None, Some(regex)) if regex != "*" => of_regex(regex),
        _ => vec!["x".to_owned()],
    }
}

/// Texts that `pattern` matches as a whole: optional parts left out, then once.
pub(super) fn of_regex(pattern: &str) -> Vec<String> {
    let Ok(regex) = Regex::full(pattern) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    for optional in [0, 1] {
        let text = Maker { chars: pattern.chars().peekable(), optional }.alternatives();
        if regex.is_match(text.as_bytes()) && !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

/// Whether a value fits, as Envoy compares: bytes, a regex as a whole.
pub(super) fn fits(condition: &StringMatch, value: &str) -> bool {
    match (&condition.exact, &condition.prefix, &condition.regex) {
        (Some(exact), ..) => value == exact,
        (None, Some(prefix), _) => value.starts_with(prefix.as_str()),
        (None, None, Some(regex)) if regex != "*" => {
            Regex::full(regex).is_ok_and(|regex| regex.is_match(value.as_bytes()))
        }
        _ => true,
    }
}

/// Walks a pattern and writes down one text; what it makes is checked against the pattern by the caller.
struct Maker<'p> {
    chars: Peekable<Chars<'p>>,
    /// How often parts under `*` and `?` come.
    optional: usize,
}

impl Maker<'_> {
    /// The first of `a|b|c`, up to a closing parenthesis or the end.
    fn alternatives(&mut self) -> String {
        let mut first = None;
        loop {
            let text = self.sequence();
            first.get_or_insert(text);
            if self.chars.next_if_eq(&'|').is_none() {
                return first.unwrap_or_default();
            }
        }
    }

    fn sequence(&mut self) -> String {
        let mut out = String::new();
        while let Some(c) = self.chars.next_if(|c| !matches!(c, '|' | ')')) {
            let atom = match c {
                '^' | '$' => continue,
                '.' => "x".to_owned(),
                '\\' => self.escape(),
                '[' => self.class(),
                '(' => self.group(),
                other => other.to_string(),
            };
            let times = self.times();
            out.push_str(&atom.repeat(times));
        }
        out
    }

    fn times(&mut self) -> usize {
        let times = match self.chars.peek() {
            Some('*' | '?') => self.optional,
            Some('+') => 1,
            Some('{') => {
                self.chars.next();
                let mut digits = String::new();
                while let Some(c) = self.chars.next_if(char::is_ascii_digit) {
                    digits.push(c);
                }
                while self.chars.next_if(|c| *c != '}').is_some() {}
                // Never so often that the text matters more than the pattern.
                digits.parse().unwrap_or(0).min(64)
            }
            _ => return 1,
        };
        self.chars.next();
        self.chars.next_if_eq(&'?');
        times
    }

    fn escape(&mut self) -> String {
        match self.chars.next() {
            Some('d') => "1".to_owned(),
            Some('w') => "x".to_owned(),
            Some('s') => " ".to_owned(),
            Some('D' | 'S') => "x".to_owned(),
            Some('W') => "-".to_owned(),
            Some('b' | 'B' | 'A' | 'z') | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    fn class(&mut self) -> String {
        let negated = self.chars.next_if_eq(&'^').is_some();
        let mut members = String::new();
        let mut first = true;
        while let Some(c) = self.chars.next_if(|c| first || *c != ']') {
            first = false;
            match c {
                '\\' => members.push_str(&self.escape()),
                other => members.push(other),
            }
        }
        self.chars.next();
        if !negated {
            return members.chars().next().unwrap_or('x').to_string();
        }
        ['x', 'a', '1', '-', '/'].into_iter().find(|c| !members.contains(*c)).unwrap_or('_').to_string()
    }

    fn group(&mut self) -> String {
        if self.chars.next_if_eq(&'?').is_some() {
            // (?:…), (?i), (?P<name>…)
            while self.chars.next_if(|c| !matches!(c, ':' | '>' | ')')).is_some() {}
            if self.chars.peek() != Some(&')') {
                self.chars.next();
            }
        }
        let text = self.alternatives();
        self.chars.next_if_eq(&')');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_an_example() {
        for pattern in [
            "/api/v[0-9]+/.*",
            r"^(.*?;)?(user=jason)(;.*)?$",
            "/(a|b)/c?",
            r"/users/\d{3}(/items)*",
            "[^/]+@shop\\.example\\.com",
            "(?i)/abc",
            "(?P<name>x+)y",
            "a|b",
            ".+",
        ] {
            assert!(!of_regex(pattern).is_empty(), "{pattern}");
        }
    }
}
