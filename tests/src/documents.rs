//! The repository's documents, as far as a test can check them: what they name in backticks, and the console sessions they show.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// A Markdown file.
pub struct Document {
    /// Relative to the repository.
    pub path: PathBuf,
    text: String,
}

/// One command of a console block and what is shown below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// The command, without the `$ ` and without a trailing comment.
    pub command: String,
    /// The output; `...` stands for any lines.
    pub output: String,
    /// The command's line in the document.
    pub line: usize,
}

/// Every Markdown file of the repository.
///
/// # Errors
/// An unreadable folder or file.
pub fn all() -> Result<Vec<Document>> {
    let root = crate::repository();
    let mut found = Vec::new();
    walk(&root, &mut found)?;
    found.sort();
    found
        .into_iter()
        .map(|path| Ok(Document { text: std::fs::read_to_string(&path)?, path: path.strip_prefix(&root)?.to_owned() }))
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            walk(&path, found)?;
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    Ok(())
}

impl Document {
    /// What stands in single backticks, outside code blocks, with its line.
    #[must_use]
    pub fn named(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let mut named = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                named.extend(line.split('`').skip(1).step_by(2).map(|word| (at + 1, word)));
            }
        }
        named
    }

    /// The commands of lines that begin with `# try: `, without trailing comments.
    #[must_use]
    pub fn worth_trying(&self) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("# try: "));
        lines.map(|line| line.split_once("  #").map_or(line, |(command, _)| command).trim()).collect()
    }

    /// The commands of the `console` blocks.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        let mut inside = false;
        for (at, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                inside = line == "```console";
            } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
                let command = command.split("  #").next().unwrap_or_default().trim().to_owned();
                shown.push(Shown { command, output: String::new(), line: at + 1 });
            } else if let (true, Some(last)) = (inside, shown.last_mut()) {
                last.output.push_str(line);
                last.output.push('\n');
            }
        }
        shown
    }
}

/// Whether `got` is what a document shows: line by line, where a line `...` stands for any lines and `[..]` within a line for anything.
#[must_use]
pub fn is_as_shown(shown: &str, got: &str) -> bool {
    let shown: Vec<&str> = shown.trim_end().lines().collect();
    let got: Vec<&str> = got.trim_end().lines().collect();
    lines(&shown, &got)
}

fn lines(shown: &[&str], got: &[&str]) -> bool {
    match (shown.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=got.len()).any(|skipped| lines(rest, got.get(skipped..).unwrap_or_default())),
        (Some((first, rest)), Some((line, left))) => line_is(first.trim_end(), line.trim_end()) && lines(rest, left),
        _ => false,
    }
}

fn line_is(shown: &str, got: &str) -> bool {
    match shown.split_once("[..]") {
        None => shown == got,
        Some((before, after)) => got.strip_prefix(before).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.into_iter().any(|at| rest.get(at..).is_some_and(|tail| line_is(after, tail)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_anything_and_nothing_else_does() {
        let rows = [
            ("a\nb", "a\nb\n", true),
            ("a\nb", "a\nc", false),
            ("a", "a\nb", false),
            ("...\nb", "a\na\nb", true),
            ("a\n...", "a", true),
            ("a\n...\nc", "a\nb", false),
            ("x: [..]ms", "x: 12 ms", true),
            ("x: [..]ms", "x: 12 s", false),
            ("[..]", "x", true),
        ];
        for (shown, got, same) in rows {
            assert_eq!(is_as_shown(shown, got), same, "{shown:?} {got:?}");
        }
    }

    #[test]
    fn a_document_names_words_and_shows_sessions() {
        let text =
            "see `a/b` and `make x`\n```console\n$ one  # why\nout\n$ two\n```\n`c`\n```yaml\n`no`\n```\n".to_owned();
        let document = Document { path: "README.md".into(), text };
        assert_eq!(document.named(), [(1, "a/b"), (1, "make x"), (7, "c")]);
        let shown = |command: &str, output: &str, line| Shown { command: command.into(), output: output.into(), line };
        assert_eq!(document.shown(), [shown("one", "out\n", 3), shown("two", "", 5)]);
    }
}
