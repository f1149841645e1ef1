//! Which DestinationRule holds for a service, and what several rules of one host make together.

use std::collections::BTreeMap;

use super::{
    registry::{Service, is_subset},
    visibility::Visibility,
};
use crate::resource::{
    Resources,
    destination_rule::{DestinationRule, Subset, TrafficPolicy},
    host,
    object::Object,
};

/// Rules of one host and namespace, merged: the oldest rule's policy, all their subsets.
#[derive(Clone, Debug)]
pub(crate) struct MergedRule<'a> {
    host: String,
    namespace: &'a str,
    /// What the merged rule was first made from.
    pub(crate) first: &'a Object<DestinationRule>,
    pub(crate) policy: Option<&'a TrafficPolicy>,
    pub(crate) subsets: Vec<&'a Subset>,
    selector: Option<&'a BTreeMap<String, String>>,
    visibility: Option<Visibility>,
}

/// All rules, merged by visibility as istiod merges them.
#[derive(Clone, Debug, Default)]
pub(crate) struct DestinationRules<'a> {
    /// For workloads of the rule's own namespace.
    local: Vec<MergedRule<'a>>,
    /// For everyone who is not excluded.
    exported: Vec<MergedRule<'a>>,
    /// Private rules of the root namespace.
    root_private: Vec<MergedRule<'a>>,
    root: &'a str,
}

impl<'a> DestinationRules<'a> {
    /// Indexes the rules of `resources`.
    pub(crate) fn new(resources: &'a Resources) -> Self {
        let mut sorted: Vec<_> = resources.destination_rules.iter().collect();
        // Rules with a selector first, then by age.
        sorted.sort_by(|a, b| {
            (a.spec.workload_selector.is_none(), a.age_order())
                .cmp(&(b.spec.workload_selector.is_none(), b.age_order()))
        });
        let root = resources.mesh.root_namespace();
        let private_by_default = resources
            .mesh
            .default_destination_rule_export_to
            .as_deref()
            .is_some_and(|default| default.iter().any(|entry| entry == "."));
        let mut rules = Self { root, ..Self::default() };
        for object in sorted {
            let merged = MergedRule::new(object, resources.mesh.domain());
            let namespace = &object.metadata.namespace;
            let own = merged.visibility.as_ref().is_none_or(|visibility| visibility.includes(namespace));
            let private = match &merged.visibility {
                None => private_by_default,
                Some(visibility) => visibility.is_only(namespace),
            };
            if own {
                merge_into(&mut rules.local, merged.clone());
            }
            if !private {
                merge_into(&mut rules.exported, merged);
            } else if namespace == root {
                merge_into(&mut rules.root_private, merged);
            }
        }
        rules
    }

    /// The rule for `service` as a workload in `namespace` with `labels` sees it.
    pub(crate) fn get(
        &self,
        service: &Service,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<&MergedRule<'a>> {
        let candidates = self.candidates(service, namespace);
        let selected = |rule: &&&MergedRule<'a>| {
            rule.selector.is_some_and(|selector| rule.namespace == namespace && is_subset(selector, labels))
        };
        let found =
            candidates.iter().find(selected).or_else(|| candidates.iter().rev().find(|rule| rule.selector.is_none()));
        found.copied()
    }

    fn candidates(&self, service: &Service, namespace: &str) -> Vec<&MergedRule<'a>> {
        let home = if namespace == self.root { &self.root_private } else { &self.local };
        let own = most_specific(home.iter().filter(|rule| rule.namespace == namespace), &service.host);
        if !own.is_empty() {
            return own;
        }
        for owner in [service.namespace.as_str(), self.root] {
            let mut exported =
                most_specific(self.exported.iter().filter(|rule| rule.namespace == owner), &service.host);
            exported.retain(|rule| rule.visibility.as_ref().is_none_or(|visibility| visibility.includes(namespace)));
            if !exported.is_empty() {
                return exported;
            }
        }
        Vec::new()
    }
}

/// The rules of the one host that fits best: the name itself, else the longest wildcard.
fn most_specific<'r, 'a: 'r>(
    rules: impl Iterator<Item = &'r MergedRule<'a>> + Clone,
    needle: &str,
) -> Vec<&'r MergedRule<'a>> {
    let bare = needle.strip_prefix('*').unwrap_or(needle);
    let covers = |host: &&str| host.strip_prefix('*').is_some_and(|suffix| bare.ends_with(suffix));
    let mut hosts = rules.clone().map(|rule| rule.host.as_str());
    let best = match hosts.clone().find(|host| *host == needle) {
        Some(exact) => exact,
        None => match hosts.by_ref().filter(covers).min_by(|a, b| host::more_specific(a, b)) {
            Some(widest) => widest,
            None => return Vec::new(),
        },
    };
    rules.filter(|rule| rule.host == best).collect()
}

impl<'a> MergedRule<'a> {
    fn new(object: &'a Object<DestinationRule>, domain: &str) -> Self {
        let spec = &object.spec;
        let namespace = object.metadata.namespace.as_str();
        let selector = spec.workload_selector.as_ref().map(|selector| &selector.match_labels);
        let own = [".".to_owned()];
        let export_to = if selector.is_some() { &own[..] } else { &spec.export_to };
        Self {
            host: host::full_name(&spec.host, namespace, domain),
            namespace,
            first: object,
            policy: spec.traffic_policy.as_ref(),
            subsets: spec.subsets.iter().collect(),
            selector,
            visibility: (!export_to.is_empty()).then(|| Visibility::new(export_to, None, namespace)),
        }
    }

    /// The subset of that name.
    pub(crate) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.subsets.iter().copied().find(|subset| subset.name == name)
    }
}

/// A later rule of the same host and namespace, seen by the same namespaces or more, adds its subsets, and its policy where there is none yet;
/// one with another visibility or selector stands on its own.
fn merge_into<'a>(rules: &mut Vec<MergedRule<'a>>, rule: MergedRule<'a>) {
    let mut separate = true;
    for known in rules.iter_mut().filter(|known| known.host == rule.host && known.namespace == rule.namespace) {
        let wider = matches!((&known.visibility, &rule.visibility), (Some(known), Some(new)) if new.contains(known));
        separate = known.visibility != rule.visibility;
        if separate && !wider {
            continue;
        }
        match (known.selector, rule.selector) {
            (Some(a), Some(b)) if a != b => {
                separate = true;
                continue;
            }
            (Some(_), Some(_)) | (None, None) => separate = false,
            _ => {}
        }
        for subset in &rule.subsets {
            if known.subset(&subset.name).is_none() {
                known.subsets.push(subset);
            }
        }
        known.policy = known.policy.or(rule.policy);
    }
    if separate {
        rules.push(rule);
    }
}
