//! Findings of our own: what Istio takes, istioctl is silent about, and a gateway's users meet.

mod cors;
mod cover;
mod destination_rules;
mod destinations;
mod example;
mod extensions;
mod gateways;
mod headers;
mod order;
mod paths;
mod plugin_order;
mod redirects;
mod retries;
mod rewrites;
mod shelf;
mod table;
mod unreachable;

use super::{Finding, Level};
use crate::resource::Resources;

/// All of them. `said` is what istioctl says already, so that nothing is said twice.
pub(super) fn all(resources: &Resources, said: &[Finding]) -> Vec<Finding> {
    let tables = table::tables(resources);
    let mut found = Vec::new();
    read_but(resources, &mut found);
    unreachable::rules(&tables, said, &mut found);
    order::by_creation(&tables, &mut found);
    for table in &tables {
        paths::never_match(table, &mut found);
        rewrites::seams(table, &mut found);
        redirects::loops(table, &mut found);
        headers::steer(resources, table, &mut found);
        headers::cookies(table, &mut found);
    }
    for analyzer in [
        headers::authorities,
        headers::owned_by_the_proxy,
        retries::policies,
        cors::policies,
        destinations::references,
        destinations::splits,
        destination_rules::rules,
        gateways::servers,
        gateways::virtual_services,
        gateways::tokens,
        extensions::all,
        plugin_order::patches,
    ] {
        analyzer(resources, &mut found);
    }
    found
}

/// `SLU0002`: taken and without effect, as reading said already.
fn read_but(resources: &Resources, found: &mut Vec<Finding>) {
    const SAID_BY_ISTIO: [&str; 3] = ["using deprecated setting", "abort configured", "The ADD operation"];
    for warning in &resources.warnings {
        if !SAID_BY_ISTIO.iter().any(|start| warning.reason.starts_with(start)) {
            found.push(Finding::of_problem("SLU0002", Level::Warning, warning, warning.reason.clone()));
        }
    }
}
