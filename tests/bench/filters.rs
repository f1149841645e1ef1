//! What our filters cost inside Envoy: the suite beside a module that does nothing, ten thousand rules beside ten and beside as many of
//! Envoy's own routes, and the five modules one by one.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{envoy, repository};

use crate::Bench;
use crate::chains::{self, Chain, one_route};
use crate::contest::{Contest, Contestant, middle};
use crate::filter_cost::sdk_filter;
use crate::load::{Target, one};
use crate::section::{Goal, Section};

const MODULES: [(&str, &str); 5] = [
    ("header-match", "headerMatch"),
    ("rate-limit", "rateLimit"),
    ("fault-inject", "faultInject"),
    ("uri-rewrite", "uriRewrite"),
    ("traffic-shift", "trafficShift"),
];

/// What is asked: something no rule concerns, something one module has a rule for, and something all five have a rule for.
const NONE: Target = Target { name: "no rule", path: "/nobody/products?page=2", filtered: true };
const ONE: Target = Target { name: "one rule", path: "/svc-5/products?page=2", filtered: true };
const ALL: Target = Target { name: "five rules", path: "/team-5/products?page=2", filtered: true };
const LAST_OF_10: Target = Target { name: "last rules", path: "/team-9/products?page=2", filtered: true };
const LAST_OF_10_000: Target = Target { name: "last rules", path: "/team-9999/products?page=2", filtered: true };

const HELD: u16 = 8;

/// The chains by their number.
const CHAINS: [(u16, &str, &[Target]); 8] = [
    (1, "no-op module", &[NONE, ONE, ALL]),
    (2, "suite, 20 rules a module", &[NONE, ONE, ALL]),
    (3, "five modules, 20 rules", &[NONE, ONE, ALL]),
    (4, "suite, 10 rules", &[LAST_OF_10]),
    (5, "suite, 10,000 rules", &[LAST_OF_10_000]),
    (6, "Envoy's 10 routes", &[LAST_OF_10]),
    (7, "Envoy's 10,000 routes", &[LAST_OF_10_000]),
    (HELD, "held for 50 ms", &[]),
];

/// Measures them all in one Envoy with one worker.
pub(crate) fn measure(bench: &Bench) -> Result<Section> {
    let title = "the filters inside Envoy, in CPU time of its process".to_owned();
    let Some(binary) = envoy::binary()? else {
        return Ok(Section {
            title,
            lines: vec!["no Envoy: not measured".to_owned()],
            goals: Vec::new(),
            figures: json!([]),
        });
    };
    let ours = |module: &str, configuration: &Value| -> Result<Value> {
        let file = repository().join(format!("target/filters/{module}.wasm"));
        ensure!(file.is_file(), "{}: `make filters` first", file.display());
        Ok(chains::plugin(&format!("{module} {}", configuration.to_string().len()), &file, &configuration.to_string()))
    };
    let twenty = configuration(20);
    let five: Result<Vec<_>> =
        MODULES.iter().map(|(module, name)| ours(module, twenty.get(name).unwrap_or(&Value::Null))).collect();
    let filters = [
        vec![chains::plugin("noop", &sdk_filter()?, "noop")],
        vec![ours("suite", &twenty)?],
        five?,
        vec![ours("suite", &configuration(10))?],
        vec![ours("suite", &configuration(10_000))?],
        Vec::new(),
        Vec::new(),
        vec![ours("fault-inject", &json!({"rules": [{"delay": {"fixedDelay": "50ms"}}]}))?],
    ];
    let chains = CHAINS.iter().zip(filters).map(|((number, ..), filters)| {
        let routes = match number {
            6 => routes(10),
            7 => routes(10_000),
            _ => one_route(),
        };
        Chain { number: *number, filters, routes }
    });
    let bootstrap = chains::bootstrap(bench.origin, chains.collect());
    let gateway = bench.runtime.block_on(envoy::start(&binary, &bootstrap, 1))?;
    let mut contestants = Vec::new();
    for (number, name, targets) in CHAINS {
        let Some(address) = gateway.ports.get(&number) else { anyhow::bail!("listener {number} is not there") };
        for target in targets {
            bench.runtime.block_on(one(*address, target))?;
        }
        contestants.push(Contestant::new(name, &gateway.process, *address, targets));
    }
    let contest = Contest::run(contestants, bench)?;
    let ratio = |of: &str, to: &str, target: Target| contest.ratio(of, to, target.name, |f| f.cpu).unwrap_or(f64::NAN);
    let mut goals = Vec::new();
    for target in [NONE, ONE, ALL] {
        let what = format!("no-op module / suite, 20 rules a module, {} applies", target.name);
        goals.push(Goal::at_least(0.9, what, ratio("no-op module", "suite, 20 rules a module", target)));
    }
    for target in [NONE, ONE, ALL] {
        let what = format!("five modules / suite, 20 rules a module, {} applies", target.name);
        goals.push(Goal::at_least(1.0, what, ratio("five modules, 20 rules", "suite, 20 rules a module", target)));
    }
    let last = |of: &str, to: &str| ratio(of, to, LAST_OF_10);
    goals.push(Goal::at_most(1.1, "suite, 10,000 rules a module / 10", last("suite, 10,000 rules", "suite, 10 rules")));
    goals.push(Goal::at_least(
        10.0,
        "Envoy's 10,000 routes / suite, 10,000 rules a module",
        last("Envoy's 10,000 routes", "suite, 10,000 rules"),
    ));
    let Some(held) = gateway.ports.get(&HELD) else { anyhow::bail!("listener {HELD} is not there") };
    goals.push(Goal::at_most(5.0, "ms a request is late that was held for 50 ms", lateness(bench, *held)?));
    Ok(Section { title, lines: contest.table(), goals, figures: contest.json() })
}

