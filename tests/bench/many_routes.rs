//! Ten routes against ten thousand: what a request costs, and what the commands that read the manifests cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::pair::Setup;
use tests::{host_sim, repository};

use crate::contest::{Contest, Contestant, middle};
use crate::gateways::at_80;
use crate::load::Target;
use crate::section::{Goal, Section};
use crate::{Bench, cost};

const MANY: usize = 10_000;
const FEW: usize = 10;

/// The last prefix of either that asks for nothing else.
const FEW_TARGET: Target = Target { name: "last route", path: "/prefix/6/x", filtered: true };
const MANY_TARGET: Target = Target { name: "last route", path: "/prefix/9998/x", filtered: true };

/// A request along the last route, of ten and of ten thousand.
pub(crate) fn requests(bench: &Bench) -> Result<Section> {
    let folder = tempfile::tempdir()?;
    let mut gateways = Vec::new();
    for (name, routes, target) in [("10 routes", FEW, FEW_TARGET), ("10,000 routes", MANY, MANY_TARGET)] {
        let file = folder.path().join(format!("{routes}.yaml"));
        std::fs::write(&file, manifest(routes)?)?;
        gateways.push((name, bench.runtime.block_on(gateway(&file, bench.origin))?, target));
    }
    let contestants: Result<Vec<_>> = gateways
        .iter()
        .map(|(name, gateway, target)| Ok(Contestant::new(name, &gateway.process, at_80(gateway)?, &[*target])))
        .collect();
    let contest = Contest::run(contestants?, bench)?;
    let ratio = contest.ratio("10,000 routes", "10 routes", FEW_TARGET.name, |f| f.cpu);
    Ok(Section {
        title: "ten thousand routes in host-sim".to_owned(),
        lines: contest.table(),
        goals: ratio
            .map(|ratio| Goal::at_most(1.1, "10,000 routes / 10, CPU time per request", ratio))
            .into_iter()
            .collect(),
        figures: contest.json(),
    })
}

async fn gateway(manifest: &Path, origin: SocketAddr) -> Result<tests::gateway::Gateway> {
    let flags = ["--backend".to_owned(), format!("cart.shop.svc.cluster.local={origin}")].to_vec();
    let manifests = vec![manifest.to_path_buf()];
    let setup = Setup { manifests, flags, backends: BTreeMap::new(), ports: [80].into(), workers: 1 };
    setup.host_sim(&setup.flags).await
}

/// The commands that people wait for.
pub(crate) fn commands(bench: &Bench) -> Result<Section> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: String| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let many = file("many.yaml", manifest(MANY)?)?;
    let cases = file("cases.yaml", thousand_cases()?)?;
    let shop = ["-f", "manifests/examples/shop", "--wasm-dir", "target/filters"];
    let with = |command: &'static str, rest: &[&str]| {
        [&[command], &shop[..], rest].concat().into_iter().map(str::to_owned).collect()
    };
    let alone = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let rows: [(&str, f64, Vec<String>); 4] = [
        ("explain, the bundled example", 20.0, with("explain", &["http://shop.example.com/products"])),
        ("test, 1,000 cases through the module", 1000.0, with("test", &[&cases])),
        ("explain, 10,000 routes", 200.0, alone(&["explain", "-f", &many, "http://shop.example.com/prefix/9998/x"])),
        ("lint, 10,000 routes", 1000.0, alone(&["lint", "-f", &many])),
    ];
    let (mut lines, mut goals, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for (what, goal, arguments) in rows {
        let (cpu, wall) = time(&arguments, bench.rounds)?;
        lines.push(format!("{what:<40}{cpu:>7.0} ms of CPU   {wall:>7.0} ms on the clock"));
        goals.push(Goal::at_most(goal, format!("{what}, ms of CPU"), cpu));
        figures.push(json!({"what": what, "cpu_ms": cpu, "wall_ms": wall}));
    }
    Ok(Section { title: "commands".to_owned(), lines, goals, figures: figures.into() })
}

/// Milliseconds of CPU and on the clock: the mean and the median of a few runs.
fn time(arguments: &[String], rounds: usize) -> Result<(f64, f64)> {
    let binary = host_sim::binary()?;
    let runs = rounds.max(3);
    let (mut walls, mut spent) = (Vec::new(), std::time::Duration::ZERO);
    for run in 0..=runs {
        let (began, before) = (Instant::now(), cost::children()?);
        let mut command = Command::new(&binary);
        let output =
            command.args(arguments).current_dir(repository()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        // 1 is "there are findings".
        ensure!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
        // The first run warms caches.
        if run > 0 {
            walls.push(began.elapsed().as_secs_f64() * 1e3);
            spent += cost::children()?.saturating_sub(before);
        }
    }
    Ok((spent.as_secs_f64() * 1e3 / f64::from(u32::try_from(runs)?), middle(walls.into_iter())))
}

/// A gateway with so many routes of four kinds, all to one service.
fn manifest(routes: usize) -> Result<String> {
    let mut text = HEAD.to_owned();
    for at in 0..routes {
        let uri = if at % 4 == 0 { format!("exact: /exact/{at}") } else { format!("prefix: /prefix/{at}/") };
        let more = match at % 4 {
            1 => format!("\n          headers: {{x-tenant: {{exact: t{at}}}}}"),
            3 => "\n          method: {exact: POST}".to_owned(),
            _ => String::new(),
        };
        write!(text, "    - name: r{at}\n      match:\n        - uri:\n            {uri}{more}\n")?;
        text.push_str("      route:\n        - destination:\n            host: cart\n            port:\n              number: 8080\n");
    }
    Ok(text)
}

fn thousand_cases() -> Result<String> {
    let mut text = "cases:\n".to_owned();
    for at in 0..1000 {
        let url = format!("http://shop.example.com/api/cart/items?page={at}");
        writeln!(
            text,
            "  - name: page {at}\n    request: {{url: \"{url}\", headers: {{x-user: ann}}}}\n    route: cart\n    upstream: {{path: \"/items?page={at}\"}}"
        )?;
    }
    Ok(text)
}

const HEAD: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: many, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: http, port: 8080}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: many, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [many]
  http:
"#;
