//! Kinds that attach to workloads by selector and that this gateway does not carry out itself: security policies and telemetry. They are read so
//! that one that selects the gateway is never passed over in silence.

use super::{destination_rule::WorkloadSelector, extension::TargetRef};
use crate::manifest::decode::{Unused, messages};

messages! {
    /// What `AuthorizationPolicy`, `RequestAuthentication` and `PeerAuthentication` have in common, and the names of the rest.
    struct SecurityPolicy {
        selector: Option<WorkloadSelector> = "selector",
        target_ref: Option<TargetRef> = "targetRef",
        target_refs: Vec<TargetRef> = "targetRefs",
        rules: Unused = "rules",
        action: Unused = "action",
        provider: Unused = "provider",
        jwt_rules: Unused = "jwtRules",
        mtls: Unused = "mtls",
        port_level_mtls: Unused = "portLevelMtls",
    }
}
