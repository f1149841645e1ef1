//! A run on record: what came in, what the module asked the host, what it was told, what came out. One JSON object a line.
//!
//! Everything a run depends on is in it, so the same module can be run again from it, without a network, and compared: see [`replay`](crate::replay).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    abi::{Direction, LogLevel},
    headers::HeaderList,
    outcome::{Event, HttpCallResponse, LogMaps, Outcome, Released, StreamId, Verdict},
    plugin::{FailurePolicy, Fidelity},
    property::Kind,
    queue::QueueId,
    world::ClusterState,
};

/// Where records go.
pub type TraceSink = Rc<RefCell<dyn FnMut(&Record)>>;

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The plugin, as it was started. The first line.
    Start {
        /// SHA-256 of the module.
        module: String,
        /// The file it was read from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module_file: Option<String>,
        /// The plugin's name.
        name: String,
        /// Its root id.
        root_id: String,
        /// Its vm id.
        vm_id: String,
        /// The VM's configuration.
        vm_configuration: Text,
        /// The plugin's configuration.
        configuration: Text,
        /// Its environment.
        env: Vec<(String, String)>,
        /// The capabilities it is restricted to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_capabilities: Option<BTreeSet<String>>,
        /// `allow_on_headers_stop_iteration`
        allow_on_headers_stop_iteration: bool,
        /// What a trap costs.
        failure: FailurePolicy,
        /// How faithful the run was.
        fidelity: Fidelity,
        /// The level of the log.
        log_level: LogLevel,
    },
    /// The gateway entered the plugin.
    Entry(Entry),
    /// The host called the module.
    Callback {
        /// The export.
        name: String,
        /// The number it answered, if it answers one.
        answer: Option<u32>,
    },
    /// The call trapped: the VM is dead.
    Trap {
        /// Envoy's words for it.
        message: String,
    },
    /// The module called the host.
    Hostcall {
        /// The import.
        name: String,
        /// What it passed: numbers, and the bytes that pointers and lengths named.
        arguments: BTreeMap<String, Argument>,
        /// The result code, or WASI's error number.
        status: i32,
        /// What it was given back.
        results: BTreeMap<String, Argument>,
    },
    /// The world told the host something that is not the same every time.
    World(Answer),
    /// What an entry came to.
    Outcome {
        /// The verdict.
        verdict: String,
        /// What went on.
        released: Pieces,
    },
    /// What was to be done besides.
    Event {
        /// What.
        what: String,
    },
}

/// What the gateway brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "as the entries are called in Vm")]
pub enum Entry {
    CreateStream,
    Headers {
        stream: StreamId,
        direction: Direction,
        headers: Vec<(Text, Text)>,
        end_of_stream: bool,
    },
    Body {
        stream: StreamId,
        direction: Direction,
        data: Text,
        end_of_stream: bool,
    },
    Trailers {
        stream: StreamId,
        direction: Direction,
        trailers: Vec<(Text, Text)>,
    },
    Log {
        stream: StreamId,
        request_headers: Option<Vec<(Text, Text)>>,
        response_headers: Option<Vec<(Text, Text)>>,
        response_trailers: Option<Vec<(Text, Text)>>,
    },
    Reclaim {
        stream: StreamId,
        direction: Direction,
    },
    Done {
        stream: StreamId,
    },
    Tick,
    QueueReady {
        queue: QueueId,
    },
    HttpCallResponse {
        call: u32,
        headers: Vec<(Text, Text)>,
        body: Text,
        trailers: Vec<(Text, Text)>,
    },
    HttpCallReset {
        call: u32,
    },
    GrpcInitialMetadata {
        call: u32,
        metadata: Vec<(Text, Text)>,
    },
    GrpcMessage {
        call: u32,
        message: Text,
    },
    GrpcTrailingMetadata {
        call: u32,
        metadata: Vec<(Text, Text)>,
    },
    GrpcClose {
        call: u32,
        status: u32,
        message: Text,
    },
    Dns {
        call: u32,
        addresses: Vec<IpAddr>,
    },
    ShutDown,
}

