//! The gateway in memory and the recorded answers of Istio and Envoy: what `test` and `explain` say is what was recorded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use std::path::Path;

use command::{code, host_sim, in_folder, stderr, stdout};
use serde_json::{Map, Value, json};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");

/// A recorded exchange as a case; `None` where it needs what explaining leaves out: TLS with certificates, origins that are
/// steered, repeated requests, bytes that are no text.
fn case(number: usize, exchange: &Value) -> Option<Value> {
    let (send, expect) = (&exchange["send"], &exchange["expect"]);
    let status = expect["status"].as_u64()?;
    let known = ["method", "path", "headers", "body"];
    if send.as_object()?.keys().any(|key| !known.contains(&key.as_str())) {
        return None;
    }
    let path = send["path"].as_str().unwrap_or("/");
    let plain = |text: &str| text.chars().all(|c| (' '..='~').contains(&c));
    let mut headers = Map::new();
    for pair in send["headers"].as_array().into_iter().flatten() {
        let (name, value) = (pair[0].as_str()?, pair[1].as_str()?);
        if name.starts_with("x-origin") || !plain(name) || !plain(value) {
            return None;
        }
        headers.entry(name).or_insert_with(|| json!([])).as_array_mut()?.push(value.into());
    }
    let hosts = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let one_host = hosts.map(|(_, values)| values.as_array().map_or(0, Vec::len)).sum::<usize>() == 1;
    if !path.starts_with('/') || path.contains(' ') || !plain(path) || !one_host {
        return None;
    }
    let mut request = json!({
        "method": send["method"].as_str().unwrap_or("GET"),
        "url": format!("http://standin{path}"),
        "headers": headers,
        "clientIp": "127.0.0.1",
    });
    if let Some(body) = send["body"].as_str() {
        request["body"] = body.into();
    }
    let mut case = json!({"name": number.to_string(), "request": request, "status": status});
    if let Some([upstream]) = expect["upstreams"].as_array().map(Vec::as_slice) {
        case["upstream"] = json!({"method": upstream["method"]});
        if upstream["path"] != "*" {
            case["upstream"]["path"] = upstream["path"].clone();
        }
    }
    Some(case)
}

#[test]
fn a_gateway_in_memory_answers_as_was_recorded() {
    let world = std::fs::read_to_string(Path::new(CORPUS).join("world.yaml")).unwrap();
    let mut asked = 0;
    let mut wrong = Vec::new();
    let mut areas: Vec<_> =
        std::fs::read_dir(Path::new(CORPUS).join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    areas.sort();
    for area in areas {
        let text = std::fs::read_to_string(&area).unwrap();
        for recorded in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            let own = recorded["manifests"].as_str().unwrap();
            // Buckets are fresh for every case; destinations are not asked, so that none refuses a connection.
            let refusing = ["dead endpoint", "endpoint refuses"].contains(&recorded["name"].as_str().unwrap());
            let simple = recorded.as_object().unwrap().keys().all(|key| {
                ["name", "area", "world", "manifests", "exchanges", "istio_warnings"].contains(&key.as_str())
            });
            if !simple || refusing || own.contains("local_ratelimit") {
                continue;
            }
            let Some(exchanges) = recorded["exchanges"].as_array() else { continue };
            let exchanges = exchanges.iter().enumerate();
            let cases: Vec<_> = exchanges.filter_map(|(number, exchange)| case(number, exchange)).collect();
            if cases.is_empty() {
                continue;
            }
            asked += cases.len();
            let standard = if recorded["world"] == "standard" { world.as_str() } else { "" };
            let folder = in_folder(&[
                ("manifests.yaml", &format!("{own}\n---\n{standard}")),
                ("cases.json", &json!({"cases": cases}).to_string()),
            ]);
            let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
            let output = host_sim(&["test", "-q", "--no-echo", "-f", &path("manifests.yaml"), &path("cases.json")]);
            if code(&output) != 0 {
                let name = recorded["name"].as_str().unwrap();
                let said = stdout(&output);
                let lines: Vec<_> = said.lines().filter(|line| line.contains(": expected ")).take(5).collect();
                wrong.push(format!("{} {name}: {}{}", area.display(), lines.join("; "), stderr(&output)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 2500, "only {asked} exchanges were asked");
}
