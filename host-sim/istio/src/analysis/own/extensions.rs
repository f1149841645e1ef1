//! Plugins: what they do when they fail, in which order they stand, whom they reach, and whether their configuration is one they take.

use policy::{
    fault_inject::FaultInject, header_match::HeaderMatch, metrics::Metrics, module::Module, rate_limit::RateLimit,
    suite::Suite, traffic_shift::TrafficShift, uri_rewrite::UriRewrite,
};
use serde_json::Value;

use crate::{
    analysis::{Finding, Level},
    manifest::node::Node,
    resource::{
        Resources,
        extension::{Phase, PluginPhase},
        object::{Metadata, Object, Origin},
    },
    translate::registry::is_subset,
};

/// One plugin of either kind.
pub(super) struct Plugin<'a> {
    pub(super) object: Object<()>,
    /// `spec` or `spec.wasm`.
    at: &'static str,
    url: &'a str,
    sha256: &'a str,
    pub(super) config: Option<&'a Node>,
    pub(super) phase: Phase,
    pub(super) priority: Option<i32>,
    pub(super) selector: std::collections::BTreeMap<String, String>,
    says_fail_strategy: bool,
}

/// All plugins.
pub(super) fn all(resources: &Resources, found: &mut Vec<Finding>) {
    let plugins = plugins(resources);
    for plugin in &plugins {
        plugin.failure_policy(found);
        plugin.version(found);
        plugin.configuration(found);
        plugin.reach(resources, found);
        plugin.per_replica(resources, found);
        plugin.forever(found);
    }
    super::plugin_order::order(&plugins, found);
}

fn plugins(resources: &Resources) -> Vec<Plugin<'_>> {
    let bare =
        |metadata: &Metadata, origin: &Origin| Object { metadata: metadata.clone(), spec: (), origin: origin.clone() };
    let says = |origin: &Origin, path: &[&str]| {
        path.iter().try_fold(origin.root.as_ref(), |node, key| node.get(key)).is_some()
    };
    let labels = |selector: &Option<crate::resource::destination_rule::WorkloadSelector>| {
        selector.as_ref().map(|selector| selector.match_labels.clone()).unwrap_or_default()
    };
    let mut found: Vec<Plugin<'_>> = resources
        .wasm_plugins
        .iter()
        .map(|object| Plugin {
            object: bare(&object.metadata, &object.origin),
            at: "spec",
            url: &object.spec.url,
            sha256: &object.spec.sha256,
            config: object.spec.plugin_config.as_ref().map(|free| &free.0),
            phase: match object.spec.phase {
                PluginPhase::Unspecified => Phase::Unspecified,
                PluginPhase::Authn => Phase::Authn,
                PluginPhase::Authz => Phase::Authz,
                PluginPhase::Stats => Phase::Stats,
            },
            priority: object.spec.priority,
            selector: labels(&object.spec.selector),
            says_fail_strategy: says(&object.origin, &["spec", "failStrategy"]),
        })
        .collect();
    found.extend(resources.traffic_extensions.iter().filter_map(|object| {
        let wasm = object.spec.wasm.as_ref()?;
        Some(Plugin {
            object: bare(&object.metadata, &object.origin),
            at: "spec.wasm",
            url: &wasm.url,
            sha256: &wasm.sha256,
            config: wasm.plugin_config.as_ref().map(|free| &free.0),
            phase: object.spec.phase,
            priority: object.spec.priority,
            selector: labels(&object.spec.selector),
            says_fail_strategy: says(&object.origin, &["spec", "wasm", "failStrategy"]),
        })
    }));
    found
}

