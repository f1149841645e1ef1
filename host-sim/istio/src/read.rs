//! From files to resources: documents are told apart by group and kind, decoded strictly, then validated as the admission webhook would.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Source,
    manifest::{
        decode::{Decode, Decoder, MISSING},
        duration::Duration,
        node::{Node, Value},
        parse,
        suggest::nearest,
    },
    problem::Problem,
    resource::{
        Resources,
        kubernetes::{Pod, Workload},
        mesh::MeshConfig,
        object::{Metadata, Object, Origin},
    },
    translate::undone::NO_TRACES,
    validate::{self, unfit_duration},
};

/// Reads manifests. The problems are all there are, in the order of the files and of the places in them; the resources are those without one.
#[must_use]
pub fn read(sources: &[Source]) -> (Resources, Vec<Problem>) {
    Reader::default().read(sources)
}

/// Reads manifests to look at them rather than to run them: a resource that the admission webhook refuses is kept beside its problems, so that
/// everything else that is wrong with it, or with what refers to it, can be said in the same run.
#[must_use]
pub fn read_refused_too(sources: &[Source]) -> (Resources, Vec<Problem>) {
    Reader { keep_refused: true, ..Reader::default() }.read(sources)
}

#[derive(Default)]
struct Reader {
    resources: Resources,
    problems: Vec<Problem>,
    /// Where each object was read, to find those that come twice.
    seen: HashMap<(Arc<str>, String, String), String>,
    /// Whether resources that only the webhook refuses are kept.
    keep_refused: bool,
}

/// What a group and kind mean to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Read,
    /// Known to Istio and of no effect on an ingress gateway, or not Istio's at all.
    Unused,
    /// Would change what a gateway does, and is not done.
    NotCarriedOut,
    WrongVersion,
}

const NETWORKING: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];

fn role(group: &str, version: &str, kind: &str) -> Role {
    let versions: &[&str] = match (group, kind) {
        (
            "networking.istio.io",
            "Gateway" | "VirtualService" | "DestinationRule" | "ServiceEntry" | "WorkloadEntry",
        ) => &NETWORKING,
        ("networking.istio.io", "EnvoyFilter") => &["v1alpha3"],
        ("extensions.istio.io", "WasmPlugin" | "TrafficExtension") => &["v1alpha1"],
        ("security.istio.io", "AuthorizationPolicy" | "RequestAuthentication" | "PeerAuthentication") => {
            &["v1", "v1beta1"]
        }
        ("", "Service" | "Endpoints" | "Pod" | "Secret" | "ConfigMap") => &["v1"],
        ("discovery.k8s.io", "EndpointSlice") => &["v1", "v1beta1"],
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => &["v1"],
        ("gateway.networking.k8s.io", _) | ("networking.k8s.io", "Ingress") => return Role::NotCarriedOut,
        _ => return Role::Unused,
    };
    if versions.contains(&version) { Role::Read } else { Role::WrongVersion }
}

const KINDS: [&str; 11] = [
    "Gateway",
    "VirtualService",
    "DestinationRule",
    "ServiceEntry",
    "WorkloadEntry",
    "EnvoyFilter",
    "WasmPlugin",
    "TrafficExtension",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "PeerAuthentication",
];

impl Reader {
    fn read(mut self, sources: &[Source]) -> (Resources, Vec<Problem>) {
        for source in sources {
            let file: Arc<str> = source.name.as_str().into();
            let earlier = self.problems.len();
            for document in parse::documents(source, &mut self.problems) {
                self.document(&file, document);
            }
            if let Some(found) = self.problems.get_mut(earlier..) {
                found.sort_by_key(|problem| problem.at);
            }
        }
        (self.resources, self.problems)
    }

