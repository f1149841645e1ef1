//! Patches on listeners, filter chains, network filters and HTTP filters.

use serde_json::Value;
use xds::Listener;

use super::{
    Patch, Patches,
    list::{self, items, name},
    merge,
};
use crate::{
    problem::Problem,
    resource::envoy_filter::{ApplyTo, FilterMatch, ListenerMatch, Operation},
    translate::ListenerPort,
};

const KINDS: [ApplyTo; 5] =
    [ApplyTo::Listener, ApplyTo::ListenerFilter, ApplyTo::FilterChain, ApplyTo::NetworkFilter, ApplyTo::HttpFilter];
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";

/// Patches listeners in place; `ports` says which port each stands for.
pub(crate) fn apply(
    patches: &Patches<'_>,
    listeners: &mut Vec<Listener>,
    ports: &[ListenerPort],
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    if !patches.any_of(&KINDS) {
        return;
    }
    let mut patched = Vec::new();
    for listener in listeners.drain(..) {
        let port = ports.iter().find(|known| known.listener == listener.name).map(|known| known.port);
        let Ok(value) = serde_json::to_value(&listener) else { continue };
        let mut work = Work { patches, port, name: listener.name.clone(), warnings };
        patched.extend(work.listener(value).map(|value| (value, None)));
    }
    let added = patches.of(ApplyTo::Listener).filter(|patch| patch.operation == Operation::Add);
    patched.extend(added.map(|patch| (patch.value.clone(), Some(patch))));
    for (value, origin) in patched {
        match serde_json::from_value(value) {
            Ok(listener) => listeners.push(listener),
            Err(error) => problems.extend(blame(patches, origin, &error)),
        }
    }
}

/// The patch to name when the result is no configuration Envoy knows.
fn blame(patches: &Patches<'_>, origin: Option<&Patch<'_>>, error: &serde_json::Error) -> Option<Problem> {
    let patch = origin.or_else(|| KINDS.iter().find_map(|kind| patches.of(*kind).last()))?;
    Some(patch.problem(format!("the patched listener is not a configuration Envoy knows: {error}")))
}

struct Work<'a, 'w> {
    patches: &'w Patches<'a>,
    port: Option<u32>,
    name: String,
    warnings: &'w mut Vec<Problem>,
}

impl Work<'_, '_> {
    fn fits(&self, patch: &Patch<'_>) -> bool {
        let Some(wanted) = &patch.matches.listener else { return true };
        (wanted.name.is_empty() || wanted.name == self.name)
            && (wanted.port_number == 0 || Some(wanted.port_number) == self.port)
    }

    /// `None` when the listener is removed.
    fn listener(&mut self, mut listener: Value) -> Option<Value> {
        for patch in self.patches.of(ApplyTo::Listener).filter(|patch| self.fits(patch)) {
            match patch.operation {
                Operation::Remove => return None,
                _ if patch.is_merge() => patch.merge_into(&mut listener),
                _ => {}
            }
        }
        self.listener_filters(&mut listener);
        if let Some(chains) = items(&mut listener, "filter_chains") {
            let mut kept: Vec<Value> =
                std::mem::take(chains).into_iter().filter_map(|chain| self.chain(chain)).collect();
            let added = self
                .patches
                .of(ApplyTo::FilterChain)
                .filter(|patch| patch.operation == Operation::Add && self.fits(patch));
            kept.extend(added.map(|patch| patch.value.clone()));
            *chains = kept;
        }
        if let Some(chain) = listener.get_mut("default_filter_chain").map(Value::take) {
            match self.chain(chain) {
                Some(chain) => list::set(&mut listener, "default_filter_chain", chain),
                None => drop(listener.as_object_mut().and_then(|fields| fields.remove("default_filter_chain"))),
            }
        }
        Some(listener)
    }

    fn listener_filters(&self, listener: &mut Value) {
        for patch in self.patches.of(ApplyTo::ListenerFilter).filter(|patch| self.fits(patch)) {
            let wanted = patch.matches.listener.as_ref().map_or("", |listener| listener.listener_filter.as_str());
            let Some(filters) = items(listener, "listener_filters") else { continue };
            if patch.operation == Operation::Merge && !wanted.is_empty() {
                for filter in filters {
                    merge_config(filter, patch);
                }
            } else {
                list::change(filters, patch, !wanted.is_empty(), |filter| name(filter) == wanted);
            }
        }
        drop_empty(listener, "listener_filters");
    }

    /// `None` when the chain is removed.
    fn chain(&mut self, mut chain: Value) -> Option<Value> {
        for patch in self.patches.of(ApplyTo::FilterChain).filter(|patch| self.fits(patch)) {
            if !chain_fits(&chain, patch.matches.listener.as_ref()) {
                continue;
            }
            match patch.operation {
                Operation::Remove => return None,
                _ if patch.is_merge() && !merge_transport_socket(&mut chain, patch) => patch.merge_into(&mut chain),
                _ => {}
            }
        }
        self.network_filters(&mut chain);
        Some(chain)
    }