impl Plugin<'_> {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    /// Which of Sluice's modules it is, by the last part of its url.
    pub(super) fn module(&self) -> &str {
        let last = self.url.rsplit('/').next().unwrap_or_default();
        let last = last.split(['@', ':']).next().unwrap_or_default();
        last.strip_suffix(".wasm").unwrap_or(last)
    }

    /// `SLU0301`
    fn failure_policy(&self, found: &mut Vec<Finding>) {
        if !self.says_fail_strategy {
            let message = "does not say what becomes of requests when the module cannot be had or fails: Istio's default answers all of them with 503";
            let fix = "failStrategy: FAIL_CLOSE where requests must not pass unfiltered, FAIL_OPEN where they may, FAIL_RELOAD to start a failed module again";
            found.push(Finding::new("SLU0301", Level::Warning, &self.object, self.at, message).fix(fix));
        }
    }

    /// `SLU0302`
    fn version(&self, found: &mut Vec<Finding>) {
        let remote = !self.url.starts_with("file://") && !self.url.starts_with("http");
        let last = self.url.rsplit('/').next().unwrap_or_default();
        let pinned = !self.sha256.is_empty() || last.contains('@');
        let tag = last.split_once(':').map(|(_, tag)| tag);
        if remote && !pinned && (tag.is_none() || tag == Some("latest")) && !self.url.is_empty() {
            let message = "names no version: a new pod may get another module than the ones that run";
            found.push(
                Finding::new("SLU0302", Level::Warning, &self.object, &self.field("url"), message)
                    .fix("name a tag that does not move, or the digest in sha256"),
            );
        }
    }

    fn text(&self) -> Vec<u8> {
        self.config
            .map(|node| node.json())
            .filter(|json| json.as_object().is_some_and(|map| !map.is_empty()))
            .map(|json| json.to_string().into_bytes())
            .unwrap_or_default()
    }

    /// `SLU0303`: what the module itself would say to it.
    fn configuration(&self, found: &mut Vec<Finding>) {
        let text = self.text();
        let refused = match self.module() {
            "header-match" => HeaderMatch::parse(&text, &mut Metrics::default()).err(),
            "uri-rewrite" => UriRewrite::parse(&text, &mut Metrics::default()).err(),
            "traffic-shift" => TrafficShift::parse(&text, &mut Metrics::default()).err(),
            "fault-inject" => FaultInject::parse(&text, &mut Metrics::default()).err(),
            "rate-limit" => RateLimit::parse(&text, &mut Metrics::default()).err(),
            "suite" => Suite::parse(&text, &mut Metrics::default()).err(),
            _ => None,
        };
        if let Some(refused) = refused {
            let field = match refused.path() {
                "" => self.field("pluginConfig"),
                path => self.field(&format!("pluginConfig.{path}")),
            };
            let message = format!("the {} module refuses its configuration: {refused}", self.module());
            found.push(
                Finding::new("SLU0303", Level::Error, &self.object, &field, message)
                    .fix("host-sim check says the same of the module and a file"),
            );
        }
    }

    /// `SLU0304`: a plugin of another namespace than the gateway's selects nothing there.
    fn reach(&self, resources: &Resources, found: &mut Vec<Finding>) {
        let namespace = &self.object.metadata.namespace;
        let root = resources.mesh.root_namespace();
        let meant = |selector: &std::collections::BTreeMap<String, String>| {
            !selector.is_empty() && is_subset(selector, &self.selector)
        };
        if namespace == root || !resources.gateways.iter().any(|gateway| meant(&gateway.spec.selector)) {
            return;
        }
        let here = resources.workloads.iter().any(|workload| {
            workload.metadata.namespace == *namespace && is_subset(&self.selector, &workload.spec.labels)
        }) || resources
            .pods
            .iter()
            .any(|pod| pod.metadata.namespace == *namespace && is_subset(&self.selector, &pod.metadata.labels));
        if !here {
            let message = format!(
                "selects the gateway's labels in the namespace {namespace}, where no workload has them: a plugin reaches workloads of its own namespace, or all from {root}"
            );
            found.push(
                Finding::new("SLU0304", Level::Warning, &self.object, "metadata.namespace", message)
                    .fix("put it into the gateway's namespace"),
            );
        }
    }

    /// Rules of a rate limiter, whether alone or in the suite, with their paths.
    fn limits(&self) -> Vec<(String, Value)> {
        let Some(json) = self.config.map(Node::json) else { return Vec::new() };
        let (path, rules) = match self.module() {
            "rate-limit" => ("rules", json.get("rules").cloned()),
            "suite" => ("rateLimit.rules", json.get("rateLimit").and_then(|limit| limit.get("rules")).cloned()),
            _ => return Vec::new(),
        };
        let rules = rules.and_then(|rules| rules.as_array().cloned()).unwrap_or_default();
        rules
            .into_iter()
            .enumerate()
            .map(|(i, rule)| (self.field(&format!("pluginConfig.{path}[{i}]")), rule))
            .collect()
    }

    /// `SLU0305`: N gateways let N times the limit pass.
    fn per_replica(&self, resources: &Resources, found: &mut Vec<Finding>) {
        let Some((count, who)) = replicas(resources, &self.selector) else { return };
        for (field, rule) in self.limits() {
            let shared = rule.get("global").is_some_and(|global| !global.is_null());
            let divided = rule.get("replicas").and_then(Value::as_u64);
            let off = rule.get("mode").and_then(Value::as_str) == Some("off");
            if shared || off || divided.is_some_and(|divided| divided > 1) {
                continue;
            }
            let name = rule.get("name").and_then(Value::as_str).unwrap_or("?");
            let message = format!(
                "the limit {name:?} is each gateway's own, and {who} runs up to {count}: up to {count} times as much passes"
            );
            let fix = format!("replicas: {count} divides it, global asks a rate limit service that all share");
            found.push(Finding::new("SLU0305", Level::Warning, &self.object, &field, message).fix(fix));
        }
    }

    /// `SLU0306`: faults without an end.
    fn forever(&self, found: &mut Vec<Finding>) {
        let Some(json) = self.config.map(Node::json) else { return };
        let (path, rules) = match self.module() {
            "fault-inject" => ("rules", json.get("rules").cloned()),
            "suite" => ("faultInject.rules", json.get("faultInject").and_then(|fault| fault.get("rules")).cloned()),
            _ => return,
        };
        for (i, rule) in rules.and_then(|rules| rules.as_array().cloned()).unwrap_or_default().iter().enumerate() {
            let ends = rule.get("activeWindow").and_then(|window| window.get("until")).is_some();
            let everyone = rule.get("match").and_then(Value::as_array).is_none_or(Vec::is_empty);
            let by_request = rule.get("headerControlled").is_some();
            if everyone && !ends && !by_request {
                let message =
                    "injects faults into everybody's requests and never stops: it has neither a match nor an end";
                let field = self.field(&format!("pluginConfig.{path}[{i}]"));
                found.push(
                    Finding::new("SLU0306", Level::Warning, &self.object, &field, message)
                        .fix("add match for those who take part, or activeWindow: {until: …}"),
                );
            }
        }
    }
}

