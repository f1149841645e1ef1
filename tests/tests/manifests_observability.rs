//! Rules and dashboard against a real Prometheus that scrapes a gateway under load: every query comes back with series.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::case::{Send, Tls, Version};
use tests::certs::Certificates;
use tests::gateway::{Gateway, fetch};
use tests::host_sim::{self, Run};
use tests::process::Process;
use tests::{client, repository};

/// What Grafana would put in for a panel at this scrape interval.
const RATE_INTERVAL: &str = "15s";
const PATIENCE: Duration = Duration::from_secs(60);

fn observability(file: &str) -> Value {
    let file = repository().join("manifests/components/observability").join(file);
    serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn prometheus() -> Option<PathBuf> {
    let named = std::env::var_os("PROMETHEUS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("prometheus"));
    let found = named.into_iter().chain(in_path).find(|file| file.is_file());
    if found.is_none() {
        println!("SKIPPED: no prometheus on this machine (Debian has it; say where it is with PROMETHEUS)");
    }
    found
}

/// A PodMonitor's relabelling as Prometheus itself writes it: `sourceLabels` -> `source_labels`.
fn relabelling(monitor: &Value) -> Value {
    let snake = |name: &str| {
        name.chars().fold(String::new(), |mut out, c| {
            if c.is_ascii_uppercase() {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
            out
        })
    };
    let rule = |rule: &Value| -> Value {
        rule.as_object().unwrap().iter().map(|(name, value)| (snake(name), value.clone())).collect()
    };
    monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelings"].as_array().unwrap().iter().map(rule).collect()
}

/// The rules and the scraping that the manifests ask for, on this machine and every second. JSON is YAML.
fn configure(folder: &Path, gateway: SocketAddr) -> PathBuf {
    fs::write(folder.join("rules.json"), observability("rules.yaml")["spec"].to_string()).unwrap();
    let configuration = json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.json"],
        "scrape_configs": [{
            "job_name": "gateway",
            "metrics_path": "/stats/prometheus",
            "static_configs": [{"targets": [gateway.to_string()], "labels": {"namespace": "istio-system", "pod": "gateway-0"}}],
            "metric_relabel_configs": relabelling(&observability("podmonitor.yaml")),
        }],
    });
    let file = folder.join("prometheus.yml");
    fs::write(&file, configuration.to_string()).unwrap();
    file
}

async fn gateway(folder: &Path, certificates: &Certificates) -> Gateway {
    let secret = certificates.secret("cert-m").unwrap().replace("\n  name: cert-m\n", "\n  name: shop-tls\n");
    let secrets = folder.join("secret.yaml");
    fs::write(&secrets, secret).unwrap();
    let production = repository().join("manifests/rendered/production.yaml");
    let binary = host_sim::binary().unwrap();
    let run = Run::manifests(&binary, &[&production, &secrets]).port(80).port(443);
    run.with(["--wasm-dir", "target/filters", "--workers", "1"]).start().await.unwrap()
}

/// What users do: they read, buy, guess passwords, ask for the new version; a team has its drill; something fails.
fn requests() -> Vec<Send> {
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| Send {
        method: method.into(),
        path: path.into(),
        headers: [("host", "shop.example.com")]
            .iter()
            .chain(headers)
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        body: String::new(),
        port: 443,
        version: Version::Http11,
        tls: Some(Tls { sni: Some("shop.example.com".into()), client: None }),
        repeat: None,
        settle_ms: 0,
    };
    vec![
        send("GET", "/products", &[("cookie", "shop-release=ann")]),
        send("GET", "/products", &[("cookie", "shop-force=v2")]),
        send("GET", "/api/cart/items", &[]),
        send("GET", "/api/cart/items", &[("x-chaos-team", "slow")]),
        send("POST", "/login", &[]),
        send("GET", "/products/7", &[("x-chaos-team", "catalog")]),
        send("GET", "/products", &[("x-echo-status", "500")]),
        send("GET", "/products", &[("x-echo-status", "404")]),
    ]
}

async fn load(to: SocketAddr, certificates: &Certificates) {
    for send in requests() {
        let tls = certificates.client(send.tls.as_ref().unwrap(), send.version).unwrap();
        client::exchange(to, &send, None, Some(tls)).await.unwrap();
    }
}

/// The answer to a query: its series' values, none that are not numbers.
async fn values(prometheus: SocketAddr, query: &str) -> Result<Vec<f64>, String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let text =
        fetch(prometheus, &format!("/api/v1/query?query={encoded}")).await.map_err(|error| format!("{error:#}"))?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
    let found: Vec<f64> = answer["data"]["result"].as_array().into_iter().flatten().filter_map(value).collect();
    Ok(found.into_iter().filter(|value| !value.is_nan()).collect())
}

