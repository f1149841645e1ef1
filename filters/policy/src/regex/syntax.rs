//! RE2's grammar, read into the automaton builder's tree.
//!
//! Written after the rules of RE2's `parse.cc` in its Perl mode, the one Envoy uses: <https://github.com/google/re2/wiki/Syntax>.

use std::collections::BTreeSet;

use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Dot, Hir, Look, Repetition,
};

use super::classes::{self, perl, posix};
use super::{Fault, InvalidRegex};

/// RE2 refuses more repeats than this, nested ones multiplied.
const MAX_REPEAT: u32 = 1000;
/// Groups inside groups; each costs a few hundred bytes of stack here and in the compiler.
const MAX_DEPTH: u32 = 200;

/// What a pattern says.
pub(super) struct Parsed {
    pub(super) hir: Hir,
    pub(super) groups: usize,
}

/// Reads a whole pattern, a byte at a time: Envoy's RE2 compares bytes, whatever text they make. A `.` is one byte, and a
/// letter outside ASCII is the bytes it is written with.
pub(super) fn parse(pattern: &str) -> Result<Parsed, InvalidRegex> {
    let bytes: String = pattern.bytes().map(char::from).collect();
    read(&bytes).map_err(|error| error.in_text_of(pattern))
}

fn read(pattern: &str) -> Result<Parsed, InvalidRegex> {
    let mut parser = Parser { pattern, at: 0, groups: 0, names: BTreeSet::new(), repeats: 1 };
    let (hir, _) = parser.alternation(Flags::default(), 0)?;
    match parser.peek() {
        None => Ok(Parsed { hir, groups: parser.groups }),
        Some(_) => Err(InvalidRegex::new(Fault::UnexpectedParen, pattern)),
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_newline: bool,
    swap_greed: bool,
}

struct Parser<'p> {
    pattern: &'p str,
    at: usize,
    groups: usize,
    names: BTreeSet<&'p str>,
    /// The largest product of nested repeats in the atom read last.
    repeats: u32,
}

