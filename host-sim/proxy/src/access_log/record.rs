//! One stream as one line, or as the body of an answer of our own.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::InvalidAccessLog;
use crate::header_ops::{Facts, Format, Missing};

/// Envoy's own text format, for a log that names none.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";
/// Commands whose value is a number in JSON, when it stands alone.
const NUMBERS: [&str; 9] = [
    "RESPONSE_CODE",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "DURATION",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "CONNECTION_ID",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
];
/// Likewise, by how they end: `DOWNSTREAM_LOCAL_PORT`.
const PORTS: &str = "_PORT";

/// A compiled format.
#[derive(Debug)]
pub(crate) enum Record {
    Text {
        format: Format,
        /// What a value that is not there prints as.
        missing: Missing,
        /// The format itself has line breaks before its end.
        multiline: bool,
    },
    Json {
        fields: Node,
        /// `omit_empty_values`
        omit: bool,
    },
}

/// A JSON format, keys sorted as Envoy sorts them.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Value),
    /// A command alone: null when its value is missing.
    Value {
        format: Format,
        number: bool,
    },
    /// Text and commands: always a string.
    Mixed(Format),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Record {
    /// From the configuration of a file, stdout or stderr logger.
    pub(super) fn compile(config: &Value) -> Result<Self, InvalidAccessLog> {
        let format = config.get("log_format").map(xds::SubstitutionFormatString::deserialize).transpose();
        let format = format.map_err(|error| InvalidAccessLog::Format(format!("log_format: {error}")))?;
        let json = config.get("json_format").or_else(|| config.get("typed_json_format"));
        let text = || config.get("format").and_then(Value::as_str).filter(|text| !text.is_empty());
        match (format, json) {
            (Some(format), _) if format != xds::SubstitutionFormatString::default() => Self::of_format(&format),
            (_, Some(fields)) => Ok(Self::Json { fields: Node::compile(fields)?, omit: false }),
            _ => Self::text(text().unwrap_or(DEFAULT), Missing::Dash),
        }
    }

    /// From a format of its own.
    ///
    /// # Errors
    /// A text that comes from a file or the like, a command that is none.
    pub(crate) fn of_format(format: &xds::SubstitutionFormatString) -> Result<Self, InvalidAccessLog> {
        let omit = format.omit_empty_values;
        if let Some(fields) = &format.json_format {
            return Ok(Self::Json { fields: Node::compile(fields)?, omit });
        }
        let source = format.text_format_source.as_ref();
        if source.is_some_and(|source| source.inline_string.is_none()) {
            return Err(InvalidAccessLog::Unsupported("a text_format_source other than inline_string".to_owned()));
        }
        let text = source.and_then(|source| source.inline_string.as_ref()).or(format.text_format.as_ref());
        Self::text(text.map_or("", String::as_str), if omit { Missing::Empty } else { Missing::Dash })
    }

    fn text(text: &str, missing: Missing) -> Result<Self, InvalidAccessLog> {
        Ok(Self::Text { format: parse(text)?, missing, multiline: text.trim_end_matches('\n').contains('\n') })
    }

    /// The line of a log, with its end.
    pub(super) fn line(&self, facts: &Facts<'_>) -> Vec<u8> {
        let rendered = self.render(facts);
        match self {
            Self::Text { multiline, .. } => escape_controls(rendered, *multiline),
            Self::Json { .. } => rendered,
        }
    }

    /// Whatever bytes are in it.
    pub(crate) fn render(&self, facts: &Facts<'_>) -> Vec<u8> {
        match self {
            Self::Text { format, missing, .. } => {
                let mut text = Vec::with_capacity(512);
                format.render_into(facts, *missing, &mut text);
                text
            }
            Self::Json { fields, omit } => {
                let mut line = fields.render(facts, *omit).unwrap_or(Value::Null).to_string().into_bytes();
                line.push(b'\n');
                line
            }
        }
    }
}

impl Node {
    fn compile(value: &Value) -> Result<Self, InvalidAccessLog> {
        Ok(match value {
            Value::String(text) => Self::text(text)?,
            Value::Array(items) => Self::List(items.iter().map(Self::compile).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let mut nodes = Vec::new();
                for (key, value) in fields {
                    nodes.push((key.clone(), Self::compile(value)?));
                }
                nodes.sort_by(|(a, _), (b, _)| a.cmp(b));
                Self::Object(nodes)
            }
            other => Self::Constant(other.clone()),
        })
    }

