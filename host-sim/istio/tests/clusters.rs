//! Clusters: whose policy holds, where endpoints are.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code, reason = "a test")]

mod gateway;

use gateway::{GATEWAY, SHOP, attempt, cluster, options, resources, words};
use istio::{Backend, Options};
use serde_json::{Value, json};

fn rule(spec: &str) -> String {
    format!(
        "{GATEWAY}apiVersion: v1\nkind: Service\nmetadata: {{name: shop, namespace: default}}\nspec: {{ports: [{{name: http, port: 80}}, {{name: http-admin, port: 81}}]}}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: shop, namespace: default}}\nspec: {spec}\n"
    )
}

const ROUTED: &str = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs, namespace: default}\nspec: {hosts: ['*'], gateways: [istio-system/gw], http: [{route: [{destination: {host: shop, subset: v1}}]}]}\n";

#[test]
fn a_port_replaces_its_level_and_a_subset_overrides_block_by_block() {
    let manifests = rule(
        "{host: shop, trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 5}}, portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: ROUND_ROBIN}}]}, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]}",
    );
    let own = |name: &str| {
        let cluster = cluster(&manifests, name);
        let limit = &cluster["circuit_breakers"]["thresholds"][0]["max_connections"];
        (cluster["lb_policy"].as_str().unwrap_or("ROUND_ROBIN").to_owned(), limit.as_u64().unwrap())
    };
    let unlimited = u64::from(u32::MAX);
    assert_eq!(own("outbound|80||shop.default.svc.cluster.local"), ("RANDOM".into(), 5));
    assert_eq!(
        own("outbound|81||shop.default.svc.cluster.local"),
        ("ROUND_ROBIN".into(), unlimited),
        "nothing is inherited at a port"
    );
    assert_eq!(
        own("outbound|80|v1|shop.default.svc.cluster.local"),
        ("ROUND_ROBIN".into(), 5),
        "the pool is inherited"
    );
}

#[test]
fn rules_for_one_host_are_merged_and_the_first_policy_holds() {
    let second = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop2, namespace: default}\nspec: {host: shop.default.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v3, labels: {version: v3}}]}\n";
    let manifests = format!("{GATEWAY}{SHOP}{second}");
    assert_eq!(cluster(&manifests, "outbound|80|v3|shop.default.svc.cluster.local")["lb_policy"], "RANDOM");
    assert_eq!(cluster(&manifests, "outbound|80|v1|shop.default.svc.cluster.local")["lb_policy"], "RANDOM");
}

fn endpoints(cluster: &Value) -> Vec<String> {
    let localities = cluster["load_assignment"]["endpoints"].as_array().cloned().unwrap_or_default();
    let all = localities.iter().flat_map(|locality| locality["lb_endpoints"].as_array().cloned().unwrap_or_default());
    all.map(|endpoint| {
        let address = &endpoint["endpoint"]["address"]["socket_address"];
        let health = endpoint["health_status"].as_str().unwrap_or("UNKNOWN");
        format!("{}:{} {health}", address["address"].as_str().unwrap(), address["port_value"])
    })
    .collect()
}

#[test]
fn endpoints_come_from_slices_with_the_labels_of_their_pods() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, namespace: default, labels: {kubernetes.io/service-name: shop}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints:\n- {addresses: [10.0.0.1], targetRef: {kind: Pod, name: a}}\n- {addresses: [10.0.0.2], conditions: {ready: false, terminating: false}}\n- {addresses: [10.0.0.3], conditions: {ready: false, terminating: true}}\n---\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default, labels: {version: v1}}\nspec: {anything: goes}\nstatus: {podIP: 10.0.0.1}\n";
    let manifests = format!("{GATEWAY}{SHOP}{slice}{pod}");
    let all = cluster(&manifests, "outbound|80||shop.default.svc.cluster.local");
    assert_eq!(endpoints(&all), ["10.0.0.1:8080 HEALTHY", "10.0.0.2:8080 UNHEALTHY"], "what shuts down is left out");
    assert_eq!(
        endpoints(&cluster(&manifests, "outbound|80|v1|shop.default.svc.cluster.local")),
        ["10.0.0.1:8080 HEALTHY"]
    );
}

