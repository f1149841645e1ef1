//! The account of one request: everything the gateway's own code said it did, in the order it did it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::headers::HeaderList;
use crate::route::{Origin, Trail};

/// What became of one request.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// How far its connection came.
    pub way: Way,
    /// Name of the route configuration that was asked.
    pub route_config: String,
    /// Number of the filter chain in its listener.
    pub filter_chain: usize,
    /// What the edge did to the head before any filter saw it.
    pub admitted: Vec<Change>,
    /// The filters, in the order of the chain, as far as the request came.
    pub filters: Vec<FilterStep>,
    /// Every time a route was chosen; the last one counts.
    pub routings: Vec<Routing>,
    /// How the request was made ready for its destination, if it was.
    pub forwarded: Option<Forwarded>,
    /// What the route, its virtual host and its configuration did to the answer's head.
    pub route_response: Vec<Change>,
    /// Copies that went elsewhere.
    pub mirrors: Vec<MirrorStep>,
    /// The tries.
    pub tries: Vec<Try>,
    /// The head as the origin was sent it, last try.
    pub upstream_request: Option<HeaderList>,
    /// The gateway's own answer, if it gave one.
    pub reply: Option<ReplyStep>,
    /// What the connection manager's `local_reply_config` made of it, if there is one.
    pub mapped: Option<MappingStep>,
    /// The answer's status; none when the connection ended without one.
    pub status: Option<u16>,
    /// The answer's head as the client gets it.
    pub response: HeaderList,
    /// The answer's body.
    pub body: Bytes,
    /// Why that answer: `via_upstream`, `route_not_found`, …
    pub details: String,
    /// Envoy's response flags, short: `UH`, `NR`.
    pub flags: String,
    /// How long it took, in the gateway's own time.
    pub took: Duration,
    /// What modules counted.
    pub counted: Vec<(String, u64)>,
}

/// How far a connection came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Way {
    /// No listener of this name.
    #[default]
    NoListener,
    /// The listener has no filter chain for this server name.
    NoFilterChain,
    /// The TLS handshake fails; the account's `details` say why in Envoy's words.
    NoHandshake,
    /// Passed on as it is, to one of these clusters by weight.
    Tcp(Vec<(String, u32)>),
    /// To a connection manager.
    Http,
}

/// One change of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The header.
    pub name: String,
    /// Its values before; empty if it was not there.
    pub before: Vec<String>,
    /// Its values after; empty if it is gone.
    pub after: Vec<String>,
}

/// One filter's part.
#[derive(Debug, Clone, Default)]
pub struct FilterStep {
    /// Its name in the chain.
    pub name: String,
    /// `wasm`, `fault`, `cors`, `local_ratelimit`, `header_mutation`
    pub kind: &'static str,
    /// Its place in the chain, from 0.
    pub place: usize,
    /// What it did to the request's head.
    pub request: Vec<Change>,
    /// What it did to the answer's head.
    pub response: Vec<Change>,
    /// How long it held the request, in the gateway's own time.
    pub held: Duration,
    /// What a module logged meanwhile.
    pub log: Vec<String>,
    /// What a filter of the gateway's own decided, in words.
    pub verdict: Option<String>,
    /// It answered instead of letting the request pass.
    pub replied: bool,
}

/// One choice of a route.
#[derive(Debug, Clone)]
pub struct Routing {
    /// The filter that ran when it was asked for; none: after all filters, or before the first.
    pub during: Option<usize>,
    /// What was tried.
    pub trail: Trail,
    /// What the route does.
    pub action: RouteAction,
    /// The route's name and origin, if one was found.
    pub route: Option<(String, Origin)>,
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// Sends it to this cluster.
    Forward(String),
    /// Answers with a redirect.
    Redirect,
    /// Answers itself.
    Direct,
    /// Sends the client to https.
    SslRedirect,
    /// There is none.
    NotFound,
}

/// A request made ready for its destination.
#[derive(Debug, Clone, Default)]
pub struct Forwarded {
    /// The cluster.
    pub cluster: String,
    /// It is configured.
    pub known: bool,
    /// The path before and after.
    pub path: (String, String),
    /// The host before and after.
    pub authority: (String, String),
    /// Every change of the head, path and host included.
    pub changes: Vec<Change>,
    /// From the end of the request to the end of the answer.
    pub timeout: Option<Duration>,
    /// The same for one try.
    pub per_try_timeout: Option<Duration>,
    /// Retries, if there may be some.
    pub retry: Option<RetryStep>,
    /// A consistent hash chose the endpoint.
    pub hash: Option<u64>,
}

/// A retry policy in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryStep {
    /// The conditions, Envoy's names.
    pub on: Vec<&'static str>,
    /// How often at most, the first try not counted.
    pub attempts: u32,
    /// Statuses for `retriable-status-codes`.
    pub statuses: Vec<u16>,
}

/// A copy for another cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorStep {
    /// The cluster.
    pub cluster: String,
    /// The host it is sent under.
    pub authority: String,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// Where to.
    pub endpoint: SocketAddr,
    /// What the origin answered, if it did.
    pub status: Option<u16>,
}

/// An answer of the gateway's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyStep {
    /// The filter it came from; none: the router, or what runs before the filters.
    pub by: Option<usize>,
    /// Its status.
    pub status: u16,
    /// Envoy's reason.
    pub details: String,
}

/// An answer of the gateway's own in the form that is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MappingStep {
    /// Which of the mappers took it, counted from 0; none: only the body's form changed.
    pub mapper: Option<usize>,
    /// Its status before.
    pub before: u16,
    /// And since.
    pub after: u16,
}

impl Account {
    /// The choice of a route that counts.
    pub fn routing(&self) -> Option<&Routing> {
        self.routings.last()
    }
}

/// What differs between two heads, by name, in the order of the names.
pub(super) fn changes(before: &HeaderList, after: &HeaderList) -> Vec<Change> {
    let values = |list: &HeaderList, name: &[u8]| -> Vec<String> {
        list.iter().filter(|(known, _)| known == name).map(|(_, value)| shown(value)).collect()
    };
    let mut names: Vec<&Bytes> = before.iter().chain(after).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let change = |name: &Bytes| {
        let (before, after) = (values(before, name), values(after, name));
        (before != after).then(|| Change { name: shown(name), before, after })
    };
    names.into_iter().filter_map(change).collect()
}

/// Bytes of a header as text; what is no UTF-8 or a control character is escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&'static str, &'static str)]) -> HeaderList {
        pairs
            .iter()
            .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
            .collect()
    }

    #[test]
    fn a_change_names_every_copy_of_a_header() {
        let before = list(&[("a", "1"), ("b", "1"), ("b", "2"), ("c", "same")]);
        let after = list(&[("c", "same"), ("b", "1"), ("d", "new")]);
        let seen: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|change| (change.name, change.before.len(), change.after.len()))
            .collect();
        assert_eq!(seen, [("a".to_owned(), 1, 0), ("b".to_owned(), 2, 1), ("d".to_owned(), 0, 1)]);
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(shown(b"caf\xc3\xa9"), "caf\u{e9}");
        assert_eq!(shown(b"\xff\n"), "\\xff\\n");
    }
}
