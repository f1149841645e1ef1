//! The examples in `filters/docs`: each page's configuration in the module as it is shipped, each of its requests answered as the page says, in
//! host-sim and in the real Envoy.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod filters;

use std::net::SocketAddr;

use filters::{Connection, address, block, plugin, setup};
use serde_json::Value;
use tests::repository;

const MODULES: [&str; 6] = ["header-match", "uri-rewrite", "traffic-shift", "fault-inject", "rate-limit", "suite"];

/// The fenced blocks of a kind.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    let fence = format!("```{kind}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// `GET /path  name: value  name: value -> 200 words name: value`; two spaces separate headers.
fn said(line: &str) -> (String, String, u16, String) {
    let (asked, answer) = line.split_once("->").unwrap();
    let mut parts =
        asked.trim().strip_prefix("GET ").unwrap().split("  ").map(str::trim).filter(|part| !part.is_empty());
    let path = parts.next().unwrap().to_owned();
    let headers = parts.map(|header| format!("{header}\r\n")).collect();
    let (status, rest) = answer.trim().split_once(' ').unwrap_or((answer.trim(), ""));
    (path, headers, status.parse().unwrap(), rest.trim().to_owned())
}

async fn check(who: &str, module: &str, to: SocketAddr, lines: &str) {
    let mut connection = Connection::to(to).await;
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let (path, headers, status, words) = said(line);
        let answer = connection.get(&path, &headers).await;
        let at = format!("{module}, {who}: {line}\n{}\n\n{}", answer.head, answer.body);
        assert_eq!(answer.status, status, "{at}");
        // The gateway tells the path it forwards in `seen`.
        let (body, header) = match words.split_once(": ") {
            Some((before, value)) => {
                let (body, name) = before.rsplit_once(' ').unwrap_or(("", before));
                (body, Some(format!("{name}: {value}").to_lowercase()))
            }
            None => (words.as_str(), None),
        };
        if let Some(header) = header {
            assert!(answer.head.lines().any(|there| there == header), "{header:?} is missing in {at}");
        }
        assert!(body.is_empty() || answer.body == body, "{at}");
    }
}

#[test]
fn every_page_has_one_example_and_it_does_what_the_page_says() {
    for module in MODULES {
        let page = std::fs::read_to_string(repository().join(format!("filters/docs/{module}.md"))).unwrap();
        let (configs, requests) = (blocks(&page, "json"), blocks(&page, "requests"));
        assert_eq!((configs.len(), requests.len()), (1, 1), "{module}.md");
        let config: Value = serde_json::from_str(configs[0]).unwrap_or_else(|e| panic!("{module}.md: {e}"));
        let (_folder, setup) = setup(&[plugin(module, &config)], 1);
        block(async {
            let pair = setup.start().await.unwrap_or_else(|e| panic!("{module}.md: {e:#}"));
            check("host-sim", module, address(&pair.host_sim), requests[0]).await;
            if let Some(envoy) = &pair.envoy {
                check("Envoy", module, address(envoy), requests[0]).await;
            }
        });
    }
}

#[test]
fn every_field_of_a_schema_is_on_the_modules_page_or_with_the_conditions() {
    let conditions = std::fs::read_to_string(repository().join("filters/docs/conditions.md")).unwrap();
    for module in MODULES.into_iter().filter(|module| *module != "suite") {
        let page = std::fs::read_to_string(repository().join(format!("filters/docs/{module}.md"))).unwrap();
        let schema = std::fs::read_to_string(repository().join(format!("manifests/schema/{module}.json"))).unwrap();
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let mut rules = schema["$defs"]["RuleConfig"]["properties"].as_object().unwrap().keys();
        let missing: Vec<_> =
            rules.by_ref().filter(|field| !page.contains(*field) && !conditions.contains(*field)).collect();
        assert!(missing.is_empty(), "{module}.md says nothing of {missing:?}");
    }
}
