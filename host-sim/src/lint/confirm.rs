//! Witnesses are claims until the code that decides about requests has confirmed them.

use istio::Resources;
use istio::analysis::Finding;

/// Keeps what holds.
pub(super) fn witnesses(_resources: &Resources, _findings: &mut [Finding]) {}
