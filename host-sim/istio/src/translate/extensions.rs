//! WasmPlugins and TrafficExtensions: which apply to a listener, and in which order they stand in its chain.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;
use xds::{
    Any, AsyncDataSource, DataSource, EnvironmentVariables, FailurePolicy, HttpFilter, HttpFilterConfig, VmConfig,
    Wasm, WasmPluginConfig, string_value_any,
};

use super::{Context, Options, PluginRef, PullSecret, node::Node, secrets};
use crate::{
    manifest::{decode::Free, node::Value},
    problem::Problem,
    resource::{
        Resources,
        extension::{
            EnvSource, FailStrategy, Phase, PluginPhase, PluginType, PullPolicy, TargetRef, TrafficSelector,
            VmConfig as Env, WasmConfig, WorkloadMode, selector_labels,
        },
        object::{Metadata, Origin},
    },
};

/// An extension of either kind, as istiod's one list holds it.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    metadata: Metadata,
    origin: Origin,
    /// Its name among extensions: a WasmPlugin's is marked as translated.
    name: String,
    pub(crate) phase: Phase,
    priority: Option<i32>,
    matches: Vec<TrafficSelector>,
    pub(crate) module: WasmConfig,
}

/// What istiod appends to a WasmPlugin's name when it makes a TrafficExtension of it.
const TRANSLATED: &str = "~istio-translated-wasmplugin";

/// Order of the phases in a chain.
const PHASES: [Phase; 4] = [Phase::Authn, Phase::Authz, Phase::Stats, Phase::Unspecified];

