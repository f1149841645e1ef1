//! `IST0130` and `IST0131`: rules that Istio itself sees are never used: after one without conditions, equal to an earlier one, or under an earlier
//! prefix that differs in nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::ops::Bound;

use crate::{
    analysis::{Finding, Level},
    resource::{
        Resources,
        object::Object,
        virtual_service::{HttpMatch, StringMatch, VirtualService},
    },
};

/// All kinds of rules of all VirtualServices.
pub(super) fn rules(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        let spec = &object.spec;
        let mut report = Report { object, found };
        let http: Vec<_> = spec
            .http
            .iter()
            .map(|route| {
                let unnamed = route.matches.iter().map(|matched| HttpMatch { name: String::new(), ..matched.clone() });
                (
                    name_of(&route.name),
                    route.matches.iter().map(|matched| name_of(&matched.name)).collect(),
                    unnamed.collect(),
                )
            })
            .collect();
        report.repeated("http", &http);
        report.overlapping(&http);
        let unnamed = |count: usize| vec![None; count];
        report.repeated(
            "tcp",
            &spec
                .tcp
                .iter()
                .map(|route| (None, unnamed(route.matches.len()), route.matches.clone()))
                .collect::<Vec<_>>(),
        );
        report.repeated(
            "tls",
            &spec
                .tls
                .iter()
                .map(|route| (None, unnamed(route.matches.len()), route.matches.clone()))
                .collect::<Vec<_>>(),
        );
    }
}

fn name_of(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| format!("{name:?}"))
}

/// `"name"` or `#position`.
fn shown(name: Option<&String>, position: usize) -> String {
    name.cloned().unwrap_or_else(|| format!("#{position}"))
}

/// A rule: its name, its entries' names, its entries.
type Rule<M> = (Option<String>, Vec<Option<String>>, Vec<M>);

struct Report<'a, 'f> {
    object: &'a Object<VirtualService>,
    found: &'f mut Vec<Finding>,
}

impl Report<'_, '_> {
    fn push(&mut self, code: &'static str, level: Level, field: &str, message: String, fix: &str) {
        if self.found.iter().all(|known| known.message != message || known.resource != self.object.to_string()) {
            self.found.push(Finding::new(code, level, self.object, field, message).fix(fix));
        }
    }

    fn unreachable(&mut self, field: &str, rule: &str, reason: &str) {
        let message = format!("VirtualService rule {rule} not used ({reason}).");
        self.push(
            "IST0130",
            Level::Warning,
            field,
            message,
            "move the rule before the one that hides it, or delete it",
        );
    }

    fn ineffective(&mut self, field: &str, rule: &str, entry: &str, earlier: &str) {
        let message = format!(
            "VirtualService rule {rule} match {entry} is not used (duplicate/overlapping match in rule {earlier})."
        );
        self.push(
            "IST0131",
            Level::Info,
            field,
            message,
            "delete the match, or move it before the one that takes its requests",
        );
    }

    fn repeated<M: Debug>(&mut self, kind: &str, rules: &[Rule<M>]) {
        // By what they say in full: equal entries say the same, and ten thousand are not compared each with each.
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut takes_all = false;
        for (i, (name, entry_names, entries)) in rules.iter().enumerate() {
            let (path, rule) = (format!("spec.{kind}[{i}]"), shown(name.as_ref(), i));
            if entries.is_empty() {
                if takes_all {
                    self.unreachable(&path, &rule, "only the last rule can have no matches");
                }
                takes_all = true;
                continue;
            }
            let mut repeated = 0;
            for (j, entry) in entries.iter().enumerate() {
                if takes_all {
                    self.unreachable(&path, &rule, "route without matches defined before");
                    continue;
                }
                let said = format!("{entry:?}");
                let Some(earlier) = seen.get(&said).copied() else {
                    seen.insert(said, i);
                    continue;
                };
                let earlier = shown(rules.get(earlier).and_then(|(name, ..)| name.as_ref()), earlier);
                let entry = shown(entry_names.get(j).and_then(Option::as_ref), j);
                self.ineffective(&format!("{path}.match[{j}]"), &rule, &entry, &earlier);
                repeated += 1;
            }
            if repeated == entries.len() {
                self.unreachable(&path, &rule, "all matches used by prior rules");
            }
        }
    }

