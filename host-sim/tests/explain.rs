//! `host-sim explain`: what it says about requests that are taken, and about those that are not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use command::{code, door, host_sim, in_folder, manifests, module, service, stderr, virtual_service};
use serde_json::{Value, json};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop");
const SCHEMA: &str = include_str!("../docs/schema/explain.json");

const SHOP: &str = "    - name: cart
      match:
        - {uri: {prefix: /cart/}, method: {exact: GET}}
      rewrite: {uri: /}
      timeout: 3s
      route: [{destination: {host: cart}}]
    - name: staff
      match:
        - {uri: {exact: /staff}, headers: {x-user: {exact: ann}}}
      route: [{destination: {host: cart}}]
    - name: search
      match:
        - {uri: {exact: /search}, queryParams: {q: {exact: shoes}}}
      route: [{destination: {host: cart}}]
    - name: checkout
      match: [{uri: {prefix: /checkout}}]
      delegate: {name: checkout, namespace: payments}
    - name: lost
      match: [{uri: {prefix: /lost}}]
      route: [{destination: {host: nowhere.example}}]
    - name: slow
      match: [{uri: {prefix: /slow}}]
      fault: {delay: {fixedDelay: 7s, percentage: {value: 100}}, abort: {httpStatus: 418, percentage: {value: 100}}}
      route: [{destination: {host: cart}}]
    - name: copied
      match: [{uri: {prefix: /copied}}]
      mirror: {host: shadow}
      retries: {attempts: 2, retryOn: 5xx, perTryTimeout: 1s}
      route: [{destination: {host: cart}}]
";

const EMPTY: &str = "    - match: [{port: 8443}]
      route: [{destination: {host: cart}}]
";

const SPLIT: &str = "    - name: canary
      route:
        - {destination: {host: cart, port: {number: 80}}, weight: 25}
        - {destination: {host: shadow, port: {number: 80}}, weight: 75}
";

/// A gateway with one of everything that can go wrong.
fn everything() -> String {
    let hosts = "[shop.example, lonely.example, empty.example, split.example, '*.wild.example']";
    let lonely = virtual_service("elsewhere", "[lonely.example]", "    - {route: [{destination: {host: cart}}]}\n");
    manifests(&[
        &door(hosts),
        &virtual_service("shop", "[shop.example]", SHOP),
        &virtual_service("other-port", "[empty.example]", EMPTY),
        &lonely.replace("[door]", "[another-door]"),
        &virtual_service("split", "[split.example]", SPLIT),
        &service("cart"),
        &service("shadow"),
    ])
}

/// The answer's JSON, checked against its schema.
fn explain(manifests: &str, args: &[&str]) -> Value {
    let folder = in_folder(&[("all.yaml", manifests)]);
    ask(&[&["-f", folder.path().to_str().unwrap()], args].concat())
}

fn ask(args: &[&str]) -> Value {
    let output = host_sim(&[&["explain", "-o", "json"], args].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let problems: Vec<_> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&answer).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{args:?}: {problems:?}\n{answer:#}");
    answer
}

#[test]
fn each_reason_why_nobody_takes_a_request_has_its_class_and_its_nearest_miss() {
    for (args, class, near) in [
        (&["http://shop.example:81/"][..], "no_listener", ""),
        (&["http://shap.example/"], "no_server_for_host", "shop.example"),
        (&["https://shop.example/"], "no_listener", ""),
        (&["http://lonely.example/"], "no_virtual_service_bound", "VirtualService shop/elsewhere"),
        (&["http://a.wild.example/"], "no_virtual_service_bound", "VirtualService"),
        (&["http://empty.example/"], "virtual_host_without_route", "VirtualService shop/other-port"),
        (&["http://shop.example/card/1"], "path", "cart"),
        (&["-X", "PUT", "http://shop.example/cart/1"], "method", "cart"),
        (&["-H", "x-user: bob", "http://shop.example/staff"], "headers", "staff"),
        (&["http://shop.example/search?q=hats"], "query", "search"),
        (&["http://shop.example/checkout/1"], "delegate_missing", "VirtualService shop/shop"),
        (&["http://shop.example/lost"], "no_cluster", ""),
        (&["--no-echo", "http://shop.example/cart/1"], "no_endpoints", ""),
    ] {
        let answer = explain(&everything(), args);
        assert_eq!(answer["why_not"]["class"], class, "{args:?}: {answer:#}");
        let nearest = &answer["why_not"]["nearest"][0];
        let told = format!(
            "{} {}",
            nearest["name"].as_str().unwrap_or_default(),
            nearest["expected"].as_str().unwrap_or_default()
        );
        assert!(told.contains(near), "{args:?}: nearest is {nearest}");
        assert!(near.is_empty() || nearest["file"].as_str().unwrap().ends_with("all.yaml"), "{args:?}: {nearest}");
    }
}

#[test]
fn a_request_that_is_taken_has_no_reason_why_not() {
    let answer = explain(&everything(), &["http://shop.example/cart/items?x=1"]);
    assert_eq!(answer["why_not"], Value::Null);
    assert_eq!(answer["listener"], "0.0.0.0_80");
    assert_eq!(answer["server"], "shop/door/http");
    assert_eq!(answer["virtual_host"], "shop.example:80");
    assert_eq!(answer["route"]["name"], "cart");
    assert_eq!(
        answer["rewrite"],
        serde_json::json!({"before": "/cart/items?x=1", "after": "/items?x=1", "host": null})
    );
    assert_eq!(answer["timeout"], "3s");
    assert_eq!(answer["cluster"], "outbound|80||cart.shop.svc.cluster.local");
    assert_eq!(answer["endpoint"], "echo:cart");
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["upstream_request"]["path"], "/items?x=1");
}

