//! What of the manifests the cases reached: rules, their match entries, their destinations, and the filters' rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proxy::route::Origin;

use crate::explain::Answer;
use crate::stage::Stage;

/// Everything that could be reached, and what was.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// By kind, in the order they are told.
    items: BTreeMap<(Kind, String), Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Rule,
    Entry,
    Destination,
    Filter,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Rule, "rules"),
    (Kind::Entry, "match entries"),
    (Kind::Destination, "destinations"),
    (Kind::Filter, "filter rules"),
];

#[derive(Debug)]
struct Item {
    place: String,
    name: String,
    reached: bool,
}

impl Coverage {
    /// Everything there is, nothing reached.
    pub(super) fn of(stage: &Stage) -> Self {
        let mut coverage = Self::default();
        let listeners = stage.rehearsal.bootstrap().static_resources.iter().flat_map(|resources| &resources.listeners);
        for filter in listeners.flat_map(|listener| &listener.filter_chains).flat_map(|chain| &chain.filters) {
            let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &filter.typed_config else { continue };
            let hosts = manager.route_config.iter().flat_map(|config| &config.virtual_hosts);
            for route in hosts.flat_map(|host| &host.routes) {
                coverage.add_route(route);
            }
            for filter in &manager.http_filters {
                if let Some(xds::HttpFilterConfig::Wasm(wasm)) = &filter.typed_config {
                    let config = wasm.config.as_ref().and_then(|config| config.configuration_string());
                    let name = stage.filter(&filter.name);
                    let mut rules = BTreeSet::new();
                    rule_names(
                        &config.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
                        &mut rules,
                    );
                    for rule in rules {
                        coverage.add(Kind::Filter, format!("{name}/{rule}"), String::new(), format!("{name}: {rule}"));
                    }
                }
            }
        }
        coverage
    }

    fn add(&mut self, kind: Kind, key: String, place: String, name: String) {
        self.items.entry((kind, key)).or_insert(Item { place, name, reached: false });
    }

    fn add_route(&mut self, route: &xds::Route) {
        let origin = Origin::read(route.metadata.as_ref());
        let place = place(&origin);
        let name = if route.name.is_empty() { origin.resource.clone().unwrap_or_default() } else { route.name.clone() };
        let rule = rule_key(&origin, &name);
        self.add(Kind::Rule, rule.clone(), place.clone(), name.clone());
        if origin.entry.is_some() {
            self.add(Kind::Entry, entry_key(&origin, &name), place.clone(), name.clone());
        }
        let action = route.route.iter();
        let clusters = action.flat_map(|action| {
            let weighted = action.weighted_clusters.iter().flat_map(|all| &all.clusters).map(|one| one.name.clone());
            action.cluster.clone().into_iter().chain(weighted)
        });
        for cluster in clusters {
            let told = format!("{name} -> {cluster}");
            self.add(Kind::Destination, format!("{rule}>{cluster}"), place.clone(), told);
        }
    }

    /// A request was answered like this.
    pub(super) fn reach(&mut self, answer: &Answer, origin: Option<&(String, Origin)>) {
        if let Some((name, origin)) = origin {
            let own = if origin.resource.is_some() { name.clone() } else { String::new() };
            let rule = rule_key(origin, &own);
            self.touch(Kind::Rule, &rule);
            self.touch(Kind::Entry, &entry_key(origin, &own));
            if let Some(cluster) = &answer.cluster {
                self.touch(Kind::Destination, &format!("{rule}>{cluster}"));
            }
        }
        for filter in &answer.filters {
            for counted in &filter.counted {
                // `RULE WHAT`, or `RULE.DESTINATION shifted`: the longest rule that it begins with.
                let known: Vec<_> = self.items.keys().filter(|(kind, _)| *kind == Kind::Filter).cloned().collect();
                let prefix = format!("{}/", filter.name);
                let of = known.iter().filter_map(|(_, key)| key.strip_prefix(&prefix));
                let mine =
                    of.filter(|rule| counted.strip_prefix(*rule).is_some_and(|rest| rest.starts_with([' ', '.'])));
                if let Some(rule) = mine.max_by_key(|rule| rule.len()) {
                    self.touch(Kind::Filter, &format!("{prefix}{rule}"));
                }
            }
        }
    }

    fn touch(&mut self, kind: Kind, key: &str) {
        if let Some(item) = self.items.get_mut(&(kind, key.to_owned())) {
            item.reached = true;
        }
    }

    /// Percent of everything that was reached; all of nothing is 100.
    pub(super) fn percent(&self) -> f64 {
        percent(self.items.values().filter(|item| item.reached).count(), self.items.len())
    }

    /// A table, and what was not reached with its place.
    pub(super) fn told(&self) -> String {
        let mut text = String::from("coverage\n");
        for (kind, name) in KINDS {
            let of = || self.items.iter().filter(|((known, _), _)| *known == kind).map(|(_, item)| item);
            let (all, reached) = (of().count(), of().filter(|item| item.reached).count());
            // A string takes everything.
            let _ = writeln!(text, "  {name:<14} {reached:>4} of {all:<4} {:>5.1} %", percent(reached, all));
            for item in of().filter(|item| !item.reached) {
                let _ = writeln!(text, "    not reached: {}{}", item.name, item.place);
            }
        }
        let _ = writeln!(text, "  {:<14} {:>17.1} %", "all", self.percent());
        text
    }
}

fn percent(reached: usize, all: usize) -> f64 {
    let number = |count: usize| u32::try_from(count).map_or(f64::MAX, f64::from);
    if all == 0 { 100.0 } else { 100.0 * number(reached) / number(all) }
}

fn rule_key(origin: &Origin, name: &str) -> String {
    let base = origin.resource.clone().unwrap_or_else(|| name.to_owned());
    format!("{base}#{:06}", origin.rule.unwrap_or_default())
}

fn entry_key(origin: &Origin, name: &str) -> String {
    format!("{}#{:06}", rule_key(origin, name), origin.entry.unwrap_or_default())
}

fn place(origin: &Origin) -> String {
    match (&origin.file, origin.line) {
        (Some(file), Some(line)) => format!(" ({file}:{line})"),
        _ => String::new(),
    }
}

/// Names in every `rules` list of a plugin's configuration.
fn rule_names(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, inner) in map {
                let rules = (key == "rules").then(|| inner.as_array()).flatten();
                for rule in rules.into_iter().flatten() {
                    into.extend(rule.get("name").and_then(|name| name.as_str()).map(str::to_owned));
                }
                rule_names(inner, into);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| rule_names(item, into)),
        _ => {}
    }
}
