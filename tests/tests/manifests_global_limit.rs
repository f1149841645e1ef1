//! The overlay `global-limit` with the service it deploys: its own descriptors, in the real envoyproxy/ratelimit on Redis, asked by two gateways.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;

use serde_json::Value;
use tests::case::{Answer, Outcome, Send, Tls, Version};
use tests::certs::Certificates;
use tests::pair::Setup;
use tests::rate_limit_service::RateLimitService;
use tests::repository;

fn overlay() -> String {
    fs::read_to_string(repository().join("manifests/rendered/global-limit.yaml")).unwrap()
}

/// What the overlay's ConfigMap tells the service; a thousand a minute is cut down to five a day.
fn limits() -> String {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&overlay()).unwrap();
    let map = documents.iter().find(|document| document["kind"] == "ConfigMap").unwrap();
    let text = map["data"]["shop.yaml"].as_str().unwrap();
    assert!(text.contains("unit: minute") && text.contains("requests_per_unit: 1000"), "{text}");
    text.replace("unit: minute", "unit: day").replace("requests_per_unit: 1000", "requests_per_unit: 5")
}

fn send(path: &str, user: &str) -> Send {
    Send {
        method: "GET".into(),
        path: path.into(),
        headers: vec![("host".into(), "shop.example.com".into()), ("cookie".into(), format!("shop-session={user}"))],
        body: String::new(),
        port: 443,
        version: Version::Http11,
        tls: Some(Tls { sni: Some("shop.example.com".into()), client: None }),
        repeat: None,
        settle_ms: 0,
    }
}

fn status(answer: &Answer) -> u16 {
    match &answer.outcome {
        Outcome::Response { status, .. } => *status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn users_share_one_allowance_over_all_gateways() {
    let Some(mut service) = RateLimitService::start(&limits()).await.unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::fresh().unwrap();
    let port = format!("port_value: {}", service.address.port());
    let here = overlay().replace("address: ratelimit.istio-system.svc.cluster.local", "address: 127.0.0.1");
    let here = here.replace("port_value: 8081", &port).replace("type: STRICT_DNS", "type: STATIC");
    assert!(here.contains(&port), "the overlay names its cluster in another way");
    let secret = certificates.secret("cert-m").unwrap().replace("\n  name: cert-m\n", "\n  name: shop-tls\n");
    let file = folder.path().join("overlay.yaml");
    fs::write(&file, format!("{here}\n---\n{secret}")).unwrap();
    let setup = Setup {
        manifests: vec![file],
        flags: ["--wasm-dir", "target/filters"].map(str::to_owned).into(),
        backends: [("cart.shop.svc.cluster.local".to_owned(), "cart".to_owned())].into(),
        ports: [80, 443].into(),
        workers: 1,
    };
    let pair = setup.start().await.unwrap().with(certificates);
    // Each of these reaches host-sim, and Envoy where there is one.
    let each = if pair.envoy.is_some() { 2 } else { 1 };
    let mut admitted = 0;
    for _ in 0..5 {
        let (envoy, host_sim) = pair.ask(&send("/api/cart/items", "ann"), 0).await.unwrap();
        admitted +=
            [Some(&host_sim), envoy.as_ref()].into_iter().flatten().filter(|answer| status(answer) == 200).count();
    }
    assert_eq!(admitted, 5, "of {} requests", 5 * each);
    let both = |user: &'static str, expected: u16| {
        let pair = &pair;
        async move {
            let (envoy, host_sim) = pair.ask(&send("/api/cart/items", user), 0).await.unwrap();
            for answer in [Some(&host_sim), envoy.as_ref()].into_iter().flatten() {
                assert_eq!(status(answer), expected, "{user}: {answer:?}");
            }
        }
    };
    both("ann", 429).await;
    both("bob", 200).await;
    // Redis is lost: requests pass (failureModeDeny: false).
    service.lose_its_store();
    both("ann", 200).await;
}
