//! Why a command did not do what was asked, and the exit code that says so.

use std::process::ExitCode;

use thiserror::Error;

/// A command's failure. The variant decides the exit code, the text is for a person.
#[derive(Debug, Error)]
pub enum Failure {
    /// The command worked and the answer is no.
    #[error("{0}")]
    No(String),
    /// Wrong usage that the argument parser could not see.
    #[error("error: {0}")]
    Usage(String),
    /// The manifests are refused: every problem in them, one a line.
    #[error("{}", lines(.0))]
    Manifests(Vec<String>),
    /// The manifests are refused, and what is wrong with them has been said already.
    #[error("error: {0}")]
    Refused(String),
    /// A filter module is refused; the text carries the module's own log.
    #[error("error: {0}")]
    Module(String),
    /// The world: a port is taken, a file cannot be read.
    #[error("error: {0}")]
    World(String),
}

impl Failure {
    /// 1 no, 2 usage, 3 manifests, 4 module, 5 world.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::No(_) => 1,
            Self::Usage(_) => 2,
            Self::Manifests(_) | Self::Refused(_) => 3,
            Self::Module(_) => 4,
            Self::World(_) => 5,
        })
    }
}

fn lines(problems: &[String]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    format!("{}\nerror: {count}; nothing was started", problems.join("\n"))
}
