//! What Istio's webhook refuses is refused, with the place and a cure; what it takes is taken.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code, reason = "a test")]

mod gateway;

use std::{fs, path::PathBuf};

use gateway::{GATEWAY, attempt, options, words};
use istio::{Options, Source, read};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    manifests: String,
    #[serde(default)]
    webhook_refuses: String,
}

fn corpus(path: &str) -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus").join(path);
    serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    let (_, problems) = read(&[Source { name: "m.yaml".into(), text: text.into() }]);
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn recorded_refusals_are_refused() {
    let cases = corpus("cases/refused.yaml");
    assert!(cases.len() >= 8);
    for case in cases {
        assert!(!problems(&case.manifests).is_empty(), "{} is let in", case.name);
    }
}

#[test]
fn recorded_manifests_are_taken() {
    for area in [
        "match",
        "hosts",
        "rewrite",
        "redirect",
        "direct",
        "headers",
        "retry",
        "lb",
        "tls",
        "services",
        "random",
        "envoyfilter",
    ] {
        for case in corpus(&format!("cases/{area}.yaml")) {
            assert_eq!(problems(&case.manifests), Vec::<String>::new(), "{area} | {}", case.name);
        }
    }
}

#[test]
fn the_webhooks_verdicts_on_faulty_manifests_are_ours() {
    // The webhook lets these through; the API server's schema does not.
    let by_schema = ["unknown field", "wrong type", "cors two forms", "lb two kinds"];
    for case in corpus("lint.yaml") {
        let refused = !problems(&case.manifests).is_empty();
        let expected = !case.webhook_refuses.is_empty() || by_schema.contains(&case.name.as_str());
        assert_eq!(refused, expected, "{}: {:?}", case.name, problems(&case.manifests));
    }
}

fn verdict(kind: &str, spec: &str) -> Vec<String> {
    let api = match kind {
        "EnvoyFilter" => "networking.istio.io/v1alpha3",
        "WasmPlugin" => "extensions.istio.io/v1alpha1",
        _ => "networking.istio.io/v1",
    };
    problems(&format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: x, namespace: default}}\nspec: {spec}\n"))
}

