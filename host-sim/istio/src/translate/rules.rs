//! VirtualServices made ready: names in full, delegates merged in, and every rule knowing where it was written.

use std::collections::BTreeMap;

use super::visibility::Visibility;
use crate::{
    problem::Problem,
    resource::{
        Resources, host,
        object::Object,
        virtual_service::{Destination, HttpMatch, HttpRoute, StringMatch, TcpRoute, TlsRoute, VirtualService},
    },
};

/// One VirtualService with hosts, after its delegates were merged in.
#[derive(Clone, Debug)]
pub(crate) struct BoundVirtualService<'a> {
    pub(crate) object: &'a Object<VirtualService>,
    pub(crate) hosts: Vec<String>,
    /// `namespace/name`, or `mesh`.
    pub(crate) gateways: Vec<String>,
    pub(crate) http: Vec<Rule<'a>>,
    pub(crate) tls: Vec<TlsRoute>,
    pub(crate) tcp: Vec<TcpRoute>,
    visibility: Visibility,
}

/// An HTTP rule and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) route: HttpRoute,
    pub(crate) place: Place<'a>,
    /// Where each entry of `route.matches` stands.
    pub(crate) match_places: Vec<Place<'a>>,
}

/// A rule or a match entry of a VirtualService.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) object: &'a Object<VirtualService>,
    pub(crate) rule: usize,
    pub(crate) matched: Option<usize>,
}

impl Place<'_> {
    /// Path of the rule or match entry.
    pub(crate) fn path(&self) -> String {
        match self.matched {
            Some(matched) => format!("spec.http[{}].match[{matched}]", self.rule),
            None => format!("spec.http[{}]", self.rule),
        }
    }
}

impl BoundVirtualService<'_> {
    /// A gateway workload in `namespace` sees it.
    pub(crate) fn is_visible_in(&self, namespace: &str) -> bool {
        self.visibility.includes(namespace)
    }

    /// Private and explicitly exported VirtualServices come before public ones.
    pub(crate) fn is_public(&self) -> bool {
        self.visibility.is_public()
    }
}

/// All VirtualServices that have hosts, oldest first. Delegates that are missing, not exported or in conflict are left out with a warning.
pub(crate) fn bound_virtual_services<'a>(
    resources: &'a Resources,
    warnings: &mut Vec<Problem>,
) -> Vec<BoundVirtualService<'a>> {
    let mut roots: Vec<_> = resources.virtual_services.iter().filter(|object| !object.spec.hosts.is_empty()).collect();
    roots.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
    roots.into_iter().map(|object| bind(resources, object, warnings)).collect()
}

fn bind<'a>(
    resources: &'a Resources,
    object: &'a Object<VirtualService>,
    warnings: &mut Vec<Problem>,
) -> BoundVirtualService<'a> {
    let names = Names { namespace: &object.metadata.namespace, domain: resources.mesh.domain() };
    let spec = &object.spec;
    let mut http = Vec::new();
    for rule in rules_of(object, &names) {
        match rule.route.delegate {
            Some(_) => http.extend(delegated(resources, object, rule, warnings)),
            None => http.push(rule),
        }
    }
    let (mut tls, mut tcp) = (spec.tls.clone(), spec.tcp.clone());
    for route in &mut tls {
        route.matches.iter_mut().for_each(|matched| names.gateways(&mut matched.gateways));
        route.route.iter_mut().for_each(|destination| names.destination(&mut destination.destination));
    }
    for route in &mut tcp {
        route.matches.iter_mut().for_each(|matched| names.gateways(&mut matched.gateways));
        route.route.iter_mut().for_each(|destination| names.destination(&mut destination.destination));
    }
    let mut gateways = spec.gateways.clone();
    names.gateways(&mut gateways);
    BoundVirtualService {
        object,
        hosts: spec.hosts.iter().map(|name| host::full_name(name, names.namespace, names.domain)).collect(),
        gateways: if gateways.is_empty() { vec!["mesh".to_owned()] } else { gateways },
        http,
        tls,
        tcp,
        visibility: visibility(resources, object),
    }
}

fn visibility(resources: &Resources, object: &Object<VirtualService>) -> Visibility {
    let default = resources.mesh.default_virtual_service_export_to.as_deref();
    Visibility::new(&object.spec.export_to, default, &object.metadata.namespace)
}

struct Names<'n> {
    namespace: &'n str,
    domain: &'n str,
}