#[test]
fn an_address_whose_pod_is_not_there_is_left_out_aloud_of_slices_and_of_endpoints() {
    let named = |name: &str| format!("targetRef: {{kind: Pod, name: {name}}}");
    let slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, namespace: default, labels: {{kubernetes.io/service-name: shop}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.0.0.1], {}}}, {{addresses: [10.0.0.2], {}}}]\n",
        named("a"),
        named("gone")
    );
    let list = format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: shop, namespace: default}}\nsubsets: [{{ports: [{{name: http, port: 8080}}], addresses: [{{ip: 10.0.0.1, {}}}], notReadyAddresses: [{{ip: 10.0.0.2, {}}}]}}]\n",
        named("a"),
        named("gone")
    );
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default}\nspec: {}\nstatus: {podIP: 10.0.0.1}\n";
    let alone = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: other}\nspec: {}\n";
    for (lists, field) in [(slice, "endpoints[1].targetRef"), (list, "subsets[0].notReadyAddresses[0].targetRef")] {
        let found = |pod: &str| {
            let manifests = format!("{GATEWAY}{SHOP}{lists}{pod}");
            let warnings = gateway::translation(&manifests).warnings;
            let fields: Vec<_> = warnings.iter().map(|warning| warning.field.clone()).collect();
            (endpoints(&cluster(&manifests, "outbound|80||shop.default.svc.cluster.local")).len(), fields)
        };
        assert_eq!(found(pod), (1, vec![field.to_owned()]));
        assert_eq!(found(alone), (2, vec![]), "of this namespace nobody meant to say which pods there are");
    }
}

/// A ServiceEntry for `host` with one endpoint.
fn entry(name: &str, namespace: &str, metadata: &str, host: &str, address: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}{metadata}}}\nspec: {{hosts: [{host}], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, endpoints: [{{address: {address}}}]}}\n"
    )
}

#[test]
fn entries_for_a_kubernetes_service_of_their_namespace_add_to_its_endpoints() {
    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: default}\nspec: {ports: [{name: http, port: 80}]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: shop-x, namespace: default, labels: {kubernetes.io/service-name: shop}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.1.1.1]}]\n";
    let host = "shop.default.svc.cluster.local";
    let found = |namespace: &str| {
        let manifests = format!("{GATEWAY}{SERVICE}{}", entry("more", namespace, "", host, "10.1.1.9"));
        endpoints(&cluster(&manifests, &format!("outbound|80||{host}")))
    };
    assert_eq!(found("default"), ["10.1.1.9:80 UNKNOWN", "10.1.1.1:8080 HEALTHY"]);
    assert_eq!(found("prod"), ["10.1.1.1:8080 HEALTHY"], "another namespace's entry is another service");
}

#[test]
fn of_two_entries_for_one_host_the_older_wins_and_one_without_an_age_is_the_youngest() {
    let aged = ", creationTimestamp: '2026-01-01T00:00:00Z'";
    let first = entry("a", "default", "", "api.external", "10.1.1.1");
    let second = entry("b", "prod", aged, "api.external", "10.1.1.2");
    let found = endpoints(&cluster(&format!("{GATEWAY}{first}{second}"), "outbound|80||api.external"));
    assert_eq!(found, ["10.1.1.2:80 UNKNOWN"]);
}

#[test]
fn the_users_word_on_where_a_service_is_goes_before_all() {
    let manifests = format!("{GATEWAY}{SHOP}{ROUTED}");
    let backend = |subset: Option<&str>, port| Backend {
        host: "shop".into(),
        port: None,
        subset: subset.map(ToOwned::to_owned),
        address: "127.0.0.1".into(),
        address_port: port,
    };
    let options = Options { backends: vec![backend(None, 1000), backend(Some("v2"), 2000)], ..options() };
    let translation = attempt(&manifests, &options).unwrap();
    let all = serde_json::to_value(&translation.bootstrap).unwrap();
    let found = |subset: &str| {
        let name = format!("outbound|80|{subset}|shop.default.svc.cluster.local");
        let clusters = all["static_resources"]["clusters"].as_array().unwrap();
        endpoints(clusters.iter().find(|cluster| cluster["name"] == name.as_str()).unwrap())
    };
    assert_eq!(found("v1"), ["127.0.0.1:1000 UNKNOWN"]);
    assert_eq!(found("v2"), ["127.0.0.1:2000 UNKNOWN"]);
    assert_eq!(found(""), ["127.0.0.1:1000 UNKNOWN", "127.0.0.1:2000 UNKNOWN"]);
}

