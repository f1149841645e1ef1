//! `DestinationRule`.

use super::{Check, name};
use crate::{
    problem::Problem,
    resource::{destination_rule::DestinationRule, object::Object},
};

/// What the webhook refuses of a DestinationRule.
pub(crate) fn check(object: &Object<DestinationRule>, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    let mut check = Check { object, problems };
    check.expect("spec.host", name::wildcard_domain(&spec.host));
    if let Some(policy) = &spec.traffic_policy {
        check.traffic_policy("spec.trafficPolicy", policy);
    }
    for (i, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{i}]");
        let twice = spec.subsets.iter().take(i).any(|earlier| earlier.name == subset.name);
        check.refuse_if(twice, &format!("{path}.name"), &format!("duplicate subset names: {}", subset.name));
        if name::dns_label(&subset.name).is_err() {
            check.refuse(&format!("{path}.name"), format!("subset name is invalid: {}", subset.name));
        }
        check.labels(&format!("{path}.labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            check.traffic_policy(&format!("{path}.trafficPolicy"), policy);
        }
    }
    check.export_to(&spec.export_to, false);
    if let Some(selector) = &spec.workload_selector {
        check.selector("spec.workloadSelector.matchLabels", &selector.match_labels);
    }
    if spec.workload_selector.is_some() && !spec.export_to.is_empty() {
        let own = spec.export_to.iter().all(|entry| entry == "." || *entry == object.metadata.namespace);
        check.refuse_if(
            !own,
            "spec.exportTo",
            "destination rule with workload selector cannot have exportTo beyond current namespace",
        );
    }
}
