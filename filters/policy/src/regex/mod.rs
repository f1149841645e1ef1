//! RE2's regular expressions, as Envoy runs them: bytes in, full match or search, ASCII classes, bounded size.
//!
//! The grammar is RE2's own (see `syntax`), not Rust's: what Envoy accepts is accepted, what it refuses is
//! refused with the same words, and `.` takes one UTF-8 character, never a stray byte.
//! The engine is the `regex` package, in wasm a part of it; both are linear in the text. Nothing of it runs, and
//! nothing is allocated, until a first pattern is compiled.

#[cfg(feature = "regex")]
mod classes;
#[cfg(feature = "regex")]
mod compile;
#[cfg(all(feature = "regex", any(target_family = "wasm", test)))]
mod lazy;
#[cfg(all(feature = "regex", not(target_family = "wasm")))]
mod native;
#[cfg(feature = "regex")]
mod replace;
#[cfg(feature = "regex")]
mod syntax;

#[cfg(not(feature = "regex"))]
mod absent;

use std::fmt;
use std::sync::Arc;

#[cfg(not(feature = "regex"))]
use absent::{Engine, compile};
#[cfg(feature = "regex")]
use compile::compile;
#[cfg(all(feature = "regex", target_family = "wasm"))]
use lazy::Engine;
#[cfg(all(feature = "regex", not(target_family = "wasm")))]
use native::Engine;

/// What a pattern may grow to when compiled, in bytes. RE2's own budget inside Envoy is of this order.
#[cfg(feature = "regex")]
const COMPILED_LIMIT: usize = 1 << 20;

/// A compiled pattern. Cheap to clone.
#[derive(Clone)]
pub struct Regex(Arc<Compiled>);

struct Compiled {
    pattern: String,
    engine: Engine,
    groups: usize,
    /// The bytes every match starts with, and whether they are the only text that matches.
    literal_prefix: (Vec<u8>, bool),
}

/// Why a pattern or a substitution was refused, with the piece of it that is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}: `{fragment}`{}", fault.cure())]
pub struct InvalidRegex {
    fault: Fault,
    fragment: String,
}

impl InvalidRegex {
    /// A fragment read byte by byte, as the text it is part of; where it cuts a character in two, the whole pattern.
    pub(crate) fn in_text_of(self, pattern: &str) -> InvalidRegex {
        let bytes: Vec<u8> = self.fragment.chars().filter_map(|c| u8::try_from(c).ok()).collect();
        let fragment = String::from_utf8(bytes).unwrap_or_else(|_| pattern.to_owned());
        InvalidRegex { fragment, ..self }
    }

    pub(crate) fn new(fault: Fault, fragment: impl Into<String>) -> InvalidRegex {
        InvalidRegex { fault, fragment: fragment.into() }
    }

    /// What is wrong, apart from where.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The piece of the pattern to blame.
    pub fn fragment(&self) -> &str {
        &self.fragment
    }
}

/// The kinds of refusal; the words are those of RE2's Go sibling, which Istio's admission shows its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// `[a`
    #[error("missing closing ]")]
    MissingBracket,
    /// `(a`
    #[error("missing closing )")]
    MissingParen,
    /// `a)`
    #[error("unexpected )")]
    UnexpectedParen,
    /// `*a`
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    /// `a**`
    #[error("invalid nested repetition operator")]
    NestedRepeat,
    /// `a{1001}`, or repetitions whose product is above 1000
    #[error("invalid repeat count")]
    RepeatSize,
    /// `[z-a]`
    #[error("invalid character class range")]
    ClassRange,
    /// `\y`, and the back references `\1`
    #[error("invalid escape sequence")]
    Escape,
    /// `a\`
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// Look-around and other Perl groups
    #[error("invalid or unsupported Perl syntax")]
    Perl,
    /// `(?P<n`
    #[error("invalid named capture")]
    NamedCapture,
    /// The same group name twice
    #[error("duplicate capture group name")]
    DuplicateName,
    /// Nested deeper than the parser goes
    #[error("expression nests too deeply")]
    Nesting,
    /// Compiles to more than the size limit
    #[error("expression too large")]
    TooLarge,
    /// Unicode properties, and `(?i)` over letters beyond ASCII
    #[error("Unicode tables are not carried")]
    Unicode,
    /// A substitution that ends in a backslash or escapes something else than a digit
    #[error("invalid substitution")]
    Substitution,
    /// A substitution that names a group the pattern does not have
    #[error("no such group in the pattern")]
    NoSuchGroup,
    /// This build has no regex engine
    #[error("this build carries no regex engine")]
    NoEngine,
}

impl Fault {
    fn cure(self) -> &'static str {
        match self {
            Fault::Perl => "; RE2 has no look-around, atomic groups or possessive repeats",
            Fault::Escape => "; RE2 has no back references, and letters escape only as listed in its syntax",
            Fault::RepeatSize => "; RE2 allows at most 1000 repeats, nested ones multiplied",
            Fault::MissingRepeatArgument => "; write `.*` for \"anything\"",
            Fault::Unicode => "; list the characters or ranges, in both cases where needed",
            Fault::Substitution => "; write `\\0` to `\\9` for a group and `\\\\` for a backslash",
            Fault::NoEngine => "; use `exact` or `prefix`, or the module built with regex",
            _ => "",
        }
    }
}

impl Regex {
    /// A pattern that must match the whole text, as in every Envoy route matcher.
    ///
    /// The pattern is parsed on its own before it is anchored, so `a)|(?:b` cannot climb out of the anchors.
    pub fn full(pattern: &str) -> Result<Regex, InvalidRegex> {
        compile(pattern, true).map(Arc::new).map(Regex)
    }

    /// A pattern that may match anywhere, as in Envoy's `regex_rewrite`.
    pub fn search(pattern: &str) -> Result<Regex, InvalidRegex> {
        compile(pattern, false).map(Arc::new).map(Regex)
    }

    /// Does the pattern match, in time linear in the text?
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.engine.is_match(text)
    }

    /// RE2's `GlobalReplace`: every match, left to right, no empty match right behind another match.
    pub fn replace_all(&self, text: &[u8], with: &Substitution) -> Vec<u8> {
        self.0.engine.replace_all(text, with)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.pattern
    }

    /// The bytes every match starts with, and whether they are the only text that matches.
    pub fn literal_prefix(&self) -> (&[u8], bool) {
        (&self.0.literal_prefix.0, self.0.literal_prefix.1)
    }

    /// How many capturing groups the pattern has, the whole match not counted.
    pub fn groups(&self) -> usize {
        self.0.groups
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.as_str())
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.as_str() == other.as_str()
    }
}

/// The right-hand side of a rewrite in RE2's words: `\0` to `\9` are groups, `\\` is a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitution(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Vec<u8>),
    Group(usize),
}

impl Substitution {
    /// Reads `text`, whose groups must exist in `pattern`.
    pub fn parse(text: &str, pattern: &Regex) -> Result<Substitution, InvalidRegex> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                plain.push(byte);
                continue;
            }
            match bytes.next() {
                Some(b'\\') => plain.push(b'\\'),
                Some(digit @ b'0'..=b'9') => {
                    let group = usize::from(digit.wrapping_sub(b'0'));
                    if group > pattern.groups() {
                        return Err(InvalidRegex::new(Fault::NoSuchGroup, format!("\\{group}")));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Group(group));
                }
                _ => return Err(InvalidRegex::new(Fault::Substitution, text)),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Substitution(parts))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
