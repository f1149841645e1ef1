//! From nothing to the first right answer, and what is resident after some load.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::gateways::{WORKLOADS, at_80, shop};
use crate::section::{Goal, Section};
use crate::{Bench, cost, load};

pub(crate) fn measure(bench: &Bench) -> Result<Section> {
    let setup = shop(bench.origin, true);
    let start = |envoy: bool| -> Result<Option<Duration>> {
        let began = std::time::Instant::now();
        let gateway = bench.runtime.block_on(async {
            if envoy { setup.envoy(&setup.flags).await } else { setup.host_sim(&setup.flags).await.map(Some) }
        })?;
        let Some(gateway) = gateway else { return Ok(None) };
        bench.runtime.block_on(load::one(at_80(&gateway)?, &WORKLOADS[1]))?;
        Ok(Some(began.elapsed()))
    };
    start(false)?; // compiles the module into the cache
    let starts: Result<Vec<_>> = (0..bench.rounds).map(|_| start(false)).collect();
    let fastest = starts?.into_iter().flatten().min().context("a start")?.as_secs_f64() * 1e3;
    let envoy = start(true)?.map(|took| took.as_secs_f64() * 1e3);
    let resident = suite_with_two_workers(bench)?;
    let lines = vec![
        format!("start to first right answer   host-sim {fastest:.0} ms   Envoy {:.0} ms", envoy.unwrap_or(f64::NAN)),
        format!("resident, suite, two workers, after load   host-sim {:.1} MB", resident / 1e6),
    ];
    let goals = vec![
        Goal::at_most(50.0, "start to first right answer, module compiled before, ms", fastest),
        Goal::at_most(50.0, "resident with the suite and two workers, MB", resident / 1e6),
    ];
    let figures = json!({"start_ms": fastest, "envoy_start_ms": envoy, "resident_bytes": resident});
    Ok(Section { title: "start and memory".to_owned(), lines, goals, figures })
}

/// Bytes resident with all five filters in one module and two workers, after some load.
fn suite_with_two_workers(bench: &Bench) -> Result<f64> {
    let mut setup = shop(bench.origin, true);
    setup.workers = 2;
    let folder = tempfile::tempdir()?;
    setup.manifests = shop(bench.origin, false).manifests;
    let plugin = folder.path().join("suite.yaml");
    std::fs::write(&plugin, SUITE)?;
    setup.manifests.push(plugin);
    let gateway = bench.runtime.block_on(setup.host_sim(&setup.flags))?;
    for workload in &WORKLOADS {
        let to = at_80(&gateway)?;
        load::Load { to, workload, connections: bench.connections, duration: bench.duration }.run(&bench.runtime)?;
    }
    Ok(f64::from(u32::try_from(cost::resident(gateway.process.id())?)?))
}

const SUITE: &str = r#"
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: suite, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  url: oci://registry.example.com/sluice/suite:0.1.0
  failStrategy: FAIL_CLOSE
  pluginConfig:
    headerMatch:
      rules:
        - name: beta-users
          match: [{cookies: {beta: {exact: "1"}}}]
          headers: {request: {set: {x-shop-audience: beta}}}
    rateLimit:
      rules:
        - name: plenty
          limit: {requests: 1000000, per: 1s}
"#;
