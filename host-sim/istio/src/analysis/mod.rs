//! What is wrong with manifests that are valid one by one: all that `istioctl analyze` says about the kinds a gateway is made of, under its codes, and
//! findings of our own. Nothing is opened, run or fetched: resources in, findings out.
//!
//! A finding may carry a [`Witness`], a request that shows it. It is made here from the rules' conditions and is a claim until the code that decides
//! about requests has confirmed it, which is the caller's business.

mod finding;
mod istioctl;

pub use finding::{Claim, Finding, Level, Scope, Witness};

use crate::{Problem, Resources};

/// Everything there is to say, worst first, then by code, resource and place; each thing once.
#[must_use]
pub fn analyze(resources: &Resources, problems: &[Problem], scope: Scope) -> Vec<Finding> {
    let mut findings = istioctl::all(resources, problems, scope);
    finding::sort(&mut findings);
    findings
}
