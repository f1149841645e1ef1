//! The Helm chart says what kustomize says: for every overlay the same objects, from values that the schema knows.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sha2::Digest;
use tests::repository;

fn overlays() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(repository().join("manifests/helm/values"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn values(overlay: &str) -> PathBuf {
    repository().join(format!("manifests/helm/values/{overlay}.yaml"))
}

fn kept(overlay: &str) -> String {
    fs::read_to_string(repository().join(format!("manifests/rendered/helm/{overlay}.yaml"))).unwrap()
}

/// Helm of this machine, or nothing and a loud line.
fn helm() -> Option<PathBuf> {
    let named = std::env::var_os("HELM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("helm"));
    let built = [repository().join("target/tools/bin/helm")];
    let found = named.into_iter().chain(in_path).chain(built).find(|file| file.is_file());
    if found.is_none() {
        println!("SKIPPED: no helm on this machine (say where it is with HELM): the chart was not rendered afresh");
    }
    found
}

fn template(helm: &Path, more: &[&str]) -> Output {
    let chart = repository().join("manifests/helm/sluice-gateway");
    Command::new(helm).args(["template", "shop"]).arg(chart).args(more).output().unwrap()
}

/// Objects by what they are called. Text that is JSON, as in an EnvoyFilter's configuration, counts as what it says.
fn objects(text: &str) -> BTreeMap<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let name = |object: &Value| {
        let (kind, metadata) = (&object["kind"], &object["metadata"]);
        format!("{} {kind} {}/{}", object["apiVersion"], metadata["namespace"], metadata["name"])
    };
    documents.into_iter().filter(|object| !object.is_null()).map(|object| (name(&object), meaning(object))).collect()
}

fn meaning(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, meaning(value))).collect(),
        Value::Array(values) => values.into_iter().map(meaning).collect(),
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        // 60 and 60.0 are one number.
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        other => other,
    }
}

#[test]
fn the_chart_means_what_kustomize_means() {
    for overlay in overlays() {
        let kustomize = repository().join(format!("manifests/rendered/{overlay}.yaml"));
        let (ours, theirs) = (objects(&kept(&overlay)), objects(&fs::read_to_string(kustomize).unwrap()));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{overlay}");
        for (name, object) in &theirs {
            assert_eq!(&ours[name], object, "{overlay}: {name}: left is Helm's");
        }
    }
}

#[test]
fn there_are_values_for_every_overlay() {
    assert_eq!(overlays(), tests::overlays());
}

