//! Header names and values in operations.

/// Names that `set` and `add` of a request may use: any but pseudo-headers other than the authority.
pub(crate) fn request_name(name: &str) -> Result<(), String> {
    if name.starts_with(':') && !is_authority(name) {
        return Err(format!("invalid header {name:?}: header cannot have \":\" prefix"));
    }
    not_empty(name)
}

/// Names that `remove`, and every operation on a response, may use.
pub(crate) fn other_name(name: &str) -> Result<(), String> {
    if name.eq_ignore_ascii_case("host") {
        return Err(format!("invalid header {name:?}: cannot set Host header"));
    }
    if name.starts_with(':') {
        return Err(format!("invalid header {name:?}: header cannot have \":\" prefix"));
    }
    not_empty(name)
}

fn not_empty(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("header name cannot be empty".to_owned()) } else { Ok(()) }
}

/// `host` and `:authority` name the same thing.
pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// No control characters, and every `%` either doubled or the start of a closed `%VARIABLE%` or `%VARIABLE(…)%`.
pub(crate) fn value(value: &str) -> Result<(), String> {
    if value.chars().any(|c| matches!(c, '\0'..='\u{8}' | '\n'..='\u{1f}' | '\u{7f}')) {
        return Err(format!("header value configuration {value} is invalid"));
    }
    variables(value).map_err(|reason| format!("header value configuration: invalid header configuration. {reason}"))
}

/// Where in a value the scanner stands. The grammar is Envoy's old header parser, which the webhook still checks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Literal,
    Name,
    ArrayStart,
    Text,
    ArrayText,
    AfterText,
    ArgumentsEnd,
    End,
}

fn variables(value: &str) -> Result<(), String> {
    let mut state = Scan::Literal;
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        state = match (state, byte) {
            (Scan::Literal, b'%') => match bytes.peek() {
                None => return Err("Un-escaped %".to_owned()),
                Some(b'%') => {
                    bytes.next();
                    Scan::Literal
                }
                Some(_) => Scan::Name,
            },
            (Scan::Name, b'%') => Scan::Literal,
            (Scan::Name, b'(') => Scan::ArrayStart,
            (Scan::ArrayStart, b'[') => Scan::ArrayText,
            (Scan::ArrayStart, byte) if byte != b' ' => Scan::Text,
            (Scan::AfterText, b',') => Scan::ArrayText,
            (Scan::AfterText, b']') => Scan::ArgumentsEnd,
            (Scan::AfterText, byte) if byte != b' ' => return Err("Expecting ',', ']', or whitespace".to_owned()),
            (Scan::ArrayText, b'"') => Scan::Text,
            (Scan::ArrayText, byte) if byte != b' ' => return Err("Expecting '\"'".to_owned()),
            (Scan::Text, b'\\') => match bytes.next() {
                None => return Err("Un-terminated backslash in JSON string".to_owned()),
                Some(_) => Scan::Text,
            },
            (Scan::Text | Scan::ArgumentsEnd, b')') => Scan::End,
            (Scan::Text, b'"') => Scan::AfterText,
            (Scan::ArgumentsEnd, byte) if byte != b' ' => return Err("Expecting ')' or whitespace".to_owned()),
            (Scan::End, b'%') => Scan::Literal,
            (Scan::End, byte) if byte != b' ' => return Err("Expecting '%' or whitespace after ')'".to_owned()),
            (state, _) => state,
        };
    }
    if state == Scan::Literal { Ok(()) } else { Err("Un-terminated variable expression".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_doubled_or_closed() {
        for good in [
            "",
            "foo",
            "%HOSTNAME%",
            "100%%",
            "a %REQ(x-a?x-b)% b",
            "%START_TIME(%s.%3f)%",
            "%UPSTREAM_METADATA([\"a\", \"b\"])%",
        ] {
            assert_eq!(value(good), Ok(()), "{good}");
        }
        for bad in ["%REQ(x):10%", "abc%123", "100%", "%START_TIME%%", "%REQ(x", "%REQ(x)", "a\nb"] {
            assert!(value(bad).is_err(), "{bad}");
        }
    }
}