/// Extensions that apply to the workload, by phase, then highest priority first, those without one last; ties by age and name. What Istio would do
/// and we do not becomes a problem.
pub(crate) fn of_workload(
    resources: &Resources,
    node: &Node,
    options: &Options,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Vec<Extension> {
    let mut all = Vec::new();
    for (kind, extensions) in [
        ("WasmPlugin", plugins as fn(&Resources, &Node, &mut Vec<Problem>) -> Vec<Extension>),
        ("TrafficExtension", traffic_extensions),
    ] {
        let mut not_done = Vec::new();
        all.extend(extensions(resources, node, &mut not_done));
        let into = if options.allows(kind) { &mut *warnings } else { &mut *problems };
        into.append(&mut not_done);
    }
    let home = |extension: &Extension| extension.metadata.namespace != node.namespace;
    let age = |extension: &Extension| {
        let metadata = &extension.metadata;
        (metadata.creation_timestamp.clone(), extension.name.clone(), metadata.namespace.clone())
    };
    all.sort_by_cached_key(|extension| (home(extension), age(extension)));
    let phase = |extension: &Extension| PHASES.iter().position(|phase| *phase == extension.phase);
    all.sort_by_key(|extension| {
        (phase(extension), std::cmp::Reverse(i64::from(extension.priority.unwrap_or(i32::MIN))))
    });
    all
}

fn plugins(resources: &Resources, node: &Node, problems: &mut Vec<Problem>) -> Vec<Extension> {
    let mut found = Vec::new();
    for object in resources.wasm_plugins.iter().filter(|object| node.is_reached_from(&object.metadata.namespace)) {
        let spec = object.spec.clone();
        let targets: Vec<TargetRef> = spec.target_ref.into_iter().chain(spec.target_refs).collect();
        if !attaches(node, selector_labels(spec.selector.as_ref()), &targets) {
            continue;
        }
        if spec.kind == PluginType::Network {
            problems.push(object.problem("spec.type", "network plugins are not supported: only HTTP plugins run here"));
            continue;
        }
        found.push(Extension {
            metadata: object.metadata.clone(),
            origin: object.origin.clone(),
            name: format!("{}{TRANSLATED}", object.metadata.name),
            phase: match spec.phase {
                PluginPhase::Unspecified => Phase::Unspecified,
                PluginPhase::Authn => Phase::Authn,
                PluginPhase::Authz => Phase::Authz,
                PluginPhase::Stats => Phase::Stats,
            },
            priority: spec.priority,
            matches: spec.matches,
            module: WasmConfig {
                url: spec.url,
                sha256: spec.sha256,
                image_pull_policy: spec.image_pull_policy,
                image_pull_secret: spec.image_pull_secret,
                verification_key: spec.verification_key,
                plugin_config: spec.plugin_config,
                plugin_name: spec.plugin_name,
                fail_strategy: spec.fail_strategy,
                vm_config: spec.vm_config,
                kind: spec.kind,
            },
        });
    }
    found
}

fn traffic_extensions(resources: &Resources, node: &Node, problems: &mut Vec<Problem>) -> Vec<Extension> {
    let mut found = Vec::new();
    for object in resources.traffic_extensions.iter().filter(|object| node.is_reached_from(&object.metadata.namespace))
    {
        let spec = object.spec.clone();
        if !attaches(node, selector_labels(spec.selector.as_ref()), &spec.target_refs) {
            continue;
        }
        match spec.wasm {
            Some(module) if module.kind != PluginType::Network => found.push(Extension {
                metadata: object.metadata.clone(),
                origin: object.origin.clone(),
                name: object.metadata.name.clone(),
                phase: spec.phase,
                priority: spec.priority,
                matches: spec.matches,
                module,
            }),
            Some(_) => problems.push(
                object.problem("spec.wasm.type", "network plugins are not supported: only HTTP plugins run here"),
            ),
            None => problems
                .push(object.problem("spec.lua", "Lua extensions are not supported: only proxy-wasm modules run here")),
        }
    }
    found
}

/// A target that is not a workload (a Gateway API gateway, a Service) is never this one.
fn attaches(node: &Node, selector: Option<&BTreeMap<String, String>>, targets: &[TargetRef]) -> bool {
    targets.is_empty() && node.is_selected_by(selector)
}

/// The chain's extensions on the listener of `port`.
pub(crate) fn http_filters(context: &Context<'_>, port: u32) -> Vec<HttpFilter> {
    context.extensions.iter().filter(|extension| extension.sees(port)).map(Extension::http_filter).collect()
}

/// What the binary must find a module for.
pub(crate) fn plugin_refs(context: &Context<'_>) -> Vec<PluginRef> {
    let reference = |extension: &Extension| {
        let at = extension.origin.root.locate(if extension.is_plugin() { "spec.url" } else { "spec.wasm.url" });
        PluginRef {
            name: extension.metadata.name.clone(),
            namespace: extension.metadata.namespace.clone(),
            filter: extension.filter_name(),
            url: extension.module.url.clone(),
            reason: extension.reason(),
            sha256: Some(extension.module.sha256.clone()).filter(|digest| !digest.is_empty()),
            pull_secret: extension.pull_secret(context),
            file: extension.origin.file.to_string(),
            at,
        }
    };
    context.extensions.iter().map(reference).collect()
}

impl Extension {
    /// `namespace.name`, Envoy's name of the plugin.
    fn plugin_name(&self) -> String {
        format!("{}.{}", self.metadata.namespace, self.name)
    }

    /// Why it stands where it stands, for a person.
    fn reason(&self) -> String {
        let phase = match self.phase {
            Phase::Authn => "phase AUTHN: first, before Istio's authentication",
            Phase::Authz => "phase AUTHZ: after authentication, before authorization",
            Phase::Stats => "phase STATS: after authorization, before statistics",
            Phase::Unspecified => "no phase: after plugins of every phase, before Istio's own filters and the router",
        };
        let priority = match self.priority {
            Some(priority) => format!("priority {priority}, higher first"),
            None => "no priority, so after those with one".to_owned(),
        };
        let created = match self.metadata.creation_timestamp.as_str() {
            "" => "ties by creation time (none in the manifest), then by name".to_owned(),
            created => format!("ties by creation time ({created}), then by name"),
        };
        format!("{phase}; {priority}; {created}")
    }

    /// Istio looks in the plugin's own namespace, whatever else the name says.
    fn pull_secret(&self, context: &Context<'_>) -> Option<PullSecret> {
        let name = self.module.image_pull_secret.rsplit('/').next().filter(|name| !name.is_empty())?;
        let namespace = &self.metadata.namespace;
        Some(PullSecret {
            name: format!("{namespace}/{name}"),
            docker_config: secrets::docker_config(context, namespace, name),
        })
    }

    fn is_plugin(&self) -> bool {
        self.name.ends_with(TRANSLATED)
    }

    /// The name of its filter in the chain.
    pub(crate) fn filter_name(&self) -> String {
        format!("extensions.istio.io/trafficextension/{}", self.plugin_name())
    }

    /// A gateway's listeners are clients; any of the selectors is enough.
    fn sees(&self, port: u32) -> bool {
        let fits = |selector: &TrafficSelector| {
            selector.mode != WorkloadMode::Server
                && (selector.ports.is_empty() || selector.ports.iter().any(|own| own.number == port))
        };
        self.matches.is_empty() || self.matches.iter().any(fits)
    }

    fn http_filter(&self) -> HttpFilter {
        let module = &self.module;
        let plugin = WasmPluginConfig {
            name: self.plugin_name(),
            root_id: module.plugin_name.clone(),
            configuration: module.plugin_config.as_ref().and_then(configuration),
            failure_policy: match module.fail_strategy {
                FailStrategy::FailClose => FailurePolicy::FailClosed,
                FailStrategy::FailOpen => FailurePolicy::FailOpen,
                FailStrategy::FailReload => FailurePolicy::FailReload,
            },
            vm_config: Some(VmConfig {
                runtime: "envoy.wasm.runtime.v8".to_owned(),
                code: Some(code(module, &self.origin.file)),
                environment_variables: Some(self.environment()),
                ..VmConfig::default()
            }),
            ..WasmPluginConfig::default()
        };
        HttpFilter {
            name: self.filter_name(),
            typed_config: Some(HttpFilterConfig::Wasm(Box::new(Wasm { config: Some(plugin) }))),
            ..HttpFilter::default()
        }
    }

    fn environment(&self) -> EnvironmentVariables {
        let module = &self.module;
        let mut variables = EnvironmentVariables::default();
        let mut set = |name: &str, value: &str| drop(variables.key_values.insert(name.to_owned(), value.to_owned()));
        if !module.image_pull_secret.is_empty() {
            set(
                "ISTIO_META_WASM_IMAGE_PULL_SECRET",
                &format!("kubernetes://{}/{}", self.metadata.namespace, module.image_pull_secret),
            );
        }
        match module.image_pull_policy {
            PullPolicy::Unspecified => {}
            PullPolicy::IfNotPresent => set("ISTIO_META_WASM_IMAGE_PULL_POLICY", "IfNotPresent"),
            PullPolicy::Always => set("ISTIO_META_WASM_IMAGE_PULL_POLICY", "Always"),
        }
        set("ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION", "");
        let env: &[_] = module.vm_config.as_ref().map_or(&[], |Env { env }| env);
        for variable in env.iter().filter(|variable| variable.value_from == EnvSource::Inline) {
            set(&variable.name, variable.value.as_deref().unwrap_or_default());
        }
        variables.host_env_keys = env
            .iter()
            .filter(|variable| variable.value_from == EnvSource::Host)
            .map(|variable| variable.name.clone())
            .collect();
        variables
    }
}

/// The JSON text of `pluginConfig`; an empty one gives the module no bytes at all.
fn configuration(config: &Free) -> Option<Any> {
    match &config.0.value {
        Value::Map(entries) if !entries.is_empty() => Some(string_value_any(config.0.json().to_string())),
        _ => None,
    }
}

/// A file is one, relative to its manifest's folder; everything else is remote, with `oci` where the url has no scheme.
fn code(module: &WasmConfig, manifest: &str) -> AsyncDataSource {
    if let Some(path) = module.url.strip_prefix("file://") {
        let folder = Path::new(manifest).parent().unwrap_or_else(|| Path::new(""));
        let filename = folder.join(path).to_string_lossy().into_owned();
        return AsyncDataSource {
            local: Some(DataSource { filename: Some(filename), ..DataSource::default() }),
            ..AsyncDataSource::default()
        };
    }
    let uri = if module.url.contains("://") { module.url.clone() } else { format!("oci://{}", module.url) };
    let http_uri = json!({"uri": uri, "cluster": "_", "timeout": "30s"});
    let remote = match module.sha256.as_str() {
        "" => json!({"http_uri": http_uri}),
        digest => json!({"http_uri": http_uri, "sha256": digest}),
    };
    AsyncDataSource { remote: Some(remote), ..AsyncDataSource::default() }
}
