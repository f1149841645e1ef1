//! `host-sim lint`: what is wrong with the manifests, before a cluster says so.

mod arguments;
mod confirm;
mod report;
mod sarif;

pub(crate) use self::arguments::LintArgs;

use istio::analysis::{Finding, Level, Scope, analyze};

use self::arguments::{LintOutput, Threshold};
use crate::failure::Failure;
use crate::inputs;
use crate::say;

/// Prints the findings.
///
/// # Errors
/// Exit 3 when the API server or the admission webhook would refuse a manifest, 1 when there is a finding at or above the threshold, 5 for files
/// that cannot be read. All findings are printed before.
pub(crate) fn lint(args: &LintArgs) -> Result<(), Failure> {
    let (resources, problems) = istio::read_refused_too(&inputs::sources(&args.filename)?);
    let scope = if args.whole_cluster { Scope::WholeCluster } else { Scope::Files };
    let mut findings = analyze(&resources, &problems, scope);
    findings.retain(|finding| !args.suppress.iter().any(|suppressed| suppressed.covers(finding)));
    if problems.is_empty() {
        confirm::witnesses(&resources, &mut findings);
    }
    match args.output {
        LintOutput::Text => say::answer(report::text(&findings))?,
        LintOutput::Json => say::json(&report::json(&findings))?,
        LintOutput::Sarif => say::json(&sarif::log(&findings))?,
    }
    verdict(&findings, !problems.is_empty(), args.level)
}

fn verdict(findings: &[Finding], refused: bool, threshold: Threshold) -> Result<(), Failure> {
    if refused {
        return Err(Failure::Refused("the API server or Istio's webhook would refuse these manifests".to_owned()));
    }
    let worst = match threshold {
        Threshold::Error => Level::Error,
        Threshold::Warning => Level::Warning,
        Threshold::Info => Level::Info,
    };
    match findings.iter().filter(|finding| finding.level <= worst).count() {
        0 => Ok(()),
        count => Err(Failure::No(report::counted(count, "finding to mend"))),
    }
}
