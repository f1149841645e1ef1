//! `host-sim explain`: which rule took a request, and why.

mod answer;
mod request;
mod story;
mod tell;
mod why_not;

use std::io::IsTerminal;

pub(crate) use answer::Answer;
pub(crate) use request::{Asked, CLIENT, certificates, header};

use crate::command_line::{ExplainArgs, Output};
use crate::failure::Failure;
use crate::say;
use crate::stage::Stage;

/// Sends the request through a gateway in memory and prints what became of it.
///
/// # Errors
/// Exit 2 for a URL or header that is none; 3, 4 and 5 as `run`.
pub(crate) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let asked = Asked::new(args)?;
    let mut stage = Stage::set(&args.gateway)?;
    stage.ask_before(&asked.question(&stage), args.after);
    let answer = Answer::to(&asked, &mut stage);
    match args.output {
        Output::Text => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
            say::answer(story::tell(&answer, colour))?;
        }
        Output::Json => say::json(&answer)?,
    }
    // The program ends here: ten thousand routes are not freed one by one first.
    std::mem::forget((answer, stage));
    Ok(())
}

/// The story of an answer, without colour.
pub(crate) fn story(answer: &Answer) -> String {
    story::tell(answer, false)
}
