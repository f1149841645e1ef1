//! `exportTo`: which namespaces see a resource.

use std::collections::BTreeSet;

/// The namespaces a resource is exported to, `.` already replaced by its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visibility(BTreeSet<String>);

impl Visibility {
    /// From the resource's `exportTo`, else the mesh's default, else public.
    pub(crate) fn new(export_to: &[String], default: Option<&[String]>, namespace: &str) -> Self {
        let public = ["*".to_owned()];
        let chosen = if export_to.is_empty() { default.unwrap_or(&public) } else { export_to };
        Self(chosen.iter().map(|entry| if entry == "." { namespace.to_owned() } else { entry.clone() }).collect())
    }

    /// Everyone sees it.
    pub(crate) fn is_public(&self) -> bool {
        self.0.contains("*")
    }

    /// Workloads and rules in `namespace` see it.
    pub(crate) fn includes(&self, namespace: &str) -> bool {
        self.is_public() || (!self.0.contains("~") && self.0.contains(namespace))
    }

    /// Seen by everyone that sees `other`.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Nobody else than `namespace` sees it.
    pub(crate) fn is_only(&self, namespace: &str) -> bool {
        self.0.len() == 1 && self.0.contains(namespace)
    }
}
