//! Envoy's substitution format: literal text and `%COMMAND(arguments):length%`.
//!
//! Source: `source/common/formatter/substitution_formatter.cc` and `docs/root/configuration/observability/access_log/usage.rst`.

use bytes::Bytes;
use thiserror::Error;

use super::command::Command;
use super::facts::Facts;

/// A compiled format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Bytes),
    /// `limit` cuts the value to that many bytes.
    Value {
        command: Command,
        limit: Option<usize>,
    },
}

/// Why a format string was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFormat {
    /// `50%`
    #[error("\"%\" at byte {at} of \"{format}\" starts no %COMMAND%; a literal percent sign is written %%")]
    Stray {
        /// Where.
        at: usize,
        /// The whole text.
        format: String,
    },
    /// `%REQQ(x)%`
    #[error("\"%{command}%\" is not a command Envoy knows")]
    Unknown {
        /// The command's name.
        command: String,
    },
    /// `%UNIQUE_ID%`
    #[error("\"%{command}%\" is a command of Envoy's that is not carried out here")]
    NotDone {
        /// The command's name.
        command: String,
    },
    /// `%REQ%`
    #[error("\"%{command}({arguments})%\": {wants}")]
    Arguments {
        /// The command's name.
        command: String,
        /// What stood in the parentheses.
        arguments: String,
        /// What belongs there.
        wants: &'static str,
    },
}

/// What a value that is not there prints as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: in headers.
    Empty,
    /// `-`: in the access log.
    Dash,
}

impl Format {
    /// Compiles a format string.
    pub fn parse(text: &str) -> Result<Format, InvalidFormat> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let stray = || InvalidFormat::Stray {
                at: text.len().saturating_sub(after.len()).saturating_sub(1),
                format: text.to_owned(),
            };
            let (name, arguments, limit, after) = split_command(after).ok_or_else(stray)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(Bytes::from(std::mem::take(&mut literal))));
            }
            parts.push(Part::Value { command: Command::parse(name, arguments)?, limit });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(Bytes::from(literal)));
        }
        Ok(Format { parts })
    }

    /// The text, when it has no command in it.
    pub fn constant(&self) -> Option<Bytes> {
        match self.parts.as_slice() {
            [] => Some(Bytes::new()),
            [Part::Literal(text)] => Some(text.clone()),
            _ => None,
        }
    }

    /// Prints the text for one stream.
    pub fn render(&self, facts: &Facts<'_>, missing: Missing) -> Bytes {
        if let Some(constant) = self.constant() {
            return constant;
        }
        let mut out = Vec::with_capacity(64);
        self.render_into(facts, missing, &mut out);
        Bytes::from(out)
    }

    /// The value of a format that is one command and nothing else; nothing where the command has none.
    pub(crate) fn value(&self, facts: &Facts<'_>) -> Option<Bytes> {
        let [Part::Value { command, limit }] = self.parts.as_slice() else { return None };
        let mut out = Vec::new();
        command.write(facts, &mut out).then(|| {
            out.truncate(limit.unwrap_or(usize::MAX));
            Bytes::from(out)
        })
    }

    /// The text as [`Format::render`] prints it, behind what `out` holds already.
    pub fn render_into(&self, facts: &Facts<'_>, missing: Missing, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Value { command, limit } => {
                    let start = out.len();
                    if !command.write(facts, out) {
                        out.truncate(start);
                        if missing == Missing::Dash {
                            out.push(b'-');
                        }
                    }
                    if let Some(limit) = limit {
                        out.truncate(start.saturating_add(*limit).min(out.len()));
                    }
                }
            }
        }
    }
}

/// Name, arguments, limit and what follows of `NAME(arguments):limit%…`.
fn split_command(text: &str) -> Option<(&str, Option<&str>, Option<usize>, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
    let (name, rest) = text.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    let (arguments, rest) = match rest.strip_prefix('(') {
        Some(inner) => {
            let (arguments, rest) = inner.split_once(')')?;
            (Some(arguments), rest)
        }
        None => (None, rest),
    };
    let (limit, rest) = match rest.strip_prefix(':') {
        Some(inner) => {
            let (digits, _) = inner.split_once('%')?;
            (Some(digits.parse().ok()?), inner.get(digits.len()..)?)
        }
        None => (None, rest),
    };
    Some((name, arguments, limit, rest.strip_prefix('%')?))
}
