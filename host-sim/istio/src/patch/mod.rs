//! EnvoyFilters: patches on the configuration that the other resources made, applied as istiod applies them. They work on the JSON form; what comes
//! out is read back into types, so that a patch cannot smuggle in what nobody understands.

mod clusters;
mod list;
mod listeners;
mod merge;
mod oneof;
mod routes;
mod value;

use serde_json::Value;

use crate::{
    problem::Problem,
    resource::{
        Resources,
        envoy_filter::{ApplyTo, ConfigMatch, EnvoyFilter, FilterClass, Operation, PatchContext},
        object::Object,
    },
    translate::{Node, Options},
};

pub(crate) use self::{clusters::apply as to_clusters, listeners::apply as to_listeners, routes::apply as to_routes};

/// The Istio version this translation follows; `proxyVersion` is matched against it.
const ISTIO_VERSION: &str = "1.32.0";

/// One patch that concerns this gateway.
#[derive(Clone, Debug)]
pub(crate) struct Patch<'a> {
    pub(crate) object: &'a Object<EnvoyFilter>,
    /// `spec.configPatches[0]`.
    pub(crate) path: String,
    pub(crate) apply_to: ApplyTo,
    pub(crate) operation: Operation,
    pub(crate) matches: &'a ConfigMatch,
    /// The message in proto names; null for REMOVE.
    pub(crate) value: Value,
}

/// All patches in the order they take effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patches<'a>(Vec<Patch<'a>>);

impl<'a> Patches<'a> {
    /// By priority, the root namespace's before others, then by age and name. Values that are no message Envoy knows become problems, as do filters
    /// that do not run here.
    pub(crate) fn new(
        resources: &'a Resources,
        node: &Node,
        options: &Options,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Self {
        let selected = |object: &&Object<EnvoyFilter>| {
            node.is_reached_from(&object.metadata.namespace)
                && object.spec.target_refs.is_empty()
                && node.is_selected_by(object.spec.workload_selector.as_ref().map(|selector| &selector.labels))
        };
        let mut filters: Vec<_> = resources.envoy_filters.iter().filter(selected).collect();
        filters.sort_by_key(|object| {
            let metadata = &object.metadata;
            let name = format!("{}.{}", metadata.name, metadata.namespace);
            (object.spec.priority, metadata.namespace != node.root_namespace, metadata.creation_timestamp.clone(), name)
        });
        let mut reader = Reader { options, problems, warnings, patches: Vec::new() };
        filters.into_iter().for_each(|object| reader.read(object));
        Self(reader.patches)
    }

    /// The patches of one kind, in order.
    pub(crate) fn of(&self, apply_to: ApplyTo) -> impl Iterator<Item = &Patch<'a>> {
        self.0.iter().filter(move |patch| patch.apply_to == apply_to)
    }

    /// Whether any patch is of one of these kinds.
    pub(crate) fn any_of(&self, kinds: &[ApplyTo]) -> bool {
        self.0.iter().any(|patch| kinds.contains(&patch.apply_to))
    }
}

struct Reader<'a, 'r> {
    options: &'r Options,
    problems: &'r mut Vec<Problem>,
    warnings: &'r mut Vec<Problem>,
    patches: Vec<Patch<'a>>,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self, object: &'a Object<EnvoyFilter>) {
        for (i, config) in object.spec.config_patches.iter().enumerate() {
            let path = format!("spec.configPatches[{i}]");
            let for_gateways = matches!(config.matches.context, PatchContext::Any | PatchContext::Gateway);
            if !for_gateways || !fits_proxy(&config.matches) {
                continue;
            }
            if config.patch.filter_class != FilterClass::Unspecified {
                let reason = "filterClass has no effect on a gateway's chain";
                self.warnings.push(object.problem(&format!("{path}.patch.filterClass"), reason));
            }
            let mut patch = Patch {
                object,
                path,
                apply_to: config.apply_to,
                operation: effective(config.apply_to, config.patch.operation),
                matches: &config.matches,
                value: Value::Null,
            };
            if let Some(free) = &config.patch.value {
                match value::read(&patch, free) {
                    Ok(value) => patch.value = value,
                    Err(problem) => {
                        self.refuse(*problem);
                        continue;
                    }
                }
            }
            self.patches.push(patch);
        }
    }

    fn refuse(&mut self, problem: Problem) {
        if self.options.allows("EnvoyFilter") {
            self.warnings.push(problem);
        } else {
            self.problems.push(problem);
        }
    }
}

/// Inserting is adding, for kinds that have no order.
fn effective(apply_to: ApplyTo, operation: Operation) -> Operation {
    let inserts = matches!(operation, Operation::InsertBefore | Operation::InsertAfter | Operation::InsertFirst);
    let ordered =
        matches!(apply_to, ApplyTo::HttpFilter | ApplyTo::NetworkFilter | ApplyTo::HttpRoute | ApplyTo::ListenerFilter);
    if inserts && !ordered { Operation::Add } else { operation }
}

/// By version; this proxy has no metadata to match.
fn fits_proxy(matches: &ConfigMatch) -> bool {
    let Some(proxy) = &matches.proxy else { return true };
    let version = &proxy.proxy_version;
    let fits = version.is_empty()
        || policy::regex::Regex::search(version).is_ok_and(|regex| regex.is_match(ISTIO_VERSION.as_bytes()));
    fits && proxy.metadata.is_empty()
}

impl Patch<'_> {
    pub(crate) fn is_merge(&self) -> bool {
        matches!(self.operation, Operation::Merge | Operation::MergeAndReplaceList)
    }

    /// Merges the patch's value into a message.
    pub(crate) fn merge_into(&self, target: &mut Value) {
        merge::merge(target, &self.value, self.operation == Operation::MergeAndReplaceList);
    }

    /// A problem with the patch as a whole.
    pub(crate) fn problem(&self, reason: impl Into<String>) -> Problem {
        self.object.problem(&format!("{}.patch", self.path), reason)
    }
}
