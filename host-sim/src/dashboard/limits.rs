//! How limits stand: what the `rate-limit` and `suite` modules keep in shared data, read as they write it.

use policy::metrics::Metrics;
use policy::module::Module;
use policy::rate_limit::RateLimit;
use policy::rate_limit::ledger::RuleState;
use policy::suite::Suite;
use proxy::Gateway;
use serde_json::{Value, json};

/// Every rule of every plugin that limits; plugins are called what their manifests call them.
pub(super) fn of(gateway: &Gateway, named: &[istio::PluginRef]) -> Vec<Value> {
    let bootstrap = gateway.bootstrap();
    let mut plugins: Vec<(&str, &xds::WasmPluginConfig)> = plugins(&bootstrap).collect();
    plugins.dedup_by(|(_, a), (_, b)| a.name == b.name && a.configuration == b.configuration);
    plugins.into_iter().flat_map(|(filter, plugin)| of_plugin(gateway, filter, plugin, named)).collect()
}

/// Each with its filter's name.
fn plugins(bootstrap: &xds::Bootstrap) -> impl Iterator<Item = (&str, &xds::WasmPluginConfig)> {
    let listeners = bootstrap.static_resources.iter().flat_map(|resources| &resources.listeners);
    let chains = listeners.flat_map(|listener| listener.filter_chains.iter().chain(&listener.default_filter_chain));
    let managers = chains.flat_map(|chain| &chain.filters).filter_map(|filter| match &filter.typed_config {
        Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) => Some(manager),
        _ => None,
    });
    managers.flat_map(|manager| &manager.http_filters).filter_map(|filter| match &filter.typed_config {
        Some(xds::HttpFilterConfig::Wasm(wasm)) => Some((filter.name.as_str(), wasm.config.as_ref()?)),
        _ => None,
    })
}

fn of_plugin(
    gateway: &Gateway,
    filter: &str,
    plugin: &xds::WasmPluginConfig,
    named: &[istio::PluginRef],
) -> Vec<Value> {
    let Some(limits) = plugin.configuration_string().and_then(limits) else { return Vec::new() };
    let known = named.iter().find(|known| known.filter == filter);
    let name = known.map_or_else(|| plugin.name.clone(), |known| format!("{}/{}", known.namespace, known.name));
    let vm_id = plugin.vm_config.as_ref().map_or("", |vm| &vm.vm_id);
    let sets = |prefix: &str| {
        let held = gateway.shared_data(vm_id.as_bytes(), prefix.as_bytes());
        held.into_iter().map(|(key, value)| (key, value.to_vec())).collect()
    };
    limits.ledger(gateway.monotonic(), sets).into_iter().map(|state| row(&name, &state)).collect()
}

/// A configuration only these two modules would take.
fn limits(text: &str) -> Option<RateLimit> {
    let mut names = Metrics::default();
    let alone = RateLimit::parse(text.as_bytes(), &mut names).ok();
    alone.or_else(|| Suite::parse(text.as_bytes(), &mut names).ok().map(|suite| suite.rate_limit().clone()))
}

fn row(plugin: &str, state: &RuleState) -> Value {
    json!({
        "plugin": plugin,
        "rule": state.rule,
        "shadow": state.shadow,
        "requests": state.promise.0,
        "per": state.promise.1.as_secs(),
        "capacity": state.capacity,
        "keys": state.keys,
        "empty": state.empty,
        "least": state.least.remaining,
        "full_in": state.least.reset.as_secs_f64(),
        "overflow": state.overflow.map(|standing| standing.remaining),
    })
}
