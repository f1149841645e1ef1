//! Strings that stand for bytes: in case files one character is one byte.

use anyhow::{Context, Result};

/// The bytes a case's string stands for.
///
/// # Errors
/// A character above U+00FF stands for no byte.
pub fn encode(text: &str) -> Result<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).with_context(|| format!("{c:?} is no byte"))).collect()
}

/// The string a case would write for these bytes.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// A header value as the recorder kept it: without white space at its ends, the two of the upper half (U+0085, U+00A0) included.
#[must_use]
pub fn trim(value: &str) -> &str {
    value.trim_matches(|c: char| matches!(c, '\t'..='\r' | '\x1c'..='\x20' | '\u{85}' | '\u{a0}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_through_a_string() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&decode(&all)).unwrap(), all);
    }

    #[test]
    fn a_character_that_is_no_byte_is_refused() {
        assert!(encode("€").is_err());
    }

    #[test]
    fn white_space_is_trimmed_at_the_ends_alone() {
        for (value, kept) in [(" a b\t", "a b"), ("\u{a0}a\u{85}", "a"), ("", ""), ("\u{ff}", "\u{ff}")] {
            assert_eq!(trim(value), kept);
        }
    }
}