    fn overlapping(&mut self, rules: &[Rule<HttpMatch>]) {
        let mut prefixes: Vec<Prefixed> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        for (i, (name, entry_names, entries)) in rules.iter().enumerate() {
            if entries.is_empty() {
                break;
            }
            for (j, entry) in entries.iter().enumerate() {
                if !seen.insert(format!("{entry:?}")) {
                    continue;
                }
                let rule = shown(name.as_ref(), i);
                let shown = shown(entry_names.get(j).and_then(Option::as_ref), j);
                prefixes.extend(Prefixed::of(entry, rule, shown, format!("spec.http[{i}].match[{j}]")));
            }
        }
        let mut by_prefix: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, prefixed) in prefixes.iter().enumerate() {
            by_prefix.entry(&prefixed.prefix).or_default().push(i);
        }
        for (i, earlier) in prefixes.iter().enumerate() {
            let prefix = earlier.prefix.as_str();
            let longer = by_prefix.range::<str, _>((Bound::Excluded(prefix), Bound::Unbounded));
            let longer = longer.take_while(|(other, _)| other.starts_with(prefix)).flat_map(|(_, at)| at);
            let mut later: Vec<usize> = longer.copied().filter(|at| *at > i).collect();
            later.sort_unstable();
            for later in later.into_iter().filter_map(|at| prefixes.get(at)).filter(|later| earlier.covers(later)) {
                let entry = format!("{} of prefix {}", later.entry, later.prefix);
                let by = format!("{} of prefix {} on {}", earlier.entry, earlier.prefix, earlier.rule);
                self.ineffective(&later.field, &later.rule, &entry, &by);
            }
        }
    }
}

/// A prefix match as Istio compares them.
struct Prefixed {
    rule: String,
    entry: String,
    field: String,
    prefix: String,
    port: u32,
    method: String,
    authority: String,
    maps: [BTreeMap<String, String>; 3],
}

impl Prefixed {
    fn of(matched: &HttpMatch, rule: String, entry: String, field: String) -> Option<Self> {
        let prefix = matched.uri.as_ref()?.prefix.clone().filter(|prefix| !prefix.is_empty())?;
        let method = said(matched.method.as_ref());
        let map = |conditions: &BTreeMap<String, StringMatch>| {
            conditions.iter().map(|(key, value)| (key.clone(), said(Some(value)))).collect()
        };
        Some(Self {
            rule,
            entry,
            field,
            prefix,
            port: matched.port,
            // Istio's comparison takes no method for GET.
            method: if method.is_empty() { "exact:GET".to_owned() } else { method },
            authority: said(matched.authority.as_ref()),
            maps: [map(&matched.headers), map(&matched.query_params), map(&matched.without_headers)],
        })
    }

    fn covers(&self, later: &Self) -> bool {
        let fits = |own: &str, other: &str| own.starts_with(other);
        later.prefix.starts_with(&self.prefix)
            && later.port == self.port
            && fits(&self.method, &later.method)
            && fits(&self.authority, &later.authority)
            && self.maps.iter().zip(&later.maps).all(|(own, other)| {
                own.len() == other.len()
                    && own.iter().all(|(key, value)| other.get(key).is_some_and(|other| fits(value, other)))
            })
    }
}

fn said(value: Option<&StringMatch>) -> String {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(value) = value else { return String::new() };
    match (text(&value.exact), text(&value.prefix)) {
        (Some(exact), _) => format!("exact:{exact}"),
        (None, Some(prefix)) => format!("prefix:{prefix}"),
        (None, None) => String::new(),
    }
}