    fn document(&mut self, file: &Arc<str>, root: Node) {
        let text = |key: &str| root.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let mut refuse = |field: &str, reason: String, cure: Option<String>| {
            let problem = Problem {
                file: file.to_string(),
                at: root.locate(field),
                field: field.into(),
                reason,
                cure,
                ..Problem::default()
            };
            self.problems.push(problem);
        };
        if !matches!(root.value, Value::Map(_)) {
            return refuse(
                "",
                "not a Kubernetes object: a map with apiVersion, kind and metadata is expected".into(),
                None,
            );
        }
        for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
            if value.is_empty() {
                return refuse(field, format!("{field} is missing"), None);
            }
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        match role(group, version, &kind) {
            Role::Read => self.resource(file, kind, root),
            Role::Unused
                if group.ends_with(".istio.io") && nearest(&kind, KINDS).is_some_and(|known| known != kind) =>
            {
                let cure = nearest(&kind, KINDS).map(|known| format!("did you mean {known}?"));
                refuse("kind", format!("no kind {kind} in {group}"), cure);
            }
            Role::Unused => self.other(file, kind, root),
            Role::NotCarriedOut => self.not_carried_out(file, &kind, &root),
            Role::WrongVersion => {
                refuse("apiVersion", format!("no version {version} of {kind} in group \"{group}\""), None)
            }
        }
    }

