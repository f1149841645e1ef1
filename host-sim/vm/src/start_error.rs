//! Why a plugin does not start, with what its module had to say.

use crate::{log_gate::LogLine, trap::Trap};

/// Why a plugin does not start. Envoy refuses the configuration for each of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The module cannot be instantiated: it wants more memory at once than it may have, or its start function trapped.
    #[error("Failed to create new Wasm instance: {reason}{}", said(.log))]
    Instantiate {
        /// Why.
        reason: String,
        /// What the module logged.
        log: Vec<LogLine>,
    },
    /// A call trapped.
    #[error("{trap}{}", said(.log))]
    Trapped {
        /// Which, and why.
        trap: Trap,
        /// What the module logged.
        log: Vec<LogLine>,
    },
    /// `proxy_on_vm_start` answered false.
    #[error("the module refused to start: proxy_on_vm_start returned false{}", said(.log))]
    StartRefused {
        /// What the module logged.
        log: Vec<LogLine>,
    },
    /// `proxy_on_configure` answered false.
    #[error("the module refused its configuration: proxy_on_configure returned false{}", said(.log))]
    ConfigureRefused {
        /// What the module logged.
        log: Vec<LogLine>,
    },
}

impl StartError {
    /// What the module logged before it failed.
    pub fn log(&self) -> &[LogLine] {
        match self {
            StartError::Instantiate { log, .. }
            | StartError::Trapped { log, .. }
            | StartError::StartRefused { log }
            | StartError::ConfigureRefused { log } => log,
        }
    }
}

fn said(log: &[LogLine]) -> String {
    log.iter().map(|line| format!("\n  module: [{}] {}", line.level.as_str(), line.text)).collect()
}