/// What the world said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "asked", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "as the questions are called in World and StreamInfo")]
pub enum Answer {
    Now {
        nanos: u64,
    },
    Monotonic {
        nanos: u64,
    },
    Random {
        bytes: Text,
    },
    Cluster {
        name: Text,
        state: ClusterState,
    },
    /// `found` is what the module gets: bytes, or the result code that says why there are none.
    Attribute {
        path: Vec<Text>,
        #[serde(default)]
        kind: Kind,
        found: Option<Result<Text, i32>>,
    },
    FilterState {
        key: Text,
        found: Option<Text>,
    },
    SharedGet {
        key: Text,
        found: Option<(Text, u32)>,
    },
    SharedSet {
        key: Text,
        status: i32,
    },
    Dequeue {
        queue: QueueId,
        found: Result<Text, i32>,
    },
}

/// A number or bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Argument {
    Number(i64),
    Bytes(Text),
}

/// What was released.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Released")]
#[serde(deny_unknown_fields)]
pub struct Pieces {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<(Text, Text)>>,
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub body: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailers: Option<Vec<(Text, Text)>>,
    #[serde(default)]
    pub route_cleared: bool,
}

/// Bytes that are a JSON string when they are text, and `{"hex": "…"}` when they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub Bytes);

impl Text {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Plain(String),
    Hex { hex: String },
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                Wire::Hex { hex: self.0.iter().map(|byte| format!("{byte:02x}")).collect() }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Plain(text) => Ok(Text(Bytes::from(text))),
            Wire::Hex { hex } => unhex(&hex).map(Text).ok_or_else(|| serde::de::Error::custom("not hexadecimal")),
        }
    }
}

fn unhex(hex: &str) -> Option<Bytes> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Text {
        Text(Bytes::copy_from_slice(bytes))
    }
}

/// A list on record.
pub(crate) fn texts(list: &HeaderList) -> Vec<(Text, Text)> {
    list.iter().map(|(name, value)| (Text(name.clone()), Text(value.clone()))).collect()
}

/// A list off the record.
pub(crate) fn headers(texts: &[(Text, Text)]) -> HeaderList {
    texts.iter().map(|(name, value)| (name.0.clone(), value.0.clone())).collect()
}

impl From<&Released> for Pieces {
    fn from(released: &Released) -> Pieces {
        Pieces {
            headers: released.headers.as_ref().map(texts),
            body: Text(released.body.clone()),
            trailers: released.trailers.as_ref().map(texts),
            route_cleared: released.route_cleared,
        }
    }
}

impl From<&Outcome> for Record {
    fn from(outcome: &Outcome) -> Record {
        let verdict = match &outcome.verdict {
            Verdict::Reply(reply) => format!(
                "reply {} {:?} {:?} {:?} {:?}",
                reply.status, reply.details, reply.headers, reply.body, reply.grpc_status
            ),
            other => format!("{other:?}").to_lowercase(),
        };
        Record::Outcome { verdict, released: Pieces::from(&outcome.released) }
    }
}

impl From<&Event> for Record {
    fn from(event: &Event) -> Record {
        Record::Event { what: format!("{event:?}") }
    }
}

impl Entry {
    pub(crate) fn log(stream: StreamId, maps: &LogMaps) -> Entry {
        let list = |list: &Option<HeaderList>| list.as_ref().map(texts);
        Entry::Log {
            stream,
            request_headers: list(&maps.request_headers),
            response_headers: list(&maps.response_headers),
            response_trailers: list(&maps.response_trailers),
        }
    }

    pub(crate) fn http_call_response(call: u32, response: &HttpCallResponse) -> Entry {
        match response {
            HttpCallResponse::Response { headers, body, trailers } => Entry::HttpCallResponse {
                call,
                headers: texts(headers),
                body: Text(body.clone()),
                trailers: texts(trailers),
            },
            HttpCallResponse::Reset => Entry::HttpCallReset { call },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_and_comes_back() {
        let arguments = BTreeMap::from([
            ("key".to_owned(), Argument::Bytes(Text::from(&b"caf\xe9"[..]))),
            ("map".to_owned(), Argument::Number(0)),
            ("value".to_owned(), Argument::Bytes(Text::from(&b"a\nb"[..]))),
        ]);
        let record = Record::Hostcall {
            name: "proxy_add_header_map_value".to_owned(),
            arguments,
            status: 0,
            results: BTreeMap::new(),
        };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(
            line,
            r#"{"record":"hostcall","name":"proxy_add_header_map_value","arguments":{"key":{"hex":"636166e9"},"map":0,"value":"a\nb"},"status":0,"results":{}}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }
}