    fn text(text: &str) -> Result<Self, InvalidAccessLog> {
        let format = parse(text)?;
        if let Some(constant) = format.constant() {
            return Ok(Self::Constant(Value::from(string(&constant))));
        }
        let Some(command) = alone(text) else { return Ok(Self::Mixed(format)) };
        Ok(Self::Value { format, number: NUMBERS.contains(&command) || command.ends_with(PORTS) })
    }

    /// None: nothing to show, and nothing is what shall be shown.
    fn render(&self, facts: &Facts<'_>, omit: bool) -> Option<Value> {
        let missing = if omit { None } else { Some(Value::Null) };
        match self {
            Self::Constant(Value::Null) => missing,
            Self::Constant(value) => Some(value.clone()),
            Self::Mixed(format) => {
                let filler = if omit { Missing::Empty } else { Missing::Dash };
                Some(Value::from(string(&format.render(facts, filler))))
            }
            Self::Value { format, number } => {
                let Some(text) = format.value(facts) else { return missing };
                let text = string(&text);
                Some(
                    text.parse::<u64>()
                        .ok()
                        .filter(|_| *number)
                        .map_or_else(|| Value::from(text), |n| Value::Number(Number::from(n))),
                )
            }
            Self::Object(fields) => {
                let shown = fields.iter().filter_map(|(key, node)| Some((key.clone(), node.render(facts, omit)?)));
                Some(Value::Object(shown.collect::<Map<_, _>>()))
            }
            Self::List(items) => Some(Value::Array(items.iter().filter_map(|item| item.render(facts, omit)).collect())),
        }
    }
}

fn parse(text: &str) -> Result<Format, InvalidAccessLog> {
    Format::parse(text).map_err(|error| InvalidAccessLog::Format(error.to_string()))
}

/// The name of the command, when the text is one command and nothing else.
fn alone(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('%')?.strip_suffix('%')?;
    let name = inner.split(['(', ':']).next()?;
    let rest = inner.get(name.len()..)?;
    let arguments = rest.is_empty() || (rest.starts_with(['(', ':']) && !rest.contains('%'));
    (!name.is_empty() && arguments).then_some(name)
}