/// How many gateways there may be, and what says so.
fn replicas(resources: &Resources, selector: &std::collections::BTreeMap<String, String>) -> Option<(i64, String)> {
    let number = |node: &Node, path: &[&str]| {
        path.iter().try_fold(node, |node, key| node.get(key)).and_then(|node| node.json().as_i64())
    };
    let workload =
        resources.workloads.iter().find(|workload| !selector.is_empty() && is_subset(selector, &workload.spec.labels));
    let scaled = resources.others.iter().filter(|other| other.origin.kind.as_ref() == "HorizontalPodAutoscaler").find(
        |scaler| {
            let target = scaler
                .origin
                .root
                .get("spec")
                .and_then(|spec| spec.get("scaleTargetRef"))
                .and_then(|target| target.get("name"))
                .and_then(Node::text);
            match workload {
                Some(workload) => target == Some(workload.metadata.name.as_str()),
                // The gateway's own Deployment is Istio's and in no file: its usual names are.
                None => target.is_some_and(|name| name.contains("gateway") || name.contains("ingress")),
            }
        },
    );
    let scaled =
        scaled.and_then(|scaler| Some((number(&scaler.origin.root, &["spec", "maxReplicas"])?, scaler.to_string())));
    let fixed = || {
        workload
            .and_then(|workload| Some((number(&workload.origin.root, &["spec", "replicas"])?, workload.to_string())))
    };
    scaled.or_else(fixed).filter(|(count, _)| *count > 1)
}
