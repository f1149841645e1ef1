//! Clusters, the pure half: which endpoint a request goes to.

mod hash_policy;

pub use hash_policy::{HashPolicy, Hashed};
