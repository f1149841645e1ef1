//! `host-sim inspect`: what a module is, without running it.

use std::fmt::Write;

use vm::Inspection;

use crate::command_line::{InspectArgs, Output};
use crate::failure::Failure;
use crate::inputs;
use crate::say;

/// Prints the inspection.
///
/// # Errors
/// A file that cannot be read (exit 5), and a module that Envoy would refuse (exit 4), after saying all of it.
pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let inspection = vm::inspect(&inputs::bytes(&args.module)?);
    match args.output {
        Output::Text => say::answer(text(&inspection))?,
        Output::Json => say::json(&inspection)?,
    }
    if inspection.refused.is_empty() {
        return Ok(());
    }
    Err(Failure::Module(format!("{}: {}", args.module.display(), inspection.refused.join("; "))))
}

fn text(inspection: &Inspection) -> String {
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
    let abi = inspection.abi_version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "ABI version  {abi}");
    let _ = writeln!(out, "languages    {}", list(&inspection.languages));
    let _ = writeln!(out, "producers    {}", list(&inspection.producers));
    let _ = writeln!(out, "sha256       {}", inspection.sha256);
    let _ = writeln!(out, "size         {} bytes, {} functions", inspection.size, inspection.functions);
    for section in &inspection.sections {
        let _ = writeln!(out, "             {:>9} {}", section.bytes, section.name);
    }
    let _ = writeln!(out, "root ids     {}", list(&inspection.root_ids));
    let _ = writeln!(out, "callbacks    {}", list(&inspection.callbacks));
    let _ = writeln!(out, "imports");
    for import in &inspection.imports {
        let _ = writeln!(out, "             {}.{} {}", import.module, import.name, import.ty);
    }
    let _ = writeln!(out, "exports");
    for export in &inspection.exports {
        let _ = writeln!(out, "             {} {}", export.name, export.ty);
    }
    let verdict = if inspection.refused.is_empty() { "Envoy loads it" } else { "Envoy refuses it" };
    let _ = writeln!(out, "verdict      {verdict}");
    for reason in &inspection.refused {
        let _ = writeln!(out, "             {reason}");
    }
    out
}
