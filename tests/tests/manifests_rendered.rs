//! What an operator applies: every overlay as kustomize renders it, held against Istio's schemas, lint, and its own broken variants.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tests::{host_sim, repository};

const OVERLAYS: [&str; 9] = [
    "base",
    "canary",
    "chaos",
    "limits",
    "global-limit",
    "mutual-tls",
    "trafficextension",
    "envoyfilter",
    "production",
];

fn rendered(overlay: &str) -> PathBuf {
    repository().join(format!("manifests/rendered/{overlay}.yaml"))
}

fn documents(file: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A program of the machine, or nothing and a loud line.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = named.into_iter().chain(in_path).chain(home).find(|file| file.is_file());
    if found.is_none() {
        println!("SKIPPED: no {name} on this machine (say where it is with {variable})");
    }
    found
}

fn lint(file: &Path) -> (Output, Vec<Value>) {
    let output =
        Command::new(host_sim::binary().unwrap()).args(["lint", "-o", "json", "-f"]).arg(file).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = answer["findings"].as_array().unwrap().clone();
    (output, findings)
}

#[test]
fn what_is_rendered_is_what_kustomize_makes_today() {
    let Some(kustomize) = program("KUSTOMIZE", "kustomize") else { return };
    for overlay in OVERLAYS {
        let folder =
            if overlay == "base" { "manifests/base".to_owned() } else { format!("manifests/overlays/{overlay}") };
        let output = Command::new(&kustomize).arg("build").arg(repository().join(folder)).output().unwrap();
        assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
        let kept = fs::read_to_string(rendered(overlay)).unwrap();
        assert!(kept == String::from_utf8_lossy(&output.stdout), "{overlay} is stale: run `make manifests`");
    }
}

#[test]
fn every_overlay_is_rendered_and_shown_and_described() {
    let mut known = OVERLAYS.map(str::to_owned).to_vec();
    known.sort();
    assert_eq!(tests::overlays(), known);
    let scenarios = fs::read_to_string(repository().join("tests/cases/manifests.yaml")).unwrap();
    for overlay in OVERLAYS {
        assert!(
            scenarios.contains(&format!("manifests/rendered/{overlay}.yaml")),
            "no scenario shows what {overlay} is for"
        );
        let page = if overlay == "base" {
            "manifests/base/README.md".to_owned()
        } else {
            format!("manifests/overlays/{overlay}/README.md")
        };
        assert!(repository().join(&page).is_file(), "{page} is missing");
    }
}

/// Istio's schemas are of `spec`, Kubernetes' of the whole object; the Prometheus operator's kinds are not ours to judge.
#[test]
fn every_resource_fits_its_schema() {
    let schemas = |file: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(repository().join("tests/schemas").join(file)).unwrap()).unwrap()
    };
    let (istio, kubernetes) = (schemas("istio.json"), schemas("kubernetes.json"));
    let mut checked = 0;
    for overlay in OVERLAYS {
        for document in documents(&rendered(overlay)) {
            let name = format!("{} {}", document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap());
            let (schema, judged) = if let Some(schema) = istio.get(&name) {
                (schema.clone(), &document["spec"])
            } else if let Some(kind) = kubernetes["kinds"].get(&name) {
                (serde_json::json!({"$ref": kind["$ref"], "definitions": kubernetes["definitions"]}), &document)
            } else {
                assert!(name.starts_with("monitoring.coreos.com/"), "no schema for {name}");
                continue;
            };
            let validator = jsonschema::validator_for(&schema).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(judged).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert_eq!(errors, Vec::<String>::new(), "{overlay}: {name} {}", document["metadata"]["name"]);
            checked += 1;
        }
    }
    assert!(checked > 90, "{checked} resources");
}

#[test]
fn lint_finds_nothing_in_any_overlay() {
    for overlay in OVERLAYS {
        let (output, findings) = lint(&rendered(overlay));
        assert_eq!(findings, Vec::<Value>::new(), "{overlay}");
        assert!(output.status.success());
    }
}

#[test]
fn a_broken_variant_of_each_is_named_with_its_line() {
    for (overlay, from, to, code, exit) in [
        ("base", "credentialName: shop-tls", "credentialNam: shop-tls", "SLU0001", 3),
        (
            "base",
            "host: cart\n        port:\n          number: 8080",
            "host: cart\n        port:\n          number: 80",
            "SLU0202",
            1,
        ),
        ("canary", "subset: v2", "subset: v3", "IST0101", 1),
        ("canary", "weight: 10", "weight: 10001", "SLU0303", 1),
        ("chaos", "fixedDelay: 200ms", "fixedDelay: 200", "SLU0303", 1),
        ("limits", "per: 1h", "per: 1d", "SLU0303", 1),
        ("global-limit", "failureModeDeny: false", "failureModeDeny: maybe", "SLU0303", 1),
        ("mutual-tls", "mode: MUTUAL", "mode: MUTAL", "SLU0001", 3),
        ("trafficextension", "failStrategy: FAIL_RELOAD", "failStrategy: RELOAD", "SLU0001", 3),
        ("envoyfilter", "operation: INSERT_FIRST", "operation: FIRST", "SLU0001", 3),
        ("production", "httpsRedirect: true", "httpsRedirect: yes please", "SLU0001", 3),
    ] {
        let text = fs::read_to_string(rendered(overlay)).unwrap();
        let at = text.find(from).unwrap_or_else(|| panic!("{overlay} has no {from:?}"));
        let line = text[..at].lines().count().max(1) + from.matches('\n').count();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broken.yaml");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let (output, findings) = lint(&file);
        let found = findings
            .iter()
            .find(|finding| finding["code"] == code)
            .unwrap_or_else(|| panic!("{overlay} {to}: {findings:#?}"));
        let said = usize::try_from(found["line"].as_u64().unwrap()).unwrap();
        assert!(said.abs_diff(line) <= 1, "{overlay} {to:?}: line {said}, changed is {line}: {found}");
        assert_eq!(output.status.code(), Some(exit), "{overlay} {to}");
    }
}

#[test]
fn the_rules_fire_and_keep_quiet_as_their_tests_say() {
    let Some(promtool) = program("PROMTOOL", "promtool") else { return };
    let home = repository().join("manifests/components/observability");
    let rules = documents(&home.join("rules.yaml"));
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    fs::write(folder.path().join("rules.yaml"), rules[0]["spec"].to_string()).unwrap();
    fs::copy(home.join("tests/rules_test.yaml"), folder.path().join("rules_test.yaml")).unwrap();
    let output =
        Command::new(promtool).args(["test", "rules", "rules_test.yaml"]).current_dir(folder.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_alert_has_a_test_that_fires_and_one_that_does_not() {
    let home = repository().join("manifests/components/observability");
    let rules = documents(&home.join("rules.yaml"));
    let tests = documents(&home.join("tests/rules_test.yaml"));
    let groups = rules[0]["spec"]["groups"].as_array().unwrap();
    let alerts =
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).filter_map(|rule| rule["alert"].as_str());
    let cases: Vec<&Value> = tests[0]["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten())
        .collect();
    let mut count = 0;
    for alert in alerts {
        count += 1;
        let of = |fires: bool| {
            cases
                .iter()
                .any(|case| case["alertname"] == alert && case["exp_alerts"].as_array().unwrap().is_empty() != fires)
        };
        assert!(of(true), "no test in which {alert} fires");
        assert!(of(false), "no test in which {alert} keeps quiet");
    }
    assert!(count >= 12, "{count} alerts");
}
