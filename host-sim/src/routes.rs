//! `host-sim routes`: the merged route tables, with where each row was written and why it stands where it stands.

use std::fmt::Write;

use proxy::route::{Action, RouteEntry, RouteTable};
use serde::Serialize;

use crate::command_line::{Output, TableArgs};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::say;

/// One listener's route table.
#[derive(Debug, Serialize)]
struct Table {
    listener: String,
    port: Option<u16>,
    route_config: String,
    virtual_hosts: Vec<VirtualHost>,
}

#[derive(Debug, Serialize)]
struct VirtualHost {
    name: String,
    domains: Vec<String>,
    routes: Vec<Row>,
}

/// One route.
#[derive(Debug, Serialize)]
struct Row {
    order: usize,
    name: String,
    conditions: Vec<String>,
    action: String,
    destinations: Vec<Destination>,
    resource: Option<String>,
    file: Option<String>,
    line: Option<u64>,
    rule: Option<u64>,
    #[serde(rename = "match")]
    entry: Option<u64>,
    reason: String,
}

/// One place a route sends requests to.
#[derive(Debug, Serialize)]
struct Destination {
    cluster: String,
    weight: u32,
}

/// Prints the tables.
///
/// # Errors
/// As `run`: exit 3 and 5.
pub(crate) fn routes(args: &TableArgs) -> Result<(), Failure> {
    let plan = Plan::read(&args.gateway)?;
    plan.say_warnings();
    let tables = tables(&plan)?;
    match args.output {
        Output::Text => say::answer(text(&tables)),
        Output::Json => say::json(&serde_json::json!({ "listeners": tables })),
    }
}

/// The tables as `-o json` prints them.
pub(crate) fn as_json(plan: &Plan) -> Option<serde_json::Value> {
    serde_json::to_value(tables(plan).ok()?).ok()
}

/// Every table of every listener, as the router compiles it.
fn tables(plan: &Plan) -> Result<Vec<Table>, Failure> {
    let mut tables = Vec::new();
    for listener in plan.bootstrap.static_resources.iter().flat_map(|resources| &resources.listeners) {
        for config in managers(listener).filter_map(|manager| manager.route_config.as_ref()) {
            let table = RouteTable::compile(config).map_err(|errors| {
                Failure::Manifests(errors.iter().map(|error| format!("{}: {error}", listener.name)).collect())
            })?;
            let virtual_hosts = table.virtual_hosts().map(|(host, routes)| VirtualHost {
                name: host.name.to_string(),
                domains: host.domains.clone(),
                routes: rows(routes, plan),
            });
            tables.push(Table {
                listener: listener.name.clone(),
                port: plan.server_ports.get(&listener.name).copied(),
                route_config: config.name.clone(),
                virtual_hosts: virtual_hosts.collect(),
            });
        }
    }
    Ok(tables)
}

/// The connection managers of a listener.
pub(crate) fn managers(listener: &xds::Listener) -> impl Iterator<Item = &xds::HttpConnectionManager> {
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    chains.flat_map(|chain| &chain.filters).filter_map(|filter| match &filter.typed_config {
        Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) => Some(manager.as_ref()),
        _ => None,
    })
}

fn rows(routes: &[std::sync::Arc<RouteEntry>], plan: &Plan) -> Vec<Row> {
    let mut before: Option<&RouteEntry> = None;
    let mut rows = Vec::new();
    for (order, route) in routes.iter().enumerate() {
        let origin = &route.origin;
        rows.push(Row {
            order,
            name: if route.name.is_empty() { format!("route {}", order + 1) } else { route.name.to_string() },
            conditions: conditions(route),
            action: action(&route.action),
            destinations: destinations(&route.action),
            resource: origin.resource.clone(),
            file: origin.file.clone(),
            line: origin.line,
            rule: origin.rule,
            entry: origin.entry,
            reason: reason(before, route, plan),
        });
        before = Some(route);
    }
    rows
}