#[test]
fn every_rule_that_did_not_match_names_the_first_thing_that_failed_and_where_it_stands() {
    let answer = explain(&everything(), &["http://shop.example/lost"]);
    let rules = answer["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 4, "{rules:#?}");
    for rule in rules {
        assert_eq!(rule["first_failed"].is_null(), rule["matched"] == true, "{rule}");
        let line = usize::try_from(rule["line"].as_u64().unwrap()).unwrap();
        assert!(everything().lines().nth(line - 1).unwrap().contains("uri"), "{rule}");
    }
    assert_eq!(rules[0]["first_failed"]["field"], "path");
    assert_eq!(rules[0]["first_failed"]["actual"], "/lost");
}

#[test]
fn a_split_says_what_was_drawn_and_a_seed_draws_it_again() {
    let ask = |seed: &str| explain(&everything(), &["--seed", seed, "http://split.example/"]);
    let split = ask("1")["split"].clone();
    assert_eq!(split["weights"], serde_json::json!([25, 75]));
    assert_eq!(split["choice"] == split["destinations"][0], split["bucket"].as_u64().unwrap() < 25, "{split}");
    assert_eq!(ask("1")["split"], split);
    assert!((2..9).any(|seed| ask(&seed.to_string())["split"] != split));
}

#[test]
fn a_fault_of_seven_seconds_is_explained_at_once() {
    let begun = std::time::Instant::now();
    let answer = explain(&everything(), &["http://shop.example/slow"]);
    assert_eq!(answer["fault"], serde_json::json!({"by": "envoy.filters.http.fault", "delay": "7s", "abort": 418}));
    assert_eq!(answer["status"], 418);
    assert_eq!(answer["endpoint"], Value::Null);
    assert!(begun.elapsed() < std::time::Duration::from_secs(7), "time did not stand still");
}

#[test]
fn mirrors_and_retries_are_told() {
    let answer = explain(&everything(), &["-H", "x-echo-status: 503,200", "http://shop.example/copied"]);
    assert_eq!(answer["mirror"][0]["cluster"], "outbound|80||shadow.shop.svc.cluster.local");
    assert_eq!(answer["retry"]["attempts"], 2);
    let statuses: Vec<_> =
        answer["retry"]["tries"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [503, 200]);
    assert_eq!(answer["status"], 200);
}

#[test]
fn the_real_module_marks_the_request_before_the_route_is_chosen() {
    let wasm = module("header-match");
    let folder = std::path::Path::new(&wasm).parent().unwrap().to_str().unwrap().to_owned();
    let args = ["-f", EXAMPLE, "--wasm-dir", &folder, "-H", "cookie: beta=1", "-H", "x-shop-audience: forged"];
    let answer = ask(&[&args[..], &["http://shop.example.com/products"]].concat());
    let filter = answer["filters"].as_array().unwrap().iter().find(|filter| filter["kind"] == "wasm").unwrap();
    assert_eq!(filter["name"], "istio-system/header-match");
    assert_eq!(filter["changed"][0]["after"], "beta");
    assert_eq!(filter["counted"], serde_json::json!(["beta-users matched"]));
    assert_eq!(answer["route"]["name"], "catalog-beta");
    assert_eq!(answer["cluster"], "outbound|8080|v2|catalog.shop.svc.cluster.local");
}

/// A gateway whose limit is used up by two requests.
fn limited(config: &str) -> String {
    let plugin = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: rate-limit, namespace: istio-system}}\nspec:\n  selector: {{matchLabels: {{istio: ingressgateway}}}}\n  url: oci://registry.example.com/sluice/rate-limit:0.1.0\n  failStrategy: FAIL_CLOSE\n  pluginConfig: {config}\n"
    );
    let rules = virtual_service("shop", "['*']", "    - {name: all, directResponse: {status: 200}}\n");
    manifests(&[&door("['*']"), &rules, &plugin])
}

