//! Which hosts a gateway takes, and the routes under them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code, reason = "a test")]

mod gateway;

use gateway::{GATEWAY, SHOP, translation, virtual_hosts};
use serde_json::Value;

fn virtual_service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n"
    )
}

/// `name: domains -> clusters` of each virtual host.
fn table(manifests: &str) -> Vec<String> {
    let line = |host: &Value| {
        let routes = host["routes"].as_array().cloned().unwrap_or_default();
        let target = |route: &Value| {
            let matched = &route["match"];
            let path = matched["path"].as_str().or(matched["prefix"].as_str()).unwrap_or("~");
            let cluster = route["route"]["cluster"].as_str().unwrap_or("-");
            format!("{path}>{}", cluster.split('|').nth(2).unwrap_or("?"))
        };
        let targets: Vec<_> = routes.iter().map(target).collect();
        let domains: Vec<_> =
            host["domains"].as_array().unwrap().iter().map(|domain| domain.as_str().unwrap()).collect();
        let tls = host["require_tls"].as_str().map_or(String::new(), |tls| format!(" tls={tls}"));
        format!("{}: {} -> {}{tls}", host["name"].as_str().unwrap(), domains.join(","), targets.join(" "))
    };
    virtual_hosts(manifests).iter().map(line).collect()
}

fn gateway(servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: gw, namespace: istio-system}}\nspec: {{selector: {{istio: ingressgateway}}, servers: [{servers}]}}\n---\n{SHOP}"
    )
}

const HTTP: &str = "port: {number: 80, name: http, protocol: HTTP}";

#[test]
fn the_narrower_of_two_hosts_is_bound_in_lower_case() {
    let gateway = gateway(&format!("{{{HTTP}, hosts: ['*.example.com', default/shop.test, other/no.test]}}"));
    let service = virtual_service(
        "a",
        "{hosts: [A.example.com, '*.test', no.test.example.com], gateways: [istio-system/gw], http: [{route: [{destination: {host: shop, subset: v1}}]}]}",
    );
    assert_eq!(
        table(&format!("{gateway}{service}")),
        ["no.test.example.com:80: no.test.example.com,a.example.com,shop.test -> />v1"]
    );
}

#[test]
fn routes_of_one_host_are_joined_by_age_and_catch_alls_go_last() {
    let service =
        |name, rules| virtual_service(name, &format!("{{hosts: [a.b], gateways: [istio-system/gw], http: [{rules}]}}"));
    let route = |subset| format!("route: [{{destination: {{host: shop, subset: {subset}}}}}]");
    let two = format!(
        "{}{}",
        service("a", format!("{{match: [{{uri: {{prefix: /a}}}}], {}}}, {{{}}}", route("v1"), route("v1"))),
        service("b", format!("{{match: [{{uri: {{exact: /b}}}}], {}}}", route("v2")))
    );
    assert_eq!(table(&format!("{GATEWAY}{SHOP}{two}")), ["a.b:80: a.b -> /a>v1 /b>v2 />v1"]);
}

#[test]
fn nothing_after_a_catch_all_survives() {
    let route = "route: [{destination: {host: shop, subset: v1}}]";
    let rules = format!(
        "{{match: [{{uri: {{prefix: /}}}}, {{uri: {{prefix: /never}}}}], {route}}}, {{match: [{{uri: {{prefix: /later}}}}], {route}}}"
    );
    let service = virtual_service("a", &format!("{{hosts: [a.b], gateways: [istio-system/gw], http: [{rules}]}}"));
    assert_eq!(table(&format!("{GATEWAY}{SHOP}{service}")), ["a.b:80: a.b -> />v1"]);
}

#[test]
fn a_gateway_without_virtual_services_is_a_black_hole() {
    assert_eq!(table(GATEWAY), ["blackhole:80: * -> "]);
}

#[test]
fn a_redirecting_server_redirects_even_hosts_nobody_serves() {
    let gateway = gateway(&format!("{{{HTTP}, hosts: [a.b, c.d], tls: {{httpsRedirect: true}}}}"));
    let service = virtual_service(
        "a",
        "{hosts: [a.b], gateways: [istio-system/gw], http: [{route: [{destination: {host: shop, subset: v1}}]}]}",
    );
    assert_eq!(table(&format!("{gateway}{service}")), ["a.b:80: a.b -> />v1 tls=ALL", "c.d:80: c.d ->  tls=ALL"]);
}

#[test]
fn a_private_virtual_service_of_another_namespace_is_not_seen() {
    let service = virtual_service(
        "a",
        "{hosts: [a.b], exportTo: ['.'], gateways: [istio-system/gw], http: [{route: [{destination: {host: shop}}]}]}",
    );
    assert_eq!(table(&format!("{GATEWAY}{SHOP}{service}")), ["blackhole:80: * -> "]);
}

#[test]
fn a_route_knows_where_it_was_written() {
    let service = virtual_service(
        "vs",
        "\n  hosts: [a.b]\n  gateways: [istio-system/gw]\n  http:\n  - match:\n    - uri: {prefix: /x}\n    - uri: {prefix: /y}\n    delegate: {name: d}\n",
    );
    let delegate = virtual_service(
        "d",
        "\n  http:\n  - match: [{uri: {prefix: /x/1}}]\n    route: [{destination: {host: shop}}]\n  - match: [{uri: {prefix: /z}}]\n    route: [{destination: {host: shop}}]\n",
    );
    let manifests = format!("{GATEWAY}{SHOP}{service}{delegate}");
    let hosts = virtual_hosts(&manifests);
    let origin = &hosts[0]["routes"][0]["metadata"]["filter_metadata"]["sluice"];
    assert_eq!(origin["resource"], "VirtualService default/d");
    assert_eq!((&origin["rule"], &origin["match"]), (&0.into(), &0.into()));
    let line = usize::try_from(origin["line"].as_u64().unwrap()).unwrap();
    assert_eq!(manifests.lines().nth(line - 1).unwrap().trim(), "- match: [{uri: {prefix: /x/1}}]");
    let warnings: Vec<_> = translation(&manifests).warnings.iter().map(|warning| warning.field.clone()).collect();
    assert_eq!(warnings, ["spec.http[1]"], "the rule that no root match covers is left out aloud");
}

#[test]
fn a_gateway_that_is_named_twice_has_the_routes_twice() {
    let routes = |gateways: &str| {
        let service = virtual_service(
            "a",
            &format!(
                "{{hosts: [a.b], gateways: [{gateways}], http: [{{match: [{{uri: {{prefix: /x}}}}], route: [{{destination: {{host: shop}}}}]}}]}}"
            ),
        );
        virtual_hosts(&format!("{GATEWAY}{SHOP}{service}"))[0]["routes"].as_array().unwrap().len()
    };
    assert_eq!((routes("istio-system/gw"), routes("istio-system/gw, istio-system/gw")), (1, 2));
}