fn conditions(route: &RouteEntry) -> Vec<String> {
    let matcher = &route.matcher;
    let request = &matcher.request;
    let mut all = vec![format!("path {}", request.path)];
    let field = |name: &str| match name.strip_prefix(':') {
        Some(pseudo) => pseudo.to_owned(),
        None => format!("header {name}"),
    };
    all.extend(request.headers.iter().map(|header| format!("{} {header}", field(header.name()))));
    all.extend(request.query.iter().map(|query| format!("query {} {query}", query.name())));
    all.extend(matcher.fraction.map(|share| format!("{} of {} requests", share.numerator, share.denominator)));
    all.extend(matcher.grpc.then(|| "gRPC".to_owned()));
    all.extend(matcher.connect.then(|| "CONNECT".to_owned()));
    all.extend(matcher.metadata.iter().map(|filter| format!("metadata of {filter}")));
    all
}

fn destinations(action: &Action) -> Vec<Destination> {
    let Action::Forward(forward) = action else { return Vec::new() };
    forward.clusters.destinations().into_iter().map(|(cluster, weight)| Destination { cluster, weight }).collect()
}

fn action(action: &Action) -> String {
    match action {
        Action::Redirect(redirect) => format!("redirect {}", redirect.code.status()),
        Action::Direct { status, .. } => format!("answer {status}"),
        Action::Forward(forward) => {
            let destinations = forward.clusters.destinations();
            let one = destinations.len() < 2;
            let told =
                destinations.iter().map(|(name, weight)| if one { name.clone() } else { format!("{name} ({weight})") });
            told.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Why a row comes after the one before it.
fn reason(before: Option<&RouteEntry>, route: &RouteEntry, plan: &Plan) -> String {
    let origin = &route.origin;
    let (Some(own), Some(rule)) = (&origin.resource, origin.rule) else { return "as configured".to_owned() };
    let own_order = origin.entry.map_or_else(|| format!("rule {rule}"), |entry| format!("rule {rule}, match {entry}"));
    let Some(before) = before else { return format!("{own_order} of {own}") };
    let earlier = (before.origin.rule, before.origin.entry) <= (origin.rule, origin.entry);
    match &before.origin.resource {
        Some(other) if other == own && earlier => own_order,
        Some(other) if other == own => "takes every request: Istio puts it last".to_owned(),
        Some(other) => {
            let rejoins = takes_all(route) && !takes_all(before);
            if rejoins { "takes every request: Istio puts it last".to_owned() } else { age(other, own, plan) }
        }
        None => own_order,
    }
}

fn takes_all(route: &RouteEntry) -> bool {
    let path = route.matcher.request.path.to_string();
    conditions(route).len() == 1 && ["prefix \"/\"", "regex \".*\""].contains(&path.as_str())
}

/// Between VirtualServices of one host the older comes first; where manifests do not say when, the name decides here.
fn age(first: &str, second: &str, plan: &Plan) -> String {
    let known = plan.bindings.iter().flat_map(|bindings| &bindings.virtual_services);
    let created = |resource: &str| {
        known.clone().find(|service| service.resource == resource).map(|service| service.created.clone())
    };
    match (created(first).unwrap_or_default(), created(second).unwrap_or_default()) {
        (one, other) if one == other && one.is_empty() => {
            format!(
                "{second} after {first} by name: no creationTimestamp in the manifests; in a cluster the older comes first"
            )
        }
        (one, other) if one == other => format!("{second} after {first}: as old, so by name"),
        (one, other) => format!("{second} ({other}) after {first} ({one}): the older comes first"),
    }
}

fn text(tables: &[Table]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for table in tables {
        let port = table.port.map(|port| format!(", port {port}")).unwrap_or_default();
        let _ = writeln!(out, "listener {}{port}, routes {}", table.listener, table.route_config);
        for host in &table.virtual_hosts {
            let _ = writeln!(out, "  host {} ({})", host.name, host.domains.join(", "));
            if host.routes.is_empty() {
                let _ = writeln!(out, "    no routes: every request is answered 404");
            }
            for row in &host.routes {
                let _ = writeln!(out, "    {:>3}  {:<20} {}", row.order, row.name, row.conditions.join("; "));
                let _ = writeln!(out, "         {:<20} -> {}", "", row.action);
                let place = match (&row.file, row.line) {
                    (Some(file), Some(line)) => format!("{file}:{line}, "),
                    _ => String::new(),
                };
                let _ = writeln!(out, "         {:<20} {place}{}", "", row.reason);
            }
        }
    }
    out
}
