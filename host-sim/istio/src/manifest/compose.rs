//! The usual document, straight from the parser's events into the tree: ten thousand routes are read in half the time.
//!
//! Usual is what has no anchor, alias, tag, merge key or directive, and no mistake. Everything else is left to the library above the parser,
//! which also words the errors. A test holds both against each other.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};

use super::node::{Entry, Node, Value};
use super::word::meaning;
use crate::problem::Position;

/// Deeper documents are not usual.
const DEEPEST: usize = 64;
/// Nor are larger maps: a key is compared with all before it.
const MOST_KEYS: usize = 256;

/// The document in `text`, if it is a usual one.
pub(super) fn usual(text: &str) -> Option<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut composer = Composer { parser: Parser::new_from_str_with_options(text, options) };
    matches!(composer.next()?, (Event::StreamStart, _)).then_some(())?;
    matches!(composer.next()?, (Event::DocumentStart(_, None), _)).then_some(())?;
    let first = composer.next()?;
    let node = composer.node(first, DEEPEST)?;
    matches!(composer.next()?, (Event::DocumentEnd, _)).then_some(())?;
    matches!(composer.next()?, (Event::StreamEnd, _)).then_some(node)
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Composer<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Position)> {
        let (event, span) = self.parser.next()?.ok()?;
        Some((event, position(&span)))
    }

    fn node(&mut self, (event, at): (Event<'t>, Position), depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let value = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style)?,
            Event::SequenceStart(_, 0, None) => self.list(depth)?,
            Event::MappingStart(_, 0, None) => self.map(depth)?,
            _ => return None,
        };
        Some(Node { at, value })
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::with_capacity(1);
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(Value::List(items)),
                item => items.push(self.node(item, depth)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        // Most maps of a manifest have one key, and a vector that begins by itself begins with room for four.
        let mut entries: Vec<Entry> = Vec::with_capacity(1);
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Some(Value::Map(entries)),
                (Event::Scalar(key, style, 0, None), at) if is_name(&key, style) => match truth(&key, style) {
                    // What kubectl makes of it: every key is text.
                    Some(truth) => (truth.to_string(), at),
                    None => (key.into_owned(), at),
                },
                _ => return None,
            };
            if entries.len() == MOST_KEYS || entries.iter().any(|entry| entry.key == key) {
                return None;
            }
            let value = self.next()?;
            entries.push(Entry { key, at, value: self.node(value, depth)? });
        }
    }
}

/// The truth value that a plain key like `on` or `y` is.
fn truth(key: &str, style: ScalarStyle) -> Option<bool> {
    let may_be = style == ScalarStyle::Plain && key.len() <= "false".len() && !begins_text(*key.as_bytes().first()?);
    match may_be.then(|| meaning(key))? {
        Some(Value::Bool(truth)) => Some(truth),
        _ => None,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Option<Value> {
    match text.as_bytes() {
        _ if style != ScalarStyle::Plain => Some(Value::Text(text.to_owned())),
        // Alone these would be the marks between documents.
        [b'-', b'-', b'-', ..] | [b'.', b'.', b'.', ..] => None,
        [first, ..] if begins_text(*first) => Some(Value::Text(text.to_owned())),
        _ => meaning(text),
    }
}

/// No number, truth value or null begins like this: not `yes`, `no`, `on`, `off`, `true`, `false`, `null`, `inf`, `nan`.
fn begins_text(first: u8) -> bool {
    first == b'/' || first.is_ascii_alphabetic() && !b"yYnNtTfFoOiI".contains(&first)
}

/// A key that means its own text.
fn is_name(key: &str, style: ScalarStyle) -> bool {
    style != ScalarStyle::Plain
        || key.starts_with(|first: char| first.is_ascii_alphabetic()) && !key.eq_ignore_ascii_case("null")
}

fn position(span: &Span) -> Position {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Position { line: count(span.start.line()), column: count(span.start.col()).saturating_add(1) }
}
