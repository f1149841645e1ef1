//! Splits a file into documents and reads each on its own, so that a broken one does not hide the next.

use serde::de::DeserializeOwned;
use serde_saphyr::MessageFormatter as _;

use super::compose;
use super::node::{Node, Value};
use crate::{
    Source,
    problem::{Position, Problem},
};

/// Every document of `source`, `kind: List` opened up. Empty documents are left out; a document that is not YAML becomes a problem.
pub(crate) fn documents(source: &Source, problems: &mut Vec<Problem>) -> Vec<Node> {
    let mut found = Vec::new();
    let pieces = pieces(&source.text);
    for (read, piece) in read_all(&pieces).into_iter().zip(&pieces) {
        match read {
            Ok(node) => flatten(node, &mut found),
            Err(error) => problems.push(syntax_problem(source, piece, &error)),
        }
    }
    found
}

type Read = Result<Node, serde_saphyr::Error>;

/// Bytes that are worth a thread of their own: some milliseconds.
const LOAD: usize = 1 << 17;

/// Reads each document; those of a large file on all processors, as many bytes on each.
fn read_all(pieces: &[Piece<'_>]) -> Vec<Read> {
    let read = |pieces: &[Piece<'_>]| -> Vec<Read> { pieces.iter().map(read).collect() };
    let bytes: usize = pieces.iter().map(|piece| piece.text.len()).sum();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let share = (bytes / processors).max(LOAD);
    let (mut shares, mut filled) = (Vec::new(), 0);
    let mut rest = pieces;
    for (at, piece) in pieces.iter().enumerate() {
        filled += piece.text.len();
        if filled >= share
            && let Some((mine, others)) = rest.split_at_checked(at + 1 - (pieces.len() - rest.len()))
        {
            shares.push(mine);
            (rest, filled) = (others, 0);
        }
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = shares.into_iter().map(|mine| scope.spawn(move || read(mine))).collect();
        let last = read(rest);
        let mut all: Vec<Read> = Vec::with_capacity(pieces.len());
        for thread in running {
            match thread.join() {
                Ok(read) => all.extend(read),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all.extend(last);
        all
    })
}

fn read(piece: &Piece<'_>) -> Read {
    let mut node = parse(piece.text)?;
    shift(&mut node, piece.lines_before);
    Ok(node)
}

fn parse(text: &str) -> Result<Node, serde_saphyr::Error> {
    compose::usual(text).map_or_else(|| library(text), Ok)
}

fn library<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
}

fn syntax_problem(source: &Source, piece: &Piece<'_>, error: &serde_saphyr::Error) -> Problem {
    let at = error
        .location()
        .map_or(Position { line: 1, column: 1 }, |place| Position { line: place.line(), column: place.column() });
    Problem {
        file: source.name.clone(),
        at: Position { line: at.line + piece.lines_before, ..at },
        reason: format!("not valid YAML: {}", serde_saphyr::UserMessageFormatter.format_message(error)),
        ..Problem::default()
    }
}

/// `kind: List` (and typed lists such as `ServiceList`) become their items.
fn flatten(node: Node, into: &mut Vec<Node>) {
    if matches!(node.value, Value::Null) {
        return;
    }
    let is_list = node.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
    match node.get("items") {
        Some(items) if is_list => items.items().iter().for_each(|item| flatten(item.clone(), into)),
        _ => into.push(node),
    }
}

fn shift(node: &mut Node, lines: u64) {
    node.at.line += lines;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| shift(item, lines)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.at.line += lines;
            shift(&mut entry.value, lines);
        }),
        _ => {}
    }
}

struct Piece<'a> {
    text: &'a str,
    lines_before: u64,
}

/// Cuts at lines that start with `---`, which YAML reserves for the document marker wherever they stand.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let (mut start, mut offset, mut line, mut first_line) = (0, 0, 0, 0);
    for row in text.split_inclusive('\n') {
        if is_marker(row) && offset > start {
            push_piece(&mut found, text.get(start..offset), first_line);
            (start, first_line) = (offset, line);
        }
        offset += row.len();
        line += 1;
    }
    push_piece(&mut found, text.get(start..), first_line);
    found
}

