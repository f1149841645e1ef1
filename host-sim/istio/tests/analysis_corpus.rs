//! What `istioctl analyze` found in recorded manifests is what we find under the same codes: no more, no less, in its words.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use istio::{
    Source,
    analysis::{Scope, analyze},
    read_refused_too,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    world: Option<String>,
    manifests: String,
    analyze: Vec<(String, String, String, String)>,
}

fn corpus(file: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus").join(file)).unwrap()
}

#[test]
fn istioctls_findings_are_ours() {
    let cases: Vec<Case> = serde_saphyr::from_multiple(&corpus("lint.yaml")).unwrap();
    assert!(cases.len() >= 63, "{} cases", cases.len());
    let world = corpus("world.yaml");
    let mut wrong = Vec::new();
    for case in &cases {
        let mut sources = vec![Source { name: "case.yaml".into(), text: case.manifests.clone() }];
        if case.world.is_some() {
            sources.push(Source { name: "world.yaml".into(), text: world.clone() });
        }
        let (resources, problems) = read_refused_too(&sources);
        let row = |code: &str, level: String, resource: &str, message: &str| {
            (code.to_owned(), level, resource.to_owned(), message.to_owned())
        };
        let ours: BTreeSet<_> = analyze(&resources, &problems, Scope::Files)
            .iter()
            .filter(|finding| finding.code.starts_with("IST"))
            .map(|finding| row(finding.code, finding.level.to_string(), &finding.resource, &finding.message))
            .collect();
        let theirs: BTreeSet<_> = case.analyze.iter().cloned().collect();
        if ours != theirs {
            wrong.push(format!("{}\n  ours   {ours:#?}\n  theirs {theirs:#?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
