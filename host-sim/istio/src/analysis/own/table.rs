//! The rules of a host on a port in the order in which they are tried, and requests that ask them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    example,
    shelf::{self, Shelf},
};
use crate::{
    analysis::{Claim, Witness},
    resource::{
        Resources, claim, host,
        object::Object,
        virtual_service::{HttpMatch, HttpRoute, StringMatch, VirtualService},
    },
    translate::rules::{BoundVirtualService, bound_virtual_services},
};

/// One host of one server.
pub(super) struct Table<'a> {
    pub(super) host: String,
    pub(super) port: u32,
    pub(super) is_tls: bool,
    pub(super) rows: Vec<Row<'a>>,
}

/// One match entry of a rule, or the rule itself when it has none.
#[derive(Clone)]
pub(super) struct Row<'a> {
    pub(super) object: &'a Object<VirtualService>,
    pub(super) rule: usize,
    /// Where the entry stands: in the VirtualService it was written in.
    pub(super) field: String,
    pub(super) matched: HttpMatch,
    pub(super) route: HttpRoute,
    /// The VirtualService whose hosts these are; the one with the delegate for a delegate's rules.
    pub(super) root: &'a Object<VirtualService>,
}

/// A request as routing looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    /// With a port if a client sent one.
    pub(super) authority: String,
    pub(super) headers: BTreeMap<String, String>,
}

/// The tables of all HTTP servers; hosts that VirtualServices share with a server, once per port.
pub(super) fn tables(resources: &Resources) -> Vec<Table<'_>> {
    let services = bound_virtual_services(resources, &mut Vec::new());
    let mut tables: Vec<Table<'_>> = Vec::new();
    for gateway in &resources.gateways {
        let name = gateway.full_name();
        for server in gateway.spec.servers.iter().filter(|server| server.is_http()) {
            let open = server.hosts.iter().any(|host| host == "*/*");
            let hosts: Vec<String> = server
                .hosts
                .iter()
                .map(|host| match host.split_once('/') {
                    _ if open => "*".to_owned(),
                    Some((".", host)) => format!("{}/{host}", gateway.metadata.namespace),
                    Some(("*", host)) => host.to_owned(),
                    _ => host.clone(),
                })
                .collect();
            for service in services.iter().filter(|service| service.gateways.contains(&name)) {
                let own = host::hosts_for_namespace(&hosts, &service.object.metadata.namespace);
                for host in host::intersection(&own, &service.hosts) {
                    let port = server.port.number;
                    let same = |table: &&mut Table<'_>| table.host == host && table.port == port;
                    let rows = rows(service, &name, port);
                    match tables.iter_mut().find(same) {
                        Some(table) => table.rows.extend(rows),
                        None => tables.push(Table { host, port, is_tls: server.terminates_https(), rows }),
                    }
                }
            }
        }
    }
    tables.iter_mut().for_each(|table| catch_alls_last(&mut table.rows));
    tables
}

fn rows<'a>(service: &BoundVirtualService<'a>, gateway: &str, port: u32) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for rule in &service.http {
        let row = |matched: HttpMatch, field: String| Row {
            object: rule.place.object,
            rule: rule.place.rule,
            field,
            matched,
            route: rule.route.clone(),
            root: service.object,
        };
        if rule.route.matches.is_empty() {
            rows.push(row(HttpMatch::default(), rule.place.path()));
        }
        for (matched, place) in rule.route.matches.iter().zip(&rule.match_places) {
            let here = matched.port == 0 || matched.port == port;
            let bound = matched.gateways.is_empty() || matched.gateways.iter().any(|name| name == gateway);
            if here && bound {
                rows.push(row(matched.clone(), place.path()));
            }
        }
    }
    rows
}

/// Istio moves what takes everything behind all else.
fn catch_alls_last(rows: &mut Vec<Row<'_>>) {
    let last: Vec<_> = rows.extract_if(.., |row| row.is_catch_all()).collect();
    rows.extend(last);
}

impl<'a> Table<'a> {
    /// The rows as they are tried.
    pub(super) fn order(&self) -> Order<'_, 'a> {
        Order::of(&self.rows)
    }

    /// The host that stands for a wildcard.
    pub(super) fn example_host(&self) -> String {
        match self.host.strip_prefix('*') {
            Some("") => "any.example".to_owned(),
            Some(rest) => format!("a{rest}"),
            None => self.host.clone(),
        }
    }

    /// Requests that `row` is meant for; none when we cannot think of one.
    pub(super) fn samples(&self, row: &Row<'_>) -> Vec<Sample> {
        let matched = &row.matched;
        let paths = matched.uri.as_ref().map_or_else(|| vec!["/".to_owned()], example::of);
        let Some(sample) = self.without_path(matched) else { return Vec::new() };
        let samples =
            paths.into_iter().filter(|path| path.starts_with('/')).map(|path| sample.clone().at(&path, matched));
        samples.filter(|sample| row.takes(sample)).collect()
    }

    /// All conditions but the path met.
    pub(super) fn without_path(&self, matched: &HttpMatch) -> Option<Sample> {
        let one = |condition: &Option<StringMatch>, default: String| match condition {
            Some(condition) => example::of(condition).into_iter().next(),
            None => Some(default),
        };
        let mut headers = BTreeMap::new();
        for (name, condition) in &matched.headers {
            if claim::path(name).is_some() || name.starts_with(':') {
                return None;
            }
            headers.insert(name.to_lowercase(), example::of(condition).into_iter().next()?);
        }
        Some(Sample {
            method: one(&matched.method, "GET".to_owned())?,
            path: String::new(),
            authority: one(&matched.authority, self.example_host())?,
            headers,
        })
    }

