//! The filter chain of a connection manager.

pub(crate) mod router;
