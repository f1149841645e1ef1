//! `host-sim replay`: a recorded run is run again, without network, clock or dice, and compared.

use std::path::{Path, PathBuf};

use vm::{Difference, Digest, Engine, Record, RecordedRun, ReplayError};

use crate::command_line::{Output, ReplayArgs};
use crate::failure::Failure;
use crate::inputs;
use crate::run;
use crate::say;

/// Differences printed of one run; the first are the telling ones.
const SHOWN: usize = 3;

/// Replays every run of a trace and says where each differs.
///
/// # Errors
/// A run differs (exit 1); a file that is no trace (exit 2); a module that is refused, or that cannot be found (exit 4, 5).
pub(crate) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let name = args.trace.display();
    let text = String::from_utf8_lossy(&inputs::bytes(&args.trace)?).into_owned();
    let runs = vm::read_trace(&text).map_err(|error| Failure::Usage(format!("{name}: not a trace: {error}")))?;
    if runs.is_empty() {
        return Err(Failure::Usage(format!("{name}: an empty trace: no plugin was started")));
    }
    let config = vm::EngineConfig { cache_dir: run::cache_dir() };
    let engine = Engine::new(config).map_err(|error| Failure::World(error.to_string()))?;
    let mut played = Vec::new();
    for recorded in &runs {
        played.push(play(&engine, recorded, args)?);
    }
    match args.output {
        Output::Text => say::answer(played.iter().map(Played::text).collect::<String>())?,
        Output::Json => {
            say::answer_line(serde_json::json!({ "runs": played.iter().map(Played::json).collect::<Vec<_>>() }))?;
        }
    }
    let differ = played.iter().filter(|played| !played.differences.is_empty()).count();
    if differ == 0 { Ok(()) } else { Err(Failure::No(format!("{differ} of {} runs differ", played.len()))) }
}

/// A run, run again.
struct Played<'r> {
    recorded: &'r RecordedRun,
    module: PathBuf,
    same_module: bool,
    differences: Vec<Difference>,
}

fn play<'r>(engine: &Engine, recorded: &'r RecordedRun, args: &ReplayArgs) -> Result<Played<'r>, Failure> {
    let run = &recorded.run;
    let Some((_, Record::Start { module: digest, module_file, .. })) = recorded.records.first() else {
        let reason = format!("{}: plugin {} does not begin with its start", args.trace.display(), run.plugin);
        return Err(Failure::Usage(reason));
    };
    let module = module(&run.plugin, module_file.as_deref(), args)?;
    let wasm = inputs::bytes(&module)?;
    let records: Vec<Record> = recorded.records.iter().map(|(_, record)| record.clone()).collect();
    let mut differences = vm::replay(engine, &wasm, &records).map_err(|error| {
        let text = format!("plugin {}: {}: {error}", run.plugin, module.display());
        if matches!(error, ReplayError::NoStart) { Failure::Usage(text) } else { Failure::Module(text) }
    })?;
    for difference in &mut differences {
        let line = recorded.records.get(difference.line - 1).or(recorded.records.last());
        difference.line = line.map_or(0, |(line, _)| *line);
    }
    Ok(Played { recorded, same_module: Digest::of(&wasm).to_string() == *digest, module, differences })
}

/// Named on the command line, by `name` or `namespace/name`; or where it was when the run was recorded.
fn module(plugin: &str, recorded: Option<&str>, args: &ReplayArgs) -> Result<PathBuf, Failure> {
    let called = plain(plugin);
    let named = args.wasm.iter().find(|(name, _)| {
        let last = called.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
        name == called || last || name.replacen('/', ".", 1) == called
    });
    match (named, recorded) {
        (Some((_, file)), _) => Ok(file.clone()),
        (None, Some(file)) if Path::new(file).is_file() => Ok(PathBuf::from(file)),
        (None, found) => {
            let was =
                found.map_or("was not read from a file".to_owned(), |file| format!("was {file}, which is not there"));
            let reason = format!("plugin {called}: its module {was}; say where it is with --wasm {called}=FILE");
            Err(Failure::World(reason))
        }
    }
}

/// `<namespace>.<name>`, without what Istio hangs behind it when it translates a plugin.
fn plain(plugin: &str) -> &str {
    plugin.split_once('~').map_or(plugin, |(name, _)| name)
}

impl Played<'_> {
    fn text(&self) -> String {
        let run = &self.recorded.run;
        let (count, module) = (self.recorded.records.len(), self.module.display());
        let build = if self.same_module { "" } else { " (another build than was recorded)" };
        let mut text =
            format!("plugin {} on worker {}: {count} records, {module}{build}: ", plain(&run.plugin), run.worker);
        let Some(first) = self.differences.first() else { return text + "equal\n" };
        text += &format!("differs at line {}\n", first.line);
        for difference in self.differences.iter().take(SHOWN) {
            text += &format!("  line {}\n", difference.line);
            text += &format!("    recorded  {}\n", line(difference.recorded.as_ref()));
            text += &format!("    now       {}\n", line(difference.now.as_ref()));
        }
        let rest = self.differences.len().saturating_sub(SHOWN);
        if rest > 0 {
            text += &format!("  and {rest} lines more\n");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let run = &self.recorded.run;
        let difference = |difference: &Difference| serde_json::json!({ "line": difference.line, "recorded": difference.recorded, "now": difference.now });
        serde_json::json!({
            "plugin": run.plugin,
            "worker": run.worker,
            "vm": run.vm,
            "records": self.recorded.records.len(),
            "module": self.module,
            "same_module": self.same_module,
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
        })
    }
}

fn line(record: Option<&Record>) -> String {
    record.map_or("(nothing)".to_owned(), |record| serde_json::to_string(record).unwrap_or_default())
}
