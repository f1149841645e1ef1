//! From the gateway's account of a request to the answer.

use std::time::Duration;

use proxy::explain::{Account, Change, FilterStep, RouteAction, Way};
use proxy::route::RuleStep;

use super::answer::{
    Answer, Fault, Filter, HeaderChange, HeaderChanges, HostRewrite, Mapped, Mirror, Reply, Request, Response, Retry,
    Rewrite, Route, Rule, ServerOrigin, Split, Try, UpstreamRequest,
};
use super::request::Asked;
use super::why_not;
use crate::stage::Stage;

impl Answer {
    /// Asks the gateway.
    pub(crate) fn to(asked: &Asked, stage: &mut Stage) -> Self {
        let question = asked.question(stage);
        let account = stage.ask(&question);
        Self::of(asked, &question.listener, &account, stage)
    }

    /// Puts the gateway's account into words.
    pub(crate) fn of(asked: &Asked, listener: &str, account: &Account, stage: &Stage) -> Self {
        let routing = account.routing();
        let forwarded = account.forwarded.as_ref();
        let server = server(asked, listener, account, stage);
        let tries = account.tries.iter().map(|one| Try { endpoint: stage.endpoint(one.endpoint), status: one.status });
        let tries: Vec<_> = tries.collect();
        Self {
            request: Request {
                method: asked.method.clone(),
                url: asked.url(),
                headers: asked.headers.clone(),
                client_ip: asked.client.to_string(),
            },
            listener: (account.way != Way::NoListener).then(|| listener.to_owned()),
            server: match &server {
                Some(server) => Some(format!("{}/{}", server.gateway, server.name)),
                None if matches!(account.way, Way::Http | Way::Tcp(_) | Way::NoHandshake)
                    && stage.bindings.is_none() =>
                {
                    Some(format!("filter_chains[{}]", account.filter_chain))
                }
                None => None,
            },
            virtual_host: routing
                .and_then(|routing| routing.trail.virtual_host.as_ref())
                .map(|host| host.name.clone())
                .filter(|name| stage.bindings.is_none() || !name.starts_with("blackhole:")),
            filters: account.filters.iter().map(|step| filter(step, account, stage)).collect(),
            rules: routing.iter().flat_map(|routing| &routing.trail.rules).map(rule).collect(),
            route: routing.and_then(|routing| {
                let (name, origin) = routing.route.as_ref()?;
                Some(Route {
                    name: name.clone(),
                    file: origin.file.clone(),
                    line: origin.line,
                    resource: origin.resource.clone(),
                    action: action(&routing.action),
                })
            }),
            rewrite: forwarded
                .filter(|ready| ready.path.0 != ready.path.1 || ready.authority.0 != ready.authority.1)
                .map(|ready| Rewrite {
                    before: ready.path.0.clone(),
                    after: ready.path.1.clone(),
                    host: (ready.authority.0 != ready.authority.1)
                        .then(|| HostRewrite { before: ready.authority.0.clone(), after: ready.authority.1.clone() }),
                }),
            header_changes: HeaderChanges {
                request: forwarded.map(|ready| header_changes(&ready.changes)).unwrap_or_default(),
                response: header_changes(&account.route_response),
            },
            split: routing.and_then(|routing| routing.trail.split.as_ref()).map(|split| Split {
                bucket: split.bucket,
                weights: split.weights.clone(),
                destinations: split.clusters.clone(),
                choice: split.choice.clone(),
                why: split.why.clone(),
            }),
            fault: fault(account, stage),
            retry: forwarded.and_then(|ready| {
                let retry = ready.retry.as_ref()?;
                Some(Retry {
                    on: retry.on.iter().map(|on| (*on).to_owned()).collect(),
                    attempts: retry.attempts,
                    per_try_timeout: ready.per_try_timeout.map(seconds),
                    tries,
                })
            }),
            timeout: forwarded.and_then(|ready| ready.timeout).map(seconds),
            mirror: account
                .mirrors
                .iter()
                .map(|mirror| Mirror { cluster: mirror.cluster.clone(), authority: mirror.authority.clone() })
                .collect(),
            cluster: cluster(account),
            endpoint: account.tries.last().map(|one| stage.endpoint(one.endpoint)),
            local_reply: account.mapped.map(|step| Mapped {
                mapper: step.mapper,
                before: step.before,
                after: step.after,
            }),
            status: account.status,
            details: account.details.clone(),
            flags: account.flags.clone(),
            upstream_request: account.upstream_request.as_ref().map(|head| upstream_request(head)),
            response: account.status.map(|_| Response {
                headers: pairs(&account.response),
                body: String::from_utf8_lossy(&account.body).into_owned(),
            }),
            why_not: why_not::find(asked, account, stage),
            server_origin: server,
        }
    }
}