    fn not_carried_out(&mut self, file: &Arc<str>, kind: &str, root: &Node) {
        let name =
            root.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text).unwrap_or_default();
        self.resources.warnings.push(Problem {
            file: file.to_string(),
            at: root.locate("kind"),
            resource: format!("{kind} {name}"),
            reason: format!("{kind} is not read: only Istio's own Gateway and VirtualService program this gateway"),
            ..Problem::default()
        });
    }

    /// A kind that is not read: it is remembered with its place, for whoever analyzes the manifests as a whole.
    fn other(&mut self, file: &Arc<str>, kind: String, root: Node) {
        self.resources.unused.insert(kind.clone());
        let mut ignored = Vec::new();
        let mut metadata = root
            .get("metadata")
            .map(|node| Metadata::decode(node, &mut Decoder::new(file, &kind, "metadata", &mut ignored)))
            .unwrap_or_default();
        if metadata.namespace.is_empty() {
            "default".clone_into(&mut metadata.namespace);
        }
        let origin = Origin { kind: kind.into(), file: file.clone(), root: Arc::new(root) };
        self.resources.others.push(Object { metadata, spec: (), origin });
    }

    fn resource(&mut self, file: &Arc<str>, kind: String, root: Node) {
        let before = self.problems.len();
        let kind: Arc<str> = kind.into();
        let metadata = self.metadata(file, &kind, &root);
        let origin = Origin { kind: kind.clone(), file: file.clone(), root: Arc::new(root) };
        let object = Object { metadata, spec: (), origin };
        self.report_twin(&object);
        self.keep(&kind, object, before);
    }

    fn metadata(&mut self, file: &Arc<str>, kind: &str, root: &Node) -> Metadata {
        let mut metadata = match root.get("metadata") {
            Some(node) => {
                let name = node.get("name").and_then(Node::text).unwrap_or_default();
                Metadata::decode(
                    node,
                    &mut Decoder::new(file, &format!("{kind} {name}"), "metadata", &mut self.problems),
                )
            }
            None => Metadata::default(),
        };
        if metadata.name.is_empty() && metadata.generate_name.is_empty() {
            let problem = Problem {
                file: file.to_string(),
                at: root.locate("metadata"),
                resource: kind.to_owned(),
                ..Problem::default()
            };
            self.problems.push(Problem {
                field: "metadata.name".into(),
                reason: "required field is missing".into(),
                ..problem
            });
        }
        if metadata.namespace.is_empty() {
            "default".clone_into(&mut metadata.namespace);
        }
        metadata
    }

    /// The later of two objects of one name replaces the earlier, as with `kubectl apply`.
    fn report_twin(&mut self, object: &Object<()>) {
        let key = (object.origin.kind.clone(), object.metadata.namespace.clone(), object.metadata.name.clone());
        let here = format!("{}:{}", object.origin.file, object.origin.root.at.line);
        if let Some(earlier) = self.seen.insert(key, here) {
            self.resources
                .warnings
                .push(object.problem("metadata.name", format!("replaces the one of the same name at {earlier}")));
        }
    }

    fn keep(&mut self, kind: &str, object: Object<()>, before: usize) {
        let resources = &mut self.resources;
        let problems = &mut self.problems;
        let before = Start { problems: before, keep_refused: self.keep_refused };
        match kind {
            "Gateway" => take(problems, before, object, Shape::Spec, &mut resources.gateways, validate::gateway::check),
            "VirtualService" => {
                let warnings = &mut resources.warnings;
                take(problems, before, object, Shape::Spec, &mut resources.virtual_services, |object, problems| {
                    validate::virtual_service::check(object, problems, warnings);
                });
            }
            "DestinationRule" => {
                take(
                    problems,
                    before,
                    object,
                    Shape::Spec,
                    &mut resources.destination_rules,
                    validate::destination_rule::check,
                );
            }
            "ServiceEntry" => take(
                problems,
                before,
                object,
                Shape::Spec,
                &mut resources.service_entries,
                validate::service_entry::check,
            ),
            "WorkloadEntry" => {
                take(
                    problems,
                    before,
                    object,
                    Shape::Spec,
                    &mut resources.workload_entries,
                    validate::service_entry::check_workload,
                );
            }
            "EnvoyFilter" => {
                let warnings = &mut resources.warnings;
                take(problems, before, object, Shape::Spec, &mut resources.envoy_filters, |object, problems| {
                    validate::envoy_filter::check(object, problems, warnings);
                });
            }
            "WasmPlugin" => take(
                problems,
                before,
                object,
                Shape::Spec,
                &mut resources.wasm_plugins,
                validate::extension::check_plugin,
            ),
            "TrafficExtension" => {
                take(
                    problems,
                    before,
                    object,
                    Shape::Spec,
                    &mut resources.traffic_extensions,
                    validate::extension::check_extension,
                );
            }
            "AuthorizationPolicy" | "RequestAuthentication" | "PeerAuthentication" => {
                take(problems, before, object, Shape::Spec, &mut resources.security_policies, |_, _| {});
            }
            "Service" => take(problems, before, object, Shape::Spec, &mut resources.services, |_, _| {}),
            "Endpoints" => take(problems, before, object, Shape::Flat, &mut resources.endpoints, |_, _| {}),
            "EndpointSlice" => take(problems, before, object, Shape::Flat, &mut resources.endpoint_slices, |_, _| {}),
            "Secret" => take(problems, before, object, Shape::Flat, &mut resources.secrets, |_, _| {}),
            "ConfigMap" => self.config_map(object, before.problems),
            "Pod" => {
                let spec = Pod::read(&object.origin.root);
                replace(&mut resources.pods, object.with(spec));
            }
            _ => {
                let spec = Workload::read(&object.origin.root);
                replace(&mut resources.workloads, object.with(spec));
                resources.unused.insert(kind.to_owned());
            }
        }
    }

    /// Only the ConfigMap `istio` of the root namespace means something: its key `mesh` is MeshConfig.
    fn config_map(&mut self, object: Object<()>, before: usize) {
        if object.metadata.name != "istio" || object.metadata.namespace != "istio-system" {
            self.resources.unused.insert("ConfigMap".into());
            return;
        }
        let mut kept = Vec::new();
        let before = Start { problems: before, keep_refused: self.keep_refused };
        take(&mut self.problems, before, object, Shape::Flat, &mut kept, |_, _| {});
        let kept: Option<Object<crate::resource::kubernetes::ConfigMap>> = kept.pop();
        let Some((object, text)) = kept.as_ref().and_then(|object| Some((object, object.spec.data.get("mesh")?)))
        else {
            return;
        };
        let source = Source { name: object.origin.file.to_string(), text: text.clone() };
        let mut problems = Vec::new();
        // The text is a block scalar: its first line follows the key's.
        let first = object.locate("data.mesh").line;
        for node in parse::documents(&source, &mut problems) {
            let resource = object.to_string();
            for (part, field) in
                [("defaultProviders", "defaultProviders.tracing"), ("defaultConfig", "defaultConfig.tracing")]
            {
                if node.get(part).and_then(|part| part.get("tracing")).is_some_and(|tracing| !tracing.is_empty()) {
                    let mut at = node.locate(field);
                    at.line += first;
                    let field = format!("data.mesh.{field}");
                    self.resources.warnings.push(Problem { at, field, ..object.problem("data.mesh", NO_TRACES) });
                }
            }
            let mut decoder = Decoder::new(&source.name, &resource, "data.mesh", &mut problems);
            self.resources.mesh = MeshConfig::decode(&node, &mut decoder);
            let connect = self.resources.mesh.connect_timeout;
            if let Some(reason) = connect.and_then(unfit_connect_timeout) {
                let (at, field) = (node.locate("connectTimeout"), "data.mesh.connectTimeout".to_owned());
                problems.push(Problem { at, field, ..object.problem("data.mesh", reason) });
            }
        }
        problems.iter_mut().for_each(|problem| problem.at.line += first);
        self.problems.extend(problems);
    }
}