#[test]
fn services_nobody_knows_the_endpoints_of_get_echo_backends() {
    let deployment = |name: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop-{name}, namespace: default}}\nspec: {{template: {{metadata: {{labels: {{app: shop, version: {name}}}}}}}}}\n"
        )
    };
    let echo = |manifests: &str| {
        let translation = attempt(manifests, &Options { echo: true, ..options() }).unwrap();
        translation.echo.into_iter().map(|backend| (backend.name, backend.clusters)).collect::<Vec<_>>()
    };
    let v1 = "outbound|80|v1|shop.default.svc.cluster.local".to_owned();
    assert_eq!(
        echo(&format!("{GATEWAY}{SHOP}{ROUTED}{}", deployment("v1"))),
        [("shop-v1".to_owned(), vec![v1.clone()])]
    );
    assert_eq!(
        echo(&format!("{GATEWAY}{SHOP}{ROUTED}")),
        [("shop-v1".to_owned(), vec![v1])],
        "per subset without Deployments"
    );
    assert!(echo(&format!("{GATEWAY}{SHOP}")).is_empty(), "nothing routes there");
}

#[test]
fn a_service_entry_by_name_is_resolved_by_dns() {
    let manifests = format!(
        "{GATEWAY}apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: api, namespace: default}}\nspec: {{hosts: [api.example.com], ports: [{{number: 443, name: https, protocol: HTTPS, targetPort: 8443}}], resolution: DNS}}\n"
    );
    let cluster = cluster(&manifests, "outbound|443||api.example.com");
    assert_eq!(
        (&cluster["type"], endpoints(&cluster)),
        (&json!("STRICT_DNS"), vec!["api.example.com:8443 UNKNOWN".to_owned()])
    );
}

#[test]
fn the_secrets_a_rule_names_come_from_the_gateways_namespace_and_a_missing_one_is_warned_about() {
    let policy = "{host: shop, subsets: [{name: v1, labels: {version: v1}}], trafficPolicy: {tls: {mode: MUTUAL, credentialName: client}}}";
    let secret = |namespace: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: client, namespace: {namespace}}}\nstringData: {{tls.crt: c, tls.key: k, ca.crt: a}}\n"
        )
    };
    let rows: [(&str, &[&str], usize); 2] =
        [("istio-system", &["kubernetes://client", "kubernetes://client-cacert"], 0), ("default", &[], 2)];
    for (namespace, found, missing) in rows {
        let manifests = format!("{}{ROUTED}{}", rule(policy), secret(namespace));
        let translation = attempt(&manifests, &options()).unwrap();
        let secrets = translation.bootstrap.static_resources.unwrap().secrets;
        let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, found, "{namespace}");
        let warned =
            translation.warnings.iter().filter(|warning| warning.reason.starts_with("no Secret istio-system/"));
        assert_eq!(warned.count(), missing, "{namespace}: {:?}", translation.warnings);
    }
}

#[test]
fn mesh_certificates_are_refused_where_they_are_used() {
    let policy =
        "{host: shop, subsets: [{name: v1, labels: {version: v1}}], trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}";
    let manifests = rule(policy);
    assert!(attempt(&manifests, &options()).is_ok(), "nothing is sent there");
    let routed = format!("{manifests}{ROUTED}");
    let problems = words(attempt(&routed, &options()));
    assert!(problems[0].contains("ISTIO_MUTUAL needs a mesh certificate"), "{problems:?}");
    let allowed = Options { allow_unsupported: vec!["ISTIO_MUTUAL".into()], ..options() };
    assert!(attempt(&routed, &allowed).is_ok());
}

#[test]
fn gateways_have_a_black_hole() {
    let clusters = resources(GATEWAY)["clusters"].clone();
    assert_eq!(clusters.as_array().unwrap().last().unwrap()["name"], "BlackHoleCluster");
}