/// The Gateway server whose route table was asked.
fn server(asked: &Asked, listener: &str, account: &Account, stage: &Stage) -> Option<ServerOrigin> {
    let bindings = stage.bindings.as_ref()?;
    let (port, _) = stage.ports.get(listener)?;
    let host = if asked.tls { asked.host.clone() } else { asked.seen_host() };
    let own = bindings.servers.iter().filter(|server| server.port == u32::from(*port) && server.tls == asked.tls);
    let same_table =
        |server: &&istio::ServerRef| account.route_config.is_empty() || server.route_config == account.route_config;
    let server = own.filter(same_table).find(|server| server.covers(&host))?;
    Some(ServerOrigin {
        gateway: server.gateway.clone(),
        name: server.name.clone(),
        port: server.port,
        hosts: server.hosts.clone(),
        file: server.file.clone(),
        line: server.at.line,
    })
}

fn filter(step: &FilterStep, account: &Account, stage: &Stage) -> Filter {
    let number = account.filters.iter().position(|known| std::ptr::eq(known, step));
    let reply = account.reply.as_ref().filter(|reply| reply.by.is_some() && reply.by == number);
    let name = stage.filter(&step.name).into_owned();
    Filter {
        kind: step.kind,
        order: step.place,
        changed: header_changes(&step.request),
        changed_response: header_changes(&step.response),
        reply: reply.map(|reply| Reply { status: reply.status, details: reply.details.clone() }),
        held: (!step.held.is_zero()).then(|| seconds(step.held)),
        verdict: step.verdict.clone(),
        counted: if step.kind == "wasm" { counted(&name, account) } else { Vec::new() },
        log: step.log.clone(),
        name,
    }
}

/// What a module counted for this request: `<rule> matched`. Modules of this project name themselves in their counters;
/// what another counts is told with whoever is the only module.
fn counted(plugin: &str, account: &Account) -> Vec<String> {
    let modules: Vec<_> = account.filters.iter().filter(|step| step.kind == "wasm").collect();
    let of = |name: &str| match name.strip_prefix("sluice.").and_then(|rest| rest.split_once('.')) {
        Some((module, what)) => {
            let named = modules.iter().any(|step| step.name.contains(module));
            let mine = if named { plugin.contains(module) } else { modules.len() == 1 || plugin.contains("suite") };
            mine.then(|| what.rsplit_once('.').map_or_else(|| what.to_owned(), |(rule, what)| format!("{rule} {what}")))
        }
        None => (modules.len() == 1).then(|| name.to_owned()),
    };
    account.counted.iter().filter_map(|(name, _)| of(name)).collect()
}

fn rule(step: &RuleStep) -> Rule {
    Rule {
        name: step.name.clone(),
        file: step.origin.file.clone(),
        line: step.origin.line,
        resource: step.origin.resource.clone(),
        matched: step.matched,
        first_failed: step.first_failed.clone(),
    }
}

fn action(action: &RouteAction) -> &'static str {
    match action {
        RouteAction::Forward(_) => "forward",
        RouteAction::Redirect => "redirect",
        RouteAction::Direct => "direct_response",
        RouteAction::SslRedirect => "https_redirect",
        RouteAction::NotFound => "none",
    }
}

fn fault(account: &Account, stage: &Stage) -> Option<Fault> {
    let counted = |what: &str| {
        account.counted.iter().find(|(name, _)| name.starts_with("sluice.fault-inject.") && name.ends_with(what))
    };
    let number = account.filters.iter().position(|step| step.kind == "fault" && step.verdict.is_some());
    let module = || {
        let hit = counted(".delayed").or_else(|| counted(".aborted")).is_some();
        account
            .filters
            .iter()
            .position(|step| step.kind == "wasm" && (step.replied || !step.held.is_zero()))
            .filter(|_| hit)
    };
    let at = number.or_else(module)?;
    let step = account.filters.get(at)?;
    let aborted = account.reply.as_ref().filter(|reply| reply.by == Some(at));
    Some(Fault {
        by: stage.filter(&step.name).into_owned(),
        delay: (!step.held.is_zero()).then(|| seconds(step.held)),
        abort: aborted.map(|reply| reply.status),
    })
}

fn cluster(account: &Account) -> Option<String> {
    match (&account.way, account.routing().map(|routing| &routing.action)) {
        (Way::Tcp(clusters), _) => clusters.first().map(|(name, _)| name.clone()),
        (_, Some(RouteAction::Forward(cluster))) => Some(cluster.clone()),
        _ => None,
    }
}

fn upstream_request(head: &[(bytes::Bytes, bytes::Bytes)]) -> UpstreamRequest {
    let field = |name: &str| {
        let found = head.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    UpstreamRequest {
        method: field(":method"),
        path: field(":path"),
        authority: field(":authority"),
        headers: pairs(head),
    }
}

/// Headers as text, without the pseudo-headers.
fn pairs(head: &[(bytes::Bytes, bytes::Bytes)]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let plain = head.iter().filter(|(name, _)| !name.starts_with(b":"));
    plain.map(|(name, value)| (text(name), text(value))).collect()
}

fn header_changes(changes: &[Change]) -> Vec<HeaderChange> {
    let joined = |values: &[String]| (!values.is_empty()).then(|| values.join(", "));
    let change = |change: &Change| HeaderChange {
        op: match (change.before.is_empty(), change.after.is_empty()) {
            (true, _) => "add",
            (_, true) => "remove",
            _ => "change",
        },
        name: change.name.clone(),
        before: joined(&change.before),
        after: joined(&change.after),
    };
    changes.iter().map(change).collect()
}

/// `1.5s`
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
