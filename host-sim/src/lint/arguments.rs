//! `lint`'s flags and the forms of their values.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

/// Which manifests to look at, and what counts as a failure.
#[derive(Debug, Clone, Args)]
pub struct LintArgs {
    /// Manifests: a file, a folder (every *.yaml, *.yml and *.json below it) or - for standard input; repeats
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub filename: Vec<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = LintOutput::Text)]
    pub output: LintOutput,
    /// Exit 1 from this level on
    #[arg(long, value_enum, default_value_t = Threshold::Error)]
    pub level: Threshold,
    /// The files hold the whole cluster: what is in none of them does not exist. Says what istioctl says with a live cluster too
    #[arg(long)]
    pub whole_cluster: bool,
    /// Leave out a code, everywhere or for a resource: SLU0110 or "IST0101=VirtualService default/*"; repeats
    #[arg(short = 'S', long, value_name = "CODE[=RESOURCE]")]
    pub suppress: Vec<Suppression>,
}

/// The form of lint's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintOutput {
    /// For people
    Text,
    /// For programs; the shape is stable
    Json,
    /// SARIF 2.1.0, for code hosts
    Sarif,
}

/// From which level on findings are a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Threshold {
    /// Errors alone
    Error,
    /// Errors and warnings
    Warning,
    /// Everything
    Info,
}

/// `CODE` or `CODE=RESOURCE`, where `*` in either stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    resource: String,
}

impl Suppression {
    /// This finding is not wanted.
    pub(crate) fn covers(&self, finding: &istio::analysis::Finding) -> bool {
        fits(&self.code, finding.code) && fits(&self.resource, &finding.resource)
    }
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (code, resource) = text.split_once('=').unwrap_or((text, "*"));
        if code.is_empty() || resource.is_empty() {
            return Err("expected CODE or CODE=RESOURCE, such as \"IST0101=VirtualService default/shop\"".to_owned());
        }
        Ok(Self { code: code.to_owned(), resource: resource.to_owned() })
    }
}

/// `text` is what `pattern` says, its `*` standing for any run of characters.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suppression_names_a_code_and_perhaps_a_resource() {
        for (pattern, text, expected) in [
            ("IST0101", "IST0101", true),
            ("IST*", "IST0101", true),
            ("*", "", true),
            ("VirtualService */vs", "VirtualService default/vs", true),
            ("VirtualService a/*", "VirtualService default/vs", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        for text in ["", "=x", "IST0101="] {
            assert!(text.parse::<Suppression>().unwrap_err().contains("CODE=RESOURCE"), "{text:?}");
        }
    }
}
