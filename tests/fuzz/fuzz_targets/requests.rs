//! Any request against a configuration that uses everything, and against generated ones.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Bytes, pass, serve};
use libfuzzer_sys::fuzz_target;
use policy::Module;
use policy::metrics::Metrics;
use policy::suite::Suite;

/// Every matcher, every kind of rule.
const FIXED: &str = include_str!("everything.json");

thread_local! {
    static FIXED_SUITE: (Suite, Metrics) = {
        let mut metrics = Metrics::default();
        (Suite::parse(FIXED.as_bytes(), &mut metrics).expect("a configuration"), metrics)
    };
}

#[derive(Debug, Arbitrary)]
struct Input {
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    authority: Vec<u8>,
    cookies: Vec<Vec<u8>>,
    /// A known name or the bytes themselves, lower case as a proxy gives them.
    headers: Vec<(Name, Vec<u8>)>,
    client: Option<[u8; 16]>,
    ipv4: bool,
    seed: u64,
    now: u64,
    wall: i64,
    held: u16,
    races: u8,
    broken: bool,
    generated: Option<Generated>,
}

#[derive(Debug, Arbitrary)]
enum Name {
    Known(u8),
    Bytes(Vec<u8>),
}

const KNOWN: [&str; 14] = [
    "x-user",
    "x-group",
    "x_group",
    "x-cost",
    "x-secret",
    "x-force",
    "content-type",
    "x-envoy-fault-delay-request",
    "x-envoy-fault-abort-request",
    "x-envoy-fault-abort-grpc-request",
    "x-sluice-destination",
    "x-envoy-original-path",
    ":method",
    ":scheme",
];

#[derive(Debug, Arbitrary)]
struct Generated {
    uri: u8,
    path: String,
    name: String,
    value: String,
    comparison: u8,
    rewrite: String,
    pattern: String,
    strict: bool,
    ignore_case: bool,
    all: bool,
}

/// As JSON spells it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

impl Generated {
    fn config(&self) -> String {
        let uri = ["exact", "prefix", "segmentPrefix", "regex", "template"][usize::from(self.uri % 5)];
        let comparison = ["exact", "prefix", "regex"][usize::from(self.comparison % 3)];
        let path = match uri {
            "regex" => self.path.clone(),
            _ => format!("/{}", self.path),
        };
        let strict = if self.strict { r#", "path": "strict""# } else { "" };
        let matching = format!(
            r#"[{{"uri": {{"{uri}": {}}}, "ignoreUriCase": {}{strict}}},
                {{"headers": {{{}: {{"{comparison}": {}, "all": {}}}}}}},
                {{"queryParams": {{{}: {{"{comparison}": {}}}}}}}, {{"cookies": {{{}: {{}}}}}}]"#,
            quoted(&path),
            self.ignore_case && uri != "regex",
            quoted(&self.name),
            quoted(&self.value),
            self.all,
            quoted(&self.name),
            quoted(&self.value),
            quoted(&self.name),
        );
        format!(
            r#"{{"headerMatch": {{"rules": [{{"name": "a", "match": {matching}, "headers": {{"request": {{"set": {{"x-a": {}}}}}}}}}]}},
                "uriRewrite": {{"rules": [{{"match": {matching}, "rewrite": {{"uri": {}}}}},
                    {{"rewrite": {{"uriRegexRewrite": {{"match": {}, "rewrite": {}}}}}}}]}},
                "trafficShift": {{"rules": [{{"name": "s", "match": {matching}, "key": [{{"header": "x-user"}}],
                    "destinations": [{{"name": "a", "weight": 1}}, {{"name": "b", "weight": 2}}]}}]}}}}"#,
            quoted(&self.value),
            quoted(&format!("/{}", self.rewrite)),
            quoted(&self.pattern),
            quoted(&self.rewrite),
        )
    }
}

fuzz_target!(|input: Input| {
    let mut target = input.path;
    // A proxy gives no target without a slash in front, nor control bytes in it.
    target.insert(0, b'/');
    if let Some(query) = &input.query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    target.retain(|byte| !byte.is_ascii_control());
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> =
        vec![(b":path".to_vec(), target), (b":authority".to_vec(), input.authority)];
    headers.extend(input.cookies.into_iter().map(|cookie| (b"cookie".to_vec(), cookie)));
    headers.extend(input.headers.into_iter().map(|(name, value)| {
        let name = match name {
            Name::Known(at) => KNOWN[usize::from(at) % KNOWN.len()].as_bytes().to_vec(),
            Name::Bytes(bytes) if bytes.is_empty() || bytes[0] == b':' => b"x".to_vec(),
            Name::Bytes(bytes) => bytes.to_ascii_lowercase(),
        };
        (name, value)
    }));
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
    let client = input.client.map(|bytes| match input.ipv4 {
        true => std::net::Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        false => std::net::Ipv6Addr::from(bytes).into(),
    });
    let mut world = Bytes {
        now: input.now,
        wall: input.wall,
        held: input.held.into(),
        races: input.races,
        broken: input.broken,
        ..Bytes::default()
    };
    match &input.generated {
        None => {
            FIXED_SUITE.with(|(suite, metrics)| {
                for _ in 0..3 {
                    pass(suite, metrics, &headers, client, input.seed, &mut world);
                }
            });
        }
        Some(generated) => serve::<Suite>(generated.config().as_bytes(), &headers, client, input.seed, &mut world),
    }
});