/// Milliseconds beyond its delay, the median of a few requests one after the other.
fn lateness(bench: &Bench, held: SocketAddr) -> Result<f64> {
    let mut late = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        bench.runtime.block_on(one(held, &NONE))?;
        late.push(began.elapsed().as_secs_f64() * 1e3 - 50.0);
    }
    Ok(middle(late.into_iter()))
}

/// So many rules a module, as a company with so many teams would write them. What a request passes on its way: it is marked, charged,
/// not delayed, rewritten, and sent to one of two releases.
fn configuration(teams: usize) -> Value {
    let all = |rule: &dyn Fn(usize) -> Value| json!({"rules": (0..teams).map(rule).collect::<Vec<_>>()});
    let team = |at: usize| json!([{"uri": {"prefix": format!("/team-{at}/")}}]);
    json!({
        "headerMatch": all(&|at| json!({
            "name": format!("mark-{at}"), "match": team(at), "headers": {"request": {"set": {"x-team": format!("t{at}")}}},
        })),
        "rateLimit": all(&|at| json!({
            "name": format!("limit-{at}"), "match": team(at), "key": [{"header": "x-user"}],
            "limit": {"requests": 10_000_000, "per": "1s"},
        })),
        "faultInject": all(&|at| json!({
            "match": [{"uri": {"prefix": format!("/team-{at}/")}, "headers": {"x-chaos": {"exact": "on"}}}],
            "delay": {"fixedDelay": "1s"},
        })),
        "uriRewrite": all(&|at| json!({"match": team(at), "rewrite": {"uri": format!("/svc-{at}/")}})),
        "trafficShift": all(&|at| json!({
            "name": format!("shift-{at}"), "match": [{"uri": {"prefix": format!("/svc-{at}/")}}], "key": [{"header": "x-user"}],
            "destinations": [{"name": "stable", "weight": 90}, {"name": "canary", "weight": 10}],
        })),
    })
}

/// The same teams as routes of Envoy's own.
fn routes(teams: usize) -> Vec<Value> {
    let team = |at| {
        json!({"match": {"prefix": format!("/team-{at}/")}, "route": {"cluster": "origin", "prefix_rewrite": format!("/svc-{at}/")},
            "request_headers_to_add": [{"header": {"key": "x-team", "value": format!("t{at}")}}]})
    };
    (0..teams).map(team).collect()
}