/// As `make manifests` adds it up: the chart's files in the order of their names, then the values.
fn sources_digest(overlay: &str) -> String {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    files(&repository().join("manifests/helm/sluice-gateway"), &mut found);
    found.sort_by_key(|path| path.to_str().unwrap().as_bytes().to_vec());
    let mut digest = sha2::Sha256::new();
    for file in found.into_iter().chain([values(overlay)]) {
        digest.update(fs::read(file).unwrap());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_kept_was_made_of_today_s_chart() {
    for overlay in overlays() {
        let first = kept(&overlay).lines().next().unwrap().to_owned();
        assert!(first.ends_with(&sources_digest(&overlay)), "{overlay} is stale: run `make manifests`; {first}");
    }
}

#[test]
fn what_is_kept_is_what_helm_makes_today() {
    let Some(helm) = helm() else { return };
    for overlay in overlays() {
        let output = template(&helm, &["-f", values(&overlay).to_str().unwrap()]);
        assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
        let kept = kept(&overlay);
        let (_, body) = kept.split_once('\n').unwrap();
        assert!(body == String::from_utf8_lossy(&output.stdout), "{overlay} is stale: run `make manifests`");
    }
}

fn schema() -> jsonschema::Validator {
    let file = repository().join("manifests/helm/sluice-gateway/values.schema.json");
    jsonschema::validator_for(&serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()).unwrap()
}

#[test]
fn every_value_is_in_the_schema() {
    let read = |file: PathBuf| -> Value { serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap() };
    let schema = schema();
    let own = read(repository().join("manifests/helm/sluice-gateway/values.yaml"));
    for given in overlays().iter().map(|overlay| read(values(overlay))).chain([own]) {
        let errors: Vec<String> = schema.iter_errors(&given).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{given}");
    }
}

#[test]
fn a_value_that_is_wrong_is_refused() {
    let helm = helm();
    for (set, yaml) in [
        ("canry.enabled=true", "canry: {enabled: true}"),
        ("canary.percent=101", "canary: {percent: 101}"),
        ("canary.percent=many", "canary: {percent: many}"),
        ("tls.mode=PASSTHROUGH", "tls: {mode: PASSTHROUGH}"),
        ("module.sha256=abc", "module: {sha256: abc}"),
        ("module.attach=Lua", "module: {attach: Lua}"),
        ("limits.login.per=1d", "limits: {login: {per: 1d}}"),
        ("gateway.replicas.min=1", "gateway: {replicas: {min: 1}}"),
        ("host=shop_example", "host: shop_example"),
    ] {
        let given: Value = serde_saphyr::from_str(yaml).unwrap();
        assert!(!schema().is_valid(&given), "{yaml}");
        if let Some(helm) = &helm {
            let output = template(helm, &["--set", set]);
            assert!(!output.status.success() && !output.stderr.is_empty(), "{set}");
        }
    }
}

/// What a value says arrives where it belongs.
#[test]
fn values_reach_what_they_are_about() {
    let Some(helm) = helm() else { return };
    let digest = "0a".repeat(32);
    for (sets, object, pointer, expected) in [
        (vec!["host=a.example.org".to_owned()], "VirtualService", "/spec/hosts/0", Value::from("a.example.org")),
        (vec![format!("module.sha256={digest}")], "WasmPlugin", "/spec/sha256", Value::from(digest.as_str())),
        (
            vec!["module.imagePullSecret=registry".to_owned()],
            "WasmPlugin",
            "/spec/imagePullSecret",
            Value::from("registry"),
        ),
        (
            vec!["canary.enabled=true".to_owned(), "canary.percent=25".to_owned()],
            "WasmPlugin",
            "/spec/pluginConfig/trafficShift/rules/0/destinations/0/weight",
            Value::from(75.0),
        ),
        (
            vec!["limits.enabled=true".to_owned(), "limits.perUser.mode=enforce".to_owned()],
            "WasmPlugin",
            "/spec/pluginConfig/rateLimit/rules/2/mode",
            Value::from("enforce"),
        ),
        (
            vec!["gateway.workload=true".to_owned(), "gateway.drainSeconds=100".to_owned()],
            "istio-ingressgateway",
            "/spec/template/spec/terminationGracePeriodSeconds",
            Value::from(130.0),
        ),
        (
            vec!["module.attach=EnvoyFilter".to_owned(), "module.failStrategy=FAIL_CLOSE".to_owned()],
            "EnvoyFilter",
            "/spec/configPatches/0/patch/value/typed_config/config/failure_policy",
            Value::from("FAIL_CLOSED"),
        ),
        (
            vec!["module.config.headerMatch.rules[0].name=mine".to_owned()],
            "WasmPlugin",
            "/spec/pluginConfig/headerMatch/rules/0/name",
            Value::from("mine"),
        ),
    ] {
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        let output = template(&helm, &arguments);
        assert!(output.status.success(), "{sets:?}: {}", String::from_utf8_lossy(&output.stderr));
        let objects = objects(&String::from_utf8_lossy(&output.stdout));
        let found = objects.iter().find_map(|(name, value)| {
            (name.contains(object) && value.pointer(pointer).is_some()).then(|| value.pointer(pointer).cloned())
        });
        assert_eq!(found.flatten(), Some(expected), "{sets:?}");
    }
}
