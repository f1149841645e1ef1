//! VirtualServices one by one, whatever Gateway they name: the rules of each as a route table of its own. For tools that ask which rule of a
//! VirtualService takes a request; a gateway serves [`crate::Translation`].

use xds::{DirectResponseAction, Route, RouteConfiguration, VirtualHost};

use super::{ORIGIN, routes};
use crate::resource::Resources;

/// One VirtualService.
#[derive(Clone, Debug)]
pub struct RuleTable {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its hosts, as they are written.
    pub hosts: Vec<String>,
    /// Its HTTP rules as they are written, for [`RuleTable::rule`].
    pub rules: Vec<serde_json::Value>,
    /// A route for every match entry, in order; each knows its rule's number.
    pub table: RouteConfiguration,
}

impl RuleTable {
    /// The rule a route of the table stands for.
    pub fn rule(&self, route: Option<&xds::Metadata>) -> Option<&serde_json::Value> {
        let number = route?.filter_metadata.get(ORIGIN)?.get("rule")?.as_u64()?;
        self.rules.get(usize::try_from(number).ok()?)
    }
}

/// Every VirtualService, in the order of the manifests.
pub fn rule_tables(resources: &Resources) -> Vec<RuleTable> {
    let table = |object: &crate::resource::object::Object<crate::resource::virtual_service::VirtualService>| {
        let written = object.origin.root.get("spec").and_then(|spec| spec.get("http"));
        let rules = written.map(|http| http.items().iter().map(crate::manifest::node::Node::json).collect());
        let routes = object.spec.http.iter().enumerate().flat_map(|(number, rule)| {
            let entries = rule.matches.iter().map(Some);
            let entries: Vec<_> = if rule.matches.is_empty() { vec![None] } else { entries.collect() };
            entries.into_iter().map(move |entry| route(number, routes::route_match(entry)))
        });
        let host = VirtualHost {
            name: object.full_name(),
            domains: vec!["*".to_owned()],
            routes: routes.collect(),
            ..VirtualHost::default()
        };
        RuleTable {
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            hosts: object.spec.hosts.clone(),
            rules: rules.unwrap_or_default(),
            table: RouteConfiguration { virtual_hosts: vec![host], ..RouteConfiguration::default() },
        }
    };
    resources.virtual_services.iter().map(table).collect()
}

/// A route that only says which rule it stands for.
fn route(rule: usize, r#match: xds::RouteMatch) -> Route {
    let mut metadata = xds::Metadata::default();
    let fields = [("rule".to_owned(), rule.into())].into_iter().collect();
    metadata.filter_metadata.insert(ORIGIN.to_owned(), fields);
    Route {
        r#match,
        metadata: Some(metadata),
        direct_response: Some(Box::new(DirectResponseAction { status: 200, ..DirectResponseAction::default() })),
        ..Route::default()
    }
}
