//! Asking a rate limit service: the question out of a request, the verdict out of the answer.
//!
//! Source: `envoy/service/ratelimit/v3/rls.proto`.

use std::time::Duration;

use super::protobuf::{Field, fields, put_bytes, put_number};
use crate::header_ops::Op;
use crate::key::Source;
use crate::matcher::Request;
use crate::metrics::Counter;
use crate::reply::Reply;

/// The service.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// Its one method.
pub const METHOD: &str = "ShouldRateLimit";

/// Whom to ask, and what about.
#[derive(Debug, Clone)]
pub(super) struct Global {
    pub(super) cluster: String,
    pub(super) domain: String,
    pub(super) timeout: Duration,
    pub(super) deny_on_failure: bool,
    pub(super) descriptors: Vec<Vec<Entry>>,
    pub(super) allowed: Counter,
    pub(super) denied: Counter,
    pub(super) failed: Counter,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Always(String),
    From(Source),
}

/// A question to be sent, and what its answers will mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The proxy's name of the service.
    pub cluster: String,
    /// A serialised `RateLimitRequest`.
    pub message: Vec<u8>,
    /// How long to wait.
    pub timeout: Duration,
    deny_on_failure: bool,
    refusal: Reply,
    allowed: Counter,
    denied: Counter,
    failed: Counter,
}

/// What an answer, or its absence, means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The answer to the client; without, the request goes on.
    pub reply: Option<Reply>,
    /// What the service adds to the request.
    pub request: Vec<Op>,
    /// What the service adds to the response.
    pub response: Vec<Op>,
    /// What to count.
    pub count: Counter,
    /// For the log, when there was no answer worth the name.
    pub failure: Option<String>,
}

impl Global {
    pub(super) fn uses_route(&self) -> bool {
        self.uses(|source| *source == Source::Route)
    }

    pub(super) fn uses_client(&self) -> bool {
        self.uses(|source| matches!(source, Source::Client { .. }))
    }

    fn uses(&self, asks: impl Fn(&Source) -> bool) -> bool {
        self.descriptors.iter().flatten().any(|entry| matches!(&entry.value, Value::From(source) if source.uses(&asks)))
    }

    /// The question; `None` if no descriptor is complete.
    pub(super) fn ask<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        request: &Request<'_, K, V>,
        cost: u32,
        refusal: impl FnOnce() -> Reply,
    ) -> Option<Ask> {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, self.domain.as_bytes());
        let descriptors: Vec<Vec<u8>> =
            self.descriptors.iter().filter_map(|entries| descriptor(entries, request)).collect();
        if descriptors.is_empty() {
            return None;
        }
        for descriptor in &descriptors {
            put_bytes(&mut message, 2, descriptor);
        }
        put_number(&mut message, 3, cost.into());
        Some(Ask {
            cluster: self.cluster.clone(),
            message,
            timeout: self.timeout,
            deny_on_failure: self.deny_on_failure,
            refusal: refusal(),
            allowed: self.allowed,
            denied: self.denied,
            failed: self.failed,
        })
    }
}

fn descriptor<K: AsRef<[u8]>, V: AsRef<[u8]>>(entries: &[Entry], request: &Request<'_, K, V>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for entry in entries {
        let value = match &entry.value {
            Value::Always(text) => text.clone(),
            // The protocol's strings are UTF-8; what is not is written with its escapes.
            Value::From(source) => source.text(request)?,
        };
        let mut pair = Vec::new();
        put_bytes(&mut pair, 1, entry.key.as_bytes());
        put_bytes(&mut pair, 2, value.as_bytes());
        put_bytes(&mut out, 1, &pair);
    }
    Some(out)
}

impl Ask {
    /// What a serialised `RateLimitResponse` means.
    pub fn answered(&self, message: &[u8]) -> Verdict {
        match Answer::read(message) {
            None => self.failed("an answer that is none"),
            Some(answer) if answer.code == 1 => self.verdict(self.allowed, None, answer),
            Some(answer) if answer.code == 2 => {
                let mut reply = self.refusal.clone();
                if let Some(wait) = answer.reset.filter(|&wait| wait > 0) {
                    reply.headers.retain(|(name, _)| name != "retry-after");
                    reply.headers.push(("retry-after".into(), wait.to_string().into_bytes()));
                }
                for (name, value) in &answer.response {
                    reply.headers.retain(|(other, _)| other != name);
                    reply.headers.push((name.clone(), value.clone()));
                }
                if !answer.body.is_empty() {
                    reply.body = answer.body.clone();
                }
                self.verdict(self.denied, Some(reply), answer)
            }
            Some(_) => self.failed("an answer without a verdict"),
        }
    }

    /// What no answer means, `why` for the log.
    pub fn failed(&self, why: &str) -> Verdict {
        let refusal = Reply { grpc_status: Some(14), ..Reply::new(500, "", "sluice_rate_limit_error") };
        Verdict {
            reply: self.deny_on_failure.then_some(refusal),
            request: Vec::new(),
            response: Vec::new(),
            count: self.failed,
            failure: Some(format!("the rate limit service {} gave {why}", self.cluster)),
        }
    }

