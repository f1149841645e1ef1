//! Why nobody took a request: one class, and what came nearest.

use proxy::explain::{Account, RouteAction, Way};
use proxy::route::{RouteTable, RuleStep, WhyNot as Class};
use serde::Serialize;

use super::request::Asked;
use crate::stage::Stage;

/// The reason, and the nearest misses.
#[derive(Debug, Serialize)]
pub(crate) struct WhyNot {
    /// One of the classes of the command line's contract.
    pub(crate) class: &'static str,
    /// For a person.
    pub(crate) message: String,
    /// What would have taken it with one thing different, the nearest first.
    pub(crate) nearest: Vec<Near>,
}

/// One near miss.
#[derive(Debug, Serialize)]
pub(crate) struct Near {
    pub(crate) name: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
    pub(crate) field: String,
    pub(crate) expected: String,
    pub(crate) actual: Option<String>,
}

/// How many near misses are told.
const TOLD: usize = 3;

/// Finds out; `None` when somebody took it.
pub(crate) fn find(asked: &Asked, account: &Account, stage: &Stage) -> Option<WhyNot> {
    match &account.way {
        Way::NoListener => return Some(no_listener(asked, stage)),
        Way::NoFilterChain => return Some(no_server(asked, stage, &asked.host)),
        Way::NoHandshake => return Some(no_handshake(asked, stage)),
        Way::Tcp(_) => return None,
        Way::Http => {}
    }
    let routing = account.routing()?;
    match &routing.action {
        RouteAction::Forward(cluster) if account.forwarded.as_ref().is_some_and(|ready| !ready.known) => Some(WhyNot {
            class: "no_cluster",
            message: if cluster.is_empty() {
                "the header that should name the cluster is not there".to_owned()
            } else {
                format!(
                    "the route leads to {cluster}, which is not configured: no manifest has this service, port or subset"
                )
            },
            nearest: Vec::new(),
        }),
        RouteAction::Forward(cluster) if account.details.starts_with("no_healthy_upstream") => Some(WhyNot {
            class: "no_endpoints",
            message: format!(
                "{cluster} has no endpoint; say where the service is with --backend, or leave out --no-echo"
            ),
            nearest: Vec::new(),
        }),
        RouteAction::NotFound => Some(not_found(asked, routing.trail.why_not?, &routing.trail.rules, account, stage)),
        _ => None,
    }
}

fn no_listener(asked: &Asked, stage: &Stage) -> WhyNot {
    let ports: Vec<_> = stage.ports.values().map(|(server, _)| server.to_string()).collect();
    let known = if ports.is_empty() { "no port".to_owned() } else { format!("port {}", ports.join(", ")) };
    let message = format!("nobody listens on port {}; the gateway listens on {known}", asked.port);
    WhyNot { class: "no_listener", message, nearest: Vec::new() }
}