#[test]
fn a_limited_request_names_the_filter_and_the_rule_that_refused_it() {
    let config = r#"{rules: [{name: everybody, key: [{constant: all}], limit: {requests: 2, per: 1h}}]}"#;
    let folder = in_folder(&[("all.yaml", &limited(config))]);
    let named = format!("rate-limit={}", module("rate-limit"));
    let args = ["-f", folder.path().to_str().unwrap(), "--wasm", &named, "http://a.example/"];
    for (after, status, counted) in [("0", 200, "allowed"), ("1", 200, "allowed"), ("2", 429, "limited")] {
        let answer = ask(&[&args[..], &["--after", after]].concat());
        let filter = answer["filters"].as_array().unwrap().iter().find(|filter| filter["kind"] == "wasm").unwrap();
        assert_eq!(answer["status"], status, "{answer:#}");
        assert_eq!(filter["reply"]["status"].as_u64().unwrap_or(200), status, "{filter:#}");
        assert!(filter["counted"][0].as_str().unwrap().starts_with("everybody "), "{counted}: {filter:#}");
    }
}

/// A certificate of this test's own.
fn tls_manifests() -> String {
    let made = rcgen::generate_simple_self_signed(vec!["safe.example".to_owned()]).unwrap();
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: door, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
    - {{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [safe.example], tls: {{mode: SIMPLE, credentialName: safe}}}}
    - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [safe.example], tls: {{httpsRedirect: true}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: safe, namespace: istio-system}}
spec:
  hosts: [safe.example]
  gateways: [door]
  http: [{{name: all, directResponse: {{status: 204}}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: safe, namespace: istio-system}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}"#,
        indented(&made.cert.pem()),
        indented(&made.signing_key.serialize_pem())
    )
}

#[test]
fn https_picks_the_tls_server_by_its_host() {
    let manifests = tls_manifests();
    let answer = explain(&manifests, &["https://safe.example/"]);
    assert_eq!((&answer["server"], &answer["status"]), (&"istio-system/door/https".into(), &204.into()), "{answer:#}");
    let answer = explain(&manifests, &["https://other.example/"]);
    assert_eq!(answer["why_not"]["class"], "no_server_for_host", "{answer:#}");
    let answer = explain(&manifests, &["http://safe.example/x"]);
    assert_eq!((&answer["status"], &answer["server"]), (&301.into(), &"istio-system/door/http".into()), "{answer:#}");
    let answer = explain(&manifests, &["http://safe.example:443/"]);
    assert_eq!(answer["why_not"]["class"], "no_server_for_host");
    assert!(answer["why_not"]["message"].as_str().unwrap().contains("https://"), "{answer:#}");
}

/// A CA's certificate, and one of a client that it signed.
fn client_certificate(name: &str) -> (String, String) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, format!("CA of {name}"));
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, key).unwrap();
    let mut client = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    client.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let client = client.signed_by(&rcgen::KeyPair::generate().unwrap(), &authority).unwrap();
    (authority.pem(), client.pem())
}

#[test]
fn a_server_with_mutual_tls_asks_for_the_clients_certificate() {
    let ((trusted, client), (_, stranger)) = (client_certificate("ann.example"), client_certificate("eve.example"));
    let authority: String = trusted.lines().map(|line| format!("    {line}\n")).collect();
    let manifests = format!("{}  ca.crt: |\n{authority}", tls_manifests()).replace("mode: SIMPLE", "mode: MUTUAL");
    let folder = in_folder(&[("client.pem", &client), ("stranger.pem", &stranger)]);
    let file = |name: &str| folder.path().join(name).display().to_string();

    let answer = explain(&manifests, &["https://safe.example/"]);
    assert_eq!((&answer["status"], &answer["why_not"]["class"]), (&Value::Null, &"no_server_for_host".into()));
    assert!(answer["details"].as_str().unwrap().contains("PEER_DID_NOT_RETURN_A_CERTIFICATE"), "{answer:#}");
    assert!(answer["why_not"]["message"].as_str().unwrap().contains("wants a client certificate"), "{answer:#}");
    assert_eq!(answer["server"], "istio-system/door/https");

    let answer = explain(&manifests, &["--cert", &file("stranger.pem"), "https://safe.example/"]);
    assert!(answer["details"].as_str().unwrap().contains("CERTIFICATE_VERIFY_FAILED"), "{answer:#}");
    assert!(answer["why_not"]["message"].as_str().unwrap().contains("refuses"), "{answer:#}");

    let forwarding = manifests.replace("directResponse: {status: 204}", "route: [{destination: {host: svc}}]");
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: svc, namespace: istio-system}\nspec: {ports: [{name: http, port: 80}]}\n";
    let answer = explain(&format!("{forwarding}{service}"), &["-E", &file("client.pem"), "https://safe.example/"]);
    assert_eq!((&answer["status"], &answer["why_not"]), (&200.into(), &Value::Null), "{answer:#}");
    let headers = answer["upstream_request"]["headers"].to_string();
    assert!(headers.contains("x-forwarded-client-cert") && headers.contains("Hash="), "{answer:#}");

    let case = |name: &str| {
        format!(
            "  - {{name: {name}, request: {{url: 'https://safe.example/', certificate: {name}.pem}}, status: 204}}\n"
        )
    };
    std::fs::write(file("gateway.yaml"), &manifests).unwrap();
    std::fs::write(file("cases.txt"), format!("cases:\n{}{}", case("client"), case("stranger"))).unwrap();
    let output = host_sim(&["test", "-f", &file("gateway.yaml"), &file("cases.txt")]);
    let said = command::stdout(&output);
    assert_eq!(code(&output), 1, "{said}{}", stderr(&output));
    assert!(said.contains("case client ... ok") && said.contains("case stranger ... FAILED"), "{said}");

    let optional = manifests.replace("mode: MUTUAL", "mode: OPTIONAL_MUTUAL");
    assert_eq!(explain(&optional, &["https://safe.example/"])["status"], 204);
    let output = host_sim(&["explain", "-f", EXAMPLE, "--cert", &file("none.pem"), "https://safe.example/"]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
}

