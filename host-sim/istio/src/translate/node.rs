//! The gateway workload itself: labels and namespace decide which resources concern it.

use std::collections::BTreeMap;

use super::{options::Options, registry::is_subset};
use crate::{problem::Problem, resource::Resources};

/// The workload that the configuration is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) namespace: String,
    pub(crate) named_ports: BTreeMap<String, u32>,
    pub(crate) root_namespace: String,
}

impl Node {
    /// From the options, else from the Gateways' selectors and the Deployment they point at.
    ///
    /// # Errors
    /// Two Gateways ask for different values of one label: no workload is both.
    pub(crate) fn new(resources: &Resources, options: &Options) -> Result<Self, Vec<Problem>> {
        let labels = match &options.labels {
            Some(labels) => labels.clone(),
            None => wanted_labels(resources)?,
        };
        let behind = |own: &BTreeMap<String, String>| !labels.is_empty() && is_subset(&labels, own);
        let workload = resources.workloads.iter().find(|workload| behind(&workload.spec.labels));
        let pod = resources.pods.iter().find(|pod| behind(&pod.metadata.labels));
        let found = workload
            .map(|workload| (&workload.metadata.namespace, &workload.spec.named_ports))
            .or_else(|| pod.map(|pod| (&pod.metadata.namespace, &pod.spec.named_ports)));
        let root_namespace = resources.mesh.root_namespace().to_owned();
        let namespace = options.node_namespace.clone().or_else(|| found.map(|(namespace, _)| namespace.clone()));
        Ok(Self {
            labels,
            namespace: namespace.unwrap_or_else(|| root_namespace.clone()),
            named_ports: found.map(|(_, ports)| ports.clone()).unwrap_or_default(),
            root_namespace,
        })
    }

    /// No selector selects every workload.
    pub(crate) fn is_selected_by(&self, selector: Option<&BTreeMap<String, String>>) -> bool {
        selector.is_none_or(|selector| is_subset(selector, &self.labels))
    }

    /// A policy of `namespace` reaches this workload: the root namespace's reach all, others their own.
    pub(crate) fn is_reached_from(&self, namespace: &str) -> bool {
        namespace == self.namespace || namespace == self.root_namespace
    }
}

fn wanted_labels(resources: &Resources) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let mut wanted: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut problems = Vec::new();
    for gateway in &resources.gateways {
        for (key, value) in &gateway.spec.selector {
            let here = gateway.full_name();
            let (first, owner) = wanted.entry(key.clone()).or_insert_with(|| (value.clone(), here));
            if first != value {
                let reason = format!(
                    "this Gateway selects workloads with {key}={value}, Gateway {owner} those with {key}={first}: no workload is both"
                );
                problems
                    .push(gateway.problem("spec.selector", reason).cure("say with --labels which workload you mean"));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(wanted.into_iter().map(|(key, (value, _))| (key, value)).collect())
}