impl Names<'_> {
    fn gateways(&self, names: &mut [String]) {
        for name in names.iter_mut().filter(|name| *name != "mesh") {
            *name = host::gateway_name(name, self.namespace);
        }
    }

    fn destination(&self, destination: &mut Destination) {
        destination.host = host::full_name(&destination.host, self.namespace, self.domain);
    }

    fn http(&self, route: &mut HttpRoute) {
        route.matches.iter_mut().for_each(|matched| self.gateways(&mut matched.gateways));
        route.route.iter_mut().for_each(|destination| self.destination(&mut destination.destination));
        route.mirror.iter_mut().chain(route.mirrors.iter_mut().flat_map(|mirror| &mut mirror.destination)).for_each(
            |destination| {
                self.destination(destination);
            },
        );
    }
}

fn rules_of<'a>(object: &'a Object<VirtualService>, names: &Names<'_>) -> Vec<Rule<'a>> {
    let rule = |(index, route): (usize, &HttpRoute)| {
        let mut route = route.clone();
        names.http(&mut route);
        let place = Place { object, rule: index, matched: None };
        let match_places = (0..route.matches.len()).map(|matched| Place { matched: Some(matched), ..place }).collect();
        Rule { route, place, match_places }
    };
    object.spec.http.iter().enumerate().map(rule).collect()
}

/// The rules that stand in for a rule with `delegate`.
fn delegated<'a>(
    resources: &'a Resources,
    root: &'a Object<VirtualService>,
    rule: Rule<'a>,
    warnings: &mut Vec<Problem>,
) -> Vec<Rule<'a>> {
    let Some(delegate) = &rule.route.delegate else { return Vec::new() };
    let namespace = if delegate.namespace.is_empty() { &root.metadata.namespace } else { &delegate.namespace };
    let path = format!("{}.delegate", rule.place.path());
    let named = |object: &&Object<VirtualService>| {
        object.metadata.name == delegate.name && object.metadata.namespace == *namespace && object.spec.hosts.is_empty()
    };
    let Some(object) = resources.virtual_services.iter().find(named) else {
        let reason = format!("delegate virtual service {namespace}/{} not found: this rule is left out", delegate.name);
        warnings.push(root.problem(&path, reason));
        return Vec::new();
    };
    if !visibility(resources, object).includes(&root.metadata.namespace) {
        let reason = format!(
            "delegate virtual service {namespace}/{} is not exported to {}: this rule is left out",
            delegate.name, root.metadata.namespace
        );
        warnings.push(root.problem(&path, reason));
        return Vec::new();
    }
    let names = Names { namespace, domain: resources.mesh.domain() };
    let mut merged = Vec::new();
    for own in rules_of(object, &names) {
        let place = own.place.path();
        match merge(&rule, own) {
            Some(rule) => merged.push(rule),
            None => {
                let reason = format!(
                    "no match of this rule is a subset of one in {root}, {}: this rule is left out",
                    rule.place.path()
                );
                warnings.push(object.problem(&place, reason));
            }
        }
    }
    merged
}

/// What the delegate leaves open comes from the root; `None` when their matches have nothing in common.
fn merge<'a>(root: &Rule<'a>, own: Rule<'a>) -> Option<Rule<'a>> {
    let (matches, match_places) = merge_matches(root, &own)?;
    let Rule { mut route, place, .. } = own;
    let from = &root.route;
    route.matches = matches;
    route.name = join(&from.name, &route.name);
    route.rewrite = route.rewrite.or_else(|| from.rewrite.clone());
    route.direct_response = route.direct_response.or_else(|| from.direct_response.clone());
    route.timeout = route.timeout.or(from.timeout);
    route.retries = route.retries.or_else(|| from.retries.clone());
    route.fault = route.fault.or_else(|| from.fault.clone());
    route.mirror = route.mirror.or_else(|| from.mirror.clone());
    route.mirror_percent = route.mirror_percent_integer().or_else(|| from.mirror_percent_integer());
    route.mirror_percentage = route.mirror_percentage.or_else(|| from.mirror_percentage.clone());
    route.cors_policy = route.cors_policy.or_else(|| from.cors_policy.clone());
    if route.mirrors.is_empty() {
        route.mirrors.clone_from(&from.mirrors);
    }
    route.headers = route.headers.or_else(|| from.headers.clone());
    Some(Rule { route, place, match_places })
}

fn join(root: &str, own: &str) -> String {
    match (root, own) {
        (root, "") => root.to_owned(),
        ("", own) => own.to_owned(),
        (root, own) => format!("{root}-{own}"),
    }
}

