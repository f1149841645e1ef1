//! Retries: conditions, limits, back-off. What host the next try goes to is the cluster's affair.

mod on;
mod policy;
mod state;

pub use on::RetryOn;
pub use policy::{ResetHeader, RetryPolicy};
pub use state::{Ended, RetryState, Verdict};