    fn verdict(&self, count: Counter, reply: Option<Reply>, answer: Answer) -> Verdict {
        let set =
            |headers: Vec<(String, Vec<u8>)>| headers.into_iter().map(|(name, value)| Op::Set(name, value)).collect();
        Verdict { reply, request: set(answer.request), response: set(answer.response), count, failure: None }
    }
}

#[derive(Debug, Default)]
struct Answer {
    code: u64,
    /// Seconds until the limit that refused has room.
    reset: Option<u64>,
    request: Vec<(String, Vec<u8>)>,
    response: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Answer {
    fn read(message: &[u8]) -> Option<Answer> {
        let mut answer = Answer::default();
        for field in fields(message)? {
            match field {
                (1, Field::Number(code)) => answer.code = code,
                (2, Field::Bytes(status)) => answer.reset = answer.reset.max(reset(status)?),
                (3, Field::Bytes(header)) => answer.response.extend(header_value(header)?),
                (4, Field::Bytes(header)) => answer.request.extend(header_value(header)?),
                (5, Field::Bytes(body)) => answer.body = body.to_vec(),
                _ => {}
            }
        }
        Some(answer)
    }
}

/// Of a descriptor's status that is over its limit.
fn reset(status: &[u8]) -> Option<Option<u64>> {
    let status = fields(status)?;
    let over = status.contains(&(1, Field::Number(2)));
    let until = status.iter().find_map(|field| match field {
        (4, Field::Bytes(duration)) => Some(*duration),
        _ => None,
    });
    let Some(duration) = until.filter(|_| over) else { return Some(None) };
    Some(fields(duration)?.iter().find_map(|field| match field {
        (1, Field::Number(seconds)) => Some(*seconds),
        _ => None,
    }))
}

/// A `HeaderValue`; left out if a filter must not write it.
fn header_value(message: &[u8]) -> Option<Option<(String, Vec<u8>)>> {
    let (mut name, mut value) = (String::new(), Vec::new());
    for field in fields(message)? {
        match field {
            (1, Field::Bytes(bytes)) => name = String::from_utf8_lossy(bytes).into_owned(),
            (2 | 3, Field::Bytes(bytes)) => value = bytes.to_vec(),
            _ => {}
        }
    }
    let sound = value.iter().all(|b| !b.is_ascii_control() || *b == b'\t');
    Some(
        crate::config::headers::writable(&name)
            .ok()
            .filter(|name| sound && name != ":authority")
            .map(|name| (name, value)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::sentences;

    fn ask(deny_on_failure: bool) -> Ask {
        let mut metrics = Metrics::default();
        let mut counter = |what| metrics.counter("rate-limit", "r", what);
        let global = Global {
            cluster: "rls".into(),
            domain: "shop".into(),
            timeout: Duration::from_millis(20),
            deny_on_failure,
            descriptors: vec![
                vec![Entry { key: "user".into(), value: Value::From(Source::Header("x-user".into())) }],
                vec![Entry { key: "plan".into(), value: Value::Always("free".into()) }],
                vec![Entry { key: "none".into(), value: Value::From(Source::Header("x-none".into())) }],
            ],
            allowed: counter("a"),
            denied: counter("d"),
            failed: counter("f"),
        };
        let headers = [("x-user", "ann")];
        global.ask(&Request::new(&headers), 3, || Reply::new(429, "no", "x")).unwrap()
    }

    fn answer(build: impl FnOnce(&mut Vec<u8>)) -> Verdict {
        let mut message = Vec::new();
        build(&mut message);
        ask(false).answered(&message)
    }

    sentences! {
        fn the_question_is_the_protocols() {
            let expected = b"\x0a\x04shop\x12\x0d\x0a\x0b\x0a\x04user\x12\x03ann\x12\x0e\x0a\x0c\x0a\x04plan\x12\x04free\x18\x03";
            assert_eq!(ask(false).message.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }

        fn ok_lets_the_request_go_on() {
            let verdict = answer(|message| {
                put_number(message, 1, 1);
                put_bytes(message, 4, b"\x0a\x06x-tier\x12\x04gold");
                put_bytes(message, 4, b"\x0a\x05:path\x12\x01/");
                put_bytes(message, 3, b"\x0a\x03x-r\x1a\x011");
            });
            assert_eq!(verdict.reply, None);
            assert_eq!(verdict.request, [Op::Set("x-tier".into(), b"gold".to_vec())]);
            assert_eq!(verdict.response, [Op::Set("x-r".into(), b"1".to_vec())]);
        }

        fn over_limit_refuses_and_says_for_how_long() {
            let verdict = answer(|message| {
                put_number(message, 1, 2);
                put_bytes(message, 2, b"\x08\x02\x22\x02\x08\x1e");
                put_bytes(message, 2, b"\x08\x01\x22\x02\x08\x7f");
            });
            let reply = verdict.reply.unwrap();
            assert_eq!((reply.status, reply.headers), (429, vec![("retry-after".into(), b"30".to_vec())]));
        }

        fn no_answer_is_what_the_configuration_says() {
            for garbage in [&b"\xff"[..], b"", b"\x08\x00", b"\x08\x07"] {
                assert_eq!(ask(false).answered(garbage).reply, None);
                assert_eq!(ask(true).answered(garbage).reply.map(|reply| reply.status), Some(500));
            }
        }
    }
}
