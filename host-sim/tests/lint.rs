//! `lint` from outside: every page of its documentation holds, its answers have the shapes that programs depend on, and sound manifests are left alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lint")
}

fn lint(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-sim")).arg("lint").args(args).output().unwrap()
}

fn findings(files: &[&Path]) -> Vec<Value> {
    let mut args = vec!["-o", "json"];
    args.extend(files.iter().flat_map(|file| ["-f", file.to_str().unwrap()]));
    let output = lint(&args);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    answer["findings"].as_array().unwrap().clone()
}

/// What is said of one example, which stands on the pages' world.
fn said_of(yaml: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.yaml");
    fs::write(&file, yaml).unwrap();
    findings(&[&docs().join("world.yaml"), &file])
}

fn section<'t>(page: &'t str, title: &str) -> &'t str {
    let (_, rest) = page.split_once(&format!("## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n## ").next().unwrap()
}

fn yaml_of(section: &str) -> &str {
    section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap()
}

#[test]
fn every_page_shows_what_is_found_and_what_is_not() {
    let mut pages = 0;
    for entry in fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        let code = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !code.starts_with("SLU") {
            continue;
        }
        pages += 1;
        let page = fs::read_to_string(&path).unwrap();
        let (bad, good) = (section(&page, "Found"), section(&page, "Not found"));
        let found = said_of(yaml_of(bad));
        let own = found
            .iter()
            .find(|finding| finding["code"] == code.as_str())
            .unwrap_or_else(|| panic!("{code}: {found:#?}"));
        let level = page.lines().nth(2).unwrap().split('.').next().unwrap();
        assert_eq!(own["level"], level, "{code}");
        assert!(own["line"].as_u64().unwrap() > 0, "{own}");
        assert!(code == "SLU0002" || own["fix"].is_string(), "{own}");
        let witness = bad.lines().find_map(|line| line.strip_prefix("Witness: `")?.strip_suffix('`'));
        assert_eq!(own["witness"].as_str(), witness, "{code}");
        let quiet = said_of(yaml_of(good));
        let refused = |finding: &&Value| {
            finding["code"] == code.as_str() || finding["code"] == "SLU0001" || finding["code"] == "IST0106"
        };
        assert!(!quiet.iter().any(|finding| refused(&finding)), "{code}: {quiet:#?}");
    }
    assert!(pages >= 40, "{pages} pages");
}

/// The codes that the sources can say, from the text of the calls that make findings.
fn codes_in_the_sources() -> Vec<String> {
    fn walk(folder: &Path, into: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else {
                into.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("istio/src/analysis"), &mut text);
    let mut codes: Vec<String> = text
        .split('"')
        .filter(|word| word.len() == 7 && (word.starts_with("SLU") || word.starts_with("IST")))
        .map(str::to_owned)
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

#[test]
fn every_code_is_documented() {
    let istio = fs::read_to_string(docs().join("IST.md")).unwrap();
    let index = fs::read_to_string(docs().join("README.md")).unwrap();
    let codes = codes_in_the_sources();
    assert!(codes.len() > 60, "{codes:?}");
    for code in codes {
        if code.starts_with("IST") {
            assert!(istio.contains(&format!("| {code} |")), "{code}");
        } else {
            assert!(docs().join(format!("{code}.md")).is_file(), "no page for {code}");
            assert!(index.contains(&format!("[{code}]({code}.md)")), "{code} is not in the index");
        }
    }
}

#[test]
fn sound_manifests_are_left_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for sound in ["../manifests/examples/shop", "tests/lint/bookshop.yaml"] {
        assert_eq!(findings(&[&root.join(sound)]), Vec::<Value>::new(), "{sound}");
    }
}

#[test]
fn exit_codes_follow_the_level_and_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.yaml");
    let code = |page: &str, args: &[&str]| {
        let page = fs::read_to_string(docs().join(format!("{page}.md"))).unwrap();
        fs::write(&file, yaml_of(section(&page, "Found"))).unwrap();
        let world = docs().join("world.yaml");
        let mut all = vec!["-f", world.to_str().unwrap(), "-f", file.to_str().unwrap()];
        all.extend(args);
        lint(&all).status.code().unwrap()
    };
    assert_eq!(code("SLU0202", &[]), 1, "an error");
    assert_eq!(code("SLU0103", &[]), 0, "a warning");
    assert_eq!(code("SLU0103", &["--level", "warning"]), 1);
    assert_eq!(code("SLU0108", &["--level", "warning"]), 0, "a note");
    assert_eq!(code("SLU0108", &["--level", "info"]), 1);
    assert_eq!(code("SLU0001", &[]), 3, "refused");
    assert_eq!(code("SLU0202", &["--suppress", "SLU0202=VirtualService default/*"]), 0);
    assert_eq!(lint(&["-f", "/no/such/file"]).status.code(), Some(5));
    assert_eq!(lint(&[]).status.code(), Some(2));
}

#[test]
fn json_has_its_nine_fields_and_no_other() {
    let page = fs::read_to_string(docs().join("SLU0103.md")).unwrap();
    let found = said_of(yaml_of(section(&page, "Found")));
    for finding in &found {
        let names: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["code", "field", "file", "fix", "level", "line", "message", "resource", "witness"]);
    }
    assert_eq!(found[0]["resource"], "VirtualService default/vs");
}

#[test]
fn sarif_validates_against_its_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint/sarif-2.1.0.json");
    // The standard's own pattern for languages ends with a bracket that some regex engines refuse.
    let text = fs::read_to_string(file).unwrap().replace("{2}]?$", r"{2}\\]?$");
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spaced = folder.path().join("a folder");
    fs::create_dir(&spaced).unwrap();
    for page in ["SLU0103", "SLU0001", "SLU0201"] {
        let text = fs::read_to_string(docs().join(format!("{page}.md"))).unwrap();
        fs::write(spaced.join("m.yaml"), yaml_of(section(&text, "Found"))).unwrap();
        let world = docs().join("world.yaml");
        let output = lint(&["-o", "sarif", "-f", world.to_str().unwrap(), "-f", spaced.to_str().unwrap()]);
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        let errors: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{page}");
        assert_eq!(log["runs"][0]["results"][0]["ruleId"], page);
    }
    assert!(!validator.is_valid(&serde_json::json!({"version": "2.1.0", "runs": [{"results": "none"}]})));
}