fn no_server(asked: &Asked, stage: &Stage, host: &str) -> WhyNot {
    let servers = stage.bindings.iter().flat_map(|bindings| &bindings.servers);
    let on_port: Vec<_> = servers.filter(|server| server.port == u32::from(asked.port)).collect();
    let mut near: Vec<_> = on_port
        .iter()
        .flat_map(|server| server.hosts.iter().map(move |known| (distance(host, known), *server, known)))
        .map(|(distance, server, known)| {
            let near = Near {
                name: format!("Gateway {}, server {}", server.gateway, server.name),
                file: Some(server.file.clone()),
                line: Some(server.at.line),
                field: "hosts".to_owned(),
                expected: known.clone(),
                actual: Some(host.to_owned()),
            };
            (distance, near)
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    let covered = on_port.iter().find(|server| server.covers(host) && server.tls != asked.tls);
    let message = match covered {
        Some(server) if server.tls => format!("{host} on port {} wants TLS: ask for https://", asked.port),
        Some(_) => format!("{host} on port {} speaks no TLS: ask for http://", asked.port),
        None => format!("no server on port {} takes the host {host}", asked.port),
    };
    WhyNot {
        class: "no_server_for_host",
        message,
        nearest: near.into_iter().take(TOLD).map(|(_, near)| near).collect(),
    }
}

/// The server takes the host, but not this client.
fn no_handshake(asked: &Asked, stage: &Stage) -> WhyNot {
    let mut servers = stage.bindings.iter().flat_map(|bindings| &bindings.servers);
    let takes = |server: &&istio::ServerRef| server.port == u32::from(asked.port) && server.covers(&asked.host);
    let near = servers.find(takes).map(|server| Near {
        name: format!("Gateway {}, server {}", server.gateway, server.name),
        file: Some(server.file.clone()),
        line: Some(server.at.line),
        field: "tls.mode".to_owned(),
        expected: "met by a client certificate (--cert)".to_owned(),
        actual: None,
    });
    let (host, port) = (&asked.host, asked.port);
    let message = match asked.certificates.is_empty() {
        true => format!("{host} on port {port} wants a client certificate, and the client has none: see --cert"),
        false => format!("{host} on port {port} refuses the client's certificate"),
    };
    WhyNot { class: "no_server_for_host", message, nearest: near.into_iter().collect() }
}

fn not_found(asked: &Asked, class: Class, rules: &[RuleStep], account: &Account, stage: &Stage) -> WhyNot {
    let host = asked.seen_host();
    if let Some(missing) = missing_delegate(asked, &host, stage) {
        return missing;
    }
    match class {
        Class::NoServerForHost | Class::VirtualHostWithoutRoute => match &stage.bindings {
            Some(bindings) => unbound(asked, &host, bindings, account, stage),
            None if class == Class::VirtualHostWithoutRoute => without_route(&host),
            None => no_virtual_host(&host, account),
        },
        Class::Path => by_rules("path", "no rule takes this path", rules),
        Class::Method => by_rules("method", "the rules for this path ask for another method", rules),
        Class::Headers => by_rules("headers", "the rules for this path ask for other headers", rules),
        Class::Query => by_rules("query", "the rules for this path ask for other query parameters", rules),
    }
}

/// The manifests' half of "no virtual host": is there no server, no VirtualService, or nothing in it?
fn unbound(asked: &Asked, host: &str, bindings: &istio::Bindings, account: &Account, stage: &Stage) -> WhyNot {
    let servers = bindings.servers.iter().filter(|server| server.route_config == account.route_config);
    let taking: Vec<_> = servers.filter(|server| server.covers(host)).collect();
    if taking.is_empty() {
        return no_server(asked, stage, host);
    }
    let bound = |service: &&istio::VirtualServiceRef| {
        service.covers(host) && taking.iter().any(|server| service.gateways.contains(&server.gateway))
    };
    if let Some(service) = bindings.virtual_services.iter().find(bound) {
        let message =
            format!("{} is bound to {host}, but none of its rules applies on this gateway and port", service.resource);
        let near = Near {
            name: service.resource.clone(),
            file: Some(service.file.clone()),
            line: Some(service.at.line),
            field: "http".to_owned(),
            expected: "a rule for this gateway and port".to_owned(),
            actual: None,
        };
        return WhyNot { class: "virtual_host_without_route", message, nearest: vec![near] };
    }
    let gateways: Vec<_> = taking.iter().map(|server| server.gateway.as_str()).collect();
    let message = format!("Gateway {} takes {host}, but no VirtualService is bound to it there", gateways.join(", "));
    let mut near: Vec<_> = bindings
        .virtual_services
        .iter()
        .map(|service| {
            let (field, expected) = if service.covers(host) {
                ("gateways", format!("one of {}", gateways.join(", ")))
            } else {
                ("hosts", host.to_owned())
            };
            let has = if field == "gateways" { &service.gateways } else { &service.hosts };
            let rank = if field == "gateways" {
                0
            } else {
                has.iter().map(|own| distance(host, own)).min().unwrap_or(usize::MAX)
            };
            let near = Near {
                name: service.resource.clone(),
                file: Some(service.file.clone()),
                line: Some(service.at.line),
                field: field.to_owned(),
                expected,
                actual: Some(has.join(", ")),
            };
            (rank, near)
        })
        .collect();
    near.sort_by_key(|(rank, _)| *rank);
    let nearest = near.into_iter().take(TOLD).map(|(_, near)| near).collect();
    WhyNot { class: "no_virtual_service_bound", message, nearest }
}

fn without_route(host: &str) -> WhyNot {
    let message = format!("the virtual host of {host} has no route");
    WhyNot { class: "virtual_host_without_route", message, nearest: Vec::new() }
}

fn no_virtual_host(host: &str, account: &Account) -> WhyNot {
    let known = account.routing().map(|routing| routing.trail.known_domains.as_slice()).unwrap_or_default();
    let mut near: Vec<_> = known.iter().map(|domain| (distance(host, domain), domain)).collect();
    near.sort();
    let near = near.into_iter().take(TOLD).map(|(_, domain)| Near {
        name: domain.clone(),
        file: None,
        line: None,
        field: "domains".to_owned(),
        expected: domain.clone(),
        actual: Some(host.to_owned()),
    });
    let message = format!("no virtual host takes {host}");
    WhyNot { class: "no_server_for_host", message, nearest: near.collect() }
}

fn by_rules(class: &'static str, message: &str, rules: &[RuleStep]) -> WhyNot {
    let mut near: Vec<_> = rules
        .iter()
        .filter_map(|rule| {
            let miss = rule.first_failed.as_ref()?;
            // The path held, something behind it did not; else the longer the common beginning, the nearer.
            let far = usize::MAX - common(&miss.expected, miss.actual.as_deref().unwrap_or_default());
            let rank = if miss.field == "path" { far } else { 0 };
            let near = Near {
                name: rule.name.clone(),
                file: rule.origin.file.clone(),
                line: rule.origin.line,
                field: miss.field.clone(),
                expected: miss.expected.clone(),
                actual: miss.actual.clone(),
            };
            Some((rank, near))
        })
        .collect();
    near.sort_by_key(|(rank, _)| *rank);
    WhyNot { class, message: message.to_owned(), nearest: near.into_iter().take(TOLD).map(|(_, near)| near).collect() }
}

/// A rule would have taken the request if what it delegates to were there.
fn missing_delegate(asked: &Asked, host: &str, stage: &Stage) -> Option<WhyNot> {
    let missing = &stage.bindings.as_ref()?.missing_delegates;
    let found = missing.iter().find(|missing| missing.root.covers(host) && would_take(missing, asked))?;
    let near = Near {
        name: found.root.resource.clone(),
        file: Some(found.root.file.clone()),
        line: Some(found.at.line),
        field: "delegate".to_owned(),
        expected: format!("VirtualService {}", found.delegate),
        actual: None,
    };
    let message = format!(
        "a rule of {} delegates this request to VirtualService {}, which is not there (or has hosts of its own)",
        found.root.resource, found.delegate
    );
    Some(WhyNot { class: "delegate_missing", message, nearest: vec![near] })
}

/// Asks the router itself: a table with nothing but the rule's conditions.
fn would_take(missing: &istio::MissingDelegate, asked: &Asked) -> bool {
    let routes = missing.matches.iter().map(|entry| xds::Route {
        r#match: entry.clone(),
        direct_response: Some(Box::new(xds::DirectResponseAction { status: 200, ..Default::default() })),
        ..Default::default()
    });
    let host = xds::VirtualHost {
        name: "*".into(),
        domains: vec!["*".into()],
        routes: routes.collect(),
        ..Default::default()
    };
    let config = xds::RouteConfiguration { virtual_hosts: vec![host], ..Default::default() };
    let Ok(table) = RouteTable::compile(&config) else { return false };
    let pseudo = [
        (":method", asked.method.clone()),
        (":authority", asked.seen_host()),
        (":scheme", if asked.tls { "https" } else { "http" }.to_owned()),
        (":path", asked.target.clone()),
    ];
    let own = asked.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let headers: Vec<(bytes::Bytes, bytes::Bytes)> = pseudo
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(own)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let connection = proxy::edge::ConnectionInfo {
        id: 0,
        remote: (asked.client, 0).into(),
        relay: None,
        local: (asked.client, 0).into(),
        node_address: asked.client,
        protocol: proxy::edge::Protocol::Http11,
        tls: None,
    };
    let head = proxy::route::RequestHead { headers: &headers, random: 0, connection: &connection };
    table.decide(&head).route().is_some()
}

/// How many bytes the quoted part of a condition and a value have in common at their beginning.
fn common(expected: &str, actual: &str) -> usize {
    let quoted = expected.split('"').nth(1).unwrap_or(expected);
    quoted.bytes().zip(actual.bytes()).take_while(|(a, b)| a == b).count()
}

/// Levenshtein's distance, a wildcard label taken as it stands.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, x) in a.chars().enumerate() {
        let mut next = vec![at + 1];
        for (left_above, (above, y)) in row.iter().zip(row.iter().skip(1).zip(&b)) {
            let left = next.last().copied().unwrap_or_default();
            next.push((left_above + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_far_apart_as_letters_differ() {
        for (a, b, far) in
            [("shop", "shop", 0), ("shop", "shap", 1), ("", "ab", 2), ("shop.example", "shop.examples", 1)]
        {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }

    #[test]
    fn a_condition_and_a_path_share_what_they_begin_with() {
        assert_eq!(common("prefix \"/api/cart/\"", "/api/card"), 8);
        assert_eq!(common("a path", ""), 0);
    }
}
