//! A running gateway: files that change under it, its access log, Istio's metrics.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;
mod gateway;

use std::process::Command;

use gateway::Running;

const RULES: &str =
    "    - {name: cart, match: [{uri: {prefix: /cart}}], route: [{destination: {host: cart, port: {number: 80}}}]}
    - {name: rest, directResponse: {status: 201}}
";

fn shop() -> String {
    command::manifests(&[
        &command::door("['*']"),
        &command::virtual_service("shop", "['*']", RULES),
        &command::service("cart"),
    ])
}

#[test]
fn a_changed_file_is_served_and_a_refused_change_leaves_the_last_good_one() {
    let folder = command::in_folder(&[("all.yaml", &shop())]);
    let write = |text: &str| std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    let mut running = Running::start(&["-f", folder.path().to_str().unwrap(), "--watch"]);
    assert_eq!(running.status("/"), "201");
    write(&shop().replace("201", "202"));
    running.hears("the change is served");
    assert_eq!(running.status("/"), "202");
    write(&shop().replace("directResponse", "directRepsonse"));
    running.hears("the change is refused");
    assert_eq!(running.status("/"), "202");
    write(&shop().replace("{status: 201}", "{status: 203, body: {string: fixed}}"));
    running.hears("the change is served");
    assert!(Running::get(&running.address, "/").ends_with("fixed"));
    assert_eq!(running.status("/cart"), "200");
}

#[test]
fn the_access_log_is_istio_s_in_both_forms() {
    for (format, part) in
        [("text", "\"GET /cart?x=1 HTTP/1.1\" 200 - via_upstream"), ("json", "\"route_name\":\"cart\"")]
    {
        let folder = command::in_folder(&[("all.yaml", &shop())]);
        let log = folder.path().join("access.log");
        let args = [
            "-f",
            folder.path().to_str().unwrap(),
            "--access-log",
            log.to_str().unwrap(),
            "--access-log-format",
            format,
        ];
        let mut running = Running::start(&args);
        assert_eq!(running.status("/cart?x=1"), "200");
        // The log is complete once the gateway has drained.
        let pid = running.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(running.child.wait().unwrap().success());
        let text = std::fs::read_to_string(log).unwrap();
        assert!(text.contains(part) && text.lines().count() == 1, "{format}: {text}");
    }
}

#[test]
fn a_gateway_says_whether_it_is_ready() {
    let folder = command::in_folder(&[("all.yaml", &shop())]);
    let running = Running::start(&["-f", folder.path().to_str().unwrap()]);
    let ask = || command::host_sim(&["ready", "--admin", &running.admin]);
    assert_eq!(command::code(&ask()), 0, "{}", command::stderr(&ask()));
    let admin = running.admin.clone();
    drop(running);
    let gone = command::host_sim(&["ready", "--admin", &admin]);
    assert_eq!(command::code(&gone), 5);
    assert!(command::stderr(&gone).contains("/ready"), "{}", command::stderr(&gone));
}

#[test]
fn what_a_gateway_dumps_is_explained_as_its_manifests_are() {
    let folder = command::in_folder(&[("all.yaml", &shop())]);
    let running = Running::start(&["-f", folder.path().to_str().unwrap()]);
    let answer = Running::get(&running.admin, "/config_dump");
    let (_, dump) = answer.split_once("\r\n\r\n").unwrap();
    let file = folder.path().join("dump.json");
    std::fs::write(&file, dump).unwrap();
    let output = command::host_sim(&[
        "explain",
        "-o",
        "json",
        "--bootstrap",
        file.to_str().unwrap(),
        // What was asked for is dumped, and this gateway was to choose a port itself.
        "http://shop.example:0/cart/x",
    ]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["route"]["name"], &answer["status"]), (&"cart".into(), &200.into()), "{answer:#}");
}

#[test]
fn istio_s_own_metrics_are_there_with_istio_s_labels() {
    let folder = command::in_folder(&[("all.yaml", &shop())]);
    let running = Running::start(&["-f", folder.path().to_str().unwrap()]);
    (0..3).for_each(|_| assert_eq!(running.status("/cart"), "200"));
    assert_eq!(running.status("/"), "201");
    let text = Running::get(&running.admin, "/stats/prometheus");
    let line = |name: &str, code: &str| {
        let found =
            text.lines().find(|line| line.starts_with(name) && line.contains(&format!("response_code=\"{code}\"")));
        found.unwrap_or_else(|| panic!("no {name} with {code} in\n{text}")).to_owned()
    };
    let total = line("istio_requests_total{", "200");
    for label in [
        "reporter=\"source\"",
        "destination_service=\"cart.shop.svc.cluster.local\"",
        "destination_service_name=\"cart\"",
        "destination_service_namespace=\"shop\"",
        "request_protocol=\"http\"",
        "response_flags=\"-\"",
    ] {
        assert!(total.contains(label), "no {label} in {total}");
    }
    assert!(total.ends_with(" 3"), "{total}");
    assert!(line("istio_requests_total{", "201").ends_with(" 1"));
    assert!(line("istio_request_duration_milliseconds_count{", "200").ends_with(" 3"));
    assert!(line("istio_response_bytes_bucket{", "200").contains("le=\"0.5\""));
}
