//! Security policies that select this gateway and that it does not carry out.

use super::{node::Node, options::Options};
use crate::{
    problem::Problem,
    resource::{Resources, extension::selector_labels},
};

/// A gateway must look neither more open nor more closed than it is: each such policy is refused, or warned about where the user says to go on.
pub(crate) fn check(
    resources: &Resources,
    node: &Node,
    options: &Options,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    for policy in &resources.security_policies {
        let targeted = policy.spec.target_ref.is_some() || !policy.spec.target_refs.is_empty();
        let selected = node.is_selected_by(selector_labels(policy.spec.selector.as_ref()));
        if targeted || !selected || !node.is_reached_from(&policy.metadata.namespace) {
            continue;
        }
        let kind = policy.origin.kind.as_ref();
        let problem = policy.problem("kind", format!("{kind} selects this gateway and is not carried out here"));
        if options.allows(kind) {
            warnings.push(problem);
        } else {
            problems.push(problem.cure(format!("--allow-unsupported {kind} goes on without it")));
        }
    }
}