#[test]
fn a_bootstrap_is_explained_as_its_manifests_are() {
    let folder = in_folder(&[("all.yaml", &everything())]);
    let bootstrap = host_sim(&["envoy", "-f", folder.path().to_str().unwrap(), "--backend", "cart.shop=127.0.0.1:9"]);
    assert_eq!(code(&bootstrap), 0, "{}", stderr(&bootstrap));
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, &bootstrap.stdout).unwrap();
    let file = file.to_str().unwrap();
    let answer = ask(&["--bootstrap", file, "http://shop.example:8080/cart/1"]);
    assert_eq!(answer["route"]["name"], "cart");
    assert_eq!(answer["endpoint"], "127.0.0.1:9");
    for (url, class) in [
        ("http://shop.example:8080/nothing", "path"),
        ("http://shap.example:8080/", "no_server_for_host"),
        ("http://shop.example:8081/", "no_listener"),
    ] {
        assert_eq!(ask(&["--bootstrap", file, url])["why_not"]["class"], class, "{url}");
    }
}

#[test]
fn wrong_usage_exits_2() {
    for args in [
        &["explain", "-f", EXAMPLE][..],
        &["explain", "-f", EXAMPLE, "ftp://a"],
        &["explain", "-f", EXAMPLE, "-H", "nocolon", "http://a"],
        &["explain", "http://a"],
    ] {
        assert_eq!(code(&host_sim(args)), 2, "{args:?}");
    }
}

#[test]
fn the_story_names_the_rule_and_what_failed_before_it() {
    let folder = in_folder(&[("all.yaml", &everything())]);
    let output = host_sim(&["explain", "-f", folder.path().to_str().unwrap(), "http://shop.example/cart/1"]);
    let story = String::from_utf8(output.stdout).unwrap();
    for part in ["yes  cart", "all.yaml:", "/cart/1 -> /1", "cart.shop.svc.cluster.local", "\n200"] {
        assert!(story.contains(part), "no {part:?} in:\n{story}");
    }
    assert!(!story.contains('\u{1b}'), "colour where there is no terminal");
}

const MAPPED: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: pages, namespace: istio-system}
spec:
  configPatches:
  - applyTo: NETWORK_FILTER
    match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch:
      operation: MERGE
      value:
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          local_reply_config:
            mappers:
            - filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 503, runtime_key: unset}}}}
              status_code: 502
            - filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 404, runtime_key: unset}}}}
              status_code: 410
              body: {inline_string: nothing here}
---
";

#[test]
fn an_answer_in_another_form_names_what_changed_it() {
    let manifests = format!("{MAPPED}{}", everything());
    let answer = explain(&manifests, &["http://shop.example/nowhere"]);
    assert_eq!(answer["local_reply"], json!({"mapper": 1, "before": 404, "after": 410}));
    assert_eq!((&answer["status"], &answer["response"]["body"]), (&json!(410), &json!("nothing here")));
    assert_eq!(explain(&manifests, &["http://shop.example/cart/1"])["local_reply"], Value::Null);

    let folder = in_folder(&[("all.yaml", &manifests)]);
    let output = host_sim(&["explain", "-f", folder.path().to_str().unwrap(), "http://shop.example/nowhere"]);
    let story = String::from_utf8(output.stdout).unwrap();
    assert!(story.contains("404 -> 410, by local_reply_config.mappers[1]"), "{story}");
}
