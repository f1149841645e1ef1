//! `run --watch`: files that change, and what becomes of a changed configuration.
//!
//! Files are looked at, not listened to: it works the same on every system, on network folders, and where an editor or a
//! ConfigMap mount replaces files instead of writing them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proxy::Gateway;

use crate::command_line::RunArgs;
use crate::dashboard::Explainer;
use crate::inputs;
use crate::plan::{EchoBackends, Plan};
use crate::run;

/// How often files are looked at.
const GLANCE: Duration = Duration::from_millis(250);

/// The files of a gateway as they were when last looked at.
pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    seen: Vec<Seen>,
}

/// What tells two versions of a file apart.
type Seen = (PathBuf, Option<(SystemTime, u64)>);

impl Watch {
    /// Watches everything the arguments name: manifests, a bootstrap, modules.
    pub(crate) fn new(args: &RunArgs) -> Self {
        let gateway = &args.gateway;
        let modules = gateway.wasm.iter().map(|(_, file)| file.clone());
        let named = gateway.filename.iter().chain(&gateway.bootstrap).chain(&gateway.wasm_dir).cloned();
        let paths: Vec<_> = named.chain(modules).filter(|path| path.as_os_str() != "-").collect();
        Self { seen: look(&paths), paths }
    }

    /// Waits until something is different, and has been the same for a glance: nobody is done in the middle of a write.
    pub(crate) async fn changed(&mut self) {
        let mut before = None;
        loop {
            tokio::time::sleep(GLANCE).await;
            let now = look(&self.paths);
            if now == self.seen {
                before = None;
            } else if before.as_ref() == Some(&now) {
                self.seen = now;
                return;
            } else {
                before = Some(now);
            }
        }
    }
}

fn look(paths: &[PathBuf]) -> Vec<Seen> {
    let mut files = Vec::new();
    for path in paths {
        let below =
            if path.is_dir() { inputs::below(path, &["yaml", "yml", "json", "wasm"]) } else { vec![path.clone()] };
        files.extend(below);
    }
    files.into_iter().map(|file| (file.clone(), version(&file))).collect()
}

fn version(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Reads everything again and serves it; what is refused is said, and the last good configuration goes on being served.
pub(crate) async fn reload(args: &RunArgs, gateway: &Gateway, explainer: &Explainer, echo: &mut EchoBackends) {
    let kept = |why: &dyn std::fmt::Display| {
        crate::say::note(format_args!("{why}\nthe change is refused: the last good configuration goes on being served"))
    };
    let arguments = args.gateway.clone();
    // Apart from the admin server's thread: a module may have to be fetched.
    let made = tokio::task::spawn_blocking(move || Plan::make(&arguments, true)).await;
    let mut plan = match made {
        Ok(Ok(plan)) => plan,
        Ok(Err(failure)) => return kept(&failure),
        Err(error) => return kept(&error),
    };
    plan.say_warnings();
    if let Err(failure) = run::observe(&mut plan, args) {
        return kept(&failure);
    }
    if let Err(failure) = plan.start_echo(echo).await {
        return kept(&failure);
    }
    match gateway.apply(plan.bootstrap.clone()) {
        Ok(()) => {
            explainer.serves(run::known(&plan, echo));
            crate::say::note(format_args!("the change is served"));
        }
        Err(error) => kept(&run::refused(error)),
    }
}