impl<'p> Parser<'p> {
    fn rest(&self) -> &'p str {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at = self.at.saturating_add(c.len_utf8());
        Some(c)
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at = self.at.saturating_add(token.len());
        }
        there
    }

    fn since(&self, start: usize) -> &'p str {
        self.pattern.get(start..self.at).unwrap_or_default()
    }

    fn fail<T>(&self, fault: Fault, start: usize) -> Result<T, InvalidRegex> {
        Err(InvalidRegex::new(fault, self.since(start)))
    }

    /// Up to the end or an unopened `)`. The second value is the largest product of nested repeats inside.
    fn alternation(&mut self, mut flags: Flags, depth: u32) -> Result<(Hir, u32), InvalidRegex> {
        if depth > MAX_DEPTH {
            return Err(InvalidRegex::new(Fault::Nesting, self.pattern));
        }
        let mut branches = Vec::new();
        let mut atoms = Vec::new();
        let mut repeats = 1;
        loop {
            match self.peek() {
                None | Some(')') => break,
                Some('|') => {
                    self.next();
                    branches.push(Hir::concat(std::mem::take(&mut atoms)));
                }
                Some(_) => {
                    if let Some(atom) = self.atom(&mut flags, depth)? {
                        atoms.push(self.repeated(atom, flags)?);
                        repeats = repeats.max(self.repeats);
                    }
                }
            }
        }
        branches.push(Hir::concat(atoms));
        Ok((Hir::alternation(branches), repeats))
    }

    /// One atom; `None` for what only changes the flags or is an empty quotation.
    fn atom(&mut self, flags: &mut Flags, depth: u32) -> Result<Option<Hir>, InvalidRegex> {
        let start = self.at;
        self.repeats = 1;
        match self.next() {
            Some('(') => self.group(start, flags, depth),
            Some('[') => self.class(start, *flags).map(Some),
            Some('.') => Ok(Some(Hir::dot(if flags.dot_newline { Dot::AnyByte } else { Dot::AnyByteExceptLF }))),
            Some('^') => Ok(Some(Hir::look(if flags.multi_line { Look::StartLF } else { Look::Start }))),
            Some('$') => Ok(Some(Hir::look(if flags.multi_line { Look::EndLF } else { Look::End }))),
            Some('*' | '+' | '?') => self.fail(Fault::MissingRepeatArgument, start),
            Some('{') => {
                let mut ahead = self.at;
                match counts(self.pattern, &mut ahead) {
                    Some(_) => {
                        self.at = ahead;
                        self.fail(Fault::MissingRepeatArgument, start)
                    }
                    None => literal('{', *flags).map(Some),
                }
            }
            Some('\\') => self.escaped_atom(start, *flags),
            Some(c) => literal(c, *flags).map(Some),
            None => Ok(None),
        }
    }

    /// Applies the repetition operator that follows, if one does.
    fn repeated(&mut self, atom: Hir, flags: Flags) -> Result<Hir, InvalidRegex> {
        let start = self.at;
        let Some((min, max)) = self.operator()? else { return Ok(atom) };
        let lazy = self.eat("?");
        let end = self.at;
        if self.operator()?.is_some() {
            return self.fail(Fault::NestedRepeat, start);
        }
        self.at = end;
        let times = max.unwrap_or(min).max(1);
        self.repeats = self.repeats.saturating_mul(times);
        if self.repeats > MAX_REPEAT {
            return self.fail(Fault::RepeatSize, start);
        }
        let greedy = lazy == flags.swap_greed;
        Ok(Hir::repetition(Repetition { min, max, greedy, sub: Box::new(atom) }))
    }

    /// `*`, `+`, `?`, or a well-formed `{n,m}`; anything else is not an operator.
    fn operator(&mut self) -> Result<Option<(u32, Option<u32>)>, InvalidRegex> {
        let start = self.at;
        let bounds = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let mut ahead = start.saturating_add(1);
                let Some((min, max)) = counts(self.pattern, &mut ahead) else { return Ok(None) };
                self.at = ahead;
                let reversed = max.is_some_and(|max| max < min);
                if reversed || min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT) {
                    return self.fail(Fault::RepeatSize, start);
                }
                return Ok(Some((min, max)));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(bounds))
    }

    /// After `(`.
    fn group(&mut self, start: usize, flags: &mut Flags, depth: u32) -> Result<Option<Hir>, InvalidRegex> {
        let mut inner = *flags;
        let mut name = None;
        let mut captures = true;
        if self.eat("?P<") || (self.rest().starts_with("?<") && !self.looks_behind() && self.eat("?<")) {
            name = Some(self.group_name(start)?);
        } else if self.eat("?") {
            captures = false;
            if self.group_flags(start, &mut inner)? {
                *flags = inner;
                return Ok(None);
            }
        }
        let index = if captures {
            self.groups = self.groups.saturating_add(1);
            u32::try_from(self.groups).ok()
        } else {
            None
        };
        let (body, repeats) = self.alternation(inner, depth.saturating_add(1))?;
        self.repeats = repeats;
        if !self.eat(")") {
            return Err(InvalidRegex::new(Fault::MissingParen, self.pattern));
        }
        Ok(Some(match index {
            Some(index) => Hir::capture(Capture { index, name: name.map(Box::from), sub: Box::new(body) }),
            None => body,
        }))
    }

    fn looks_behind(&self) -> bool {
        self.rest().starts_with("?<=") || self.rest().starts_with("?<!")
    }

    fn group_name(&mut self, start: usize) -> Result<&'p str, InvalidRegex> {
        let from = self.at;
        let Some(length) = self.rest().find('>') else {
            return Err(InvalidRegex::new(Fault::NamedCapture, self.pattern.get(start..).unwrap_or_default()));
        };
        let name = self.rest().get(..length).unwrap_or_default();
        self.at = from.saturating_add(length).saturating_add(1);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return self.fail(Fault::NamedCapture, start);
        }
        if !self.names.insert(name) {
            return Err(InvalidRegex::new(Fault::DuplicateName, name));
        }
        Ok(name)
    }

    /// After `(?`: true for `(?i)`, which is over, false for `(?i:`, whose body follows.
    fn group_flags(&mut self, start: usize, flags: &mut Flags) -> Result<bool, InvalidRegex> {
        let mut on = true;
        let mut seen = false;
        loop {
            match self.next() {
                Some('i') => flags.ignore_case = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_newline = on,
                Some('U') => flags.swap_greed = on,
                Some('-') if on => {
                    on = false;
                    seen = false;
                    continue;
                }
                // `(?)` and `(?-)` say nothing; `(?:` needs no flag.
                Some(':') if on || seen => return Ok(false),
                Some(')') if seen => return Ok(true),
                None => return Err(InvalidRegex::new(Fault::MissingParen, self.pattern)),
                Some(_) => return self.fail(Fault::Perl, start),
            }
            seen = true;
        }
    }

    /// After a backslash outside brackets.
    fn escaped_atom(&mut self, start: usize, flags: Flags) -> Result<Option<Hir>, InvalidRegex> {
        let hir = match self.peek() {
            Some('A') => Hir::look(Look::Start),
            Some('z') => Hir::look(Look::End),
            Some('b') => Hir::look(Look::WordAscii),
            Some('B') => Hir::look(Look::WordAsciiNegate),
            Some('C') => Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(0, 0xff)]))),
            Some('Q') => {
                self.next();
                return self.quotation(flags);
            }
            Some('p' | 'P') => {
                self.next();
                self.next();
                return self.fail(Fault::Unicode, start);
            }
            Some(letter) => match perl(letter) {
                Some(class) => Hir::class(bytes_of(&folded(class, flags, start, self)?)),
                None => {
                    let c = self.escape(start)?;
                    return literal(c, flags).map(Some);
                }
            },
            None => return self.fail(Fault::TrailingBackslash, start),
        };
        self.next();
        Ok(Some(hir))
    }

    /// `\Q…\E`, or to the end. Only the last character takes a repetition, so the others go in front of it.
    fn quotation(&mut self, flags: Flags) -> Result<Option<Hir>, InvalidRegex> {
        let text = self.rest();
        let (quoted, step) = match text.find("\\E") {
            Some(end) => (text.get(..end).unwrap_or_default(), end.saturating_add(2)),
            None => (text, text.len()),
        };
        self.at = self.at.saturating_add(step);
        let mut atoms = quoted.chars().map(|c| literal(c, flags)).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = atoms.pop() else { return Ok(None) };
        atoms.push(self.repeated(last, flags)?);
        Ok(Some(Hir::concat(atoms)))
    }

    /// The character an escape stands for, the backslash already read.
    fn escape(&mut self, start: usize) -> Result<char, InvalidRegex> {
        match self.next() {
            None => self.fail(Fault::TrailingBackslash, start),
            Some('a') => Ok('\x07'),
            Some('f') => Ok('\x0c'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('v') => Ok('\x0b'),
            Some('x') => self.hexadecimal(start),
            Some(first @ '0'..='7') => self.octal(first, start),
            Some(c) if c.is_ascii_punctuation() || c == ' ' || c.is_ascii_control() => Ok(c),
            Some(_) => self.fail(Fault::Escape, start),
        }
    }

    fn octal(&mut self, first: char, start: usize) -> Result<char, InvalidRegex> {
        let is_octal = |c: Option<char>| c.is_some_and(|c| ('0'..='7').contains(&c));
        if first != '0' && !is_octal(self.peek()) {
            // A single digit would be a back reference.
            return self.fail(Fault::Escape, start);
        }
        let mut code = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            if is_octal(self.peek()) {
                let digit = self.next().and_then(|c| c.to_digit(8)).unwrap_or_default();
                code = code.saturating_mul(8).saturating_add(digit);
            }
        }
        char::from_u32(code).map_or_else(|| self.fail(Fault::Escape, start), Ok)
    }

    fn hexadecimal(&mut self, start: usize) -> Result<char, InvalidRegex> {
        let digits = if self.eat("{") {
            let digits = self.rest().split('}').next().unwrap_or_default();
            self.at = self.at.saturating_add(digits.len());
            if !self.eat("}") {
                return self.fail(Fault::Escape, start);
            }
            digits
        } else {
            let from = self.at;
            self.next();
            self.next();
            if self.since(from).len() != 2 {
                return self.fail(Fault::Escape, start);
            }
            self.since(from)
        };
        let well_formed = !digits.is_empty() && digits.len() <= 8 && digits.chars().all(|c| c.is_ascii_hexdigit());
        let code = if well_formed { u32::from_str_radix(digits, 16).ok() } else { None };
        code.and_then(char::from_u32).map_or_else(|| self.fail(Fault::Escape, start), Ok)
    }

    /// After `[`.
    fn class(&mut self, start: usize, flags: Flags) -> Result<Hir, InvalidRegex> {
        let negated = self.eat("^");
        let mut set = ClassUnicode::empty();
        let mut first = true;
        loop {
            let item = self.at;
            match self.peek() {
                None => {
                    return Err(InvalidRegex::new(
                        Fault::MissingBracket,
                        self.pattern.get(start..).unwrap_or_default(),
                    ));
                }
                Some(']') if !first => {
                    self.next();
                    break;
                }
                Some('[') if self.rest().starts_with("[:") && self.rest().contains(":]") => {
                    set.union(&self.posix_class(item, flags)?);
                }
                Some('\\') if self.class_escape().is_some() => {
                    if let Some(class) = self.class_escape() {
                        self.next();
                        self.next();
                        set.union(&folded(class, flags, item, self)?);
                    }
                }
                Some('\\') if matches!(self.rest().get(1..2), Some("p" | "P")) => {
                    self.next();
                    self.next();
                    return self.fail(Fault::Unicode, item);
                }
                Some(_) => {
                    let range = self.class_range(item)?;
                    set.union(&folded(ClassUnicode::new([range]), flags, item, self)?);
                }
            }
            first = false;
        }
        if negated {
            set.negate();
        }
        Ok(Hir::class(bytes_of(&set)))
    }

    fn class_escape(&self) -> Option<ClassUnicode> {
        self.rest().chars().nth(1).and_then(perl)
    }

    fn posix_class(&mut self, start: usize, flags: Flags) -> Result<ClassUnicode, InvalidRegex> {
        let length = self.rest().find(":]").unwrap_or_default().saturating_add(2);
        self.at = self.at.saturating_add(length);
        let name = self.since(start).trim_start_matches("[:").trim_end_matches(":]");
        let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let Some(class) = posix(name) else { return self.fail(Fault::ClassRange, start) };
        let mut class = folded(class, flags, start, self)?;
        if negated {
            class.negate();
        }
        Ok(class)
    }

    fn class_range(&mut self, start: usize) -> Result<ClassUnicodeRange, InvalidRegex> {
        let low = self.class_character(start)?;
        let ends = self.rest().starts_with("-]") || !self.rest().starts_with('-');
        if ends {
            return Ok(ClassUnicodeRange::new(low, low));
        }
        self.next();
        let high = self.class_character(start)?;
        if high < low {
            return self.fail(Fault::ClassRange, start);
        }
        Ok(ClassUnicodeRange::new(low, high))
    }

    fn class_character(&mut self, start: usize) -> Result<char, InvalidRegex> {
        match self.next() {
            Some('\\') => {
                let escape = self.at.saturating_sub(1);
                self.escape(escape)
            }
            Some(c) => Ok(c),
            None => Err(InvalidRegex::new(Fault::MissingBracket, self.pattern.get(start..).unwrap_or_default())),
        }
    }
}

