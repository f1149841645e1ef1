//! A recorded case: manifests, requests, and what Istio and Envoy did with them. `tests/corpus/README.md` describes the form.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Header lines in order; names as sent, or lower case in a record.
pub type Headers = Vec<(String, String)>;

/// One case of `cases/<area>.yaml`.
#[derive(Debug, Clone)]
pub struct Case {
    /// What the case is about, unique within its area.
    pub name: String,
    /// The area, as in the file's name.
    pub area: String,
    /// The manifests as a user would write them, the world included.
    pub manifests: String,
    /// MeshConfig, as YAML.
    pub mesh: Option<String>,
    /// TLS secrets in `istio-system`, to be made fresh.
    pub secrets: Vec<String>,
    /// What is expected of these manifests.
    pub verdict: Verdict,
}

/// What Istio made of a case's manifests.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The admission webhook refused them, with these words.
    Refused(String),
    /// They were served, and this is what happened.
    Served(Vec<Exchange>),
}

/// A request and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request.
    pub send: Send,
    /// What Istio and Envoy did.
    pub expect: Answer,
}

/// A request as it goes over the wire.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The method, any bytes.
    #[serde(default = "get")]
    pub method: String,
    /// The raw request target.
    #[serde(default = "root")]
    pub path: String,
    /// Header lines in order.
    #[serde(default)]
    pub headers: Headers,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// The Gateway server's port.
    #[serde(default = "eighty")]
    pub port: u16,
    /// How to speak HTTP.
    #[serde(default)]
    pub version: Version,
    /// How to speak TLS; plain text when absent.
    pub tls: Option<Tls>,
    /// Send it this many times and count the answers.
    pub repeat: Option<u32>,
    /// Milliseconds to wait before the origins' records are read.
    #[serde(default)]
    pub settle_ms: u64,
}

/// What the client speaks; over TLS, HTTP/2 is asked for by ALPN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Version {
    /// HTTP/1.0.
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2, prior knowledge in plain text.
    #[serde(rename = "2")]
    Http2,
}

/// How the client speaks TLS.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server name to ask for; none is sent when absent.
    pub sni: Option<String>,
    /// The client certificate to show: `client` or `stranger`.
    pub client: Option<String>,
}

/// What came back, and what the origins saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How the exchange ended.
    pub outcome: Outcome,
    /// The requests the origins saw, in order of arrival.
    pub upstreams: Vec<Seen>,
    /// How long it took, when that was 90 ms or longer.
    pub ms: Option<u64>,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An answer; without `body` when an origin wrote it.
    Response {
        /// The status code.
        status: u16,
        /// The header lines, sorted by name.
        headers: Headers,
        /// The gateway's own body.
        body: Option<String>,
    },
    /// A repeated request: answers counted by origin, or by status where none answered.
    Histogram(BTreeMap<String, u32>),
    /// The connection was closed without an answer.
    Closed,
    /// The TLS handshake failed, or an alert came instead of an answer.
    TlsError,
    /// No answer within the time allowed.
    Timeout,
    /// Nobody listens.
    NoListener,
    /// Something came that is no HTTP answer. Never recorded, always a difference.
    Unreadable(String),
}

/// One request as an origin saw it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The origin's name, or `*`.
    pub origin: String,
    /// The method.
    pub method: String,
    /// The raw target.
    pub path: String,
    /// The header lines, names in lower case.
    pub headers: Headers,
    /// The body, absent when empty.
    pub body: Option<String>,
    /// `h2`, absent for HTTP/1.1.
    pub proto: Option<String>,
}

fn get() -> String {
    "GET".into()
}
fn root() -> String {
    "/".into()
}
fn eighty() -> u16 {
    80
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    area: String,
    world: Option<String>,
    manifests: String,
    mesh: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
    refused_by_istio: Option<String>,
    #[serde(default, rename = "istio_warnings")]
    _istio_warnings: Vec<String>,
    #[serde(default)]
    exchanges: Vec<RawExchange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExchange {
    send: Send,
    expect: RawAnswer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnswer {
    status: Option<u16>,
    #[serde(default)]
    headers: Headers,
    body: Option<String>,
    #[serde(default)]
    upstreams: Vec<Seen>,
    histogram: Option<BTreeMap<String, u32>>,
    ms: Option<u64>,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    tls_error: bool,
    #[serde(default)]
    timeout: bool,
    #[serde(default)]
    no_listener: bool,
}

impl TryFrom<RawAnswer> for Answer {
    type Error = anyhow::Error;

    fn try_from(raw: RawAnswer) -> Result<Self> {
        let mut ends = Vec::new();
        if let Some(status) = raw.status {
            ends.push(Outcome::Response { status, headers: raw.headers, body: raw.body });
        }
        ends.extend(raw.histogram.map(Outcome::Histogram));
        let flags = [
            (raw.closed, Outcome::Closed),
            (raw.tls_error, Outcome::TlsError),
            (raw.timeout, Outcome::Timeout),
            (raw.no_listener, Outcome::NoListener),
        ];
        ends.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, outcome)| outcome));
        match (ends.pop(), ends.is_empty()) {
            (Some(outcome), true) => Ok(Self { outcome, upstreams: raw.upstreams, ms: raw.ms }),
            _ => {
                bail!("an expectation names exactly one of status, histogram, closed, tls_error, timeout, no_listener")
            }
        }
    }
}

impl Case {
    fn new(raw: RawCase, world: &str) -> Result<Self> {
        let verdict = match raw.refused_by_istio {
            Some(words) => Verdict::Refused(words),
            None => Verdict::Served(
                raw.exchanges
                    .into_iter()
                    .map(|x| Ok(Exchange { send: x.send, expect: x.expect.try_into()? }))
                    .collect::<Result<_>>()?,
            ),
        };
        let manifests = match raw.world.as_deref() {
            None => raw.manifests,
            Some("standard") => format!("{}---\n{world}", raw.manifests),
            Some(other) => bail!("no world is called {other}"),
        };
        Ok(Self { name: raw.name, area: raw.area, manifests, mesh: raw.mesh, secrets: raw.secrets, verdict })
    }

    /// The area a scoreboard counts this case under: refusals have their own.
    #[must_use]
    pub fn scored_as(&self) -> &str {
        match self.verdict {
            Verdict::Refused(_) => "refused",
            Verdict::Served(_) => &self.area,
        }
    }
}

/// Reads one case file; `world.yaml` lies one folder above it.
///
/// # Errors
/// An unreadable file, or a document that is no case.
pub fn load(path: &Path) -> Result<Vec<Case>> {
    let world = path.with_file_name("../world.yaml");
    let world = std::fs::read_to_string(&world).with_context(|| world.display().to_string())?;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let raw: Vec<RawCase> =
        serde_saphyr::from_multiple_with_options(&text, generous()).with_context(|| path.display().to_string())?;
    raw.into_iter()
        .map(|case| {
            let name = case.name.clone();
            Case::new(case, &world).with_context(|| format!("{}: {name}", path.display()))
        })
        .collect()
}

/// The parser's limits are meant for strangers' files; the corpus is ours and large.
fn generous() -> serde_saphyr::Options {
    serde_saphyr::options! { budget: None }
}

/// Every case file below `tests/corpus/cases`, in order of name.
///
/// # Errors
/// An unreadable folder.
pub fn files() -> Result<Vec<std::path::PathBuf>> {
    let folder = crate::corpus().join("cases");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    Ok(files)
}