fn is_marker(row: &str) -> bool {
    row.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn push_piece<'a>(found: &mut Vec<Piece<'a>>, text: Option<&'a str>, lines_before: u64) {
    let says_something =
        |row: &str| !matches!(row.trim(), "" | "---" | "...") && !row.trim_start().starts_with(['#', '%']);
    if let Some(text) = text.filter(|text| text.lines().any(says_something)) {
        found.push(Piece { text, lines_before });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Node>, Vec<Problem>) {
        let mut problems = Vec::new();
        let nodes = documents(&Source { name: "f.yaml".into(), text: text.into() }, &mut problems);
        (nodes, problems)
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let (nodes, problems) = read("kind: A\n---\nkind: [B\n---\n# nothing\n---\nkind: C\n");
        let kinds: Vec<_> = nodes.iter().filter_map(|node| node.get("kind")?.text()).collect();
        assert_eq!(kinds, ["A", "C"]);
        assert_eq!(nodes[1].locate("kind").line, 7);
        assert_eq!(problems.len(), 1);
        assert!((3..=4).contains(&problems[0].at.line), "{}", problems[0]);
    }

    #[test]
    fn a_large_file_is_read_in_its_order() {
        let text: String = (0..5000)
            .map(|n| match n % 1000 {
                999 => format!("---\nkind: [K{n}\n{}", "# \n".repeat(40)),
                _ => format!("---\nkind: K{n}\n{}", "# \n".repeat(40)),
            })
            .collect();
        assert!(text.len() > 4 * LOAD);
        let (nodes, problems) = read(&text);
        let kinds = nodes.iter().map(|node| node.get("kind").unwrap().text().unwrap().to_owned());
        assert!(kinds.eq((0..5000).filter(|n| n % 1000 != 999).map(|n| format!("K{n}"))));
        assert!(nodes.iter().is_sorted_by_key(|node| node.at.line));
        assert_eq!(problems.len(), 5);
        assert!(problems.iter().is_sorted_by_key(|problem| problem.at.line));
    }

    #[test]
    fn lists_are_opened_and_json_is_yaml() {
        let (nodes, problems) =
            read(r#"{"kind": "List", "items": [{"kind": "A"}, {"kind": "List", "items": [{"kind": "B"}]}]}"#);
        let kinds: Vec<_> = nodes.iter().filter_map(|node| node.get("kind")?.text()).collect();
        assert_eq!((kinds, problems.len()), (vec!["A", "B"], 0));
    }

    fn yaml_below(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                yaml_below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn a_usual_document_is_read_as_the_library_reads_it() {
        let mut texts = Vec::new();
        yaml_below(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests"), &mut texts);
        let words = "y Yes no off true FALSE ~ null Null 80 0 -1 +3 010 0o17 0x1F 1e3 .5 1.5 .inf .nan inf nan 1_000 12:30 2024-01-01 v1 /a ... ?x :x -x \
                     'yes' \"80\" 99999999999999999999 123456789012345678 --- *";
        texts.extend(words.split(' ').map(|word| format!("a: {word}\nb: [{word}, x]\n")));
        texts.push(
            "# c\na: # c\n  - b: |\n      text\n    c: >-\n      more\n      of it\n  -\n  - {d: , e: [1, two]}\nf:\n"
                .into(),
        );
        let usual = texts.iter().flat_map(|text| pieces(text)).filter_map(|piece| {
            let own = compose::usual(piece.text)?;
            assert_eq!(own, library::<Node>(piece.text).unwrap(), "{}", piece.text);
            Some(())
        });
        assert!(usual.count() > 60);
    }

    #[test]
    fn keys_are_text_whatever_they_mean() {
        for (map, read) in [
            ("{yes: 1}", r#"{"true":1}"#),
            ("{y: 1}", r#"{"true":1}"#),
            ("{off: 1}", r#"{"false":1}"#),
            ("{'on': 1}", r#"{"on":1}"#),
            ("{one: 1}", r#"{"one":1}"#),
            ("{1: 2}", r#"{"1":2}"#),
        ] {
            assert_eq!(parse(map).unwrap().json().to_string(), read, "{map}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_library() {
        for text in ["a: &x 1\nb: *x\n", "a: !!str 1\n", "<<: {a: 1}\n", "a: 1\na: 2\n", "a: [1\n", "~: 1\n", "1: 2\n"]
        {
            assert_eq!(compose::usual(text), None, "{text}");
        }
    }

    #[test]
    fn a_duplicate_key_is_refused() {
        let (_, problems) = read("kind: A\nspec: {}\nspec: {}\n");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].at.line, 3);
    }
}
