//! `host-sim test`: what passes, what fails and what it says then, which files are refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use command::{code, host_sim, in_folder, module, stderr, stdout};

const RULES: &str = "    - name: cart
      match:
        - {uri: {prefix: /cart/}}
        - {uri: {exact: /basket}}
      rewrite: {uri: /}
      route: [{destination: {host: cart}}]
    - name: rest
      directResponse: {status: 204}
";

fn shop() -> String {
    let rules = command::virtual_service("shop", "[shop.example]", RULES);
    command::manifests(&[&command::door("[shop.example]"), &rules, &command::service("cart")])
}

struct Run {
    folder: tempfile::TempDir,
    output: std::process::Output,
}

fn run(cases: &str, args: &[&str]) -> Run {
    let folder = in_folder(&[("gateway.yaml", &shop()), ("cases.txt", cases)]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (manifests, cases) = (path("gateway.yaml"), path("cases.txt"));
    let output = host_sim(&[&["test", "-f", &manifests, &cases], args].concat());
    Run { folder, output }
}

const GOOD: &str = "cases:
  - name: the cart
    request: {url: http://shop.example/cart/items}
    status: 200
    route: cart
    destination: {host: cart, port: 80}
    upstream: {method: GET, path: /items, headers: {host: shop.example, x-no: null}}
    response: {headers: {content-type: application/json}, body: {contains: '\"origin\":\"cart\"'}}
  - name: the rest
    request: {method: DELETE, url: http://shop.example/x, headers: {x-a: [1, 2]}, clientIp: 10.1.2.3}
    status: 204
    route: rest
";

#[test]
fn cases_that_hold_pass() {
    let run = run(GOOD, &[]);
    assert_eq!(code(&run.output), 0, "{}{}", stdout(&run.output), stderr(&run.output));
    let said = stdout(&run.output);
    assert!(said.contains("case the cart ... ok") && said.contains("2 passed; 0 failed"), "{said}");
}

#[test]
fn a_case_that_does_not_hold_says_what_differs_and_explains() {
    let run = run(&GOOD.replace("path: /items", "path: /item").replace("status: 204", "status: 200"), &[]);
    assert_eq!(code(&run.output), 1);
    let said = stdout(&run.output);
    for part in [
        "case the cart ... FAILED",
        "cases.txt:2)",
        "upstream.path: expected /item, got /items",
        "status: expected 200, got 204",
        "yes  cart",
        "0 passed; 2 failed",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn each_expectation_can_fail() {
    for (from, to, word) in [
        ("route: cart", "route: rest", "route: expected rest"),
        ("host: cart,", "host: shop,", "destination.host: expected shop"),
        ("port: 80}", "port: 81}", "destination.port: expected 81"),
        ("port: 80}", "port: 80, subset: v1}", "destination.subset: expected v1"),
        ("method: GET", "method: PUT", "upstream.method"),
        ("x-no: null", "x-no: a", "upstream.headers.x-no: expected \"a\", got nothing"),
        ("host: shop.example,", "host: null,", "upstream.headers.host: expected nothing"),
        ("application/json", "text/plain", "response.headers.content-type"),
        ("contains:", "exact:", "response.body"),
        ("status: 204", "status: 204\n    whyNot: path", "whyNot: expected path, got none"),
        ("status: 204", "status: 204\n    fault: {abort: 503}", "fault: expected delay none, abort 503"),
        ("status: 204", "status: 204\n    filter: {nobody: {}}", "filter.nobody"),
        (
            "status: 204",
            "status: 204\n    repeat: 4\n    share: [{status: 204, percent: 50}]",
            "share of status 204: expected 50 %",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let run = run(&GOOD.replacen(from, to, 1), &[]);
        assert!(
            code(&run.output) == 1 && stdout(&run.output).contains(word),
            "{to}: {}{}",
            stdout(&run.output),
            stderr(&run.output)
        );
    }
}

#[test]
fn a_file_with_an_unknown_field_is_refused_with_its_place() {
    for (from, to, word) in [
        ("status: 204", "statsu: 204", "statsu"),
        ("url: http://shop.example/x", "url: ftp://shop.example/x", "neither http nor https"),
        ("status: 204", "status: [", ""),
    ] {
        let run = run(&GOOD.replacen(from, to, 1), &[]);
        let said = stderr(&run.output);
        assert!(code(&run.output) == 3 && said.contains("cases.txt:1") && said.contains(word), "{said}");
    }
}

#[test]
fn junit_tells_ci_the_same() {
    let junit = tempfile::tempdir().unwrap();
    let file = junit.path().join("junit.xml");
    let run = run(&GOOD.replace("status: 204", "status: 500"), &["--junit", file.to_str().unwrap()]);
    assert_eq!(code(&run.output), 1);
    let xml = std::fs::read_to_string(file).unwrap();
    for part in ["tests=\"2\" failures=\"1\"", "name=\"the rest\"", "status: expected 500, got 204", "line=\"9\""] {
        assert!(xml.contains(part), "no {part:?} in\n{xml}");
    }
}

#[test]
fn coverage_counts_rules_entries_and_destinations_and_has_a_minimum() {
    let all = run(GOOD, &["--coverage"]);
    let said = stdout(&all.output);
    assert_eq!(code(&all.output), 0, "{said}");
    for part in [
        "rules             2 of 2",
        "match entries     1 of 2",
        "destinations      1 of 1",
        "not reached: cart (",
        "gateway.yaml:19",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    assert_eq!(code(&run(GOOD, &["--coverage=80"]).output), 0);
    let little = run(GOOD, &["--coverage=90"]);
    assert_eq!(code(&little.output), 1);
    assert!(stderr(&little.output).contains("80.0 % is covered"), "{}", stderr(&little.output));
}

#[test]
fn update_writes_what_came_out_and_keeps_the_rest_of_the_file() {
    let wrong = GOOD.replace("status: 204", "status: 500 # why?").replace("path: /items", "path: /wrong");
    let run = run(&wrong, &["--update"]);
    assert_eq!(code(&run.output), 0, "{}", stderr(&run.output));
    let text = std::fs::read_to_string(run.folder.path().join("cases.txt")).unwrap();
    assert_eq!(text, wrong.replace("500", "204").replace("/wrong", "/items"));
}

#[test]
fn the_bundled_example_keeps_its_promises() {
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop");
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop-tests/cases.yaml");
    let wasm = format!("header-match={}", module("header-match"));
    let output = host_sim(&["test", "-f", shop, "--wasm", &wasm, cases, "--coverage=100"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
}

/// The published example of istio-config-validator, in its own words.
const THEIR_RULES: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: example, namespace: example}
spec:
  gateways: [mesh]
  hosts: [www.example.com, example.com]
  http:
    - match: [{uri: {prefix: /home}}]
      redirect: {uri: /, authority: www.example.com}
    - match: [{uri: {regex: /users(/.*)?}}]
      route: [{destination: {host: users.users.svc.cluster.local, port: {number: 80}}}]
      headers: {request: {set: {x-custom-header: ok}}}
    - match: [{uri: {prefix: /partners}, method: {regex: (GET|OPTIONS)}}]
      route: [{destination: {host: partner.partner.svc.cluster.local, port: {number: 8000}}}]
    - match: [{uri: {prefix: /reseller}, headers: {x-request-class: {exact: bot}}}]
      route: [{destination: {host: partner.partner.svc.cluster.local}}]
      fault: {abort: {percentage: {value: 100}, httpStatus: 403}}
    - match: [{uri: {prefix: /seller}}]
      delegate: {name: seller-delegate}
    - match: [{uri: {prefix: /product}}]
      delegate: {name: product-delegate}
    - route: [{destination: {host: monolith.monolith.svc.cluster.local}}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: product-delegate, namespace: example}
spec:
  http:
    - match: [{uri: {prefix: /product}}]
      route: [{destination: {host: product.product.svc.cluster.local, port: {number: 80}}}]
"#;

const THEIR_CASES: &str = r#"
testCases:
  - description: happy path users
    wantMatch: true
    request: {authority: [www.example.com, example.com], method: [GET, POST], uri: [/users, "/users/?q=1"], headers: {x-user-id: abc123}}
    route: [{destination: {host: users.users.svc.cluster.local, port: {number: 80}}}]
    headers: {request: {set: {x-custom-header: ok}}}
  - description: Partner service only accepts GET or OPTIONS
    wantMatch: false
    request: {authority: [example.com], method: [PUT, POST, PATCH], uri: [/partners, /partners/1]}
    route: [{destination: {host: partner.partner.svc.cluster.local}}]
---
testCases:
  - description: Redirect /home to /
    wantMatch: true
    request: {authority: [www.example.com], method: [GET], uri: [/home]}
    redirect: {uri: "/", authority: www.example.com}
  - description: Return 403 for bot traffic
    wantMatch: true
    request: {authority: [example.com], method: [PUT], uri: [/reseller], headers: {x-request-class: bot}}
    fault: {abort: {percentage: {value: 100}, httpStatus: 403}}
  - description: Delegate that is not there
    wantMatch: true
    request: {authority: [example.com], method: [GET], uri: [/seller]}
    delegate: {name: seller-delegate}
  - description: Delegate
    wantMatch: true
    request: {authority: [example.com], method: [GET], uri: [/product/1]}
    delegate: {name: product-delegate}
    route: [{destination: {host: product.product.svc.cluster.local, port: {number: 80}}}]
"#;

fn theirs(cases: &str) -> std::process::Output {
    let folder = in_folder(&[("rules.yaml", THEIR_RULES), ("cases.yml", cases)]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    host_sim(&["test", "-f", &path("rules.yaml"), &path("cases.yml")])
}

#[test]
fn istio_config_validator_s_files_are_read_as_they_are() {
    let output = theirs(THEIR_CASES);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("6 passed"), "{}", stdout(&output));
    for (from, to, word) in [
        ("number: 80}}}]\n    headers", "number: 81}}}]\n    headers", "GET www.example.com/users: route: expected"),
        ("wantMatch: false", "wantMatch: true", "PUT example.com/partners: route"),
        ("name: seller-delegate", "name: other", "delegate: expected"),
        ("httpStatus: 403", "httpStatus: 404", "fault: expected"),
    ] {
        let output = theirs(&THEIR_CASES.replacen(from, to, 1));
        assert!(code(&output) == 1 && stdout(&output).contains(word), "{to}: {}", stdout(&output));
    }
}