/// Each entry of the delegate with each root entry it is a subset of; every entry must find one.
fn merge_matches<'a>(root: &Rule<'a>, own: &Rule<'a>) -> Option<(Vec<HttpMatch>, Vec<Place<'a>>)> {
    if root.route.matches.is_empty() {
        return Some((own.route.matches.clone(), own.match_places.clone()));
    }
    if own.route.matches.is_empty() {
        return Some((root.route.matches.clone(), root.match_places.clone()));
    }
    let (mut matches, mut places) = (Vec::new(), Vec::new());
    for (leaf, place) in own.route.matches.iter().zip(&own.match_places) {
        let before = matches.len();
        matches
            .extend(root.route.matches.iter().filter(|from| !conflict(from, leaf)).map(|from| merge_match(from, leaf)));
        if matches.len() == before {
            return None;
        }
        places.resize(matches.len(), *place);
    }
    Some((matches, places))
}

fn merge_match(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    let mut merged = own.clone();
    merged.name = join(&root.name, &own.name);
    merged.uri = merged.uri.or_else(|| root.uri.clone());
    merged.scheme = merged.scheme.or_else(|| root.scheme.clone());
    merged.method = merged.method.or_else(|| root.method.clone());
    merged.authority = merged.authority.or_else(|| root.authority.clone());
    underlay(&mut merged.headers, &root.headers);
    underlay(&mut merged.without_headers, &root.without_headers);
    underlay(&mut merged.query_params, &root.query_params);
    underlay(&mut merged.source_labels, &root.source_labels);
    if merged.port == 0 {
        merged.port = root.port;
    }
    for (field, from) in
        [(&mut merged.source_namespace, &root.source_namespace), (&mut merged.stat_prefix, &root.stat_prefix)]
    {
        if field.is_empty() {
            field.clone_from(from);
        }
    }
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&root.gateways);
    }
    merged
}

fn underlay<V: Clone>(own: &mut BTreeMap<String, V>, root: &BTreeMap<String, V>) {
    for (key, value) in root {
        own.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn conflict(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let single = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    single.iter().any(|(root, leaf)| strings_conflict(root.as_ref(), leaf.as_ref()))
        || maps.iter().any(|(root, leaf)| leaf.iter().any(|(key, leaf)| strings_conflict(root.get(key), Some(leaf))))
        || root.ignore_uri_case != leaf.ignore_uri_case
        || (root.port > 0 && leaf.port > 0 && root.port != leaf.port)
        || (!root.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace)
        || leaf.source_labels.iter().any(|(key, value)| root.source_labels.get(key).is_some_and(|known| known != value))
        || gateways_conflict(&root.gateways, &leaf.gateways)
}

fn gateways_conflict(root: &[String], leaf: &[String]) -> bool {
    !root.is_empty()
        && !leaf.is_empty()
        && (root.len() < leaf.len() || leaf.iter().any(|gateway| !root.contains(gateway)))
}

/// Whether `leaf` asks for something that `root` does not cover. Where either is a regex nobody can tell, which counts as a conflict.
fn strings_conflict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else { return false };
    let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let (root_exact, root_prefix, root_regex) = (set(&root.exact), set(&root.prefix), set(&root.regex));
    let (exact, prefix, regex) = (set(&leaf.exact), set(&leaf.prefix), set(&leaf.regex));
    let says = |values: [&Option<String>; 3]| values.iter().any(|value| value.is_some());
    if root_regex.is_some() && says([&exact, &prefix, &regex])
        || regex.is_some() && says([&root_exact, &root_prefix, &root_regex])
    {
        return true;
    }
    if let Some(root_exact) = root_exact {
        return prefix.is_some() || exact.unwrap_or_default() != root_exact;
    }
    match (root_prefix, prefix.or(exact)) {
        (Some(root_prefix), Some(own)) => !own.starts_with(&root_prefix),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> StringMatch {
        StringMatch { prefix: Some(text.into()), ..StringMatch::default() }
    }

    fn exact(text: &str) -> StringMatch {
        StringMatch { exact: Some(text.into()), ..StringMatch::default() }
    }

    fn regex(text: &str) -> StringMatch {
        StringMatch { regex: Some(text.into()), ..StringMatch::default() }
    }

    #[test]
    fn a_delegate_may_only_narrow_what_its_root_takes() {
        for (root, leaf, conflicts) in [
            (prefix("/a"), prefix("/a/b"), false),
            (prefix("/a/b"), prefix("/a"), true),
            (prefix("/a"), exact("/a/x"), false),
            (exact("/a"), exact("/a"), false),
            (exact("/a"), exact("/b"), true),
            (exact("/a"), prefix("/a"), true),
            (regex("/a.*"), exact("/a"), true),
            (prefix("/a"), regex("/a.*"), true),
        ] {
            assert_eq!(strings_conflict(Some(&root), Some(&leaf)), conflicts, "{root:?} {leaf:?}");
        }
        assert!(!strings_conflict(None, Some(&regex("x"))));
    }
}