    fn network_filters(&mut self, chain: &mut Value) {
        let own = chain.clone();
        let applies =
            |work: &Self, patch: &Patch<'_>| work.fits(patch) && chain_fits(&own, patch.matches.listener.as_ref());
        let Some(filters) = items(chain, "filters") else { return };
        for patch in self.patches.of(ApplyTo::NetworkFilter).filter(|patch| applies(self, patch)) {
            let wanted = filter_match(patch);
            list::change(filters, patch, wanted.is_some(), |filter| {
                wanted.is_some_and(|wanted| wanted.name == name(filter))
            });
        }
        for filter in filters {
            for patch in self.patches.of(ApplyTo::NetworkFilter).filter(|patch| patch.operation == Operation::Merge) {
                if applies(self, patch) && network_filter_fits(filter, patch) && !merge_config(filter, patch) {
                    self.warnings.push(patch.problem("merges a configuration of another type: it has no effect"));
                }
            }
            if name(filter) == CONNECTION_MANAGER {
                self.http_filters(&own, filter);
            }
        }
    }

    fn http_filters(&mut self, chain: &Value, filter: &mut Value) {
        let network_filter = filter.clone();
        let patches: Vec<_> = self
            .patches
            .of(ApplyTo::HttpFilter)
            .filter(|patch| {
                self.fits(patch)
                    && chain_fits(chain, patch.matches.listener.as_ref())
                    && network_filter_fits(&network_filter, patch)
            })
            .collect();
        let Some(filters) = filter.get_mut("typed_config").and_then(|config| items(config, "http_filters")) else {
            return;
        };
        for patch in &patches {
            let wanted = sub_filter(patch);
            list::change(filters, patch, wanted.is_some(), |filter| {
                wanted.is_some_and(|wanted| wanted == name(filter))
            });
        }
        for filter in filters.iter_mut() {
            for patch in patches.iter().filter(|patch| patch.operation == Operation::Merge) {
                let fits = sub_filter(patch).is_none_or(|wanted| wanted == name(filter));
                if fits && !merge_config(filter, patch) {
                    self.warnings.push(patch.problem("merges a configuration of another type: it has no effect"));
                }
            }
        }
        let behind_router = filters.iter().skip_while(|filter| name(filter) != ROUTER).nth(1).map(name);
        if let (Some(behind), Some(patch)) = (behind_router, patches.last()) {
            let reason = format!(
                "{behind} stands behind the router, where nothing runs it, and Envoy refuses a chain whose last filter is not the router"
            );
            self.warnings.push(
                patch.problem(reason).cure("INSERT_BEFORE with subFilter envoy.filters.http.router, or INSERT_FIRST"),
            );
        }
    }
}

fn filter_match<'p>(patch: &'p Patch<'_>) -> Option<&'p FilterMatch> {
    patch.matches.listener.as_ref()?.filter_chain.as_ref()?.filter.as_ref()
}

fn sub_filter<'p>(patch: &'p Patch<'_>) -> Option<&'p str> {
    filter_match(patch)?.sub_filter.as_ref().map(|filter| filter.name.as_str())
}

fn network_filter_fits(filter: &Value, patch: &Patch<'_>) -> bool {
    filter_match(patch).is_none_or(|wanted| wanted.name == name(filter))
}

fn chain_fits(chain: &Value, listener: Option<&ListenerMatch>) -> bool {
    let Some(wanted) = listener.and_then(|listener| listener.filter_chain.as_ref()) else { return true };
    let own = chain.get("filter_chain_match");
    let has = |field: &str, value: &str| {
        own.and_then(|own| own.get(field))
            .and_then(Value::as_array)
            .is_some_and(|values| values.iter().any(|known| known == value))
    };
    let text = |field: &str| own.and_then(|own| own.get(field)).and_then(Value::as_str).unwrap_or_default();
    let port = own.and_then(|own| own.get("destination_port")).and_then(Value::as_u64);
    (wanted.name.is_empty() || wanted.name == name(chain))
        && (wanted.sni.is_empty() || has("server_names", &wanted.sni))
        && (wanted.transport_protocol.is_empty() || text("transport_protocol") == wanted.transport_protocol)
        && (wanted.application_protocols.is_empty()
            || wanted.application_protocols.split(',').all(|protocol| has("application_protocols", protocol)))
        && (wanted.destination_port == 0 || port == Some(u64::from(wanted.destination_port)))
}

/// Merges name and configuration of a filter; `false` when the configurations are of different types. A filter without one is left as it is.
fn merge_config(filter: &mut Value, patch: &Patch<'_>) -> bool {
    let Some(config) = filter.get_mut("typed_config") else { return true };
    let same = patch.value.get("typed_config").is_none_or(|new| merge::merge_any(config, new));
    if !name(&patch.value).is_empty() {
        list::set(filter, "name", name(&patch.value).into());
    }
    same
}

/// `true` when the patch is a transport socket of the chain's own kind, and is merged with it.
fn merge_transport_socket(chain: &mut Value, patch: &Patch<'_>) -> bool {
    let Some(new) = patch.value.get("transport_socket") else { return false };
    let Some(own) = chain.get_mut("transport_socket").filter(|own| name(own) == name(new)) else { return false };
    if let (Some(own), Some(new)) = (own.get_mut("typed_config"), new.get("typed_config")) {
        merge::merge_any(own, new);
    }
    true
}

fn drop_empty(message: &mut Value, field: &str) {
    if message.get(field).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        message.as_object_mut().and_then(|fields| fields.remove(field));
    }
}
