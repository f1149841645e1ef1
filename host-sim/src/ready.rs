//! `host-sim ready`: asks a running gateway whether it serves. For containers, whose image has nothing else to ask with.

use std::time::Duration;

use crate::command_line::ReadyArgs;
use crate::failure::Failure;

/// A gateway that takes longer to say so is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `/ready` of the admin server.
///
/// # Errors
/// It says no (exit 1), or nothing (exit 5).
pub(crate) fn ready(args: &ReadyArgs) -> Result<(), Failure> {
    let url = format!("http://{}/ready", args.admin);
    let config = ureq::config::Config::builder().http_status_as_error(false).proxy(None).timeout_global(Some(PATIENCE));
    let answer = config.build().new_agent().get(&url).call();
    match answer.map(|answer| answer.status().as_u16()) {
        Ok(200) => Ok(()),
        Ok(status) => Err(Failure::No(format!("{url}: {status}"))),
        Err(error) => Err(Failure::World(format!("{url}: {error}"))),
    }
}
