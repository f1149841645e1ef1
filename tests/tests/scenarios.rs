//! The same manifests in the real Envoy and in host-sim: every scenario of `tests/cases`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use tests::envoy;
use tests::scenario;

#[test]
fn every_scenario_holds_in_envoy_and_in_host_sim() {
    let only = std::env::var("SCENARIO").unwrap_or_default(); // part of a name, to run a few by hand
    let scenarios: Vec<_> =
        scenario::all().unwrap().into_iter().filter(|(_, scenario)| scenario.name.contains(&only)).collect();
    assert!(!scenarios.is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (file, scenario) in &scenarios {
        let report = runtime.block_on(scenario.run());
        compared += report.compared;
        println!("{} {file}: {}", if report.wrong.is_empty() { "ok    " } else { "WRONG " }, scenario.name);
        wrong.extend(report.wrong.into_iter().map(|what| format!("{file}: {}: {what}", scenario.name)));
    }
    println!("{} scenarios, {compared} answers compared with Envoy's", scenarios.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 0 || envoy::binary().unwrap().is_none(), "nothing was compared");
}
