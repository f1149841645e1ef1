//! RE2's named character classes, which are ASCII, and its folding of case.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

fn class(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(low, high)| ClassUnicodeRange::new(low, high)))
}

/// `\d`, `\s`, `\w` and their opposites.
pub(super) fn perl(letter: char) -> Option<ClassUnicode> {
    let mut set = match letter.to_ascii_lowercase() {
        'd' => class(&[('0', '9')]),
        's' => class(&[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')]),
        'w' => class(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        _ => return None,
    };
    if letter.is_ascii_uppercase() {
        set.negate();
    }
    Some(set)
}

/// The names inside `[[:name:]]`.
pub(super) fn posix(name: &str) -> Option<ClassUnicode> {
    Some(match name {
        "alnum" => class(&[('0', '9'), ('A', 'Z'), ('a', 'z')]),
        "alpha" => class(&[('A', 'Z'), ('a', 'z')]),
        "ascii" => class(&[('\0', '\x7f')]),
        "blank" => class(&[('\t', '\t'), (' ', ' ')]),
        "cntrl" => class(&[('\0', '\x1f'), ('\x7f', '\x7f')]),
        "digit" => class(&[('0', '9')]),
        "graph" => class(&[('!', '~')]),
        "lower" => class(&[('a', 'z')]),
        "print" => class(&[(' ', '~')]),
        "punct" => class(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
        "space" => class(&[('\t', '\r'), (' ', ' ')]),
        "upper" => class(&[('A', 'Z')]),
        "word" => class(&[('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')]),
        "xdigit" => class(&[('0', '9'), ('A', 'F'), ('a', 'f')]),
        _ => return None,
    })
}

/// The set with both cases of every letter, as far as ASCII reaches: `None` if it names letters beyond that,
/// whose cases would need Unicode's tables.
pub(super) fn fold(mut set: ClassUnicode) -> Option<ClassUnicode> {
    let mut more = Vec::new();
    for range in set.iter() {
        let (low, high) = (range.start(), range.end());
        // A range that runs to the end of Unicode comes from a negated class and holds both cases already.
        if high > '\x7f' && high != char::MAX && (low.max('\u{80}')..=high).any(char::is_alphabetic) {
            return None;
        }
        more.extend(overlap(low, high, 'a', 'z').map(|(a, b)| (a.to_ascii_uppercase(), b.to_ascii_uppercase())));
        more.extend(overlap(low, high, 'A', 'Z').map(|(a, b)| (a.to_ascii_lowercase(), b.to_ascii_lowercase())));
    }
    set.union(&class(&more));
    // Two letters of ASCII have a third case: the Kelvin sign and the long s.
    let holds = |set: &ClassUnicode, c: char| set.iter().any(|range| (range.start()..=range.end()).contains(&c));
    if holds(&set, 'k') {
        set.union(&class(&[('\u{212a}', '\u{212a}')]));
    }
    if holds(&set, 's') {
        set.union(&class(&[('\u{17f}', '\u{17f}')]));
    }
    Some(set)
}

fn overlap(low: char, high: char, from: char, to: char) -> Option<(char, char)> {
    let (low, high) = (low.max(from), high.min(to));
    (low <= high).then_some((low, high))
}
