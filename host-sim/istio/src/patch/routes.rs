//! Patches on route tables, virtual hosts and routes.

use serde_json::Value;
use xds::RouteConfiguration;

use super::{
    Patch, Patches,
    list::{self, items, name},
};
use crate::{
    problem::Problem,
    resource::envoy_filter::{ApplyTo, Operation, RouteAction, RouteConfigurationMatch},
};

const KINDS: [ApplyTo; 3] = [ApplyTo::RouteConfiguration, ApplyTo::VirtualHost, ApplyTo::HttpRoute];

/// Patches one table; `server_ports` are the ports that Gateways name for it.
pub(crate) fn apply(
    patches: &Patches<'_>,
    table: RouteConfiguration,
    server_ports: &[u32],
    problems: &mut Vec<Problem>,
) -> RouteConfiguration {
    if !patches.any_of(&KINDS) {
        return table;
    }
    let Ok(mut value) = serde_json::to_value(&table) else { return table };
    let work = Work { patches, place: Place::of(&table.name, server_ports) };
    work.table(&mut value);
    match serde_json::from_value(value) {
        Ok(patched) => patched,
        Err(error) => {
            let patch = KINDS.iter().find_map(|kind| patches.of(*kind).last());
            problems.extend(patch.map(|patch| {
                patch.problem(format!("the patched routes are not a configuration Envoy knows: {error}"))
            }));
            table
        }
    }
}

/// What a table's name says of its place.
struct Place<'t> {
    name: &'t str,
    ports: Vec<u32>,
    port_name: &'t str,
    gateway: String,
}

impl<'t> Place<'t> {
    fn of(name: &'t str, server_ports: &[u32]) -> Self {
        let mut ports = server_ports.to_vec();
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["https", port, port_name, gateway, namespace] => {
                ports.extend(port.parse::<u32>().ok().filter(|_| server_ports.is_empty()));
                Self { name, ports, port_name, gateway: format!("{namespace}/{gateway}") }
            }
            _ => Self { name, ports, port_name: "", gateway: String::new() },
        }
    }

    fn fits(&self, wanted: Option<&RouteConfigurationMatch>) -> bool {
        let Some(wanted) = wanted else { return true };
        (wanted.name.is_empty() || wanted.name == self.name)
            && (wanted.port_name.is_empty() || wanted.port_name == self.port_name)
            && (wanted.gateway.is_empty() || wanted.gateway == self.gateway)
            && (wanted.port_number == 0 || self.ports.contains(&wanted.port_number))
    }
}

struct Work<'a, 'w> {
    patches: &'w Patches<'a>,
    place: Place<'w>,
}

impl<'a> Work<'a, '_> {
    /// Patches of one kind that concern this table.
    fn of(&self, kind: ApplyTo) -> impl Iterator<Item = &Patch<'a>> {
        self.patches.of(kind).filter(|patch| self.place.fits(patch.matches.route_configuration.as_ref()))
    }

    fn table(&self, table: &mut Value) {
        for patch in self.of(ApplyTo::RouteConfiguration).filter(|patch| patch.is_merge()) {
            patch.merge_into(table);
        }
        let Some(hosts) = items(table, "virtual_hosts") else { return };
        let mut kept: Vec<Value> = std::mem::take(hosts).into_iter().filter_map(|host| self.host(host)).collect();
        kept.extend(
            self.of(ApplyTo::VirtualHost)
                .filter(|patch| patch.operation == Operation::Add)
                .map(|patch| patch.value.clone()),
        );
        *hosts = kept;
    }

    /// `None` when the host is removed.
    fn host(&self, mut host: Value) -> Option<Value> {
        for patch in self.of(ApplyTo::VirtualHost) {
            if !host_fits(&host, patch) {
                continue;
            }
            match patch.operation {
                Operation::Remove => return None,
                Operation::Replace => host.clone_from(&patch.value),
                _ if patch.is_merge() => patch.merge_into(&mut host),
                _ => {}
            }
        }
        self.routes(&mut host);
        Some(host)
    }

    fn routes(&self, host: &mut Value) {
        let own = host.clone();
        let patches: Vec<_> = self.of(ApplyTo::HttpRoute).filter(|patch| host_fits(&own, patch)).collect();
        let Some(routes) = items(host, "routes") else { return };
        *routes = std::mem::take(routes).into_iter().filter_map(|route| self.route(route, &patches)).collect();
        for patch in patches {
            let named = wanted_route(patch).is_some();
            let fits = |route: &Value| route_fits(route, patch);
            match patch.operation {
                // With a name, only where there is such a route.
                Operation::InsertFirst if named && !routes.iter().any(fits) => {}
                Operation::Add | Operation::InsertFirst | Operation::InsertBefore | Operation::InsertAfter => {
                    list::change(routes, patch, named, fits);
                }
                _ => {}
            }
        }
        if routes.is_empty() {
            host.as_object_mut().and_then(|fields| fields.remove("routes"));
        }
    }

    /// `None` when the route is removed.
    fn route(&self, mut route: Value, patches: &[&Patch<'_>]) -> Option<Value> {
        for patch in patches {
            if !route_fits(&route, patch) {
                continue;
            }
            match patch.operation {
                Operation::Remove => return None,
                _ if patch.is_merge() => patch.merge_into(&mut route),
                _ => {}
            }
        }
        Some(route)
    }
}

fn host_fits(host: &Value, patch: &Patch<'_>) -> bool {
    let wanted = patch.matches.route_configuration.as_ref().and_then(|table| table.vhost.as_ref());
    let Some(wanted) = wanted else { return true };
    let has_domain = |domain: &str| {
        host.get("domains").and_then(Value::as_array).is_some_and(|own| own.iter().any(|known| known == domain))
    };
    (wanted.name.is_empty() || wanted.name == name(host))
        && (wanted.domain_name.is_empty() || has_domain(&wanted.domain_name))
}

fn wanted_route<'p>(patch: &'p Patch<'_>) -> Option<&'p crate::resource::envoy_filter::RouteMatch> {
    patch.matches.route_configuration.as_ref()?.vhost.as_ref()?.route.as_ref()
}

fn route_fits(route: &Value, patch: &Patch<'_>) -> bool {
    let Some(wanted) = wanted_route(patch) else { return true };
    if !wanted.name.is_empty() && wanted.name != name(route) {
        return false;
    }
    let action = [
        ("route", RouteAction::Route),
        ("redirect", RouteAction::Redirect),
        ("direct_response", RouteAction::DirectResponse),
    ]
    .into_iter()
    .find(|(field, _)| route.get(field).is_some());
    match action {
        Some((_, own)) => wanted.action == RouteAction::Any || wanted.action == own,
        None => true,
    }
}
