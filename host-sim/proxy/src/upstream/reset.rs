//! Why an attempt ended without a whole response, and what the transport said about it.

use std::borrow::Cow;

use thiserror::Error;

use crate::local_reply::Reset;

/// An attempt ended without a whole response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", reset.text())]
pub(crate) struct Broken {
    pub(crate) reset: Reset,
    /// `delayed connect error: Connection refused`; empty for nothing.
    pub(crate) transport: Cow<'static, str>,
}

impl From<Reset> for Broken {
    fn from(reset: Reset) -> Broken {
        Broken { reset, transport: Cow::Borrowed("") }
    }
}
