//! Findings that a resource's author does not want: the annotation `galley.istio.io/analyze-suppress`, as istioctl reads it.

use std::collections::BTreeMap;

use super::Finding;
use crate::resource::{Resources, object::Object};

const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// Codes by resource.
pub(super) struct Suppressed(BTreeMap<String, Vec<String>>);

/// What the annotations say: codes with commas between them, or `*`.
pub(super) fn by_annotation(resources: &Resources) -> Suppressed {
    let mut found = Suppressed(BTreeMap::new());
    found.read(&resources.gateways);
    found.read(&resources.virtual_services);
    found.read(&resources.destination_rules);
    found.read(&resources.service_entries);
    found.read(&resources.services);
    found.read(&resources.pods);
    found.read(&resources.workloads);
    found.read(&resources.wasm_plugins);
    found.read(&resources.traffic_extensions);
    found.read(&resources.envoy_filters);
    found.read(&resources.security_policies);
    found.read(&resources.others);
    found
}

impl Suppressed {
    fn read<T>(&mut self, objects: &[Object<T>]) {
        for object in objects {
            if let Some(codes) = object.metadata.annotations.get(ANNOTATION) {
                self.0.insert(object.to_string(), codes.split(',').map(|code| code.trim().to_owned()).collect());
            }
        }
    }

    pub(super) fn covers(&self, finding: &Finding) -> bool {
        let codes = self.0.get(&finding.resource);
        // A refusal is no matter of taste: nothing silences it.
        let refusal = matches!(finding.code, "SLU0001" | "IST0106");
        !refusal && codes.is_some_and(|codes| codes.iter().any(|code| code == "*" || code == finding.code))
    }
}