fn dashboard_queries() -> Vec<String> {
    let dashboard = observability("dashboard.json");
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", RATE_INTERVAL)).collect()
}

fn rules(kind: &str) -> Vec<Value> {
    let rules = observability("rules.yaml");
    let groups = rules["spec"]["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .filter(|rule| !rule[kind].is_null())
        .collect()
}

/// What is asked must be there at last; the load goes on until then.
async fn all_answer(prometheus: SocketAddr, queries: &[String], gateway: &Gateway, certificates: &Certificates) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        load(gateway.ports[&443], certificates).await;
        let mut silent = Vec::new();
        for query in queries {
            match values(prometheus, query).await {
                Ok(values) if values.is_empty() => silent.push(format!("{query}: no series")),
                Ok(_) => {}
                Err(error) => silent.push(format!("{query}: {error}")),
            }
        }
        if silent.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "after {PATIENCE:?}:\n{}", silent.join("\n"));
        tokio::time::sleep(Duration::from_millis(200)).await; // Prometheus scrapes by its own clock
    }
}

#[tokio::test]
async fn every_query_of_the_dashboard_and_the_rules_has_series_under_load() {
    let Some(prometheus) = prometheus() else { return };
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::fresh().unwrap();
    let gateway = gateway(folder.path(), &certificates).await;
    let configuration = configure(folder.path(), gateway.admin);
    let storage = folder.path().join("data");
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.tsdb.path={}", storage.display())).arg("--web.listen-address=127.0.0.1:0");
    let process = Process::start(&mut command).unwrap();
    let listening = |lines: &[String]| {
        let line = lines.iter().find(|line| line.contains("\"Listening on\""))?;
        line.split_once("address=")?.1.split_whitespace().next()?.parse::<SocketAddr>().ok()
    };
    let address = process.wait_for("Prometheus' address", PATIENCE, listening).await.unwrap();

    let recorded = rules("record");
    let recorded = recorded.iter().map(|rule| rule["record"].as_str().unwrap().to_owned());
    let queries: Vec<String> = dashboard_queries().into_iter().chain(recorded).collect();
    assert!(queries.len() > 25, "{}", queries.len());
    all_answer(address, &queries, &gateway, &certificates).await;

    // A quarter of the requests fails: the alert that waits for nothing fires, and says how many.
    let firing = r#"ALERTS{alertname="GatewayErrorBudgetBurnsFast",alertstate="firing"}"#;
    let limited = r#"sluice_rate_limit{rule="login",outcome="denied"} > 0"#;
    all_answer(address, &[firing.to_owned(), limited.to_owned()], &gateway, &certificates).await;
    let quiet = r#"ALERTS{alertname=~"FilterTraps|FilterConfigurationRefused|GatewayConfigurationRefused"}"#;
    assert_eq!(values(address, quiet).await, Ok(vec![]));

    // Every rule was evaluated, alerts whose series come from elsewhere too.
    let text = fetch(address, "/api/v1/rules").await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap();
    let evaluated: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(evaluated.len(), rules("record").len() + rules("alert").len());
    for rule in evaluated {
        assert_eq!((&rule["health"], rule["lastError"].as_str()), (&"ok".into(), None), "{rule}");
    }
}