/// UTF-8, or, when it is not, each byte as the character of its number: Envoy writes such values so.
fn string(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// A value with a line break in it would be two records: control bytes become `\xHH`, tabs and the end of the line apart.
fn escape_controls(line: Vec<u8>, multiline: bool) -> Vec<u8> {
    let last = line.len().saturating_sub(1);
    let harmless = |at: usize, byte: u8| match byte {
        b'\t' => true,
        b'\n' => multiline || at == last,
        byte => byte >= 0x20 && byte != 0x7f,
    };
    if line.iter().enumerate().all(|(at, byte)| harmless(at, *byte)) {
        return line;
    }
    let mut escaped = Vec::with_capacity(line.len() + 16);
    for (at, byte) in line.into_iter().enumerate() {
        if harmless(at, byte) {
            escaped.push(byte);
        } else {
            escaped.extend(format!("\\x{byte:02x}").into_bytes());
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use serde_json::json;

    use super::super::{Encoding, istio_file_log};
    use super::*;
    use crate::edge::{ConnectionInfo, Protocol};
    use crate::header_ops::StreamInfo;

    fn connection() -> ConnectionInfo {
        ConnectionInfo {
            id: 7,
            remote: ([127, 0, 0, 1], 40_000).into(),
            relay: None,
            local: ([127, 0, 0, 1], 8_080).into(),
            node_address: [127, 0, 0, 1].into(),
            protocol: Protocol::Http11,
            tls: None,
        }
    }

    fn stream() -> StreamInfo {
        StreamInfo {
            start: Duration::from_millis(1_700_000_000_123),
            complete: Some(Duration::from_millis(12)),
            response_code: Some(404),
            details: Some("route_not_found".into()),
            flags: crate::local_reply::Flag::NoRouteFound.into(),
            bytes_sent: 9,
            route_name: Arc::from(""),
            ..StreamInfo::default()
        }
    }

    /// The line of one request with these headers.
    fn line(config: &Value, headers: &[(&'static str, &'static [u8])]) -> String {
        let mut request = vec![
            (Bytes::from_static(b":method"), Bytes::from_static(b"GET")),
            (Bytes::from_static(b":path"), Bytes::from_static(b"/a?b")),
            (Bytes::from_static(b":authority"), Bytes::from_static(b"shop.example")),
        ];
        request.extend(headers.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from_static(value))));
        let (connection, stream) = (connection(), stream());
        let facts = Facts::of_request(&request, &connection, &stream);
        String::from_utf8(Record::compile(config).unwrap().line(&facts)).unwrap()
    }

    fn text(format: &str) -> Value {
        json!({"log_format": {"text_format_source": {"inline_string": format}}})
    }

    #[test]
    fn istios_text_format() {
        let config = istio_file_log("/dev/stdout", Encoding::Text, "");
        assert_eq!(
            line(&config["typed_config"], &[("user-agent", b"curl")]),
            "[2023-11-14T22:13:20.123Z] \"GET /a?b HTTP/1.1\" 404 NR route_not_found - \"-\" 0 9 12 - \"-\" \"curl\" \"-\" \
             \"shop.example\" \"-\" - - 127.0.0.1:8080 127.0.0.1:40000 - -\n"
        );
    }

    #[test]
    fn istios_json_format_has_sorted_keys_numbers_and_nulls() {
        let config = istio_file_log("/dev/stdout", Encoding::Json, "");
        let line = line(&config["typed_config"], &[("user-agent", b"a\"b\\c")]);
        assert!(line.starts_with(r#"{"authority":"shop.example","bytes_received":0,"bytes_sent":9,"connection_termination_details":null,"#), "{line}");
        assert!(line.contains(r#""duration":12,"method":"GET","path":"/a?b","protocol":"HTTP/1.1","request_id":null,"requested_server_name":null,"response_code":404,"#), "{line}");
        assert!(line.contains(r#""response_flags":"NR""#) && line.contains(r#""user_agent":"a\"b\\c""#), "{line}");
        assert!(line.ends_with("}\n"));
    }

    /// As Envoy 1.40 wrote them.
    #[test]
    fn a_json_value_keeps_the_type_it_was_given() {
        let fields = json!({
            "z": "plain", "mixed": "a %RESPONSE_CODE% %REQ(NOPE)%", "num": 5, "nested": {"z": "%BYTES_SENT%", "a": ["%PROTOCOL%", 1.5]},
            "nul": null, "ua": "%REQ(USER-AGENT)%", "id": "%CONNECTION_ID%", "ts": "%START_TIME(%s)%", "rd": "%REQUEST_DURATION%",
        });
        let whole = line(&json!({"log_format": {"json_format": fields}}), &[]);
        assert_eq!(
            whole,
            concat!(
                r#"{"id":7,"mixed":"a 404 -","nested":{"a":["HTTP/1.1",1.5],"z":9},"nul":null,"num":5,"rd":null,"#,
                r#""ts":"1700000000","ua":null,"z":"plain"}"#,
                "\n"
            )
        );
        let short = line(&json!({"log_format": {"json_format": fields, "omit_empty_values": true}}), &[]);
        assert!(
            !short.contains("nul") && !short.contains("\"ua\"") && short.contains(r#""mixed":"a 404 ""#),
            "{short}"
        );
    }

    #[test]
    fn a_value_that_is_not_utf8_is_read_byte_by_byte() {
        let config = json!({"log_format": {"json_format": {"ua": "%REQ(USER-AGENT)%"}}});
        let value: Value = serde_json::from_str(&line(&config, &[("user-agent", b"a\xffb\xc3\xa9<")])).unwrap();
        assert_eq!(value["ua"], "a\u{ff}b\u{c3}\u{a9}<");
    }

    #[test]
    fn a_missing_value_is_a_dash_or_nothing() {
        assert_eq!(line(&text("%REQ(X)%|%RESPONSE_FLAGS%\n"), &[]), "-|NR\n");
        let mut omitting = text("%REQ(X)%|%RESPONSE_FLAGS%\n");
        omitting["log_format"]["omit_empty_values"] = json!(true);
        assert_eq!(line(&omitting, &[]), "|NR\n");
    }

    #[test]
    fn a_record_stays_on_its_line() {
        assert_eq!(line(&text("%REQ(X)%\n"), &[("x", b"a\r\nb\tc\x7f")]), "a\\x0d\\x0ab\tc\\x7f\n");
        assert_eq!(line(&text("one\ntwo %REQ(X)%\n"), &[("x", b"y\x01")]), "one\ntwo y\\x01\n");
    }

    #[test]
    fn without_a_format_there_is_envoys() {
        assert!(
            line(&json!({}), &[])
                .ends_with("\"GET /a?b HTTP/1.1\" 404 NR 0 9 12 - \"-\" \"-\" \"-\" \"shop.example\" \"-\"\n")
        );
    }

    #[test]
    fn a_faulty_format_is_named() {
        let refused = |config: Value| Record::compile(&config).unwrap_err().to_string();
        assert!(refused(text("%NOPE%")).contains("NOPE"));
        assert!(refused(json!({"log_format": {"json_format": {"a": "%REQ%"}}})).contains("REQ"));
        assert!(refused(json!({"log_format": {"text_format_source": {"filename": "f"}}})).contains("inline_string"));
    }
}
