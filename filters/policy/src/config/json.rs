//! JSON as it is written (RFC 8259): a tree of values that remembers the spelling of numbers and the order of names.
//!
//! Small on purpose: this reader is part of every module. Types are read from the tree by [`wire`](super::wire).

use std::borrow::Cow;

use super::quoted;

/// How deep lists and objects may be nested.
const DEEPEST: usize = 128;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json<'t> {
    Null,
    Bool(bool),
    /// As it is spelled.
    Number(&'t str),
    String(Cow<'t, str>),
    List(Vec<Json<'t>>),
    /// In order; a name may stand there twice.
    Object(Vec<(Cow<'t, str>, Json<'t>)>),
}

/// Why a text is no JSON, and where: a line from 1, a column in bytes from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {why} (line {line}, column {column})")]
pub(crate) struct NotJson {
    why: &'static str,
    line: usize,
    column: usize,
}

impl<'t> Json<'t> {
    /// The one value of a text.
    pub(crate) fn parse(text: &'t [u8]) -> Result<Json<'t>, NotJson> {
        let mut parser = match std::str::from_utf8(text) {
            Ok(text) => Parser { text, at: 0 },
            Err(error) => {
                let at = error.valid_up_to();
                let valid = text.get(..at).and_then(|valid| std::str::from_utf8(valid).ok());
                return Err(Parser { text: valid.unwrap_or_default(), at }.fault("the text is not UTF-8"));
            }
        };
        let parsed = parser.value(DEEPEST).and_then(|value| {
            parser.skip_space();
            if parser.peek().is_none() { Ok(value) } else { Err("trailing characters") }
        });
        parsed.map_err(|why| parser.fault(why))
    }

    /// What it is, in the words of an error: `string "x"`.
    pub(crate) fn kind(&self) -> String {
        match self {
            Json::Null => "null".into(),
            Json::Bool(value) => format!("boolean `{value}`"),
            Json::Number(text) if whole(text) => format!("integer `{text}`"),
            Json::Number(text) => format!("floating point `{text}`"),
            Json::String(text) => format!("string \"{}\"", quoted(text)),
            Json::List(_) => "sequence".into(),
            Json::Object(_) => "map".into(),
        }
    }
}

/// Is the number spelled without fraction and exponent?
pub(crate) fn whole(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.step();
        Some(byte)
    }

    /// Takes the byte if it stands here.
    fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        if here {
            self.step();
        }
        here
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.step();
        }
    }

    fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn fault(&self, why: &'static str) -> NotJson {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count().saturating_add(1);
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline.saturating_add(1));
        NotJson { why, line, column: self.at.saturating_sub(start).saturating_add(1) }
    }

    /// `deeper` more levels may be opened.
    fn value(&mut self, deeper: usize) -> Parsed<Json<'t>> {
        self.skip_space();
        match self.peek() {
            None => Err("EOF where a value should stand"),
            Some(b'"') => {
                self.step();
                Ok(Json::String(self.string()?))
            }
            Some(b'[') => self.list(deeper.checked_sub(1).ok_or("nested too deep")?),
            Some(b'{') => self.object(deeper.checked_sub(1).ok_or("nested too deep")?),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Parsed<Json<'t>> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if rest.starts_with(word) {
                self.at = self.at.saturating_add(word.len());
                return Ok(value);
            }
        }
        Err("a value begins with {, [, \", a digit or -, or is null, true or false")
    }

    fn list(&mut self, deeper: usize) -> Parsed<Json<'t>> {
        self.step();
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(deeper)?);
            self.skip_space();
            match self.next() {
                Some(b',') => {}
                Some(b']') => return Ok(Json::List(items)),
                Some(_) => return Err("a list goes on with `,` or ends with `]`"),
                None => return Err("EOF in a list"),
            }
        }
    }

    fn object(&mut self, deeper: usize) -> Parsed<Json<'t>> {
        self.step();
        let mut fields = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.skip_space();
            match self.next() {
                Some(b'"') => {}
                Some(_) => return Err("a name in an object is a string"),
                None => return Err("EOF in an object"),
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err("a `:` stands behind a name");
            }
            fields.push((name, self.value(deeper)?));
            self.skip_space();
            match self.next() {
                Some(b',') => {}
                Some(b'}') => return Ok(Json::Object(fields)),
                Some(_) => return Err("an object goes on with `,` or ends with `}`"),
                None => return Err("EOF in an object"),
            }
        }
    }

    fn digits(&mut self) -> Parsed<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err("a digit should stand here");
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step();
        }
        Ok(())
    }

    fn number(&mut self) -> Parsed<Json<'t>> {
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err("a number does not begin with 0");
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Json::Number(self.since(start)))
    }

    /// The rest of a string; borrowed where nothing is escaped.
    fn string(&mut self) -> Parsed<Cow<'t, str>> {
        let mut whole = String::new();
        let mut start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let piece = self.since(start);
                    self.step();
                    if whole.is_empty() {
                        return Ok(Cow::Borrowed(piece));
                    }
                    whole.push_str(piece);
                    return Ok(Cow::Owned(whole));
                }
                Some(b'\\') => {
                    whole.push_str(self.since(start));
                    self.step();
                    whole.push(self.escape()?);
                    start = self.at;
                }
                Some(0..0x20) => return Err("a control character in a string is written \\u00XX"),
                Some(_) => self.step(),
                None => return Err("EOF in a string"),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        Ok(match self.next() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return Err("no such escape"),
        })
    }

    fn code_point(&mut self) -> Parsed<char> {
        const LONE: &str = "half of a surrogate pair";
        let first = self.four_digits()?;
        let code = match first {
            0xd800..0xdc00 => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(LONE);
                }
                let second = self.four_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(LONE);
                }
                ((first & 0x3ff).wrapping_shl(10) | (second & 0x3ff)).saturating_add(0x1_0000)
            }
            _ => first,
        };
        char::from_u32(code).ok_or(LONE)
    }

    fn four_digits(&mut self) -> Parsed<u32> {
        let mut code: u32 = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or("\\u has four digits")?;
            code = code.wrapping_shl(4) | digit;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(text: &str, expected: &str) {
        let said = match Json::parse(text.as_bytes()) {
            Ok(json) => format!("{json:?}").replace("String(", "(").replace("Number(", "("),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{text}");
    }

    sentences! {
        fn values_are_read_as_they_are_spelled() {
            check(" null ", "Null");
            check("[true,false]", "List([Bool(true), Bool(false)])");
            check("[]", "List([])");
            check("{ }", "Object([])");
            check("[0, -1, 1.50, 1e+9, -0.0E-1]", r#"List([("0"), ("-1"), ("1.50"), ("1e+9"), ("-0.0E-1")])"#);
            check(r#"{"b": 1, "a": {"b": ""}, "b": 2}"#, r#"Object([("b", ("1")), ("a", Object([("b", (""))])), ("b", ("2"))])"#);
        }

        fn escapes_stand_for_characters() {
            let json = Json::parse(br#""a\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00z""#);
            assert_eq!(json, Ok(Json::String("a\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{1f600}z".into())));
            assert_eq!(Json::parse(br#""\u0000""#), Ok(Json::String("\0".into())));
        }

        fn what_is_no_json_is_told_with_its_place() {
            check("", "not JSON: EOF where a value should stand (line 1, column 1)");
            check("{", "not JSON: EOF in an object (line 1, column 2)");
            check("{\n  \"a\": x}", "not JSON: a value begins with {, [, \", a digit or -, or is null, true or false (line 2, column 8)");
            check("[1,]", "not JSON: a value begins with {, [, \", a digit or -, or is null, true or false (line 1, column 4)");
            check("[1 2]", "not JSON: a list goes on with `,` or ends with `]` (line 1, column 5)");
            check("{\"a\" 1}", "not JSON: a `:` stands behind a name (line 1, column 6)");
            check("{a: 1}", "not JSON: a name in an object is a string (line 1, column 3)");
            check("{} {}", "not JSON: trailing characters (line 1, column 4)");
            check("01", "not JSON: a number does not begin with 0 (line 1, column 2)");
            for text in ["-", "1.", ".5", "1e", "+1", "nul", "'a'", "\"a", "\"\n\"", r#""\x""#, r#""\ud800""#, r#""\ud800\u0041""#, r#""\udc00""#, r#""\u12g4""#] {
                assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
            }
            assert_eq!(Json::parse(b"[\"\xff\"]").unwrap_err().to_string(), "not JSON: the text is not UTF-8 (line 1, column 3)");
        }

        fn nesting_has_an_end() {
            let nested = |deep: usize| ["[".repeat(deep), "]".repeat(deep)].concat();
            assert!(Json::parse(nested(128).as_bytes()).is_ok());
            assert!(Json::parse(nested(129).as_bytes()).is_err());
            assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod laws {
        use super::super::*;
        use proptest::prelude::*;

        /// Another reader's view of the same text.
        fn same(ours: &Json<'_>, theirs: &serde_json::Value) -> bool {
            match (ours, theirs) {
                (Json::Null, serde_json::Value::Null) => true,
                (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
                (Json::Number(a), serde_json::Value::Number(b)) => a.parse::<f64>().ok() == b.as_f64(),
                (Json::String(a), serde_json::Value::String(b)) => a == b,
                (Json::List(a), serde_json::Value::Array(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
                }
                // Of a name that stands twice, the other reader keeps the last.
                (Json::Object(a), serde_json::Value::Object(b)) => b.iter().all(|(name, value)| {
                    a.iter().rev().find(|(other, _)| other == name).is_some_and(|(_, ours)| same(ours, value))
                }),
                _ => false,
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(20_000))]

            #[test]
            fn another_reader_reads_the_same(text in r#"([\[\]{}:,"]|\\\\|u00e9|ud83d\\\\ude00|"a"|"b":|[ \n]|true|null|-?[0-9]{1,3}(\.[0-9])?(e[0-9])?){0,12}"#) {
                match (Json::parse(text.as_bytes()), serde_json::from_str::<serde_json::Value>(&text)) {
                    (Ok(ours), Ok(theirs)) => prop_assert!(same(&ours, &theirs), "{ours:?} {theirs:?}"),
                    (ours, theirs) => prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", text, ours, theirs),
                }
            }
        }
    }
}