#[test]
fn verdicts_are_the_webhooks_field_by_field() {
    let balanced = |balancer: &str| format!("{{host: shop, trafficPolicy: {{loadBalancer: {balancer}}}}}");
    let locality = |setting: &str| balanced(&format!("{{localityLbSetting: {setting}}}"));
    let tunnel = |tunnel: &str| format!("{{host: shop, trafficPolicy: {{tunnel: {tunnel}}}}}");
    let tls = |tls: &str| {
        format!("{{servers: [{{port: {{number: 443, name: tls, protocol: TLS}}, hosts: [a.example], tls: {tls}}}]}}")
    };
    let entry = |resolution: &str, ports: &str| {
        format!(
            "{{hosts: [a.example], resolution: {resolution}, ports: {ports}, endpoints: [{{address: 'unix:///s'}}]}}"
        )
    };
    let (one, two) = ("[{number: 80, name: a}]", "[{number: 80, name: a}, {number: 81, name: b}]");
    for (kind, spec, refused) in [
        ("DestinationRule", "{host: shop, workloadSelector: {matchLabels: {a: b}}}".to_owned(), ""),
        ("DestinationRule", "{host: shop, workloadSelector: {matchLabels: {a: '*'}}}".to_owned(), "wildcard"),
        ("EnvoyFilter", "{workloadSelector: {labels: {app: 'x*'}}}".to_owned(), "wildcard"),
        ("WasmPlugin", "{url: 'file:///x', selector: {matchLabels: {'': x}}}".to_owned(), "empty key"),
        ("DestinationRule", locality("{distribute: [{from: r/a, to: {r/a: 80, r/b: 20}}]}"), ""),
        ("DestinationRule", locality("{distribute: [{from: r/a, to: {r/a: 80}}]}"), "total locality weight 80"),
        ("DestinationRule", locality("{distribute: [{from: r/a, to: {r/a: 80, r: 20}}]}"), "overlap"),
        ("DestinationRule", locality("{failover: [{from: r, to: s}]}"), ""),
        ("DestinationRule", locality("{failover: [{from: r, to: r}]}"), "different regions"),
        ("DestinationRule", locality("{failover: [{from: r/z, to: s}]}"), "only specify region"),
        (
            "DestinationRule",
            locality("{failover: [{from: r, to: s}], failoverPriority: [topology.kubernetes.io/zone]}"),
            "simultaneously",
        ),
        ("DestinationRule", balanced("{warmup: {duration: 10s, minimumPercent: -1}}"), "minimumPercent"),
        (
            "DestinationRule",
            "{host: shop, trafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [503, 600]}}}".to_owned(),
            "600",
        ),
        ("DestinationRule", tunnel("{protocol: CONNECT, targetHost: a.example, targetPort: 443}"), ""),
        ("DestinationRule", tunnel("{protocol: GET, targetHost: a.example, targetPort: 443}"), "tunnel protocol"),
        ("DestinationRule", tunnel("{targetHost: a.example, targetPort: 0}"), "port number 0"),
        ("Gateway", tls("{mode: MUTUAL, credentialName: c, caCrl: /crl}"), ""),
        ("Gateway", tls("{mode: PASSTHROUGH, credentialName: c, caCrl: /crl}"), "CRL"),
        ("ServiceEntry", entry("STATIC", one), ""),
        ("ServiceEntry", entry("STATIC", two), "exactly 1 service port"),
        ("ServiceEntry", entry("DNS", one), "not a valid FQDN"),
    ] {
        let found = verdict(kind, &spec);
        if refused.is_empty() {
            assert_eq!(found, Vec::<String>::new(), "{kind} {spec}");
        } else {
            assert!(found.iter().any(|found| found.contains(refused)), "{kind} {spec}: {found:?}");
        }
    }
}

#[test]
fn every_fault_of_every_file_is_named_with_its_place() {
    let one = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a.b]\n  http:\n  - retires: {attempts: 3}\n    route:\n    - destination: {host: shop, port: {number: '80'}}\n---\nkind: [\n";
    let two = "apiVersion: networking.istio.io/v1beta1\nkind: Gateway\nmetadata: {name: gw}\nspec:\n  servers:\n  - port: {number: 80, name: http, protocol: HTPP}\n    hosts: ['*']\n";
    let sources =
        [("one.yaml", one), ("two.yaml", two)].map(|(name, text)| Source { name: name.into(), text: text.into() });
    let (_, problems) = read(&sources);
    let words: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        words[..2],
        [
            "one.yaml:7:5: VirtualService default/a: spec.http[0].retires: unknown field \"retires\"; did you mean \"retries\"?",
            "one.yaml:9:48: VirtualService default/a: spec.http[0].route[0].destination.port.number: must be a whole number, this is the string \"80\"; write 80 without quotes",
        ]
    );
    assert!(words[2].starts_with("one.yaml:11:"), "{}", words[2]);
    assert!(words[3].starts_with("two.yaml:6:"), "{}", words[3]);
    assert_eq!(words.len(), 4);
}

#[test]
fn kinds_and_versions_are_told_apart() {
    let manifest = |api: &str, kind: &str| format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: x}}\n");
    for (api, kind, reason) in [
        ("networking.istio.io/v2", "VirtualService", "no version v2 of VirtualService"),
        (
            "networking.istio.io/v1",
            "VirtualServise",
            "no kind VirtualServise in networking.istio.io; did you mean VirtualService?",
        ),
        ("", "VirtualService", "apiVersion is missing"),
    ] {
        let found = problems(&manifest(api, kind));
        assert!(found.first().is_some_and(|found| found.contains(reason)), "{api} {kind}: {found:?}");
    }
    assert!(problems(&manifest("apps/v1", "Deployment")).is_empty());
}

