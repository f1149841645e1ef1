//! What is wrong with manifests that are valid one by one: all that `istioctl analyze` says about the kinds a gateway is made of, under its codes, and
//! findings of our own. Nothing is opened, run or fetched: resources in, findings out.
//!
//! A finding may carry a [`Witness`], a request that shows it. It is made here from the rules' conditions and is a claim until the code that decides
//! about requests has confirmed it, which is the caller's business.

mod finding;
mod istioctl;
mod own;
mod suppressed;

pub use finding::{Claim, Finding, Level, Scope, Witness};

use std::collections::BTreeMap;

use crate::{Problem, Resources};

/// Everything there is to say, worst first, then by code, resource and place; each thing once.
#[must_use]
pub fn analyze(resources: &Resources, problems: &[Problem], scope: Scope) -> Vec<Finding> {
    let mut findings = istioctl::all(resources, problems, scope);
    let own = own::all(resources, &findings);
    // What istioctl says of a place with the whole cluster in view need not be said twice.
    let said = |own: &Finding| {
        findings
            .iter()
            .any(|theirs| theirs.level == Level::Error && theirs.resource == own.resource && theirs.field == own.field)
    };
    // What would be refused is mended first: what it would do is no question yet.
    let refused = |own: &Finding| problems.iter().any(|problem| problem.resource == own.resource);
    let news = |finding: &Finding| !refused(finding) && (scope == Scope::Files || !said(finding));
    let own: Vec<_> = own.into_iter().filter(news).collect();
    findings.extend(own);
    let suppressed = suppressed::by_annotation(resources);
    findings.retain(|finding| !suppressed.covers(finding));
    finding::sort(&mut findings);
    findings
}

/// The gateway workloads that the Gateways ask for, by their labels, each once.
#[must_use]
pub fn workloads(resources: &Resources) -> Vec<BTreeMap<String, String>> {
    let mut found: Vec<BTreeMap<String, String>> = Vec::new();
    for gateway in &resources.gateways {
        if !found.contains(&gateway.spec.selector) {
            found.push(gateway.spec.selector.clone());
        }
    }
    found
}
