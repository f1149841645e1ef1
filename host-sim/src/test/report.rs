//! What came of the cases: lines as cargo prints them, and JUnit's XML for CI.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use super::seconds;
use crate::command_line::TestArgs;
use crate::failure::Failure;
use crate::say;

/// What came of one case.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) name: String,
    /// Nothing when it passed.
    pub(super) failures: Vec<String>,
    /// What explain says about it.
    pub(super) story: Option<String>,
    pub(super) took: Duration,
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    fn told(&self) -> String {
        let failures: String = self.failures.iter().map(|failure| format!("  {failure}\n")).collect();
        let story = self.story.as_deref().unwrap_or_default();
        let story: String = story.lines().map(|line| format!("    {line}\n")).collect();
        format!("{failures}{}{story}", if story.is_empty() { "" } else { "\n" })
    }
}

/// The report on stdout.
pub(super) struct Text {
    colour: bool,
    quiet: bool,
}

impl Text {
    pub(super) fn new(cases: usize, args: &TestArgs) -> Result<Self, Failure> {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let noun = if cases == 1 { "case" } else { "cases" };
        say::answer(format_args!("\nrunning {cases} {noun}\n"))?;
        Ok(Self { colour, quiet: args.quiet })
    }

    pub(super) fn case(&self, outcome: &Outcome) -> Result<(), Failure> {
        if outcome.passed() && self.quiet {
            return Ok(());
        }
        let verdict = if outcome.passed() { self.painted("32", "ok") } else { self.painted("31", "FAILED") };
        say::answer(format_args!("case {} ... {verdict}\n", clean(&outcome.name)))
    }

    pub(super) fn end(&self, outcomes: &[Outcome], took: Duration) -> Result<(), Failure> {
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
        if !failed.is_empty() {
            say::answer("\nfailures:\n")?;
        }
        for outcome in &failed {
            let (name, told) = (clean(&outcome.name), outcome.told());
            say::answer(format_args!("\n---- {name} ({}:{})\n{told}\n", outcome.file, outcome.line))?;
        }
        let verdict = if failed.is_empty() { self.painted("32", "ok") } else { self.painted("31", "FAILED") };
        let passed = outcomes.len() - failed.len();
        say::answer(format_args!(
            "\ntest result: {verdict}. {passed} passed; {} failed; finished in {:.2}s\n\n",
            failed.len(),
            took.as_secs_f64()
        ))
    }

    pub(super) fn updated(&self, changed: usize) -> Result<(), Failure> {
        say::answer(format_args!("\n{changed} expectations updated\n\n"))
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// One `testsuite` a file.
pub(super) fn junit(outcomes: &[Outcome], took: Duration) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // A string takes everything.
    let _ = writeln!(
        xml,
        "<testsuites tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{}\">",
        outcomes.len(),
        seconds(took)
    );
    let mut rest = outcomes;
    while let Some(first) = rest.first() {
        let size = rest.iter().take_while(|outcome| outcome.file == first.file).count();
        let (suite, after) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        rest = after;
        let failed = suite.iter().filter(|outcome| !outcome.passed()).count();
        let took: Duration = suite.iter().map(|outcome| outcome.took).sum();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{}\">",
            escaped(&first.file),
            suite.len(),
            seconds(took)
        );
        for outcome in suite {
            let _ = write!(
                xml,
                "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{}\"",
                escaped(&outcome.file),
                escaped(&outcome.name),
                escaped(&outcome.file),
                outcome.line,
                seconds(outcome.took)
            );
            if outcome.passed() {
                xml.push_str("/>\n");
                continue;
            }
            let message = outcome.failures.first().map(String::as_str).unwrap_or_default();
            let _ = write!(
                xml,
                ">\n      <failure message=\"{}\" type=\"expectation\">{}</failure>\n    </testcase>\n",
                escaped(message),
                escaped(&outcome.told())
            );
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// XML 1.0 has no control characters but tab and line ends.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_case_is_called_cannot_break_the_xml() {
        let outcome = Outcome {
            file: "a.yaml".into(),
            name: "<&\"\u{1}>".into(),
            failures: vec!["x < y".into()],
            ..Outcome::default()
        };
        let xml = junit(&[outcome, Outcome { file: "b.yaml".into(), ..Outcome::default() }], Duration::ZERO);
        assert!(xml.contains("name=\"&lt;&amp;&quot;\u{fffd}&gt;\"") && xml.contains("x &lt; y"), "{xml}");
        assert_eq!(xml.matches("<testsuite ").count(), 2);
        assert!(xml.starts_with("<?xml") && xml.contains("tests=\"2\" failures=\"1\""));
    }
}