#[test]
fn a_security_policy_on_the_gateway_is_refused_unless_allowed() {
    let policy = |kind: &str, namespace: &str, labels: &str| {
        format!(
            "{GATEWAY}apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {{selector: {{matchLabels: {labels}}}}}\n"
        )
    };
    for kind in ["AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication"] {
        let manifests = policy(kind, "istio-system", "{istio: ingressgateway}");
        let found = words(attempt(&manifests, &options()));
        assert!(found[0].contains(&format!("{kind} selects this gateway")), "{found:?}");
        let allowed = Options { allow_unsupported: vec![kind.into()], ..options() };
        assert_eq!(attempt(&manifests, &allowed).unwrap().warnings.len(), 1);
    }
    assert!(attempt(&policy("AuthorizationPolicy", "istio-system", "{app: other}"), &options()).is_ok());
    assert!(
        attempt(&policy("AuthorizationPolicy", "default", "{istio: ingressgateway}"), &options()).is_ok(),
        "of another namespace"
    );
}

#[test]
fn contradicting_selectors_name_both_gateways() {
    let other = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: other, namespace: default}\nspec: {selector: {istio: egressgateway}, servers: [{port: {number: 81, name: http, protocol: HTTP}, hosts: ['*']}]}\n";
    let found = words(attempt(&format!("{GATEWAY}{other}"), &Options::default()));
    assert!(found[0].contains("istio=egressgateway") && found[0].contains("istio-system/gw"), "{found:?}");
}

#[test]
fn what_nobody_here_does_is_refused_or_warned_about_at_its_place() {
    let redirect = format!(
        "{GATEWAY}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs, namespace: default}}\nspec: {{hosts: ['*'], gateways: [istio-system/gw], http: [{{redirect: {{uri: /, redirectCode: 304}}}}]}}\n"
    );
    let found = words(attempt(&redirect, &options()));
    assert!(found[0].contains("spec.http[0].redirect.redirectCode: ") && found[0].contains("308"), "{found:?}");

    let dynamic = format!(
        "{GATEWAY}apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: se, namespace: default}}\nspec: {{hosts: ['*.a.example'], location: MESH_EXTERNAL, resolution: DYNAMIC_DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n"
    );
    let found = words(attempt(&dynamic, &options()));
    assert!(found[0].contains("ServiceEntry default/se: spec.resolution"), "{found:?}");

    let traced = format!(
        "{GATEWAY}apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: t, namespace: istio-system}}\nspec: {{tracing: [{{providers: [{{name: otel}}]}}]}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    defaultConfig:\n      tracing: {{}}\n    defaultProviders:\n      tracing: [otel]\n    extensionProviders: [{{name: otel, opentelemetry: {{port: 4317, service: otel.default}}}}]\n"
    );
    let warned: Vec<_> = attempt(&traced, &options()).unwrap().warnings;
    let places: Vec<_> =
        warned.iter().map(|warning| (warning.field.as_str(), warning.reason.contains("--otlp"))).collect();
    assert_eq!(places, [("data.mesh.defaultProviders.tracing", true), ("spec.tracing", true)]);
    let line = traced.lines().position(|line| line.contains("tracing: [otel]")).unwrap() + 1;
    assert_eq!(warned[0].at.line, u64::try_from(line).unwrap());

    let policy = "{retryBudget: {percent: 10, budgetInterval: 5s}, loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 10s}, localityLbSetting: {enabled: true}}}";
    let rule = format!(
        "{GATEWAY}apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: dr, namespace: default}}\nspec: {{host: shop, trafficPolicy: {policy}}}\n"
    );
    let fields: Vec<String> =
        attempt(&rule, &options()).unwrap().warnings.into_iter().map(|warning| warning.field).collect();
    let expected = ["retryBudget.budgetInterval", "loadBalancer.localityLbSetting", "loadBalancer.warmup"];
    assert_eq!(fields, expected.map(|field| format!("spec.trafficPolicy.{field}")));
}