fn literal(c: char, flags: Flags) -> Result<Hir, InvalidRegex> {
    if !flags.ignore_case {
        return Ok(u8::try_from(c).map_or_else(|_| Hir::fail(), |byte| Hir::literal([byte])));
    }
    match classes::fold(ClassUnicode::new([ClassUnicodeRange::new(c, c)])) {
        Some(set) => Ok(Hir::class(bytes_of(&set))),
        None => Err(InvalidRegex::new(Fault::Unicode, c)),
    }
}

/// The bytes among the characters of a set.
fn bytes_of(set: &ClassUnicode) -> Class {
    let ranges = set.iter().filter_map(|range| {
        let start = u8::try_from(range.start()).ok()?;
        Some(ClassBytesRange::new(start, u8::try_from(range.end()).unwrap_or(u8::MAX)))
    });
    Class::Bytes(ClassBytes::new(ranges))
}

fn folded(set: ClassUnicode, flags: Flags, start: usize, parser: &Parser<'_>) -> Result<ClassUnicode, InvalidRegex> {
    if !flags.ignore_case {
        return Ok(set);
    }
    classes::fold(set).map_or_else(|| parser.fail(Fault::Unicode, start), Ok)
}

/// `n}`, `n,}` or `n,m}` behind a brace; moves `at` past it only if it is well formed.
fn counts(pattern: &str, at: &mut usize) -> Option<(u32, Option<u32>)> {
    let body = pattern.get(*at..)?.split('}').next()?;
    let end = at.checked_add(body.len())?;
    if pattern.get(end..)?.is_empty() {
        return None;
    }
    let bounds = match body.split_once(',') {
        None => number(body).map(|n| (n, Some(n))),
        Some((min, "")) => number(min).map(|n| (n, None)),
        Some((min, max)) => number(min).zip(number(max)).map(|(min, max)| (min, Some(max))),
    }?;
    *at = end.checked_add(1)?;
    Some(bounds)
}

/// Digits without a leading zero; what does not fit is far beyond the limit anyway.
fn number(digits: &str) -> Option<u32> {
    let canonical = digits == "0" || !digits.starts_with('0');
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (canonical && all_digits).then(|| digits.parse().unwrap_or(u32::MAX))
}
