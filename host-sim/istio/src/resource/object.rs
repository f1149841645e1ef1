//! What every Kubernetes object has: a name, labels, and the place it was read from.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    manifest::{
        decode::{Unused, messages},
        node::Node,
    },
    problem::{Position, Problem},
};

messages! {
    /// `metadata`.
    struct Metadata {
        name: String = "name",
        namespace: String = "namespace",
        labels: BTreeMap<String, String> = "labels",
        annotations: BTreeMap<String, String> = "annotations",
        creation_timestamp: String = "creationTimestamp",
        generate_name: String = "generateName",
        uid: Unused = "uid",
        resource_version: Unused = "resourceVersion",
        generation: Unused = "generation",
        self_link: Unused = "selfLink",
        deletion_timestamp: Unused = "deletionTimestamp",
        deletion_grace_period_seconds: Unused = "deletionGracePeriodSeconds",
        owner_references: Unused = "ownerReferences",
        finalizers: Unused = "finalizers",
        managed_fields: Unused = "managedFields",
        cluster_name: Unused = "clusterName",
    }
}

/// One resource: its message, its metadata, and where all of it stands.
#[derive(Clone, Debug)]
pub(crate) struct Object<T> {
    pub(crate) metadata: Metadata,
    pub(crate) spec: T,
    pub(crate) origin: Origin,
}

/// The document a resource was read from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) kind: Arc<str>,
    pub(crate) file: Arc<str>,
    pub(crate) root: Arc<Node>,
}

impl<T> Object<T> {
    /// `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// Istio's order of resources: oldest first, then by name, then by namespace. One without an age is about to be created: the youngest.
    pub(crate) fn age_order(&self) -> (bool, &str, &str, &str) {
        let created = self.metadata.creation_timestamp.as_str();
        (created.is_empty(), created, &self.metadata.name, &self.metadata.namespace)
    }

    /// Where `path` stands in the file.
    pub(crate) fn locate(&self, path: &str) -> Position {
        self.origin.root.locate(path)
    }

    /// A problem with the field at `path`.
    pub(crate) fn problem(&self, path: &str, reason: impl Into<String>) -> Problem {
        Problem {
            file: self.origin.file.to_string(),
            at: self.locate(path),
            resource: self.to_string(),
            field: path.to_owned(),
            reason: reason.into(),
            ..Problem::default()
        }
    }
}

impl<T> fmt::Display for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.origin.kind, self.metadata.namespace, self.metadata.name)
    }
}