    /// A sample as a request for people.
    pub(super) fn witness(&self, sample: &Sample, claim: Claim) -> Witness {
        let (host, _) = sample.authority.split_once(':').unwrap_or((&sample.authority, ""));
        Witness {
            method: sample.method.clone(),
            scheme: if self.is_tls { "https" } else { "http" }.to_owned(),
            host: host.to_owned(),
            port: self.port,
            path: sample.path.clone(),
            headers: sample.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            claim,
        }
    }
}

/// Rows that can be asked which of them takes a request first.
pub(super) struct Order<'t, 'a> {
    rows: &'t [Row<'a>],
    shelf: Shelf<'t>,
}

impl<'t, 'a> Order<'t, 'a> {
    /// In the order they stand in.
    pub(super) fn of(rows: &'t [Row<'a>]) -> Self {
        let mut shelf = Shelf::default();
        rows.iter().enumerate().for_each(|(at, row)| shelf.push(at, &row.matched));
        Self { rows, shelf }
    }

    /// All rows whose conditions it meets.
    pub(super) fn takers(&self, sample: &Sample) -> Vec<&'t Row<'a>> {
        let all = self.shelf.all(shelf::of_request(sample));
        all.into_iter().filter_map(|at| self.rows.get(at)).filter(|row| row.takes(sample)).collect()
    }

    /// The row that takes it.
    pub(super) fn first_match(&self, sample: &Sample) -> Option<&'t Row<'a>> {
        let takes = |at: usize| self.rows.get(at).is_some_and(|row| row.takes(sample));
        self.shelf.first(shelf::of_request(sample), takes).and_then(|at| self.rows.get(at))
    }
}

impl Sample {
    /// The same request for another path, with the query that the conditions ask for.
    pub(super) fn at(mut self, path: &str, matched: &HttpMatch) -> Self {
        let pairs: Vec<_> = matched
            .query_params
            .iter()
            .filter_map(|(name, condition)| Some(format!("{name}={}", example::of(condition).into_iter().next()?)))
            .collect();
        self.path = if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) };
        self
    }

    pub(super) fn bare_path(&self) -> &str {
        self.path.split(['?', '#']).next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> BTreeMap<&str, &str> {
        let query = self.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect()
    }
}

impl Row<'_> {
    /// Takes everything, and so is tried last.
    pub(super) fn is_catch_all(&self) -> bool {
        let matched = &self.matched;
        let any_path = match &matched.uri {
            None => true,
            Some(uri) => uri.prefix.as_deref() == Some("/") || uri.regex.as_deref() == Some(".*"),
        };
        any_path
            && matched.headers.is_empty()
            && matched.without_headers.is_empty()
            && matched.query_params.is_empty()
            && [&matched.method, &matched.scheme, &matched.authority].iter().all(|condition| condition.is_none())
    }

    /// This entry matches the request.
    pub(super) fn takes(&self, sample: &Sample) -> bool {
        let matched = &self.matched;
        let text = |condition: &Option<StringMatch>, value: &str| {
            condition.as_ref().is_none_or(|condition| example::fits(condition, value))
        };
        let path = || match &matched.uri {
            Some(uri) if matched.ignore_uri_case => {
                let lower = StringMatch {
                    exact: uri.exact.as_ref().map(|text| text.to_lowercase()),
                    prefix: uri.prefix.as_ref().map(|text| text.to_lowercase()),
                    regex: uri.regex.clone(),
                };
                example::fits(&lower, &sample.bare_path().to_lowercase())
            }
            uri => text(uri, sample.bare_path()),
        };
        let header = |name: &str| match name {
            ":authority" => Some(&sample.authority),
            ":method" => Some(&sample.method),
            name => sample.headers.get(&name.to_lowercase()),
        };
        let query = sample.query();
        path()
            && text(&matched.method, &sample.method)
            && text(&matched.authority, &sample.authority)
            && matched
                .headers
                .iter()
                .all(|(name, condition)| header(name).is_some_and(|value| example::fits(condition, value)))
            && matched
                .without_headers
                .iter()
                .all(|(name, condition)| header(name).is_none_or(|value| !example::fits(condition, value)))
            && matched
                .query_params
                .iter()
                .all(|(name, condition)| query.get(name.as_str()).is_some_and(|value| example::fits(condition, value)))
    }

    /// Two rows are of one rule.
    pub(super) fn same_rule(&self, other: &Row<'_>) -> bool {
        self.rule == other.rule && std::ptr::eq(self.object, other.object)
    }

    /// What becomes of a request differs.
    pub(super) fn acts_differently(&self, other: &Row<'_>) -> bool {
        let action = |row: &Self| HttpRoute { name: String::new(), matches: Vec::new(), ..row.route.clone() };
        let theirs = HttpRoute { name: String::new(), matches: Vec::new(), ..other.route.clone() };
        action(self) != theirs
    }

    /// `rule "cart" (spec.http[2] of VirtualService default/shop, vs.yaml:12)`
    pub(super) fn shown(&self) -> String {
        let name = if self.route.name.is_empty() { String::new() } else { format!("{:?} ", self.route.name) };
        let at = self.object.locate(&self.field);
        format!("rule {name}at {}:{} ({} of {})", self.object.origin.file, at.line, self.field, self.object)
    }

    /// What a witness that this row takes claims.
    pub(super) fn taken(&self) -> Claim {
        Claim::Taken { resource: self.object.to_string(), rule: self.rule }
    }

    /// What a witness that this row does not take claims.
    pub(super) fn not_taken(&self) -> Claim {
        Claim::NotTaken { resource: self.object.to_string(), rule: self.rule }
    }

    /// Sees each place once, however many tables it is in.
    pub(super) fn is_new(&self, seen: &mut BTreeSet<(String, String)>) -> bool {
        seen.insert((self.object.to_string(), self.field.clone()))
    }
}