/// Why istiod does not start with a time to connect.
fn unfit_connect_timeout(timeout: Duration) -> Option<&'static str> {
    const HOUR: Duration = Duration(3_600_000_000_000);
    unfit_duration(timeout).or((timeout.0 > HOUR.0).then_some("must be at most 1h"))
}

impl<T> Object<T> {
    fn with<U>(self, spec: U) -> Object<U> {
        Object { metadata: self.metadata, spec, origin: self.origin }
    }
}

/// Where a kind keeps its fields.
#[derive(Clone, Copy)]
enum Shape {
    /// Under `spec`.
    Spec,
    /// Beside `metadata`.
    Flat,
}

/// Where reading an object began.
#[derive(Clone, Copy)]
struct Start {
    /// So many problems there were before it.
    problems: usize,
    keep_refused: bool,
}

fn take<T: Decode>(
    problems: &mut Vec<Problem>,
    before: Start,
    object: Object<()>,
    shape: Shape,
    into: &mut Vec<Object<T>>,
    check: impl FnOnce(&Object<T>, &mut Vec<Problem>),
) {
    let resource = object.to_string();
    let spec = {
        let root = &object.origin.root;
        let entries = match &root.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let (path, node) = match shape {
            Shape::Spec => {
                refuse_stray_fields(&object, entries, problems);
                (
                    "spec",
                    root.get("spec").cloned().unwrap_or_else(|| Node { at: root.at, value: Value::Map(Vec::new()) }),
                )
            }
            Shape::Flat => {
                let own = entries
                    .iter()
                    .filter(|entry| !matches!(entry.key.as_str(), "apiVersion" | "kind" | "metadata"))
                    .cloned();
                ("", Node { at: root.at, value: Value::Map(own.collect()) })
            }
        };
        T::decode(&node, &mut Decoder::new(&object.origin.file, &resource, path, problems))
    };
    let object = object.with(spec);
    // A resource whose faults are fields too many or too few still says what it means; one with a value of the wrong type does not.
    let misread = |problem: &Problem| !(problem.reason.starts_with("unknown field") || problem.reason == MISSING);
    let shape = problems.get(before.problems..).unwrap_or_default();
    if !shape.is_empty() && (!before.keep_refused || shape.iter().any(misread)) {
        return;
    }
    let shape = problems.len();
    check(&object, problems);
    problems.iter_mut().skip(shape).for_each(|problem| problem.by_webhook = true);
    if problems.len() == before.problems || before.keep_refused {
        replace(into, object);
    }
}

fn refuse_stray_fields(object: &Object<()>, entries: &[crate::manifest::node::Entry], problems: &mut Vec<Problem>) {
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for entry in entries.iter().filter(|entry| !KNOWN.contains(&entry.key.as_str())) {
        let problem = object.problem(&entry.key, format!("unknown field \"{}\"", entry.key));
        problems.push(match nearest(&entry.key, KNOWN) {
            Some(known) => problem.cure(format!("did you mean \"{known}\"?")),
            None => problem.cure("is it meant to stand under spec?"),
        });
    }
}

fn replace<T>(all: &mut Vec<Object<T>>, object: Object<T>) {
    let same = |known: &&mut Object<T>| {
        known.metadata.name == object.metadata.name
            && known.metadata.namespace == object.metadata.namespace
            && known.origin.kind == object.origin.kind
    };
    match all.iter_mut().find(same) {
        Some(slot) => *slot = object,
        None => all.push(object),
    }
}
