//! What Istio's admission webhook refuses, with its meaning and close to its words, and the rules of the CRD schemas that structure alone does not
//! express (one-of groups, required combinations, bounds). One file per kind.

pub(crate) mod destination_rule;
pub(crate) mod envoy_filter;
pub(crate) mod extension;
pub(crate) mod gateway;
pub(crate) mod header;
mod locality;
pub(crate) mod name;
pub(crate) mod pattern;
pub(crate) mod service_entry;
pub(crate) mod traffic_policy;
pub(crate) mod virtual_service;

use crate::{manifest::duration::Duration, problem::Problem, resource::object::Object};

/// The bound that Istio puts on every timeout and interval: at least 1 ms, whole milliseconds.
pub(crate) fn unfit_duration(Duration(nanos): Duration) -> Option<&'static str> {
    const MILLISECOND: i64 = 1_000_000;
    match nanos {
        _ if nanos < MILLISECOND => Some("duration must be greater than 1ms"),
        _ if nanos % MILLISECOND != 0 => Some("only durations to ms precision are supported"),
        _ => None,
    }
}

/// Collects problems of one object.
pub(crate) struct Check<'a, T> {
    pub(crate) object: &'a Object<T>,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl<T> Check<'_, T> {
    pub(crate) fn refuse(&mut self, path: &str, reason: impl Into<String>) {
        self.problems.push(self.object.problem(path, reason));
    }

    pub(crate) fn refuse_if(&mut self, wrong: bool, path: &str, reason: &str) {
        if wrong {
            self.refuse(path, reason);
        }
    }

    /// Reports the error of a check, if it is one.
    pub(crate) fn expect(&mut self, path: &str, checked: Result<(), String>) {
        if let Err(reason) = checked {
            self.refuse(path, reason);
        }
    }

    /// See [`unfit_duration`].
    pub(crate) fn duration(&mut self, path: &str, duration: Option<Duration>) {
        if let Some(reason) = duration.and_then(unfit_duration) {
            self.refuse(path, reason);
        }
    }

    pub(crate) fn port(&mut self, path: &str, number: u32) {
        if !(1..=65_535).contains(&number) {
            self.refuse(path, format!("port number {number} must be in the range 1..65535"));
        }
    }

    /// Duplicates, and `*` or `~` beside anything else.
    pub(crate) fn export_to(&mut self, export_to: &[String], none_allowed: bool) {
        let own = self.object.metadata.namespace.clone();
        let mut seen = Vec::new();
        for (i, entry) in export_to.iter().enumerate() {
            let path = format!("spec.exportTo[{i}]");
            let key = if entry == "." { own.as_str() } else { entry.as_str() };
            if seen.contains(&key) {
                self.refuse(&path, format!("duplicate entries in exportTo for entry {entry}"));
            } else if key == "~" && !none_allowed {
                self.refuse(&path, "\"~\" is not allowed in exportTo of this kind");
            } else if key != "*" && key != "~" {
                self.expect(
                    &path,
                    name::dns_label(key)
                        .map_err(|_| format!("only ., *, or a valid namespace is allowed as exportTo value: {key:?}")),
                );
            }
            seen.push(key);
        }
        for lonely in ["*", "~"] {
            self.refuse_if(
                export_to.len() > 1 && seen.contains(&lonely),
                "spec.exportTo",
                "\"*\" and \"~\" stand alone in exportTo",
            );
        }
    }

    /// Labels of a selector: no key is empty, and there are no wildcards.
    pub(crate) fn selector(&mut self, path: &str, labels: &std::collections::BTreeMap<String, String>) {
        for (key, value) in labels {
            let pair = format!("{key}={value}");
            self.refuse_if(key.is_empty(), path, &format!("empty key is not supported in selector: {pair:?}"));
            self.refuse_if(pair.contains('*'), path, &format!("wildcard is not supported in selector: {pair:?}"));
        }
    }

    /// Keys and values that Kubernetes takes as labels.
    pub(crate) fn labels(&mut self, path: &str, labels: &std::collections::BTreeMap<String, String>) {
        for (key, value) in labels {
            self.expect(path, name::label_key(key));
            self.expect(path, name::label_value(value));
        }
    }
}
