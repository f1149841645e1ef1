//! The answer: what `-o json` prints. Its fields are a contract; `docs/json.md` and `docs/schema/explain.json` describe them.

use proxy::route::Miss;
use serde::Serialize;

use super::why_not::WhyNot;

/// Which rule took a request, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) request: Request,
    pub(crate) listener: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) server_origin: Option<ServerOrigin>,
    pub(crate) virtual_host: Option<String>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) route: Option<Route>,
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) header_changes: HeaderChanges,
    pub(crate) split: Option<Split>,
    pub(crate) fault: Option<Fault>,
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<String>,
    pub(crate) mirror: Vec<Mirror>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) local_reply: Option<Mapped>,
    pub(crate) status: Option<u16>,
    pub(crate) details: String,
    pub(crate) flags: String,
    pub(crate) upstream_request: Option<UpstreamRequest>,
    pub(crate) response: Option<Response>,
    pub(crate) why_not: Option<WhyNot>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) client_ip: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ServerOrigin {
    pub(crate) gateway: String,
    pub(crate) name: String,
    pub(crate) port: u32,
    pub(crate) hosts: Vec<String>,
    pub(crate) file: String,
    pub(crate) line: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) order: usize,
    pub(crate) changed: Vec<HeaderChange>,
    pub(crate) changed_response: Vec<HeaderChange>,
    pub(crate) reply: Option<Reply>,
    pub(crate) held: Option<String>,
    pub(crate) verdict: Option<String>,
    pub(crate) counted: Vec<String>,
    pub(crate) log: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HeaderChange {
    pub(crate) op: &'static str,
    pub(crate) name: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) details: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Mapped {
    pub(crate) mapper: Option<usize>,
    pub(crate) before: u16,
    pub(crate) after: u16,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
    pub(crate) resource: Option<String>,
    pub(crate) matched: bool,
    pub(crate) first_failed: Option<Miss>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
    pub(crate) resource: Option<String>,
    pub(crate) action: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rewrite {
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) host: Option<HostRewrite>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HostRewrite {
    pub(crate) before: String,
    pub(crate) after: String,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct HeaderChanges {
    pub(crate) request: Vec<HeaderChange>,
    pub(crate) response: Vec<HeaderChange>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Split {
    pub(crate) bucket: u64,
    pub(crate) weights: Vec<u32>,
    pub(crate) destinations: Vec<String>,
    pub(crate) choice: String,
    pub(crate) why: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Fault {
    pub(crate) by: String,
    pub(crate) delay: Option<String>,
    pub(crate) abort: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Retry {
    pub(crate) on: Vec<String>,
    pub(crate) attempts: u32,
    pub(crate) per_try_timeout: Option<String>,
    pub(crate) tries: Vec<Try>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Try {
    pub(crate) endpoint: String,
    pub(crate) status: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Mirror {
    pub(crate) cluster: String,
    pub(crate) authority: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct UpstreamRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Split {
    /// The sum of the weights.
    pub(crate) fn total(&self) -> u64 {
        self.weights.iter().copied().map(u64::from).sum()
    }
}
